"""Number the copies of documents that stand in a mix several times, as `output.repeat` writes them.

Two hops through files: rows of documents with several copies go to their document's destination, are numbered there in
the order of files and rows, and the numbers go back to the files. No text is read. Guarantees: the copies of a document
are numbered from 0, whatever the number of workers. Memory: the doc_ids of one file, or of one destination.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from cluster import storage
from cluster.engines import Engine
from cluster.exchange import Exchange
from cluster.files.arrow_files import read_arrow
from pipelines.export.source import Source, Unit
from stages.core.arrays import array
from stages.core.exchange_stage import destinations_for
from stages.kernels.hashes.hashing import mix64

I32 = npt.NDArray[np.int32]
ROWS = pa.schema([("key", pa.uint64()), ("doc", pa.int64()), ("unit", pa.int32()), ("row", pa.int64())])
NUMBERS = pa.schema([("unit", pa.int32()), ("row", pa.int64()), ("copy", pa.int32())])


@dataclass(frozen=True)
class CopyNumbers:
    """The numbers of a file's rows that are not the first copy, or of documents with several; rows ascend."""

    rows: npt.NDArray[np.int64]
    copy: I32

    def between(self, start: int, stop: int) -> I32:
        """Return the number of the copy that each row from `start` to `stop` is."""
        found = np.zeros(stop - start, np.int32)
        first, last = np.searchsorted(self.rows, [start, stop])
        found[self.rows[first:last] - start] = self.copy[first:last]
        return found


@dataclass(frozen=True, kw_only=True)
class Numbering:
    """The numbering of a source's copies. folder : for its files."""

    source: Source
    folder: str

    def _by_document(self) -> Exchange:
        rows = sum(unit.rows for unit in self.source.units)
        return Exchange(folder=storage.join(self.folder, "there"), destinations=destinations_for(rows), schema=ROWS)

    def _by_unit(self) -> Exchange:
        return Exchange(
            folder=storage.join(self.folder, "back"),
            destinations=len(self.source.units),
            schema=NUMBERS,
            route="unit",
        )

    def run(self, engine: Engine) -> None:
        """Number all copies; what is done already is not done again."""
        numbered = self._by_document().run(
            engine, list(enumerate(self.source.units)), partial(_rows_of, self.source), _numbered
        )
        self._by_unit().run(engine, [path for path in numbered if path], _read, _in_order)

    def of_unit(self, place: int) -> CopyNumbers:
        """Return the numbers of a unit's rows."""
        path = self._by_unit().outputs()[place]
        table = read_arrow(path) if path else NUMBERS.empty_table()
        return CopyNumbers(array(table, "row").astype(np.int64), array(table, "copy").astype(np.int32))


def _rows_of(source: Source, numbered: tuple[int, Unit]) -> Iterator[pa.Table]:
    """Yield the rows of a unit whose document has several copies."""
    place, unit = numbered
    row = 0
    for table in source.read_names(unit):
        many = np.flatnonzero(array(table, "copies") > 1)
        doc = array(table, "doc_id").astype(np.int64)[many]
        columns = [
            pa.array(mix64(doc.astype(np.uint64))),
            pa.array(doc),
            pa.array(np.full(len(many), place, np.int32)),
            pa.array(many + row),
        ]
        yield pa.table(columns, schema=ROWS)
        row += table.num_rows


def _numbered(destination: int, table: pa.Table) -> pa.Table | None:
    """Return the rows that are not the first copy of their document, with their numbers."""
    if not table.num_rows:
        return None
    order = np.lexsort([array(table, "row"), array(table, "unit"), array(table, "doc")])
    doc = array(table, "doc")[order]
    first = np.flatnonzero(np.r_[True, doc[1:] != doc[:-1]])
    copy = np.arange(len(doc)) - np.repeat(first, np.diff(np.r_[first, len(doc)]))
    later = copy > 0
    chosen = table.select(["unit", "row"]).take(pa.array(order[later]))
    return chosen.append_column("copy", pa.array(copy[later].astype(np.int32))) if later.any() else None


def _read(path: str) -> Iterator[pa.Table]:
    yield read_arrow(path).sort_by([("unit", "ascending"), ("row", "ascending")])


def _in_order(destination: int, table: pa.Table) -> pa.Table | None:
    return table.sort_by("row") if table.num_rows else None
