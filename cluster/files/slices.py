"""Files of one hop of the exchange: rows cut into slices by destination, each slice found by two range reads.

A file holds an index and, behind it, the slices in order of destination. The index has an entry of 16 bytes for
every destination and one more: the offset at which its slice begins, and the slice's checksum (XXH3). A slice is
empty where the destination gets no rows. Otherwise it holds rows of fixed width without any header
(packed_rows.py; the highest bit of the offset says so, and the checksum is another for the same bytes), or a sequence
of bare Arrow record-batch messages; the schema is the hop's. A reader needs neither the file's size nor a footer.

Guarantees: a slice whose checksum does not fit is an error that names the file, never other rows.
"""

from __future__ import annotations

import itertools
import os
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from typing import IO, Any, BinaryIO, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import xxhash

from cluster import storage
from cluster.errors import DamagedError
from cluster.files import packed_rows
from cluster.files.arrow_messages import plain_batches

EMPTY = xxhash.xxh3_64_intdigest(b"")  # checksum of a slice without rows
ENTRY = 16  # bytes of the index for each destination: offset and checksum, both little-endian uint64
PACKED = np.uint64(1 << 63)  # in an offset: the slice holds packed rows
PACKED_SEED = 1  # of the checksum of packed rows, so that a slice of the other kind has another
IN_MEMORY = 32 << 20  # bytes of a source's slices that are kept in memory; beyond that they wait in a temporary file
MAPPED = 4 << 20  # bytes from which on a local slice is mapped, not read, and its messages stay several
UNPACKED = 8 << 20  # bytes of packed rows that become one record batch, or one slice where that is more
WINDOW = 64 << 20  # bytes of slices that a merge holds at a time
READ_WINDOW = 128 << 20  # and that a task holds which reads some destinations together

I64 = npt.NDArray[np.int64]
Data: TypeAlias = bytes | memoryview | pa.Buffer


class Index(NamedTuple):
    """Entries of some consecutive slices: where each begins and the last ends, its checksum, whether it is packed."""

    offset: I64  # (slices + 1,)
    mark: npt.NDArray[np.uint64]  # (slices,)
    packed: npt.NDArray[np.bool_]  # (slices,)


class Part(NamedTuple):
    """Rows of one destination as bytes: packed, or messages. path: the file they were read from."""

    data: Data
    packed: bool
    path: str = ""


class SliceWriter:
    """Collects slices in any order and writes them in order of destination; parts of one slice become one.

    Memory: `IN_MEMORY` bytes and 32 bytes for each part; what is more lies in a temporary file of this machine.
    """

    def __init__(self, destinations: int, schema: pa.Schema | None = None) -> None:
        self._destinations = destinations
        self._schema = schema
        self._memory: list[bytes] = []
        self._held_from: list[int] = []  # offset of each block in memory
        self._spilled: IO[bytes] | None = None
        self._end = 0  # offset behind the last block
        self._held = 0  # bytes in memory
        self._places: list[I64] = []  # (parts, 4): destination, offset among all blocks, bytes, packed

    def add(self, destination: int, batch: pa.RecordBatch) -> None:
        """Take rows of one destination; later rows of the same destination follow earlier ones."""
        if self._schema is None:
            self._schema = batch.schema
        message = batch.serialize()
        self._places.append(np.array([[destination, self._end, message.size, 0]], np.int64))
        self._take(message)

    def add_packed(self, data: bytes, where: npt.NDArray[np.integer[Any]], width: int) -> None:
        """Take packed rows of `width` bytes, sorted by destination; `where` is that of each row, ascending."""
        starts = np.flatnonzero(np.r_[True, where[1:] != where[:-1]])
        size = np.diff(np.r_[starts, len(where)]) * width
        columns = [where[starts], self._end + starts * width, size, np.ones(len(starts), np.int64)]
        self._places.append(np.column_stack(columns).astype(np.int64))
        self._take(data)

    def write(self, file: BinaryIO) -> None:
        """Write index and slices; the collected slices are gone afterwards."""
        places = np.concatenate([np.empty((0, 4), np.int64), *self._places])
        places = places[np.argsort(places[:, 0], kind="stable")]
        bounds = np.searchsorted(places[:, 0], np.arange(self._destinations + 1))
        out = _Out(file, self._destinations)
        for first, last in itertools.pairwise(bounds.tolist()):
            parts = [Part(self._read(at, size), bool(packed)) for _, at, size, packed in places[first:last].tolist()]
            out.put(joined(parts, self._schema))
        out.close()
        if self._spilled:
            self._spilled.close()

    def _take(self, block: bytes) -> None:
        self._memory.append(block)
        self._held_from.append(self._end)
        self._end += len(block)
        self._held += len(block)
        if self._held > IN_MEMORY:
            self._spill()

    def _spill(self) -> None:
        if self._spilled is None:
            self._spilled = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115 (write closes it)
        for block in self._memory:
            rest = memoryview(block)
            while len(rest):
                rest = rest[self._spilled.write(rest) :]
        self._memory, self._held_from, self._held = [], [], 0

    def _read(self, offset: int, size: int) -> bytes | memoryview:
        """Return bytes that were taken, which lie in one block."""
        if self._held_from and offset >= self._held_from[0]:
            block = int(np.searchsorted(self._held_from, offset, side="right")) - 1
            start = offset - self._held_from[block]
            return memoryview(self._memory[block])[start : start + size]
        assert self._spilled is not None
        return os.pread(self._spilled.fileno(), size, offset)


