"""Input of the survivor kernels: candidates, and the buckets in which they are compared."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from stages.kernels.hashes.hashing import I64
from stages.kernels.survivors.components import components

BoolArray = npt.NDArray[np.bool_]


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
