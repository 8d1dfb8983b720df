"""Sorted records (key, document) in a file in which few keys are looked up by reading little of it.

A file of slices (`slices.py`): first what a reader must know, then the leading 32 bits of all keys in blocks, then the
other bits and the documents in blocks. A lookup reads the first slice, the leading bits of blocks in which a key may
lie, and the rest of blocks in which its leading bits do: some 4 bytes of a record where every block is asked for.

Guarantees: answers are those of a search through all records; a block whose checksum does not fit is an error that
names the file. Memory: of a lookup, 4 bytes for each record of the file at most, and the blocks with answers.
"""

from __future__ import annotations

import itertools
import struct
from collections.abc import Iterator
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

from cluster import storage
from cluster.files.slices import Index, Part, check_part, damaged_slices, parse_index, write_packed_slices
from cluster.scale import scaled

U64 = npt.NDArray[np.uint64]
U32 = npt.NDArray[np.uint32]
I64 = npt.NDArray[np.int64]
LEADING_BLOCK, REST_BLOCK = scaled(4096, least=64), scaled(1024, least=16)  # records
HEAD = struct.Struct("<QQQ")  # records, least key, bits that keys are shifted by
AT_ONCE = 1 << 18  # records that are written at a time
FIRST_READ = scaled(128 << 10, least=1 << 10)  # bytes: index and first slice of 5 M records
GAP = scaled(16 << 10, least=64)  # bytes between two blocks that are read together
REST = np.dtype([("bits", "<u4"), ("doc", "<i8")])


