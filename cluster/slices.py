"""Files of one hop of the exchange: rows cut into slices by destination, each slice found by two range reads.

A file holds an index and, behind it, the slices in order of destination. The index has an entry of 16 bytes for
every destination and one more: the offset at which its slice begins, and the slice's checksum (XXH3). A slice is a
sequence of bare Arrow record-batch messages, empty where the destination gets no rows; the schema is the hop's.
There is no footer, so that a reader needs neither the file's size nor anything that grows with the other slices.

Guarantees: a slice whose checksum does not fit is an error that names the file, never other rows.
"""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Callable, Iterator, Sequence
from typing import IO, BinaryIO

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import xxhash

from cluster import storage
from cluster.errors import DamagedError

EMPTY = xxhash.xxh3_64_intdigest(b"")  # checksum of a slice without rows
ENTRY = 16  # bytes of the index for each destination: offset and checksum, both little-endian uint64
IN_MEMORY = 32 << 20  # bytes of a source's slices that are kept in memory; beyond that they wait in a temporary file
MAPPED = 4 << 20  # bytes from which on a local slice is mapped into memory instead of read
WINDOW = 64 << 20  # bytes of slices that a merge holds at a time

Index = npt.NDArray[np.uint64]  # (destinations + 1, 2): offset and checksum of each slice


class SliceWriter:
    """Collects slices in any order and writes them in order of destination.

    Memory: `IN_MEMORY` bytes and 24 bytes for each slice; what is more lies in a temporary file of this machine.
    """

    def __init__(self, destinations: int) -> None:
        self._destinations = destinations
        self._memory: list[bytes] = []
        self._spilled: IO[bytes] | None = None
        self._in_file = 0  # bytes
        self._held = 0  # bytes
        self._places: list[tuple[int, int, int]] = []  # destination, offset among all slices, bytes

    def add(self, destination: int, batch: pa.RecordBatch) -> None:
        """Take rows of one destination; later rows of the same destination follow earlier ones."""
        message = batch.serialize()
        self._places.append((destination, self._in_file + self._held, message.size))
        self._memory.append(message)
        self._held += message.size
        if self._held > IN_MEMORY:
            self._spill()

    def write(self, file: BinaryIO) -> None:
        """Write index and slices; the collected slices are gone afterwards."""
        places = np.array(self._places, np.int64).reshape(-1, 3)
        places = places[np.argsort(places[:, 0], kind="stable")]
        bounds = np.searchsorted(places[:, 0], np.arange(self._destinations + 1))
        read = self._reader()
        out = _Out(file, self._destinations)
        for first, last in itertools.pairwise(bounds):
            out.put([read(int(offset), int(size)) for _, offset, size in places[first:last]])
        out.close()
        if self._spilled:
            self._spilled.close()

    def _spill(self) -> None:
        if self._spilled is None:
            self._spilled = tempfile.TemporaryFile()  # noqa: SIM115 (write closes it)
        for message in self._memory:
            self._spilled.write(message)
        self._in_file += self._held
        self._memory, self._held = [], 0

    def _reader(self) -> Callable[[int, int], bytes]:
        """Return a function that gives the bytes of one message by offset and size."""
        if self._spilled is None:
            held = dict(zip((offset for _, offset, _ in self._places), self._memory, strict=True))
            return lambda offset, size: held[offset]
        self._spill()
        spilled = self._spilled

        def from_file(offset: int, size: int) -> bytes:
            spilled.seek(offset)
            return spilled.read(size)

        return from_file


class _Out:
    """A file of slices that is being written, one destination after the other."""

    def __init__(self, file: BinaryIO, destinations: int) -> None:
        self._file = file
        self._index = np.zeros((destinations + 1, 2), "<u8")
        self._next = 0
        self._start = file.tell()
        self._offset = self._index.nbytes
        file.write(bytes(self._offset))

    def put(self, parts: Sequence[bytes]) -> None:
        """Write the slice of the next destination."""
        mark = xxhash.xxh3_64()
        self._index[self._next, 0] = self._offset
        for part in parts:
            mark.update(part)
            self._file.write(part)
            self._offset += len(part)
        self._index[self._next, 1] = mark.intdigest()
        self._next += 1

    def close(self) -> None:
        """Write the index in front of the slices."""
        self._index[self._next, 0] = self._offset
        self._file.seek(self._start)
        self._file.write(self._index.tobytes())
        self._file.seek(self._start + self._offset)