class _Out:
    """A file of slices that is being written, one destination after the other."""

    def __init__(self, file: BinaryIO, destinations: int) -> None:
        self._file = file
        self._index = np.zeros((destinations + 1, 2), "<u8")
        self._next = 0
        self._start = file.tell()
        self._offset = self._index.nbytes
        file.write(bytes(self._offset))

    def put(self, parts: Sequence[Part]) -> None:
        """Write the slice of the next destination; its parts are of one kind."""
        self.put_each(parts, packed=bool(parts) and parts[0].packed)

    def put_each(self, parts: Iterable[Part], *, packed: bool) -> None:
        """Write the slice of the next destination, a part at a time, all of this kind."""
        mark = xxhash.xxh3_64(seed=PACKED_SEED if packed else 0)
        self._index[self._next, 0] = np.uint64(self._offset) | (PACKED if packed else np.uint64(0))
        for part in parts:
            mark.update(part.data)
            self._file.write(part.data)
            self._offset += len(part.data)
        self._index[self._next, 1] = mark.intdigest()
        self._next += 1

    def put_cut(self, data: bytes, size: int) -> None:
        """Write bytes of packed rows as the next slices, of this size but for the last."""
        view = memoryview(data)
        for start in range(0, len(data), size):
            self._index[self._next, 0] = np.uint64(self._offset + start) | PACKED
            self._index[self._next, 1] = xxhash.xxh3_64_intdigest(view[start : start + size], seed=PACKED_SEED)
            self._next += 1
        self._file.write(data)
        self._offset += len(data)

    def close(self) -> None:
        """Write the index in front of the slices."""
        self._index[self._next, 0] = self._offset
        self._file.seek(self._start)
        self._file.write(self._index.tobytes())
        self._file.seek(self._start + self._offset)


def write_packed_slices(file: BinaryIO, data: Iterable[tuple[bytes, int]], count: int) -> None:
    """Write a file of `count` slices of packed rows. data: all bytes, each time with the size of the slices in them."""
    out = _Out(file, count)
    for block, size in data:
        out.put_cut(block, size)
    out.close()


def joined(parts: Sequence[Part], schema: pa.Schema | None) -> list[Part]:
    """Return the parts of one slice as parts of one kind: rows in a row, or one message where they are small."""
    if len(parts) < 2:
        return list(parts)
    if all(part.packed for part in parts):
        return [Part(b"".join(part.data for part in parts), True)]
    size = sum(len(part.data) for part in parts)
    if size > MAPPED and not any(part.packed for part in parts):
        return list(parts)  # headers do not count, and joining would hold the slice twice
    assert schema is not None
    batches = pa.Table.from_batches(list(batches_of(parts, schema)), schema=schema).combine_chunks().to_batches()
    return [Part(batch.serialize(), False) for batch in batches]