def write_sorted_keys(path: str, keys: U64, docs: I64) -> None:
    """Commit records whose keys ascend, both (records,), to a file that a power cut may take. Memory: `AT_ONCE` cut."""
    least = int(keys[0]) if len(keys) else 0
    shift = min(63, 64 - (int(keys[-1]) - least).bit_length()) if len(keys) else 0
    head = HEAD.pack(len(keys), least, shift) + _cut(keys[::LEADING_BLOCK], least, shift)[0].tobytes()
    count = 1 + -(-len(keys) // LEADING_BLOCK) + -(-len(keys) // REST_BLOCK)
    with storage.commit_scratch(path) as file:
        write_packed_slices(file, itertools.chain([(head, len(head))], _packed(keys, docs, least, shift)), count)


def _packed(keys: U64, docs: I64, least: int, shift: int) -> Iterator[tuple[bytes, int]]:
    """Yield the leading bits of all keys, then the rests of all records; each time with the bytes of a block."""
    for first in range(0, len(keys), AT_ONCE):
        yield _cut(keys[first : first + AT_ONCE], least, shift)[0].tobytes(), 4 * LEADING_BLOCK
    for first in range(0, len(keys), AT_ONCE):
        some = docs[first : first + AT_ONCE]
        rest = np.empty(len(some), REST)
        rest["bits"], rest["doc"] = _cut(keys[first : first + AT_ONCE], least, shift)[1], some
        yield rest.tobytes(), REST.itemsize * REST_BLOCK


def find_sorted_keys(path: str, wanted: U64) -> tuple[U64, I64]:
    """Return (key, document) of every record of a file whose key is among the ascending `wanted`, in order of keys."""
    with storage.open_read(path, ranges=True) as file:
        found = _File(path, file)
        place, at = found.candidates(wanted)
        return found.among(wanted, place, at)


class _File:
    """A file of sorted keys that is open: its index, and what its first slice says."""

    def __init__(self, path: str, file: BinaryIO) -> None:
        self._path, self._file = path, file
        data = file.read(FIRST_READ)
        index = parse_index(path, data)
        if index is None or len(data) < index.offset[1]:
            size = int.from_bytes(data[:8], "little") & ~(1 << 63)
            data += file.read(max(0, 2 * size + FIRST_READ - len(data)))
            index = parse_index(path, data)
        if index is None or len(data) < index.offset[1]:
            raise damaged_slices(path)
        self._index: Index = index
        head = Part(memoryview(data)[index.offset[0] : index.offset[1]], packed=True)
        check_part(path, head, index.mark[0])
        self.records, self._least, self._shift = HEAD.unpack_from(head.data)
        self._firsts = np.frombuffer(head.data, "<u4", offset=HEAD.size)  # of each block of leading bits
        self._rest = 1 + len(self._firsts)  # slice of the first block of rests

    def candidates(self, wanted: U64) -> tuple[I64, I64]:
        """Return (place in `wanted`, place of a record) of all whose leading bits are equal."""
        nothing = np.empty(0, np.int64)
        inside = np.flatnonzero(wanted >= np.uint64(self._least))
        inside = inside[(wanted[inside] - np.uint64(self._least)) >> np.uint64(63 - self._shift) <= np.uint64(1)]
        if not len(inside) or not self.records:
            return nothing, nothing
        leading, _ = _cut(wanted[inside], self._least, self._shift)
        first = np.maximum(np.searchsorted(self._firsts, leading, side="left") - 1, 0)
        last = np.searchsorted(self._firsts, leading, side="right")  # beyond
        some = last > first
        blocks = _covered(first[some], last[some], len(self._firsts))
        found = np.frombuffer(_joined(self._read(1 + blocks)), "<u4")
        starts = np.searchsorted(found, leading, side="left")
        counts = np.searchsorted(found, leading, side="right") - starts
        at = _ranges(starts, counts)
        return np.repeat(inside, counts), blocks[at // LEADING_BLOCK] * LEADING_BLOCK + at % LEADING_BLOCK

    def among(self, wanted: U64, place: I64, at: I64) -> tuple[U64, I64]:
        """Return (key, document) of these records, as far as the rest of their keys is that of the wanted ones."""
        blocks = np.unique(at // REST_BLOCK)
        rest = np.frombuffer(_joined(self._read(self._rest + blocks)), REST)
        mine = rest[np.searchsorted(blocks, at // REST_BLOCK) * REST_BLOCK + at % REST_BLOCK]
        same = mine["bits"] == _cut(wanted[place], self._least, self._shift)[1]
        return wanted[place[same]], mine["doc"][same].astype(np.int64)

    def _read(self, slices: I64) -> Iterator[memoryview]:
        """Yield the bytes of these slices, which ascend; those that lie close are read together."""
        if not len(slices):
            return
        begin, end = self._index.offset[slices], self._index.offset[slices + 1]
        runs = np.flatnonzero(np.r_[True, begin[1:] - end[:-1] > GAP, True])
        for first, last in itertools.pairwise(runs.tolist()):
            start, stop = int(begin[first]), int(end[last - 1])
            self._file.seek(start)
            data = memoryview(self._file.read(stop - start))
            if len(data) != stop - start:
                raise damaged_slices(self._path)
            marks = self._index.mark[slices[first:last]].tolist()
            bounds = zip((begin[first:last] - start).tolist(), (end[first:last] - start).tolist(), marks, strict=True)
            at = 0  # where the bytes begin that were checked and not yielded yet
            stop = 0
            for a, b, mark in bounds:
                check_part(self._path, Part(data[a:b], packed=True), mark)
                if a != stop:  # what lies between was not asked for
                    yield data[at:stop]
                    at = a
                stop = b
            yield data[at:stop]


def _joined(pieces: Iterator[memoryview]) -> bytes | memoryview:
    """Return pieces one behind the other; a single one is not copied."""
    found = list(pieces)
    return found[0] if len(found) == 1 else b"".join(found)


def _cut(keys: U64, least: int, shift: int) -> tuple[U32, U32]:
    """Return the leading 32 bits of keys, counted from the least and shifted, and the other bits."""
    halves = ((keys - np.uint64(least)) << np.uint64(shift)).astype("<u8", copy=False).view("<u4")
    return halves[1::2], halves[::2]


def _covered(first: I64, last: I64, count: int) -> I64:
    """Return, ascending, the numbers below `count` that lie in one of these ranges."""
    change = np.bincount(first, minlength=count + 1) - np.bincount(last, minlength=count + 1)
    return np.flatnonzero(np.cumsum(change)[:count]).astype(np.int64)


def _ranges(starts: I64, counts: I64) -> I64:
    """Return the numbers of all ranges, one after the other.

    Examples
    --------
    >>> _ranges(np.array([3, 9]), np.array([2, 1])).tolist()
    [3, 4, 9]
    """
    ends = np.cumsum(counts)
    places: I64 = np.arange(ends[-1] if len(ends) else 0) + np.repeat(starts - (ends - counts), counts)
    return places
