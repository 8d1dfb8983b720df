"""Filters written for NeMo Curator (`DocumentFilter`), or any class with their two methods, by import path.

Guarantees: each document is scored once per class, arguments and source file; another winnow stage sees the same text.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import inspect
import json
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, cast

import numpy as np
import pyarrow as pa

from classifiers import user_code
from cluster.errors import RecipeError
from stages.core.arrays import array
from stages.core.stage import Decisions, ShardStage, param


class Filter(Protocol):
    """Protocol of a filter: the two methods of NeMo Curator's `DocumentFilter`."""

    def score_document(self, text: str) -> Any:
        """Return the score of a text."""

    def keep_document(self, scores: Any) -> bool:
        """Tell whether a document with this score stays."""


@dataclass(frozen=True, kw_only=True)
class DocumentFilter(ShardStage):
    """Apply a filter class by import path.

    A filter must depend on nothing but the text; NeMo Curator's FastTextQualityFilter throws dice (`score_cut` with
    `pareto_alpha` draws by content).

    Reads: text. Writes: score (null where it is no number), keep. Drops: `filtered`, with the score as the value.
    """

    use: ClassVar[str] = "document_filter"
    summary: ClassVar[str] = "Apply a filter class of NeMo Curator or your own"
    schema: ClassVar[pa.Schema] = pa.schema([("score", pa.float64()), ("keep", pa.bool_())])

    filter: str = param(
        "", "MODULE:CLASS, for instance nemo_curator.stages.text.filters.heuristic:WordCountFilter", fact=True
    )
    arguments: tuple[str, ...] = param((), "arguments of the class, NAME=VALUE with VALUE in JSON or text", fact=True)

    invert: bool = param(False, "drop what the filter keeps, and keep the rest")

    def validate(self) -> None:
        if not all(self.filter.partition(":")):
            raise self.error("filter", self.filter, "MODULE:CLASS")
        for text in self.arguments:
            if not text.partition("=")[1] or not text.partition("=")[0].isidentifier():
                raise self.error("arguments", text, "NAME=VALUE")

    def model_digest(self) -> str:
        found = _class(self.filter)
        try:
            source = inspect.getsource(inspect.getmodule(found) or found)
        except (OSError, TypeError):
            source = self.filter
        return hashlib.blake2b(source.encode(), digest_size=8).hexdigest()

    def annotate(self, documents: pa.Table) -> pa.Table:
        judge = _instance(self.filter, self.arguments)
        with user_code.blamed(f"the filter {self.filter}"):
            scores = [judge.score_document(text) for text in documents.column("text").to_pylist()]
            kept = [bool(judge.keep_document(score)) for score in scores]
        return pa.table([pa.array(map(_number, scores), pa.float64()), pa.array(kept, pa.bool_())], schema=self.schema)

    def decide(self, facts: pa.Table) -> Decisions:
        kept = array(facts, "keep").astype(np.bool_) != self.invert
        reason = np.where(kept, -1, 0).astype(np.int16)
        score = facts.column("score").to_numpy().astype(np.float64)
        return Decisions(reason, ("filtered",), score, np.full(len(score), np.nan))


def _number(score: Any) -> float | None:
    return float(score) if isinstance(score, int | float | np.number | np.bool_) else None


def _class(path: str) -> type:
    if path.startswith("nemo_curator") and importlib.util.find_spec("nemo_curator") is None:
        raise RecipeError(f"the filter {path} needs NeMo Curator. Install the extra: pip install 'winnow-mix[nemo]'.")
    found = user_code.imported(path, "the filter")
    lacking = [method for method in ("score_document", "keep_document") if not hasattr(found, method)]
    if lacking:
        raise RecipeError(
            f"{path} has no method {lacking[0]}; a filter has score_document(text) and keep_document(score)."
        )
    return cast("type", found)


@functools.lru_cache(maxsize=16)
def _instance(path: str, arguments: tuple[str, ...]) -> Filter:
    values = {name: _value(text) for name, _, text in (argument.partition("=") for argument in arguments)}
    with user_code.blamed(f"making the filter {path} with {', '.join(arguments) or 'no arguments'}"):
        made = _class(path)(**values)
        for step in ("model_check_or_download", "load_model", "load_tokenizer"):  # as NeMo Curator prepares its filters
            if hasattr(made, step):
                getattr(made, step)()
        return cast(Filter, made)


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text
