"""What a hop of the exchange will ask of the storage and of its workers, before it runs.

Every number comes from what the exchange itself decides by: its folders, its rule for merging, its limits. A test
compares them with the requests of hops that ran. Nothing is read or written here.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import pyarrow as pa

from cluster.exchange import MERGED_FROM, Exchange, Written
from cluster.files.packed_rows import row_type
from cluster.files.slices import ENTRY, IN_MEMORY, MAPPED, READ_WINDOW, WINDOW
from cluster.outputs import is_spread
from cluster.requests import LISTED, Requests, lists_of, puts_of


@dataclass(frozen=True, kw_only=True)
class ForeseenHop:
    """A hop before it runs. emit, merge, receive: requests of the tasks of each part; client: of who starts them.

    group: sources that are merged into one file. together: destinations that one task reads.
    spilled: bytes in the temporary folder of a source task.
    largest_file: bytes of one file, which for an object store lies in the temporary folder until it is sent.
    maps: of memory that one destination task holds where the storage is a file system.
    """

    sources: int
    destinations: int
    group: int
    together: int
    files: int
    prefixes: int
    emit: Requests
    merge: Requests
    receive: Requests
    client: Requests
    bytes_written: float
    bytes_read: float
    spilled: float
    largest_file: float
    destination_bytes: float
    maps: int

    @property
    def window(self) -> float:
        """The bytes that a task holds of destinations that it reads together."""
        return min(READ_WINDOW, self.together * self.destination_bytes) if self.together > 1 else 0.0

    @property
    def requests(self) -> Requests:
        """The requests of the whole hop."""
        return self.emit + self.merge + self.receive + self.client


def foresee(hop: Exchange, sources: int, rows: float, row_bytes: float, *, received: bool = True) -> ForeseenHop:
    """Return what a fresh run of a hop takes, if its rows spread evenly over sources and destinations.

    row_bytes : of a row in a slice of many; what a slice takes besides is added.
    received : whether the hop's own tasks read it.
    """
    count = hop.destinations
    size = _bytes(hop, sources, rows, row_bytes)
    written, together = hop.grouping(sources, round(size), received=received)
    reads = math.ceil(count / together)  # of each file
    merged = _bytes(hop, written.files, rows, row_bytes) if written.group > 1 else size
    share = _filled(rows, written.files * reads)
    return ForeseenHop(
        sources=sources,
        destinations=count,
        group=written.group,
        together=together,
        files=written.files,
        prefixes=len(hop.folders(max(sources, count))),
        emit=Requests(put=sources * puts_of(size / max(1, sources))),
        merge=_merge(written, size, merged),
        receive=Requests(get=reads * written.files * (1 + share), put=count * puts_of(rows * row_bytes / count)),
        client=_client(hop, sources, written),
        bytes_written=size + (merged if written.group > 1 else 0.0),
        bytes_read=(size if written.group > 1 else 0.0) + merged + ENTRY * written.files * (reads - 1),
        spilled=size / max(1, sources) if size > IN_MEMORY * sources else 0.0,
        largest_file=max(size / max(1, sources), merged / max(1, written.files)),
        destination_bytes=rows * row_bytes / count,
        maps=0 if together > 1 else _maps(hop, written, rows * row_bytes),
    )


def _bytes(hop: Exchange, files: int, rows: float, row_bytes: float) -> float:
    """Return the bytes of so many files of slices that hold these rows: rows, messages around them, indexes."""
    slices = files * hop.destinations
    return rows * row_bytes + slices * _filled(rows, slices) * message_bytes(hop.schema) + _index(hop) * files


def _maps(hop: Exchange, written: Written, size: float) -> int:
    """Return how many slices a destination task holds mapped: none whose rows are copied out of them."""
    mapped = size / max(1, written.files * hop.destinations) >= MAPPED and not row_type(hop.schema)
    return written.files if mapped else 0


def _index(hop: Exchange) -> int:
    return ENTRY * (hop.destinations + 1)


def message_bytes(schema: pa.Schema) -> int:
    """Return the bytes that a slice takes besides its rows: those of a message with one row, less the row.

    Rows of fixed width have no message around them.
    """
    if row_type(schema):
        return 0
    arrays = [pa.nulls(1, field.type) for field in schema]
    row = sum(int(array.nbytes) for array in arrays)
    return int(pa.RecordBatch.from_arrays(arrays, schema=schema).serialize().size) - row


def _filled(rows: float, slices: int) -> float:
    """Return the share of slices that hold a row, if rows fall into them at random.

    Examples
    --------
    >>> _filled(0, 5), round(_filled(5, 5), 2), _filled(1e9, 5)
    (0.0, 0.63, 1.0)
    """
    return 1 - math.exp(-rows / slices) if slices else 0.0


def _merge(written: Written, size: float, merged: float) -> Requests:
    """Return the requests of all merges: each reads its sources' indexes, then windows of their slices."""
    if written.group == 1:
        return Requests()
    windows = max(1, math.ceil(merged / written.files / WINDOW))
    return Requests(
        get=written.sources * (1 + windows),
        put=written.files * puts_of(merged / written.files),
        delete=written.files * math.ceil(written.group / LISTED),
    )


def _client(hop: Exchange, sources: int, written: Written) -> Requests:
    """Return the requests of who starts the tasks: listings before and after, and the word how to merge."""
    before, after = hop.folders(sources), hop.folders(hop.destinations)
    found = Requests(get=1)
    if sources * hop.destinations >= MERGED_FROM:
        found += Requests(list=len(before) * lists_of(sources / len(before)))
    if written.group > 1 or (is_spread(sources) and sources * hop.destinations >= MERGED_FROM):
        found += Requests(put=1)
    beside = written.files if len(after) == 1 and len(before) == 1 else 0
    return found + Requests(list=len(after) * lists_of((hop.destinations + beside) / len(after)))
