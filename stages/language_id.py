"""Language identification by a fastText model; keeps documents in the wanted languages.

Facts are the language and the model's score, so languages and thresholds change without reading text.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from classifiers import language, models
from classifiers.fasttext_model import MAX_CHARS
from cluster.errors import RecipeError
from stages.core.arrays import whole
from stages.core.digests import digest
from stages.core.stage import Decisions, ShardStage, param
from stages.kernels.text.scripts import script_names, scripts_of
from stages.languages import limits_file

CASES = ("keep", "lower", "capitals")
REASONS = ("language", "low_language_score", "mixed_language")
SHARES = pa.list_(pa.struct([("language", pa.string()), ("share", pa.float32())]))
SPEC = "fasttext:"


@dataclass(frozen=True, kw_only=True)
class LanguageId(ShardStage):
    """Label each document with its language.

    Reads: text. Writes: language (ISO 639-1 or 639-3 code, `-Script` where the model names one; `und` for
    a text without a letter), language_score, language_shares (null without `segment_chars`), script (ISO 15924 code
    of most of its letters, `Zyyy` without any). Drops: `language` where it is none of `languages`,
    `low_language_score` where the score is below the language's threshold or `min_score`, `mixed_language` where less
    than `min_share` of the characters is in the wanted languages.

    Short texts are judged like long ones; raise `min_score` to drop the uncertain. Texts longer than
    `max_chars` characters are judged by their beginning. Newlines count as spaces.
    """

    use: ClassVar[str] = "language_id"
    version: ClassVar[int] = 3
    summary: ClassVar[str] = "Identify the language; keep the wanted ones"
    schema: ClassVar[pa.Schema] = pa.schema(
        [
            ("language", pa.string()),
            ("language_score", pa.float32()),
            ("language_shares", SHARES),
            ("script", pa.string()),
        ]
    )

    hands_on: ClassVar[tuple[str, ...]] = ("language",)
    device_expansion: ClassVar[float] = 17.0  # slots of fasttext.h for a batch; of a chunk at most SCRATCH bytes

    languages: tuple[str, ...] = param((), "keep these languages (ISO 639-1 or 639-3; default: all)")
    min_score: float = param(0.0, "drop documents whose language is less certain", ge=0.0, le=1.0)
    thresholds: tuple[str, ...] | str = param(
        (), "min_score of single languages, for instance en:0.65, or a .yaml file made by `winnow rules fit`"
    )
    model: str = param("fasttext:lid.176.ftz", "fasttext:NAME or fasttext:PATH", fact=True, metavar="SPEC")
    case: str = param("keep", "lower: judge texts in lower case; capitals: those in capitals", fact=True, choices=CASES)
    calibration: str = param(
        "", "file made by `winnow rules fit` that makes scores the share of labels that are right", fact=True
    )
    max_chars: int = param(MAX_CHARS, "judge a longer text by its first characters", fact=True, ge=1, le=(1 << 31) - 1)

    segment_chars: int = param(
        0, "also judge parts of so many characters (0: do not)", fact=True, ge=0, le=(1 << 31) - 1
    )
    min_share: float = param(0.0, "share of the text that must be in the wanted languages", ge=0.0, le=1.0)

    def __post_init__(self) -> None:
        if isinstance(self.thresholds, Mapping):
            pairs = tuple(f"{code}:{score}" for code, score in sorted(self.thresholds.items()))
            object.__setattr__(self, "thresholds", pairs)
        super().__post_init__()

    def validate(self) -> None:
        if not self.model.startswith(SPEC) or self.model == SPEC:
            raise self.error("model", self.model, "fasttext:NAME or fasttext:PATH", "For instance fasttext:lid.176.ftz")
        for code in self.languages:
            self._tag("languages", code)
        if self.min_share and not (self.segment_chars and self.languages):
            raise self.error("min_share", self.min_share, "0 without segment_chars and languages", "Set both.")
        for pair in self._pairs():
            self._score_of(pair)

    def _files(self) -> list[str]:
        given = (self.thresholds,) if isinstance(self.thresholds, str) else self.thresholds
        return [text for text in given if text.endswith((".yaml", ".yml"))]

    def _pairs(self) -> list[str]:
        given = (self.thresholds,) if isinstance(self.thresholds, str) else self.thresholds
        return [text for text in given if text not in self._files()]

    def _tag(self, key: str, code: str) -> str:
        try:
            return language.check_code(code)
        except RecipeError:
            raise self.error(key, code, "an ISO 639-1 or 639-3 code such as en, ceb or zh-Hant") from None

    def scores_by_language(self) -> dict[str, float]:
        """Return `thresholds` by language tag: those of files, then those written out."""
        found: dict[str, float] = {}
        for path in self._files():
            found |= self._learned("thresholds", path).scores()
        if found and self.calibration:
            right = self._calibration().calibrated(list(found.values()))
            found = dict(zip(found, right.tolist(), strict=True))
        return found | dict(self._score_of(pair) for pair in self._pairs())

    def _learned(self, key: str, path: str) -> limits_file.LimitsFile:
        learned = limits_file.load(path)
        if learned.language_id not in ("", self.model):
            right = f"scores of {self.model}"
            raise self.error(key, path, right, f"This file's are of {learned.language_id}.")
        return learned

    def _calibration(self) -> limits_file.LimitsFile:
        learned = self._learned("calibration", self.calibration)
        if not learned.calibration:
            remedy = "Learn it with `winnow rules fit CODE=PATH …`, of text whose language is known."
            raise self.error("calibration", self.calibration, "a file with a calibration", remedy)
        return learned

    def _score_of(self, pair: str) -> tuple[str, float]:
        code, _, score = pair.partition(":")
        try:
            value = float(score)
        except ValueError:
            value = float("nan")
        if not 0 <= value <= 1:
            raise self.error("thresholds", pair, "LANGUAGE:SCORE with a score in [0, 1]", "For instance en:0.65")
        return self._tag("thresholds", code), value

    def digest(self) -> str:
        """Return the digest that names decisions; the scores of a file are a part of it."""
        mine = super().digest()
        return digest(mine, sorted(self.scores_by_language().items())) if self._files() else mine

    def model_digest(self) -> str:
        tags = (*language.tags_of(self.model), language.UNDETERMINED)
        written = tuple(self._score_of(pair)[0] for pair in self._pairs())
        for key, codes in (("languages", self.languages), ("thresholds", written)):
            for code in codes:
                if not language.matches(tags, language.check_code(code)).any():
                    raise self.error(key, code, f"a language of {self.model}", language.remedy(tags, code))
        model = models.file_digest(models.resolve(self.model))
        return digest(model, self._calibration().calibration) if self.calibration else model

    @property
    def host_text(self) -> bool:  # letters change their case there, and parts of texts are cut there
        return self.case != "keep" or self.segment_chars > 0

    def annotate(self, documents: pa.Table) -> pa.Table:
        if not documents.num_rows:
            return self.schema.empty_table()
        identifier = language.LanguageIdentifier(self.model, self.max_chars)
        given = whole(documents.column("text"))
        texts = in_case(given, self.case)
        found = identifier.identify(texts)
        shares = identifier.shares(texts, self.segment_chars) if self.segment_chars else pa.nulls(len(texts), SHARES)
        script = script_names(scripts_of(given))
        score = found.score
        if self.calibration:
            known = found.index < len(identifier.tags) - 1
            score = np.where(known, self._calibration().calibrated(score), score).astype(np.float32)
        return pa.table([identifier.names(found), pa.array(score), shares, script], schema=self.schema)

    def decide(self, facts: pa.Table) -> Decisions:
        rows = facts.num_rows
        names = facts.column("language").combine_chunks().dictionary_encode()
        tags, index = tuple(names.dictionary.to_pylist()), names.indices.to_numpy()
        allowed, threshold = self._rules(tags)
        score = facts.column("language_score").to_numpy().astype(np.float64)
        limit = threshold[index] if rows else np.empty(0)
        reason = np.where(score < limit, 1, -1)
        if self.min_share:
            share = self._share_allowed(facts.column("language_shares").combine_chunks())
            mixed = (share < self.min_share) & (reason < 0) & allowed[index]
            reason[mixed], score, limit = 2, np.where(mixed, share, score), np.where(mixed, self.min_share, limit)
        reason[~allowed[index]] = 0
        return Decisions(reason.astype(np.int16), REASONS, score, limit)

    def _share_allowed(self, shares: pa.ListArray) -> npt.NDArray[np.float64]:
        """Return the share of each document that is in the wanted languages, (rows,)."""
        parts = shares.flatten()
        owner = shares.value_parent_indices().to_numpy()
        names = parts.field("language").dictionary_encode()
        allowed, _ = self._rules(tuple(names.dictionary.to_pylist()))
        weight = parts.field("share").to_numpy().astype(np.float64) * allowed[names.indices.to_numpy()]
        found: npt.NDArray[np.float64] = np.bincount(owner, weight, len(shares)).astype(np.float64)
        return found

    def _rules(self, tags: tuple[str, ...]) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.float64]]:
        """Return (allowed, threshold) of each language tag, (tags,) each."""
        allowed = np.full(len(tags), not self.languages)
        threshold = np.full(len(tags), self.min_score)
        for code in self.languages:
            allowed |= language.matches(tags, language.check_code(code))
        for tag, score in sorted(self.scores_by_language().items()):
            threshold[language.matches(tags, tag)] = score
        return allowed, threshold


def in_case(texts: pa.Array, case: str) -> pa.Array:
    """Return texts in lower case: all of them, or those of whose cased letters most are capitals."""
    if case == "keep":
        return texts
    lower = pc.utf8_lower(texts)
    if case == "lower":
        return lower
    capitals, small = (pc.count_substring_regex(texts, pattern) for pattern in (r"\p{Lu}", r"\p{Ll}"))
    return pc.if_else(pc.greater(capitals, small), lower, texts)
