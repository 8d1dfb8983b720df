"""Windows: the candidates of a large destination cut by their total order, and decided one window after the other.

Whether a document is dropped depends on kept documents before it alone; in mode component, whom it is joined to depends
on the leaders of its buckets before it. So a window is decided by itself, given those that hold seats in its buckets
(window_rounds.py). Guarantees: the verdicts of any cut are those of no cut.
Memory: the columns of the total order of all candidates (about 150 bytes each) while windows are laid out; later one
window, and the seats in its buckets.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator
from functools import partial

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from cluster import storage
from cluster.engines import InlineEngine
from cluster.exchange import Exchange, Written
from cluster.files.arrow_files import count_rows, open_arrow, read_arrow, scan_arrow, write_arrow
from stages.core.arrays import array, places_in
from stages.dedup.dedup_stage import candidate_schema, survivor_order
from stages.dedup.near.job import NearJob
from stages.kernels.similarity.bands import shared_records

I64 = npt.NDArray[np.int64]
CUT_FROM = 200_000  # candidates of one destination from which on they are cut into windows
WINDOW = 100_000  # candidates of one window at most
WINDOW_BYTES = 256 << 20  # of their texts at most, or one text
SEATS = pa.schema([("bucket", pa.uint64()), ("doc", pa.int64())])


@dataclasses.dataclass(frozen=True, kw_only=True)
class Windows:
    """The windows of one destination."""

    near: NearJob
    destination: int
    documents: str  # files of all candidates and bucket members
    members: str
    count: int

    def load(self, number: int) -> tuple[pa.Table, pa.Table, I64]:
        """Return (candidates, bucket members, kept documents among them) of a window.

        Candidates are those of the window and the kept ones that hold a seat in a bucket of it; buckets of one
        member are left out.
        """
        bucket, doc = _columns(self._hop("members").gather(Written(1), number).select(SEATS.names))
        mine = np.unique(bucket)
        held = [_columns(_among(self.path("seats", w), "bucket", mine, SEATS.names)) for w in range(number)]
        kept = np.unique(np.concatenate([np.empty(0, np.int64), *(docs for _, docs in held)]))
        rows = [self.documents_of(number)]
        rows += [_among(self.path("kept", w), "doc", kept, rows[0].schema.names) for w in range(number)]
        buckets = np.concatenate([bucket, *(b for b, _ in held)])
        buckets, place = shared_records(buckets, np.arange(len(buckets), dtype=np.int64))
        docs = np.concatenate([doc, *(d for _, d in held)])[place]
        members = pa.table([pa.array(buckets), pa.array(docs)], schema=SEATS)
        return pa.concat_tables(rows).combine_chunks(), members, kept

    def keep(self, number: int, table: pa.Table, lost_to: I64, carried: npt.NDArray[np.bool_]) -> None:
        """Write the seats that documents of a decided window took: in each bucket as many as are ever tried.

        carried : (rows,) the kept documents of earlier windows among the candidates `table`.
        """
        if number + 1 == self.count or storage.exists(self.path("kept", number)):
            return
        able = (lost_to < 0) & ~carried & array(table, "eligible").astype(np.bool_)
        kept = table.filter(pa.array(able)).sort_by("doc")
        bucket, doc = _columns(self._hop("members").gather(Written(1), number).select(SEATS.names))
        place = places_in(array(kept, "doc"), doc)
        position = survivor_order(self.near.run, kept)
        bucket, doc, position = bucket[place >= 0], doc[place >= 0], position[place[place >= 0]]
        order = np.lexsort([position, bucket])
        bucket, doc = bucket[order], doc[order]
        new = np.r_[True, bucket[1:] != bucket[:-1]] if len(bucket) else np.empty(0, np.bool_)
        starts = np.flatnonzero(new)
        rank = np.arange(len(bucket)) - np.repeat(starts, np.diff(np.r_[starts, len(bucket)]))
        seats = rank <= self.near.further_tries
        seated = pa.table([pa.array(bucket[seats]), pa.array(doc[seats])], schema=SEATS)
        write_arrow(self.path("seats", number), seated, scratch=True)
        holds = np.isin(array(kept, "doc"), doc[seats])
        write_arrow(self.path("kept", number), kept.filter(pa.array(holds)), scratch=True)

    def keep_leaders(self, number: int, table: pa.Table, bucket: npt.NDArray[np.uint64], doc: I64) -> None:
        """Write the leaders that a window found in mode component: those of its buckets, and whoever is alone in one.

        table : candidates of the window. bucket, doc : (leaders,) what was found in buckets of several.
        """
        if number + 1 == self.count or storage.exists(self.path("kept", number)):
            return
        alone = self._alone(number)
        bucket, doc = np.concatenate([bucket, alone[0]]), np.concatenate([doc, alone[1]])
        write_arrow(self.path("seats", number), pa.table([pa.array(bucket), pa.array(doc)], schema=SEATS), scratch=True)
        holds = np.isin(array(table, "doc"), doc)
        write_arrow(self.path("kept", number), table.filter(pa.array(holds)), scratch=True)

    def _alone(self, number: int) -> tuple[npt.NDArray[np.uint64], I64]:
        """Return (bucket, document) of members that share their bucket with nobody in this window or before it."""
        bucket, doc = _columns(self._hop("members").gather(Written(1), number).select(SEATS.names))
        mine, first, count = np.unique(bucket, return_index=True, return_counts=True)
        single = count == 1
        for earlier in range(number):
            for batch in scan_arrow(self.path("seats", earlier), ["bucket"]):
                at = places_in(mine, batch.column("bucket").to_numpy())
                single[at[at >= 0]] = False
        return mine[single], doc[first[single]]

    def documents_of(self, number: int) -> pa.Table:
        """Return the candidates of a window."""
        return self._hop("documents").gather(Written(1), number).drop_columns(["destination"])

    @property
    def document_schema(self) -> pa.Schema:
        return open_arrow(self.documents).schema

    @property
    def folder(self) -> str:
        return _folder(self.near, self.destination)

    @property
    def order_path(self) -> str:
        """The file that names the window of each candidate."""
        return _order_path(self.near, self.destination)

    def path(self, kind: str, number: int) -> str:
        """Return where a window's file of one kind lies."""
        return storage.join(self.folder, f"{kind}-{number}.arrow")

    def _hop(self, kind: str) -> Exchange:
        return _hop(self.near, self.destination, kind, self.count, self.documents)