def read_index(path: str, first: int, last: int) -> Index:
    """Return the entries of destinations `first` to `last`, and the one behind them."""
    data = storage.read_range(path, ENTRY * first, ENTRY * (last + 2))
    index = np.frombuffer(data[: len(data) // ENTRY * ENTRY], "<u8").reshape(-1, 2)
    start = ENTRY * (last + 2)  # no slice begins before the end of what was read of the index
    if len(data) != start - ENTRY * first or int(index[0, 0]) < start or bool((index[1:, 0] < index[:-1, 0]).any()):
        raise _damaged(path)
    empty = index[1:, 0] == index[:-1, 0]
    if bool((index[:-1, 1][empty] != EMPTY).any()):  # else a changed offset could make a slice look empty
        raise _damaged(path)
    return index


def read_slice(path: str, destination: int, schema: pa.Schema, *, mapped: bool = True) -> list[pa.RecordBatch]:
    """Return the record batches of one destination; mapped: large slices of local files are mapped, not read."""
    index = read_index(path, destination, destination)
    start, stop = int(index[0, 0]), int(index[1, 0])
    if start == stop:
        return []
    if mapped and stop - start >= MAPPED and storage.is_local(path):
        data = _mapped(path, start, stop)
    else:
        data = pa.py_buffer(storage.read_range(path, start, stop))
    _check(path, data, index[0, 1])
    return _batches(data, schema)


def merge_slices(
    paths: Sequence[str], target: str, destinations: int, schema: pa.Schema, *, scratch: bool = False
) -> None:
    """Commit one file that holds, for every destination, the slices of all `paths` in their order.

    Each source is read by one range for its index and one for each window. Memory: the indexes
    (16 bytes x destinations x paths) and `WINDOW` bytes, or one source's slice where that is more.
    """
    indexes = [read_index(path, 0, destinations - 1) for path in paths]
    size = np.zeros(destinations, np.int64)
    for index in indexes:
        offset = index[:, 0].astype(np.int64)
        size += offset[1:] - offset[:-1]
    with storage.commit_scratch(target) if scratch else storage.commit(target) as file:
        out = _Out(file, destinations)
        for first, last in _windows(size):
            if size[first] > WINDOW:
                out.put([part for path, index in zip(paths, indexes, strict=True) for part in _raw(path, index, first)])
                continue
            spans = [_span(path, index, first, last) for path, index in zip(paths, indexes, strict=True)]
            for destination in range(first, last):
                out.put(_joined([batch for span in spans for batch in _batches(span[destination - first], schema)]))
        out.close()


def _windows(size: npt.NDArray[np.int64]) -> Iterator[tuple[int, int]]:
    """Yield runs of destinations of at most `WINDOW` bytes together, a larger one by itself."""
    first = 0
    held = 0
    for destination, more in enumerate(size):
        if destination > first and held + more > WINDOW:
            yield first, destination
            first, held = destination, 0
        held += int(more)
    yield first, len(size)


def _raw(path: str, index: Index, destination: int) -> Iterator[bytes]:
    """Yield the bytes of one slice, checked."""
    start, stop = int(index[destination, 0]), int(index[destination + 1, 0])
    if stop > start:
        data = storage.read_range(path, start, stop)
        _check(path, data, index[destination, 1])
        yield data


def _span(path: str, index: Index, first: int, last: int) -> list[pa.Buffer]:
    """Return the slices of destinations `first` to `last` - 1, by one read."""
    bounds = index[first : last + 1, 0].astype(np.int64)
    if bounds[0] == bounds[-1]:
        return [pa.py_buffer(b"")] * (last - first)
    data = pa.py_buffer(storage.read_range(path, int(bounds[0]), int(bounds[-1])))
    bounds = bounds - bounds[0]
    if data.size != bounds[-1]:
        raise _damaged(path)
    slices = [data.slice(a, b - a) for a, b in zip(bounds.tolist(), bounds[1:].tolist(), strict=False)]
    for part, mark in zip(slices, index[first:last, 1], strict=True):
        _check(path, part, mark)
    return slices


def _joined(batches: list[pa.RecordBatch]) -> list[bytes]:
    """Return the messages of batches that were made one, or few where one would be too long for Arrow."""
    if not batches:
        return []
    if len(batches) > 1:
        batches = pa.Table.from_batches(batches).combine_chunks().to_batches()
    return [batch.serialize() for batch in batches]


def _batches(data: pa.Buffer, schema: pa.Schema) -> list[pa.RecordBatch]:
    """Return the record batches of a slice."""
    found = []
    reader = pa.BufferReader(data)
    while reader.tell() < data.size:
        found.append(pa.ipc.read_record_batch(pa.ipc.read_message(reader), schema))
    return found


def _mapped(path: str, start: int, stop: int) -> pa.Buffer:
    with pa.memory_map(storage.local_path(path)) as file:
        if file.size() < stop:
            raise _damaged(path)
        file.seek(start)
        return file.read_buffer(stop - start)


def _check(path: str, data: pa.Buffer | bytes, mark: np.uint64) -> None:
    if xxhash.xxh3_64_intdigest(memoryview(data)) != int(mark):
        raise _damaged(path)


def _damaged(path: str) -> DamagedError:
    return DamagedError(f"{path} is damaged: a checksum does not fit. Run again: it is made anew.", path)


def check_slices(path: str) -> None:
    """Raise DamagedError unless every slice of a file fits its checksum. Memory: the index and one slice."""
    first = storage.read_range(path, 0, 8)
    entries, rest = divmod(int.from_bytes(first, "little"), ENTRY)  # the first slice lies behind the index
    if len(first) < 8 or rest or entries < 2:
        raise _damaged(path)
    index = read_index(path, 0, entries - 2)
    for start, stop, mark in zip(index[:-1, 0].tolist(), index[1:, 0].tolist(), index[:-1, 1], strict=True):
        data = storage.read_range(path, start, stop)
        if len(data) != stop - start:
            raise _damaged(path)
        _check(path, data, mark)
    if storage.read_range(path, int(index[-1, 0]), int(index[-1, 0]) + 1):
        raise _damaged(path)
