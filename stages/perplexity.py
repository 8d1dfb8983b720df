"""Perplexity under a language model per language (CCNet, LLaMA): how unlike good text a document is.

The perplexity is a fact, so limits change without reading text; head, middle and tail are quantiles of it (score_cut).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import pyarrow as pa

from classifiers import models, perplexity
from classifiers.perplexity import ModelFiles
from cluster.errors import RecipeError
from stages.core.arrays import whole
from stages.core.digests import digest
from stages.core.stage import Decisions, ShardStage, param
from stages.inputs.columns import COLUMN
from stages.languages import knowledge

REASONS = ("no_model", "low_perplexity", "high_perplexity")
AUTO = "auto"


@dataclass(frozen=True, kw_only=True)
class Perplexity(ShardStage):
    """Measure the perplexity of each document under its language's model; keep what is within limits.

    Reads: text; with `language: auto` the fact `language` of the language_id stage before it. Writes: perplexity (null
    where the language has no model, or nothing is left of the text). Drops: `high_perplexity` above
    `max_perplexity`, `low_perplexity` below `min_perplexity`, `no_model` where there is no perplexity and
    `keep_missing` is false. For CCNet's head, middle and tail put `score_cut` with `per: language` behind it:
    `max_quantile: 0.3` is the head, `min_quantile: 0.3, max_quantile: 0.6` the middle.
    """

    use: ClassVar[str] = "perplexity"
    summary: ClassVar[str] = "Perplexity by KenLM models (CCNet); keep what is within limits"
    schema: ClassVar[pa.Schema] = pa.schema([("perplexity", pa.float64())])
    expansion: ClassVar[float] = 8.0

    models: tuple[str, ...] = param((), "CODE=LM or CODE=LM+SENTENCEPIECE, or a folder of en.arpa.bin, en.sp.model …")
    language: str = param(AUTO, "auto (that of language_id), a code, or column:NAME", fact=True)
    normalise: bool = param(True, "normalise texts as CCNet does", fact=True)
    min_perplexity: float | None = param(None, "drop documents with a lower perplexity", ge=0.0)
    max_perplexity: float | None = param(None, "drop documents with a higher perplexity", ge=0.0)
    keep_missing: bool = param(True, "documents without a perplexity stay")

    def validate(self) -> None:
        if not self.models:
            raise self.error("models", [], "at least one", "For instance en=lm_sp/en.arpa.bin+lm_sp/en.sp.model.")
        for spec in self.models:
            if "=" in spec:
                self._entry(spec)
        if self.language != AUTO and not self._column:
            self._tag("language", self.language)
        low, high = self.min_perplexity, self.max_perplexity
        if low is not None and high is not None and low > high:
            raise self.error("min_perplexity", low, f"at most max_perplexity ({high})")

    def _tag(self, key: str, code: str) -> str:
        try:
            return knowledge.checked_tag(code)
        except RecipeError:
            raise self.error(key, code, "an ISO 639-1 or 639-3 code such as en, ceb or zh-Hant") from None

    def _entry(self, spec: str) -> tuple[str, ModelFiles]:
        code, _, paths = spec.partition("=")
        lm, _, pieces = paths.partition("+")
        if not lm:
            raise self.error("models", spec, "CODE=LM or CODE=LM+SENTENCEPIECE")
        return self._tag("models", code), ModelFiles(lm=lm, pieces=pieces)

    @property
    def _column(self) -> str:
        return self.language if self.language.startswith(COLUMN) and self.language != COLUMN else ""

    @property
    def drops(self) -> bool:
        return not self.keep_missing or self.min_perplexity is not None or self.max_perplexity is not None

    def files(self) -> dict[str, ModelFiles]:
        """Return the models by language tag: those of folders, then those written out."""
        found: dict[str, ModelFiles] = {}
        for spec in self.models:
            if "=" in spec:
                continue
            folder = models.resolve(spec)
            mine = perplexity.in_folder(folder) if Path(folder).is_dir() else {}
            if not mine:
                raise self.error("models", spec, "CODE=LM, or a folder with models such as en.arpa.bin")
            found |= {knowledge.tag_of(code): files for code, files in mine.items()}
        return found | dict(self._entry(spec) for spec in self.models if "=" in spec)

    def columns(self) -> tuple[str, ...]:
        return ("text", self._column) if self._column else ("text",)

    def facts_needed(self) -> tuple[str, ...]:
        return ("language",) if self.language == AUTO else ()

    def model_digest(self) -> str:
        return digest(sorted((tag, files.digest()) for tag, files in self.files().items()))

    def annotate(self, documents: pa.Table) -> pa.Table:
        if not documents.num_rows:
            return self.schema.empty_table()
        files, texts = self.files(), whole(documents.column("text"))
        found = np.full(len(texts), np.nan)
        tags = np.array(self._tags(documents), object)
        for tag in sorted(set(tags)):
            mine = files.get(tag) or files.get(knowledge.base_of(tag))
            if mine is not None:
                rows = np.flatnonzero(tags == tag)
                model = perplexity.load(mine, normalised=self.normalise)
                found[rows] = model.score(texts.take(pa.array(rows)).to_pylist())
        return pa.table([pa.array(found, from_pandas=True)], schema=self.schema)

    def _tags(self, documents: pa.Table) -> list[str]:
        if self.language not in (AUTO, self._column):
            return [self._tag("language", self.language)] * documents.num_rows
        return knowledge.tags_in(documents.column(self._column or "fact:language"))

    def decide(self, facts: pa.Table) -> Decisions:
        value = facts.column("perplexity").to_numpy().astype(np.float64)  # null becomes NaN
        reason, threshold = np.full(len(value), -1, np.int16), np.full(len(value), np.nan)
        for limit, code in ((self.min_perplexity, 1), (self.max_perplexity, 2)):
            if limit is not None:
                beyond = value < limit if code == 1 else value > limit
                reason[beyond], threshold[beyond] = code, limit
        if not self.keep_missing:
            reason[np.isnan(value)] = 0
        return Decisions(reason, REASONS, value, threshold)
