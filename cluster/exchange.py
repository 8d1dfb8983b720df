"""Shuffle through files: bring rows with equal keys together, and resume after a crash.

Every source task writes one Arrow file with one record batch per destination; every destination task reads its
batches from all of them and commits one output. A file that exists is not written again, so the longest steps
resume. Memory: one emitted table in a source task, all rows of one destination in a destination task.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from cluster import storage
from cluster.engines.engine import Engine
from cluster.errors import LedgerError

S = TypeVar("S")
Emit = Callable[[S], Iterable[pa.Table]]
Receive = Callable[[int, pa.Table], pa.Table | None]


@dataclass(frozen=True, kw_only=True)
class Exchange:
    """One hop: `emit` a source's rows, route them by key, `receive` all rows of a destination.

    folder: where the files of this hop live; must be addressed by what determines its content.
    route: column of the emitted tables. "key" (uint64, uniformly distributed) is cut into equal
    ranges; "destination" (any integer) is taken as it is.
    schema: of the emitted tables.
    """

    folder: str
    destinations: int
    schema: pa.Schema
    route: str = "key"

    def run(
        self,
        engine: Engine,
        sources: Sequence[S],
        emit: Emit[S],
        receive: Receive,
        done: Callable[[Any], None] | None = None,
    ) -> list[str | None]:
        """Return the path of every destination's output (None where `receive` returned None).

        Raises LedgerError when a destination left neither an output nor a marker of an empty one.
        """
        self.scatter(engine, sources, emit, done)
        have = storage.names(self.folder)
        wanted = [d for d in range(self.destinations) if not have & {_out_name(d), _none_name(d)}]
        engine.map(partial(_read, self, receive, len(sources)), wanted, done=done)
        return self.outputs()

    def outputs(self) -> list[str | None]:
        """Return the path of every destination's output, None where its output is empty."""
        have = storage.names(self.folder)
        return [self._output(d, have) for d in range(self.destinations)]

    def _output(self, destination: int, have: set[str]) -> str | None:
        if _out_name(destination) in have:
            return storage.join(self.folder, _out_name(destination))
        if _none_name(destination) not in have:
            raise LedgerError(
                f"{self.folder}: the output of destination {destination} was written and is not listed; "
                "the storage shows old listings or files were removed. Run again."
            )
        return None

    def scatter(
        self,
        engine: Engine,
        sources: Sequence[S],
        emit: Emit[S],
        done: Callable[[Any], None] | None = None,
    ) -> None:
        """Write the file of every source: the first half of a hop."""
        have = storage.names(self.folder)
        todo = [(i, source) for i, source in enumerate(sources) if self._map_name(i) not in have]
        engine.map(partial(_write, self, emit), todo, done=done)

    def gather(self, sources: int, destination: int) -> pa.Table:
        """Return the rows of one destination from the files of all `sources`, in source order."""
        batches: list[pa.RecordBatch] = []
        for index in range(sources):
            reader = open_arrow(storage.join(self.folder, self._map_name(index)))
            mine = range(destination, reader.num_record_batches, self.destinations)
            batches.extend(reader.get_batch(i) for i in mine)
        return pa.Table.from_batches(batches, schema=self.schema)

    def gathered(self, destination: int) -> pa.Table:
        """Return the rows of one destination from the files of every source that was written."""
        sources = sum(name.startswith("map-") for name in storage.names(self.folder))
        return self.gather(sources, destination)

    def _map_name(self, index: int) -> str:
        return f"map-{index}.arrow"


def _out_name(destination: int) -> str:
    return f"out-{destination}.arrow"


def _none_name(destination: int) -> str:
    """Return the name of the empty file that marks a destination without output."""
    return f"none-{destination}"


def _write(hop: Exchange, emit: Emit[S], item: tuple[int, S]) -> None:
    index, source = item
    options = pa.ipc.IpcWriteOptions()
    with (
        storage.commit(storage.join(hop.folder, hop._map_name(index))) as file,
        pa.ipc.new_file(file, hop.schema, options=options) as writer,
    ):
        for table in emit(source):
            if table.num_rows:
                for part in _cut(table.select(hop.schema.names), hop):
                    writer.write_batch(part)


def _cut(table: pa.Table, hop: Exchange) -> Iterator[pa.RecordBatch]:
    """Yield one record batch per destination, in order."""
    column = table.column(hop.route).combine_chunks()
    where = destinations(np.asarray(column), hop.destinations, ranged=hop.route == "key")
    if hop.destinations > 1 and bool((where[1:] < where[:-1]).any()):  # a device sends records sorted
        order = np.argsort(where, kind="stable")  # radix sort on 16 bits
        table = table.take(pa.array(order))
    bounds = np.zeros(hop.destinations + 1, np.int64)
    np.cumsum(np.bincount(where, minlength=hop.destinations), out=bounds[1:])
    whole = table.combine_chunks().cast(hop.schema)
    for d in range(hop.destinations):
        batches = whole.slice(bounds[d], bounds[d + 1] - bounds[d]).to_batches()
        yield batches[0] if batches else pa.RecordBatch.from_pylist([], schema=hop.schema)


def destinations(keys: npt.NDArray[Any], count: int, *, ranged: bool) -> npt.NDArray[np.integer[Any]]:
    """Return the destination of every key, (rows,) uint16 or int64; ranged: `count` equal ranges of 64-bit keys."""
    if not ranged:
        return keys.astype(np.uint16 if count <= 1 << 16 else np.int64)
    high = keys.astype(np.uint64) >> np.uint64(32)
    where = (high * np.uint64(count)) >> np.uint64(32)
    return where.astype(np.uint16 if count <= 1 << 16 else np.int64)


def _read(hop: Exchange, receive: Receive, sources: int, destination: int) -> None:
    result = receive(destination, hop.gather(sources, destination))
    if result is None:
        storage.write_bytes(storage.join(hop.folder, _none_name(destination)), b"")
    else:
        write_arrow(storage.join(hop.folder, _out_name(destination)), result)


def open_arrow(path: str) -> pa.ipc.RecordBatchFileReader:
    """Open an Arrow file for random access to its record batches.

    Local files are memory-mapped; of remote files only the batches that are read are fetched.
    """
    if storage.is_local(path):
        return pa.ipc.open_file(pa.memory_map(storage.local_path(path)))
    return pa.ipc.open_file(pa.PythonFile(storage.open_read(path, ranges=True), mode="r"))


def read_arrow(path: str) -> pa.Table:
    """Return a whole Arrow file."""
    if storage.is_local(path):
        return open_arrow(path).read_all()
    return pa.ipc.open_file(pa.BufferReader(storage.read_bytes(path))).read_all()


def write_arrow(path: str, table: pa.Table, compression: str | None = None) -> None:
    """Commit a table as one Arrow file."""
    options = pa.ipc.IpcWriteOptions(compression=compression)
    with storage.commit(path) as file, pa.ipc.new_file(file, table.schema, options=options) as writer:
        writer.write_table(table)