def batches_of(parts: Iterable[Part], schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    """Yield the record batches of parts, in order; packed rows that follow each other become one batch.

    Memory: `UNPACKED` bytes besides the batches, or one slice.
    """
    kind = packed_rows.row_type(schema)
    waiting: list[Data] = []
    held = 0
    for part in itertools.chain(parts, [Part(b"", False)]):
        if waiting and kind is not None and (held > UNPACKED or not part.packed):
            yield packed_rows.unpack(b"".join(waiting) if len(waiting) > 1 else waiting[0], schema, kind)
            waiting, held = [], 0
        if part.packed:
            waiting.append(part.data)
            held += len(part.data)
        else:
            yield from _messages(part, schema)


def read_index(path: str, first: int, last: int) -> Index:
    """Return the entries of destinations `first` to `last`."""
    data = storage.read_range(path, ENTRY * first, ENTRY * (last + 2))
    if len(data) != ENTRY * (last + 2 - first):
        raise damaged_slices(path)
    return _entries(path, data, ENTRY * (last + 2))


def parse_index(path: str, data: bytes) -> Index | None:
    """Return all entries of a file of slices from its first bytes; None where there are too few of these."""
    first = int.from_bytes(data[:8], "little") & ~int(PACKED)  # the first slice lies behind the index
    if len(data) < 8 or first % ENTRY or first < 2 * ENTRY:
        raise damaged_slices(path)
    return _entries(path, data[:first], first) if len(data) >= first else None


def _entries(path: str, data: bytes, start: int) -> Index:
    """Return the entries of an index. start: no slice begins before."""
    index = np.frombuffer(data, "<u8").reshape(-1, 2)
    packed = (index[:-1, 0] & PACKED) != 0
    offset, mark = (index[:, 0] & ~PACKED).astype(np.int64), index[:-1, 1]
    empty = offset[1:] == offset[:-1]
    if offset[0] < start or bool((offset[1:] < offset[:-1]).any()):
        raise damaged_slices(path)
    if bool((mark[empty] != EMPTY).any() or packed[empty].any()):  # else a changed offset could make a slice look empty
        raise damaged_slices(path)
    return Index(offset, mark, packed)


def read_slice(path: str, destination: int, schema: pa.Schema) -> list[pa.RecordBatch]:
    """Return the record batches of one destination; large slices of local files are mapped, not read."""
    return list(batches_of([read_part(path, destination)], schema))


def read_part(path: str, destination: int, *, mapped: bool = True) -> Part:
    """Return the slice of one destination, checked; mapped: large ones of local files are mapped, not read."""
    index = read_index(path, destination, destination)
    return _part(path, index, 0, mapped=mapped)


def _part(path: str, index: Index, at: int, *, mapped: bool = True) -> Part:
    start, stop = int(index.offset[at]), int(index.offset[at + 1])
    if start == stop:
        return Part(b"", bool(index.packed[at]))
    mapped = mapped and stop - start >= MAPPED and storage.is_local(path)
    data = _mapped(path, start, stop) if mapped else storage.read_range(path, start, stop)
    part = Part(data, bool(index.packed[at]), path)
    check_part(path, part, index.mark[at])
    return part


def merge_slices(
    paths: Sequence[str], target: str, destinations: int, schema: pa.Schema, *, scratch: bool = False
) -> None:
    """Commit one file that holds, for every destination, the slices of all `paths` in their order.

    Each source is read by one range for its index and one for each window. Memory: the indexes
    (17 bytes x destinations x paths) and `WINDOW` bytes, or one source's slice where that is more.
    """
    indexes = [read_index(path, 0, destinations - 1) for path in paths]
    size = np.zeros(destinations, np.int64)
    for index in indexes:
        size += np.diff(index.offset)
    with storage.commit_scratch(target) if scratch else storage.commit(target) as file:
        out = _Out(file, destinations)
        for first, last in _windows(size, WINDOW):
            if size[first] > WINDOW:
                _put_large(out, paths, indexes, first, schema)
                continue
            spans = [_span(path, index, first, last) for path, index in zip(paths, indexes, strict=True)]
            for parts in zip(*spans, strict=True):
                out.put(joined([part for part in parts if len(part.data)], schema))
        out.close()


def read_together(paths: Sequence[str], first: int, last: int) -> Iterator[tuple[int, list[Part] | None]]:
    """Yield destinations `first` to `last` - 1, each with its slices in the order of `paths`; None for a large one.

    Each file is read by one range for its index and one for each window; a slice of a destination that is larger than
    a window is left to `read_part`. Memory: 17 bytes x destinations x paths, and `READ_WINDOW` bytes.
    """
    indexes = [read_index(path, first, last - 1) for path in paths]
    size = np.zeros(last - first, np.int64)
    for index in indexes:
        size += np.diff(index.offset)
    for begin, end in _windows(size, READ_WINDOW):
        if size[begin] > READ_WINDOW:
            yield first + begin, None
            continue
        spans = [_span(path, index, begin, end) for path, index in zip(paths, indexes, strict=True)]
        for at, parts in enumerate(zip(*spans, strict=True), first + begin):
            yield at, [part for part in parts if len(part.data)]


def _put_large(out: _Out, paths: Sequence[str], indexes: Sequence[Index], destination: int, schema: pa.Schema) -> None:
    """Write one slice that is larger than a window, a part at a time where all are of one kind."""
    given = [(path, index) for path, index in zip(paths, indexes, strict=True) if _size(index, destination)]
    kinds = {bool(index.packed[destination]) for _, index in given}
    parts = (_part(path, index, destination) for path, index in given)
    if len(kinds) == 1:
        out.put_each(parts, packed=kinds.pop())
    else:
        out.put_each((Part(b.serialize(), False) for b in batches_of(parts, schema)), packed=False)


def _size(index: Index, at: int) -> int:
    return int(index.offset[at + 1] - index.offset[at])


def _windows(size: I64, most: int) -> Iterator[tuple[int, int]]:
    """Yield runs of destinations of at most so many bytes together, a larger one by itself."""
    first = 0
    held = 0
    for destination, more in enumerate(size.tolist()):
        if destination > first and held + more > most:
            yield first, destination
            first, held = destination, 0
        held += more
    yield first, len(size)


def _span(path: str, index: Index, first: int, last: int) -> list[Part]:
    """Return the slices of destinations `first` to `last` - 1, by one read."""
    bounds = index.offset[first : last + 1]
    if bounds[0] == bounds[-1]:
        return [Part(b"", False)] * (last - first)
    data = memoryview(storage.read_range(path, int(bounds[0]), int(bounds[-1])))
    bounds = bounds - bounds[0]
    if len(data) != bounds[-1]:
        raise damaged_slices(path)
    packed, marks = index.packed[first:last].tolist(), index.mark[first:last]
    ends = itertools.pairwise(bounds.tolist())
    parts = [Part(data[a:b], kind, path) for (a, b), kind in zip(ends, packed, strict=True)]
    for part, mark in zip(parts, marks.tolist(), strict=True):
        if len(part.data):
            check_part(path, part, mark)
    return parts


def _messages(part: Part, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    try:
        yield from plain_batches(part.data, schema)
    except (EOFError, OSError, pa.ArrowException):  # though the checksum fits
        raise damaged_slices(part.path, "a slice holds something else than plain record batches") from None


def _mapped(path: str, start: int, stop: int) -> pa.Buffer:
    with pa.memory_map(storage.local_path(path)) as file:
        if file.size() < stop:
            raise damaged_slices(path)
        file.seek(start)
        return file.read_buffer(stop - start)


def check_part(path: str, part: Part, mark: int) -> None:
    """Raise DamagedError unless a slice fits its checksum."""
    seed = PACKED_SEED if part.packed else 0
    if xxhash.xxh3_64_intdigest(memoryview(part.data), seed=seed) != int(mark):
        raise damaged_slices(path)


def damaged_slices(path: str, why: str = "a checksum does not fit") -> DamagedError:
    """Return the error of a file of slices that is not what was written."""
    return DamagedError(f"{path} is damaged: {why}. Run again: it is made anew.", path)


def check_slices(path: str) -> None:
    """Raise DamagedError unless every slice of a file fits its checksum. Memory: the index and one slice."""
    first = storage.read_range(path, 0, 8)
    start = int.from_bytes(first, "little") & ~int(PACKED)
    entries, rest = divmod(start, ENTRY)  # the first slice lies behind the index
    if len(first) < 8 or rest or entries < 2:
        raise damaged_slices(path)
    index = read_index(path, 0, entries - 2)
    last = np.frombuffer(storage.read_range(path, start - ENTRY, start), "<u8")
    if last[0] != index.offset[-1] or last[1]:  # neither kind nor checksum: no slice begins there
        raise damaged_slices(path)
    for at in range(entries - 1):
        data = storage.read_range(path, int(index.offset[at]), int(index.offset[at + 1]))
        if len(data) != _size(index, at):
            raise damaged_slices(path)
        check_part(path, Part(data, bool(index.packed[at])), int(index.mark[at]))
    if storage.read_range(path, int(index.offset[-1]), int(index.offset[-1]) + 1):
        raise damaged_slices(path)