def are_needed(documents: str) -> bool:
    """Tell whether a destination, by its file of candidates, is cut into windows."""
    return count_rows(documents) > CUT_FROM


def _order_path(near: NearJob, destination: int) -> str:
    return storage.join(_folder(near, destination), "order.arrow")


def cut(near: NearJob, destination: int, documents: str, members: str) -> Windows:
    """Cut the candidates of a destination, and their places in buckets, into windows; what is cut stays so."""
    path = _order_path(near, destination)
    if not storage.exists(path):
        write_arrow(path, _windows_of(near, documents), scratch=True)
    count = int(array(read_arrow(path), "window").max()) + 1
    for kind, source in (("documents", documents), ("members", members)):
        _hop(near, destination, kind, count, documents).scatter(InlineEngine(), [source], partial(_emit, path))
    return Windows(near=near, destination=destination, documents=documents, members=members, count=count)


def _folder(near: NearJob, destination: int) -> str:
    return near.folder(f"windows-{destination}")


def _hop(near: NearJob, destination: int, kind: str, count: int, documents: str) -> Exchange:
    """Return the exchange that cuts the file of documents or that of members: one source, a destination a window."""
    schema = open_arrow(documents).schema if kind == "documents" else SEATS
    return Exchange(
        folder=storage.join(_folder(near, destination), kind),
        destinations=count,
        schema=pa.schema([("destination", pa.uint32()), *schema]),
        route="destination",
    )


def _windows_of(near: NearJob, documents: str) -> pa.Table:
    """Return the window of each candidate by doc_id: as many in the total order as WINDOW and WINDOW_BYTES allow."""
    names = [*candidate_schema(near.run).names, "num_bytes"]
    table = pa.Table.from_batches(list(scan_arrow(documents, names)))
    order = np.argsort(survivor_order(near.run, table))
    share = array(table, "num_bytes")[order].astype(np.float64) / WINDOW_BYTES + 1 / WINDOW
    window = np.empty(len(order), np.int32)
    window[order] = np.cumsum(share).astype(np.int32)
    window[order] -= window[order[0]]  # the first text may be longer than a window
    doc = array(table, "doc").astype(np.int64)
    by_doc = np.argsort(doc)
    return pa.table({"doc": doc[by_doc], "window": window[by_doc]})


def _emit(order: str, source: str) -> Iterable[pa.Table]:
    """Yield the rows of a file with the windows of their documents as destinations."""
    where = read_arrow(order)
    known, window = array(where, "doc"), array(where, "window").astype(np.uint32)
    for batch in scan_arrow(source):
        place = np.searchsorted(known, batch.column("doc").to_numpy())
        yield pa.Table.from_batches([batch]).add_column(0, "destination", pa.array(window[place]))


def _among(path: str, column: str, ascending: npt.NDArray[np.generic], names: list[str]) -> pa.Table:
    """Return the rows of a file whose value in a column is among these."""
    found: Iterator[pa.RecordBatch] = scan_arrow(path)
    parts = [b.filter(pa.array(places_in(ascending, b.column(column).to_numpy()) >= 0)) for b in found]
    return pa.Table.from_batches(parts).select(names) if parts else read_arrow(path).select(names)


def _columns(seats: pa.Table) -> tuple[npt.NDArray[np.uint64], I64]:
    return array(seats, "bucket").astype(np.uint64, copy=False), array(seats, "doc").astype(np.int64, copy=False)
