"""Line deduplication: lines (or paragraphs) that occur in many documents are cut when the mix is written.

Guarantees: lines are equal when a 64-bit hash of their words is; which are cut does not depend on files, order,
partitioning or workers; the input is never changed. Memory: the lines of one bundle.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import ClassVar, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from cluster.engines import Engine
from stages.core import key_counts
from stages.core.arrays import array, list_column, whole
from stages.core.edits import Edits, from_spans, none
from stages.core.exchange_stage import ExchangeStage
from stages.core.run import StageRun
from stages.core.stage import Decisions, ShardStage, Stage, param
from stages.core.view import View

I64 = npt.NDArray[np.int64]
NORMALISATIONS = ("words", "digits", "none")
UNITS = ("line", "paragraph")
LINE = pa.struct([("hash", pa.uint64()), ("start", pa.int32()), ("stop", pa.int32())])
SPAN = pa.struct([("start", pa.int32()), ("stop", pa.int32())])
VERDICTS = pa.schema([("row", pa.uint32()), ("bytes_cut", pa.int64()), ("spans", pa.list_(SPAN))])


@dataclass(frozen=True, kw_only=True)
class LineHashes(ShardStage):
    """Reads text / Writes hash and span of each line with enough words / Drops nothing."""

    unit: str = param("line", "line or paragraph", fact=True)
    normalise: str = param("words", "what is evened out before lines are compared", fact=True)
    min_words: int = param(3, "fewer words are no line", fact=True)

    use: ClassVar[str] = "line_hashes"
    version: ClassVar[int] = 2  # 1 took a line of a script without spaces for one word
    hidden: ClassVar[bool] = True
    schema: ClassVar[pa.Schema] = pa.schema([("lines", pa.list_(LINE))])

    def annotate(self, documents: pa.Table) -> pa.Table:
        from stages.kernels.text.fold import lines

        texts = whole(documents.column("text"))
        keys, spans = lines(texts, self.normalise, self.unit, self.min_words)
        fields = [pa.array(keys), pa.array(spans[:, 1].astype(np.int32)), pa.array(spans[:, 2].astype(np.int32))]
        values = pa.StructArray.from_arrays(fields, fields=list(LINE))
        return pa.table([list_column(len(texts), spans[:, 0], values)], schema=self.schema)


@dataclass(frozen=True, kw_only=True)
class LineDedup(ExchangeStage):
    """Cut lines that occur in more than `max_documents` documents, wherever they stand.

    Reads: hashes of lines of the documents that live. Writes: the spans that are cut when the mix is written. Drops:
    documents that lose more than `max_share` of their bytes (`repeated_lines`).
    """

    use: ClassVar[str] = "line_dedup"
    version: ClassVar[int] = 2
    summary: ClassVar[str] = "cut lines that stand in many documents out of what is written"

    max_documents: int = param(10, "cut lines that occur in more documents than this", ge=1)
    unit: str = param("line", "what is compared", fact=True, choices=UNITS)
    normalise: str = param(
        "words", "words: case, accents, punctuation evened; digits: digits too; none", fact=True, choices=NORMALISATIONS
    )
    min_words: int = param(3, "lines with fewer words are never cut", fact=True, ge=1)
    max_share: float | None = param(None, "drop documents that lose a larger share than this", ge=0, le=1)
    protect: tuple[str, ...] = param((), "datasets whose lines are counted and never cut")

    def companions(self) -> tuple[Stage, ...]:
        name = f"{self.name}.lines"
        hashes = LineHashes(
            name=name, datasets=self.datasets, unit=self.unit, normalise=self.normalise, min_words=self.min_words
        )
        return (hashes,)

    @property
    def drops(self) -> bool:
        return self.max_share is not None

    def resolve(self, engine: Engine, stage_run: StageRun[Self]) -> None:
        lists = partial(key_counts.fact_lists, stage_run, f"{self.name}.lines", "lines")
        decide = partial(_spans, self, lists)
        key_counts.decide_by_frequent_keys(engine, stage_run, lists, self.max_documents, decide)

    def verdicts(self, view: View, index: int) -> tuple[I64, Decisions]:
        if self.max_share is None:
            return np.empty(0, np.int64), Decisions.keep_all(0)
        table = view.stored_decisions(index)
        rows = array(table, "row").astype(np.int64)
        share = array(table, "bytes_cut") / array(view.read, "num_bytes")[rows]
        reason = np.where(share > self.max_share, 0, -1).astype(np.int16)
        return rows, Decisions(reason, ("repeated_lines",), share, np.full(len(rows), self.max_share))

    def edits_of(self, view: View, index: int, rows: I64) -> Edits:
        if view.bundle.dataset in self.protect:
            return none()
        table = view.stored_decisions(index)
        every = from_spans(table.column("spans")).numbered(array(table, "row").astype(np.int64))
        return every.among(rows)


def _spans(stage: LineDedup, lists: key_counts.Lists, view: View, frequent: key_counts.U64) -> pa.Table:
    """Return the rows that lose lines, with the spans they lose."""
    if view.bundle.dataset in stage.protect:
        return VERDICTS.empty_table()
    rows, lines = lists(view)
    place, hashes = key_counts.hashes_of(lines)
    cut = np.flatnonzero(key_counts.is_in(hashes, frequent))
    touched, at = np.unique(place[cut], return_inverse=True)
    flat = lines.flatten().take(pa.array(cut))
    start, stop = (np.asarray(flat.field(name)).astype(np.int64) for name in ("start", "stop"))
    lost = np.bincount(at, weights=stop - start, minlength=len(touched)).astype(np.int64)
    values = pa.StructArray.from_arrays([flat.field("start"), flat.field("stop")], fields=list(SPAN))
    columns = [pa.array(rows[touched].astype(np.uint32)), pa.array(lost), list_column(len(touched), at, values)]
    return pa.table(columns, schema=VERDICTS)
