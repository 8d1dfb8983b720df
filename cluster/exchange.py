"""Shuffle through files: bring rows with equal keys together, and resume after a crash.

Every source task writes one file of slices, cut by destination (`slices.py`); every destination reads its slices
and commits one output. Where sources times destinations is large and slices are small, the requests of a hop grow with
sources plus destinations, not with their product: of few sources (`TOGETHER_BYTES`), one task reads the slices of some
consecutive destinations together, which lie one behind the other; of many, merge tasks in between make one file out of
the files of some consecutive sources, in source order. A file that exists is not made again, so the longest steps
resume. Rows arrive in the order of sources and, within one, as emitted, in either way.

Memory: emitted tables of `CUT_BYTES` or one larger one, three times, and `slices.IN_MEMORY` in a source task;
`slices.WINDOW` and the indexes of its sources in a merge; all rows of one destination in a destination task, and where
it reads several together, `slices.READ_WINDOW`.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any, Literal, TypeVar

import pyarrow as pa

from cluster import storage
from cluster.engines import Engine, TaskCost
from cluster.errors import LedgerError
from cluster.files.arrow_files import write_tables
from cluster.files.records import read_record
from cluster.files.sealed import write_json
from cluster.files.slices import ENTRY, READ_WINDOW, SliceWriter, batches_of, merge_slices, read_part, read_together
from cluster.outputs import Outputs, folders_of, is_spread, numbered_path, output_name
from cluster.routing import cut, in_blocks
from cluster.scale import scaled

S = TypeVar("S")
MERGED_FROM = scaled(1024)  # pairs of source and destination from which on small slices are merged
SLICE_BYTES = scaled(128 << 10, least=64 << 10)  # mean size that slices of merged files shall have
MOST_MERGED = 1024  # sources of one merge
TOGETHER_BYTES = scaled(READ_WINDOW)  # of slices that a task reads together: of 1,024 sources at SLICE_BYTES each
MOST_MAPPED = 4096  # files of which a destination maps slices: a process may have some 65,000 maps, for all its threads
CUT_BYTES = 32 << 20  # of emitted tables that are cut by destination at a time
BLOCK_BYTES = 64 << 20  # of rows that a destination passes on as they come
INDEX_BYTES = 128 << 20  # of the indexes that a merge holds
PLAN = "written.json"  # how many sources are merged into one file, where any are
Half = Literal["emit", "merge", "receive"]
Emit = Callable[[S], Iterable[pa.Table]]
Receive = Callable[[int, pa.Table], pa.Table | None]
Batches = Callable[[], Iterator[pa.RecordBatch]]  # the rows of a destination, read anew by each call


@dataclass(frozen=True)
class Streamed:
    """What a destination does whose rows are never held together: `receive` reads them in turn and yields its output.

    Memory: what `receive` holds, and one slice.
    """

    receive: Callable[[int, Batches], Iterator[pa.Table]]


@dataclass(frozen=True, kw_only=True)
class Exchange:
    """One hop: `emit` a source's rows, route them by key, `receive` all rows of a destination.

    folder: where the files of this hop live; must be addressed by what determines its content.
    route: column of the emitted tables. "key" (uint64, uniformly distributed) is cut into equal
    ranges; "destination" (any integer) is taken as it is.
    schema: of the emitted tables.
    scratch: whether the folder is dropped after a power cut, so that its files need not be synced.
    reread: whether slices are read again after the hop, then by one destination at a time; so files are merged.
    """

    folder: str
    destinations: int
    schema: pa.Schema
    route: str = "key"
    scratch: bool = True
    reread: bool = False

    def run(
        self,
        engine: Engine,
        sources: Sequence[S],
        emit: Emit[S],
        receive: Receive | Streamed,
        done: Callable[[Any], None] | None = None,
        *,
        emit_cost: TaskCost | None = None,
        receive_cost: TaskCost | None = None,
    ) -> Outputs:
        """Return the path of every destination's output (None where `receive` returned None).

        emit_cost, receive_cost : how the tasks of either half grow, see `TaskCost`.

        Raises LedgerError when a destination left neither an output nor a marker of an empty one.
        """
        have = self._listed(self.destinations)
        wanted = [d for d in range(self.destinations) if not have & {output_name(d), _none_name(d)}]
        if wanted:
            written, together = self._scatter(engine, sources, emit, done, emit_cost, received=True)
            engine.map(partial(_read, self, receive, written), _runs(wanted, together), done=done, cost=receive_cost)
        return self.outputs()

    def outputs(self) -> Outputs:
        """Return the path of every destination's output, None where its output is empty."""
        have = self._listed(self.destinations)
        without = [d for d in range(self.destinations) if output_name(d) not in have]
        for d in without:
            self._check_empty(d, have)
        return Outputs.of(self.folder, self.destinations, without)

    def outputs_so_far(self) -> Outputs:
        """Return the outputs that there are; None for a destination that wrote none, or has not been run."""
        have = self._listed(self.destinations)
        return Outputs.of(
            self.folder, self.destinations, (d for d in range(self.destinations) if output_name(d) not in have)
        )

    def is_done(self) -> bool:
        """Tell whether every destination has been run."""
        have = self._listed(self.destinations)
        return all(have & {output_name(d), _none_name(d)} for d in range(self.destinations))

    def has_all_outputs(self) -> bool:
        """Tell whether every destination has written an output."""
        have = self._listed(self.destinations)
        return all(output_name(d) in have for d in range(self.destinations))

    def _check_empty(self, destination: int, have: set[str]) -> None:
        if _none_name(destination) not in have:
            raise LedgerError(
                f"{self.folder}: the output of destination {destination} was written and is not listed; "
                "the storage shows old listings or files were removed. Run again."
            )

    def output_path(self, destination: int) -> str:
        """Return where the output of a destination lies, if it has one."""
        return numbered_path(self.folder, output_name(destination), destination, self.destinations)

    def scatter(
        self,
        engine: Engine,
        sources: Sequence[S],
        emit: Emit[S],
        done: Callable[[Any], None] | None = None,
        *,
        cost: TaskCost | None = None,
    ) -> Written:
        """Do the first half only: write the file of every source, merge them where that saves requests.

        cost : how the tasks that write grow; those that merge grow alike.
        """
        return self._scatter(engine, sources, emit, done, cost, received=False)[0]

    def _scatter(
        self,
        engine: Engine,
        sources: Sequence[S],
        emit: Emit[S],
        done: Callable[[Any], None] | None,
        cost: TaskCost | None,
        *,
        received: bool,
    ) -> tuple[Written, int]:
        """Do the first half; return what it left and how many destinations a task is to read together.

        received : whether the hop's own tasks will read it.
        """
        have, planned = self._listed(len(sources)), self._planned()
        group = planned.group if planned else 1
        todo = [
            (i, source)
            for i, source in enumerate(sources)
            if not have & ({_map_name(i)} if group == 1 else {_map_name(i), _merged_name(i // group)})
        ]
        engine.map(partial(_write, self, emit, len(sources)), todo, done=done, cost=cost)
        written, together = self._plan(len(sources), planned, received=received)
        if written.group > 1:
            merges = [m for m in range(written.files) if _merged_name(m) not in have]
            engine.map(partial(_merge, self, written), merges, cost=cost and replace(cost, name=f"{cost.name}: merge"))
        return written, together

    def gather(self, written: Written, destination: int) -> pa.Table:
        """Return the rows of one destination, in source order."""
        return pa.Table.from_batches(list(self.batches(written, destination)), schema=self.schema)

    def batches(self, written: Written, destination: int) -> Iterator[pa.RecordBatch]:
        """Yield the rows of one destination, in source order."""
        mapped = written.files <= MOST_MAPPED
        parts = (read_part(path, destination, mapped=mapped) for path in self._slices_paths(written))
        return batches_of(parts, self.schema)

    def together(self, written: Written, wanted: range) -> Iterator[tuple[int, Batches]]:
        """Yield consecutive destinations, each with its rows in source order; several are read by one request a file.

        Memory: `slices.READ_WINDOW`, or one destination where `wanted` is no more.
        """
        if len(wanted) == 1:
            yield wanted[0], partial(self.batches, written, wanted[0])
            return
        for destination, parts in read_together(list(self._slices_paths(written)), wanted.start, wanted.stop):
            if parts is None:  # larger than a window
                yield destination, partial(self.batches, written, destination)
            else:
                yield destination, partial(batches_of, parts, self.schema)

    def written(self, sources: int) -> Written:
        """Return what so many sources of a hop that ran left."""
        return self._planned() or Written(sources)

    def source_files(self, sources: int) -> list[str]:
        """Return the paths of what so many sources of a hop that ran left, as far as they are there."""
        written, have = self.written(sources), self._listed(sources)
        name = _map_name if written.group == 1 else _merged_name
        return [self._slices_path(written, n) for n in range(written.files) if name(n) in have]

    def gathered(self, destination: int) -> pa.Table:
        """Return the rows of one destination after the hop ran: those of every source that was written."""
        written = self._planned()
        if written is None:  # too few files to be merged
            written = Written(sum(name.startswith("map-") for name in storage.names(self.folder)))
        return self.gather(written, destination)

    def _plan(self, sources: int, planned: Written | None, *, received: bool) -> tuple[Written, int]:
        """Decide from the bytes of all sources what to merge or read together; write down what is to be merged."""
        if sources * self.destinations < MERGED_FROM or (planned and planned.group > 1):
            return planned or Written(sources), 1
        size = 0
        for folder in self.folders(sources):
            size += sum(many for name, many in storage.sizes(folder).items() if name.startswith("map-"))
        written, together = self.grouping(sources, size, received=received)
        if planned is None and (written.group > 1 or is_spread(sources)):
            write_json(storage.join(self.folder, PLAN), asdict(written), scratch=self.scratch)
        return planned or written, together

    def grouping(self, sources: int, size: int, *, received: bool = False) -> tuple[Written, int]:
        """Return how files of sources are to be merged, and how many destinations a task is to read together.

        By the number of the sources and their bytes alone; either is 1.

        received : whether the hop's own tasks read it: then few sources are not merged, unless slices are read again.
        """
        slices = sources * self.destinations
        if slices < MERGED_FROM:
            return Written(sources), 1
        mean = max(1.0, (size - ENTRY * sources * (self.destinations + 1)) / slices)
        small = int(SLICE_BYTES // mean)
        if received and not self.reread and sources * SLICE_BYTES <= TOGETHER_BYTES:
            return Written(sources), max(1, min(small, self.destinations))
        most = max(1, INDEX_BYTES // (ENTRY * (self.destinations + 1)))
        return Written(sources, max(1, min(small, most, MOST_MERGED, sources))), 1

    def _planned(self) -> Written | None:
        try:
            return read_record(storage.join(self.folder, PLAN), Written)
        except FileNotFoundError:
            return None

    def folders(self, count: int) -> list[str]:
        """Return the folders that hold files of one kind: this one, or one for each prefix."""
        return folders_of(self.folder, count)

    def _listed(self, count: int) -> set[str]:
        """Return the names of all finished files, by one listing for each folder."""
        return set().union(*map(storage.names, self.folders(count)))

    def _path(self, name: str, number: int, count: int) -> str:
        return numbered_path(self.folder, name, number, count)

    def _map_path(self, source: int, sources: int) -> str:
        return self._path(_map_name(source), source, sources)

    def _slices_paths(self, written: Written) -> Iterator[str]:
        return (self._slices_path(written, number) for number in range(written.files))

    def _slices_path(self, written: Written, number: int) -> str:
        if written.group == 1:
            return self._map_path(number, written.sources)
        return self._path(_merged_name(number), number, written.sources)


@dataclass(frozen=True)
class Written:
    """What the sources of a hop left: a file for each, or one for every `group` consecutive ones."""

    sources: int
    group: int = 1

    @property
    def files(self) -> int:
        """The number of files with slices."""
        return -(-self.sources // self.group)

    def members(self, number: int) -> range:
        """Return the sources whose slices file `number` holds."""
        return range(number * self.group, min((number + 1) * self.group, self.sources))


def hop_of(function: Callable[..., Any]) -> tuple[Exchange, Half] | None:
    """Return the hop that a task of an engine belongs to, and which part of it; None where it is no hop's.

    For who watches an engine, such as a planner.
    """
    halves: dict[Any, Half] = {_write: "emit", _merge: "merge", _read: "receive"}
    half = halves.get(getattr(function, "func", None))
    return None if half is None else (function.args[0], half)  # type: ignore[attr-defined]


def _map_name(source: int) -> str:
    return f"map-{source}.slices"


def _merged_name(number: int) -> str:
    return f"merged-{number}.slices"


def _none_name(destination: int) -> str:
    """Return the name of the empty file that marks a destination without output."""
    return f"none-{destination}"


def _write(hop: Exchange, emit: Emit[S], sources: int, item: tuple[int, S]) -> None:
    index, source = item
    writer = SliceWriter(hop.destinations, hop.schema)
    for table in in_blocks(emit(source), hop.schema, CUT_BYTES):
        _cut(table, hop, writer)
    path = hop._map_path(index, sources)
    with storage.commit_scratch(path) if hop.scratch else storage.commit(path) as file:
        writer.write(file)


def _cut(table: pa.Table, hop: Exchange, writer: SliceWriter) -> None:
    cut(table, writer, hop.schema, hop.route, hop.destinations)


def _merge(hop: Exchange, written: Written, number: int) -> None:
    """Merge the files of consecutive sources into one, then remove them."""
    paths = [hop._map_path(source, written.sources) for source in written.members(number)]
    target = hop._slices_path(written, number)
    try:
        merge_slices(paths, target, hop.destinations, hop.schema, scratch=hop.scratch)
    except FileNotFoundError:  # another attempt at this task was not dead, and has removed them
        if not storage.exists(target):
            raise
    storage.remove_files(paths, scratch=hop.scratch)


def _runs(wanted: Sequence[int], most: int) -> list[range]:
    """Return ascending destinations as runs of consecutive ones, of those that `most` divides alike."""
    runs: list[range] = []
    for destination in wanted:
        if runs and destination == runs[-1].stop and destination % most:
            runs[-1] = range(runs[-1].start, destination + 1)
        else:
            runs.append(range(destination, destination + 1))
    return runs


def _read(hop: Exchange, receive: Receive | Streamed, written: Written, wanted: range) -> None:
    for destination, batches in hop.together(written, wanted):
        _receive(hop, receive, destination, batches)


def _receive(hop: Exchange, receive: Receive | Streamed, destination: int, batches: Batches) -> None:
    """Commit the output of one destination, or that it has none."""
    if isinstance(receive, Streamed):
        tables = receive.receive(destination, batches)
    else:
        result = receive(destination, pa.Table.from_batches(list(batches()), schema=hop.schema))
        tables = iter([] if result is None else [result])
    first = next(tables, None)
    if first is None:
        none = hop._path(_none_name(destination), destination, hop.destinations)
        storage.write_bytes(none, b"", scratch=hop.scratch)
    else:
        write_tables(hop.output_path(destination), itertools.chain([first], tables), first.schema, scratch=hop.scratch)


def as_they_come(_: int, batches: Batches) -> Iterator[pa.Table]:
    """Yield the rows of a destination as they come, in tables of about BLOCK_BYTES: for `Streamed`."""
    waiting: list[pa.RecordBatch] = []
    size = 0
    for batch in batches():
        waiting.append(batch)
        size += batch.nbytes
        if size >= BLOCK_BYTES:
            yield pa.Table.from_batches(waiting).combine_chunks()
            waiting, size = [], 0
    if waiting:
        yield pa.Table.from_batches(waiting).combine_chunks()


def remove_hops(engine: Engine, folder: str, count: int) -> None:
    """Remove a folder of hops: where `count` files of one kind are spread over prefixes, the workers remove these."""
    if is_spread(count):
        hops = [storage.join(folder, name) for name in sorted(storage.names(folder))]
        engine.map(storage.remove, [part for hop in hops for part in folders_of(hop, count)[1:]])
    storage.remove(folder)
