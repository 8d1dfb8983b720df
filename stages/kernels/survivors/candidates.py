"""Input of the survivor kernels: candidates, and the buckets in which they are compared."""

from __future__ import annotations

import dataclasses
import functools
from dataclasses import dataclass

import numba
import numpy as np
import numpy.typing as npt

from stages.kernels.hashes.hashing import I64, mix64_word, read_only
from stages.kernels.survivors.components import components

BoolArray = npt.NDArray[np.bool_]
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


@dataclass(frozen=True, eq=False, kw_only=True)
class Candidates:
    """Documents among which survivors are chosen, arrays of shape (docs,)."""

    rank: I64  # position in the total order, unique
    dataset: npt.NDArray[np.int32]  # documents of one dataset never drop each other where all of a dataset stay
    protected: BoolArray  # never dropped
    eligible: BoolArray  # may represent others

    def __len__(self) -> int:
        return len(self.rank)


@dataclass(frozen=True, eq=False, kw_only=True)
class Buckets(Candidates):
    """Candidates in buckets: bucket b holds the documents member[start[b]:start[b + 1]], each of them once."""

    start: I64  # (buckets + 1,)
    member: I64  # (members,) positions of documents

    @functools.cached_property
    def of_member(self) -> I64:
        """The bucket of every entry of `member`, (members,)."""
        return np.repeat(np.arange(len(self.start) - 1, dtype=np.int64), np.diff(self.start))

    @functools.cached_property
    def groups(self) -> I64:
        """A label per document, (docs,); documents that share a bucket, or a chain of buckets, share it."""
        sizes = np.diff(self.start)
        full = sizes > 0
        return components(np.repeat(self.member[self.start[:-1][full]], sizes[full]), self.member, len(self))

    def distinct(self) -> Buckets:
        """Leave out buckets of the same documents as an earlier one: near copies share most of their bands.

        Documents are compared one by one, so no two sets are taken for one. Memory: at most 40 bytes per bucket and 8
        per document besides the result.
        """
        starts, members = read_only(self.start, np.int64), read_only(self.member, np.int64)
        first, sizes = np.empty(len(starts) - 1, np.bool_), np.diff(starts)
        _mark_first(starts, members, np.full(len(self), -1, np.int64), first)
        start = np.zeros(int(first.sum()) + 1, np.int64)
        np.cumsum(sizes[first], out=start[1:])
        return dataclasses.replace(self, start=start, member=members[np.repeat(first, sizes)])


@numba.njit(cache=True, nogil=True)
def _mark_first(start, member, seen_in, first):  # type: ignore[no-untyped-def]
    """Mark the first bucket of each set of documents. seen_in: (docs,) a bucket that held the document, -1 at first."""
    slots = 8
    while slots < 2 * len(first):
        slots *= 2
    table, sums = np.full(slots, -1, np.int64), np.empty(len(first), np.uint64)
    for bucket in range(len(first)):
        members = member[start[bucket] : start[bucket + 1]]
        total = np.uint64(len(members))
        for doc in members:
            total += mix64_word(np.uint64(doc), _GOLDEN)
        sums[bucket] = total
        at = np.int64(total & np.uint64(slots - 1))
        while table[at] >= 0:
            other = table[at]
            if sums[other] == total and _same(members, member[start[other] : start[other + 1]], bucket, seen_in):
                break
            at = (at + 1) & (slots - 1)
        first[bucket] = table[at] < 0
        if first[bucket]:
            table[at] = bucket


@numba.njit(cache=True, nogil=True)
def _same(members, others, bucket, seen_in):  # type: ignore[no-untyped-def]
    """Tell whether two buckets hold the same documents."""
    for doc in members:
        seen_in[doc] = bucket
    shared = 0
    for doc in others:
        shared += seen_in[doc] == bucket
    return shared == len(others) == len(members)
