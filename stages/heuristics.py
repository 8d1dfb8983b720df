"""Heuristic quality filters on words, lines and repetition: Gopher, C4 and FineWeb as presets.

Every number is a fact, measured in one pass over the text, so presets and limits change without reading text. Limits
are the publications', for English, unless `language` says whose words and limits are meant (stages/languages).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from cluster.errors import RecipeError
from stages.core.arrays import BoolArray, FloatArray, whole
from stages.core.digests import digest
from stages.core.stage import Decisions, ShardStage, param, parsed_limit
from stages.implicit import count_tokens
from stages.inputs.columns import COLUMN
from stages.kernels.text import heuristic_facts
from stages.kernels.text.heuristic_facts import FACTS, Readings
from stages.kernels.text.scripts import SPACELESS, script_names
from stages.languages import knowledge, limits_file, stop_words, words

I64 = npt.NDArray[np.int64]
AUTO = "auto"


@dataclass(frozen=True)
class Limit:
    """A document stays if `low <= fact <= high`; with `strict` the low bound itself is not enough."""

    fact: str
    low: float = -np.inf
    high: float = np.inf
    strict: bool = False

    def breaks(self, value: FloatArray) -> BoolArray:
        """Mark float32 facts outside the limit, (rows,) bool; limits are rounded to float32 like the facts."""
        low, high = float(np.float32(self.low)), float(np.float32(self.high))
        found: BoolArray = (value <= low if self.strict else value < low) | (value > high)
        return found


def _limits(*limits: Limit) -> dict[str, Limit]:
    return {limit.fact: limit for limit in limits}


GOPHER_QUALITY = _limits(  # Rae et al. 2021, arXiv:2112.11446v2, A1.1
    Limit("num_words", 50, 100_000),
    Limit("mean_word_length", 3, 10),
    Limit("hash_ratio", high=0.1),
    Limit("ellipsis_ratio", high=0.1),
    Limit("bullet_lines", high=0.9),
    Limit("ellipsis_lines", high=0.3),
    Limit("alpha_words", 0.8),
    Limit("stop_words", 2),
)
GOPHER_REPETITION = _limits(  # Rae et al. 2021, arXiv:2112.11446v2, table A1
    Limit("duplicate_lines", high=0.3),
    Limit("duplicate_line_chars", high=0.2),
    Limit("duplicate_paragraphs", high=0.3),
    Limit("duplicate_paragraph_chars", high=0.2),
    *(Limit(f"top_{n}gram", high=0.24 - 0.02 * n) for n in (2, 3, 4)),
    *(Limit(f"duplicate_{n}grams", high=round(0.20 - 0.01 * n, 2)) for n in range(5, 11)),
)
FINEWEB = _limits(  # Penedo et al. 2024, arXiv:2406.17557v2, 3.6, and its published code
    Limit("line_punctuation", 0.12, strict=True),
    Limit("short_lines", high=0.67),
    Limit("line_duplicate_chars", high=0.01),
    Limit("newlines_per_word", high=0.3),
)
C4 = _limits(  # Raffel et al. 2020, arXiv:1910.10683v4 and the code in TensorFlow Datasets: what drops a whole page
    Limit("curly_brackets", high=0),
    Limit("lorem_ipsum", high=0),
    Limit("sentences", 3),
)
C4_JMLR = C4 | _limits(Limit("sentences", 5))  # Raffel et al. 2020, JMLR 21(140), 2.2
MC4 = _limits(Limit("long_lines", 3))  # Xue et al. 2021, arXiv:2010.11934v3, 3.1: lines of 200 characters or more
PRESETS: dict[str, dict[str, Limit]] = {
    "gopher": GOPHER_QUALITY | GOPHER_REPETITION,
    "gopher_quality": GOPHER_QUALITY,
    "gopher_repetition": GOPHER_REPETITION,
    "fineweb": FINEWEB,
    "c4": C4,
    "c4_jmlr": C4_JMLR,
    "mc4": MC4,
}
TOKENS = "num_tokens"  # a fact where the recipe names a tokenizer
LIMITED = (*FACTS, TOKENS)
INVERTED = "within_limits"  # the reason where `invert` drops what the limits keep


@dataclass(frozen=True, kw_only=True)
class Heuristics(ShardStage):
    """Measure words, lines and repetition; keep documents within the limits of the presets.

    Reads: text; with `language: auto` the fact `language` of the language_id stage before it. Writes: one number per
    fact (see `stages.kernels.text.heuristic_facts`; stop_words is null where the language has none), language, script.
    Drops: under the name of the fact whose limit is broken first, in the order of the presets; value and threshold say
    by how much.

    With `language` stop words and limits are those of each document's language: of `limits`, where that is a file made
    by `winnow rules fit`; else the publication's for English, and for others those that carry over. What does not is
    not judged (`not_judged` on terminal and report; docs/languages.md).

    Where a publication leaves a definition open, docs/heuristics.md says how winnow reads it, and a parameter gives the
    other readings (`split`, `signs`, `counts`, `overlaps`, `share_of`, `top_ties`, `stop_words_count`, `ellipses`,
    `blank_lines`).
    """

    use: ClassVar[str] = "heuristics"
    version: ClassVar[int] = 3  # 2 took shares of tokens for shares of words, and n-grams that occur once
    summary: ClassVar[str] = "Rules of Gopher, C4 and FineWeb about words, lines and repetition"
    schema: ClassVar[pa.Schema] = pa.schema(
        [*((name, pa.float32()) for name in LIMITED), ("language", pa.string()), ("script", pa.string())]
    )
    expansion: ClassVar[float] = 3.0
    device_expansion: ClassVar[float] = 17.0  # text_kernels.SCRATCH for a chunk, and where its texts begin

    presets: tuple[str, ...] = param(("gopher", "fineweb"), "sets of limits: " + ", ".join(PRESETS))
    limits: tuple[str, ...] | str = param(
        (), "limits of single facts, for instance num_words>=20, or a .yaml file of them by language; replace presets'"
    )
    language: str = param("", "auto (that of language_id), a code, or column:NAME (default: all is English)", fact=True)
    words: str = param(
        "auto",
        "how words of Thai, Lao, Khmer, Burmese, Chinese and Japanese are found with `language`: icu (extra languages)",
        fact=True,
        choices=("auto", words.ICU, words.CHARACTERS),
    )
    invert: bool = param(False, "drop what the limits keep, and keep the rest")
    allow_no_end_marks: bool = param(False, "FineWeb's limit of line_punctuation spares texts without any end mark")
    end_marks: str = param("", "what a line of prose ends with, characters (default: sentence ends)", fact=True)
    short_line: int = param(heuristic_facts.SHORT_LINE, "characters of a short line, at most", fact=True, ge=1)
    tokenizer: str = param("", "tokenizer.json that counts num_tokens, for limits of it", fact=True, metavar="PATH")
    split: str = param(
        "tokens", "words: tokens of English, or pieces between white space", fact=True, choices=heuristic_facts.SPLIT
    )
    signs: str = param(
        "ngrams",
        "tokens without letter or digit count in n-grams, also in the words that shares are of, as words, or never",
        fact=True,
        choices=heuristic_facts.SIGNS,
    )
    counts: str = param(
        "later", "repeated: copies after the first, or all of them", fact=True, choices=heuristic_facts.COUNTS
    )
    overlaps: str = param(
        "skipped",
        "of repeated n-grams: the words of one are skipped, or each character that any covers counts",
        fact=True,
        choices=heuristic_facts.OVERLAPS,
    )
    share_of: str = param(
        "text",
        "characters that repeated ones are a share of: the text's, or the compared lines', paragraphs', words'",
        fact=True,
        choices=heuristic_facts.SHARE_OF,
    )
    top_ties: str = param(
        "first", "top n-gram among equally frequent ones", fact=True, choices=heuristic_facts.TOP_TIES
    )
    stop_words_count: str = param(
        "different", "stop words: different ones, or all", fact=True, choices=heuristic_facts.STOP_WORDS_COUNT
    )
    ellipses: str = param(
        "joined", "spaced: three points with blanks between them too", fact=True, choices=heuristic_facts.ELLIPSES
    )
    blank_lines: str = param(
        "skipped",
        "counted: blank lines are lines where bullet_lines and ellipsis_lines are taken",
        fact=True,
        choices=heuristic_facts.BLANK_LINES,
    )

    def validate(self) -> None:
        for name in self.presets:
            if name not in PRESETS:
                raise self.error("presets", name, "one of " + ", ".join(PRESETS))
        if any(mark.isspace() for mark in self.end_marks):
            raise self.error("end_marks", self.end_marks, "characters that are no white space", "Lines are stripped.")
        if TOKENS in self.rules() and not self.tokenizer:
            raise self.error("tokenizer", "", f"a tokenizer.json where limits name {TOKENS}")
        if self.language not in ("", AUTO) and not self._column:
            self._named_language()
        if len(self._files) > 1:
            raise self.error("limits", self._files, "one .yaml file at most")

    def _named_language(self) -> str:
        try:
            return knowledge.checked_tag(self.language)
        except RecipeError:
            right = "auto, column:NAME or an ISO 639-1 or 639-3 code such as ko, ceb or zh-Hant"
            raise self.error("language", self.language, right) from None

    @property
    def _given(self) -> tuple[str, ...]:
        return (self.limits,) if isinstance(self.limits, str) else self.limits

    @property
    def _files(self) -> tuple[str, ...]:
        return tuple(text for text in self._given if text.endswith((".yaml", ".yml")))

    @property
    def _language(self) -> str:
        """How a document's language is known: "" where all is English; a file of limits asks for it."""
        return self.language or (AUTO if self._files else "")

    @property
    def _column(self) -> str:
        return self.language if self.language.startswith(COLUMN) and self.language != COLUMN else ""

    def _learned(self) -> limits_file.LimitsFile:
        return limits_file.load(self._files[0]) if self._files else limits_file.LimitsFile(languages={})

    def _how(self, learned: limits_file.LimitsFile) -> str:
        """Return how words of spaceless scripts are found. Raises RecipeError where that cannot be as wished."""
        how = learned.words if learned.words and self.words == "auto" else words.resolved(self.words)
        if learned.words not in ("", how):
            right = f"{learned.words}, as in {self._files[0]}"
            raise self.error("words", how, right, "Limits and texts must count the same words.")
        if how == words.ICU and not words.installed():
            remedy = "Install the extra: pip install 'winnow-mix[languages]'."
            raise self.error("words", how, "characters without ICU", remedy)
        return how

    def columns(self) -> tuple[str, ...]:
        return ("text", self._column) if self._column else ("text",)

    @property
    def host_text(self) -> bool:  # tokenizers compute there
        return bool(self.tokenizer)

    def facts_needed(self) -> tuple[str, ...]:
        return ("language",) if self._language == AUTO else ()

    @property
    def readings(self) -> Readings:
        """How the publications are read: every parameter of that name."""
        return Readings(**{f.name: getattr(self, f.name) for f in dataclasses.fields(Readings)})

    def model_digest(self) -> str:
        """Return the digest of the tokenizer and of what is known of languages: limits, stop words, words."""
        tokenizer = count_tokens.digest_of(self.tokenizer) if self.tokenizer else ""
        learned = self._learned()
        return digest(tokenizer, self._known_digest(learned, learned.digest())) if self._language else tokenizer

    def fact_digest(self) -> str:
        """Return the digest that names the facts: of learned limits, they depend on the stop words alone."""
        values = {f.name: self.shown(f) for f in dataclasses.fields(self) if f.metadata.get("fact")}
        values["language"] = self._language
        tokenizer = count_tokens.digest_of(self.tokenizer) if self.tokenizer else ""
        learned = self._learned()
        known = self._known_digest(learned, learned.words_digest()) if self._language else ""
        return digest(self.key(), self.version, values, tokenizer, known)

    def _known_digest(self, learned: limits_file.LimitsFile, of_file: str) -> str:
        return digest(of_file, stop_words.version(), words.version(self._how(learned)))

    def rules(self) -> dict[str, Limit]:
        """Return the limits in force, of English texts, as a mapping from fact to limit."""
        return self._of_presets() | self._own()

    def _of_presets(self) -> dict[str, Limit]:
        rules: dict[str, Limit] = {}
        for name in self.presets:
            rules |= PRESETS[name]
        return rules

    def _rules_by_kind(self, facts: pa.Table) -> Iterator[tuple[tuple[str, str], I64, dict[str, Limit]]]:
        """Yield (language tag, script), rows and limits in force of each pair that occurs."""
        learned = self._learned()
        how = self._how(learned)
        for (tag, script), rows in knowledge.kinds(facts):
            yield (tag, script), rows, self._rules_of(tag, script, knowledge.limits_of(tag, learned.languages), how)

    def _rules_of(
        self, tag: str, script: str, learned: limits_file.LanguageLimits | None, how: str
    ) -> dict[str, Limit]:
        """Return the limits in force for texts of a language, in the order in which they judge."""
        found = self._of_presets()
        unknown = knowledge.unknown_to_rules(tag, script, how)
        if script == "Hang" and "mean_word_length" in found:
            found["mean_word_length"] = Limit("mean_word_length", *knowledge.HANGUL_WORDS)
        found = {fact: rule for fact, rule in found.items() if fact not in unknown}
        if learned is not None:
            found |= {fact: Limit(fact, low, high) for fact, (low, high) in learned.limits.items()}
        return found | self._own()

    def _own(self) -> dict[str, Limit]:
        own: dict[str, Limit] = {}
        for text in self._given:
            if text in self._files:
                continue
            found = parsed_limit(text)
            if found is None or found[0] not in LIMITED:
                remedy = "Facts are " + ", ".join(LIMITED) + "."
                raise self.error("limits", text, "FACT>=NUMBER or FACT<=NUMBER", remedy)
            fact, sign, bound = found
            old = own.get(fact, Limit(fact))
            low, high = (bound, old.high) if sign == ">=" else (old.low, bound)
            own[fact] = Limit(fact, low, high)
        return own

    def annotate(self, documents: pa.Table) -> pa.Table:
        from stages.kernels.text.heuristics import measure

        texts, learned = whole(documents.column("text")), self._learned()
        how = self._how(learned) if self._language else words.CHARACTERS
        about = knowledge.known_of(texts, self._tags(documents), learned.languages, how)
        found = measure(texts, self.readings, about.known).astype(np.float32)
        numbers = [pa.array(found[:, i], from_pandas=True) for i in range(len(FACTS))]  # NaN becomes null
        tags = pa.array([tag or None for tag in about.tags], pa.string())
        return pa.table([*numbers, self._tokens(texts), tags, script_names(about.scripts)], schema=self.schema)

    def _tokens(self, texts: pa.Array) -> pa.Array:
        if not self.tokenizer:
            return pa.nulls(len(texts), pa.float32())
        return pa.array(count_tokens.counts(self.tokenizer, texts.to_pylist()).astype(np.float32))

    def _tags(self, documents: pa.Table) -> list[str] | None:
        """Return the language tag of every document, "" where it has none; None where all is English."""
        if not self._language:
            return None
        if self._language not in (AUTO, self._column):
            return [self._named_language()] * documents.num_rows
        return knowledge.tags_in(documents.column(self._column or "fact:language"))

    def decide(self, facts: pa.Table) -> Decisions:
        if not self._language:
            return self._decided(facts, self.rules())
        names: dict[str, int] = {}
        reason = np.full(facts.num_rows, -1, np.int16)
        value, threshold = np.full(facts.num_rows, np.nan), np.full(facts.num_rows, np.nan)
        for _, rows, rules in self._rules_by_kind(facts):
            part = self._decided(facts.take(pa.array(rows)), rules)
            codes = np.array([*(names.setdefault(name, len(names)) for name in part.reasons), -1], np.int16)
            reason[rows], value[rows], threshold[rows] = codes[part.reason], part.value, part.threshold
        return Decisions(reason, tuple(names), value, threshold)

    def _decided(self, facts: pa.Table, rules: dict[str, Limit]) -> Decisions:
        """Return the verdict of these rules on every row; a fact that is null is not judged."""
        reason = np.full(facts.num_rows, -1, np.int16)
        value, threshold = np.full(facts.num_rows, np.nan), np.full(facts.num_rows, np.nan)
        left = np.arange(facts.num_rows)  # rows that no rule has dropped
        for code, rule in enumerate(rules.values()):
            number = facts.column(rule.fact).to_numpy()
            number = (number if len(left) == len(reason) else number[left]).astype(np.float64)
            broken = rule.breaks(number)
            if self.allow_no_end_marks and rule.fact == "line_punctuation":
                broken &= number > 0
            if not broken.any():
                continue
            lost, number = left[broken], number[broken]
            reason[lost], value[lost] = code, number
            threshold[lost] = np.where(number > rule.high, rule.high, rule.low)
            left = left[~broken]
        if self.invert:
            kept = np.where(reason < 0, 0, -1).astype(np.int16)
            return Decisions(kept, (INVERTED,), np.full(len(kept), np.nan), np.full(len(kept), np.nan))
        return Decisions(reason, tuple(rules), value, threshold)

    def group_columns(self) -> tuple[str, ...]:
        return ("language", "script", "stop_words")

    def groups(self, facts: pa.Table) -> pa.Array:
        script = whole(facts.column("script"))
        named = pc.binary_join_element_wise(pa.scalar("script"), script, " ")
        return pc.coalesce(whole(facts.column("language")), named)

    def remarks(self, facts: pa.Table) -> dict[str, BoolArray]:
        """Return which documents each rule did not judge, and of which words were counted by character class."""
        if not self._language:
            return {}
        found: dict[str, BoolArray] = {}
        unmeasured = whole(facts.column("stop_words")).is_null().to_numpy(zero_copy_only=False)
        wished = self._of_presets().keys() - self._own().keys()
        by_characters = self._how(self._learned()) == words.CHARACTERS
        for (_, script), rows, in_force in self._rules_by_kind(facts):
            skipped = {f"not_judged by {fact}" for fact in wished - in_force.keys()}
            if script in SPACELESS and by_characters:
                skipped.add("words counted by character class, without ICU")
            for name in sorted(skipped):
                found.setdefault(name, np.zeros(facts.num_rows, np.bool_))[rows] = True
            if "stop_words" in in_force and unmeasured[rows].any():
                mask = found.setdefault("not_judged by stop_words", np.zeros(facts.num_rows, np.bool_))
                mask[rows[unmeasured[rows]]] = True
        return found
