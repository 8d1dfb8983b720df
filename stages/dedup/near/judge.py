"""Pair decisions: near duplicates or not, from 8-bit signature slots and the verified pairs known so far.

Guarantees: the decision on a pair does not depend on which other pairs are verified. Memory: slots of
one destination's candidates.
"""

from __future__ import annotations

import itertools
import math

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from cluster.files.arrow_files import scan_arrow
from stages.core.arrays import BoolArray, array, places_in, whole
from stages.dedup.dedup_stage import ESTIMATED, EXACT
from stages.dedup.near.job import NearJob
from stages.kernels.similarity.jaccard import doubt, estimate_pairs
from stages.kernels.survivors.pair_answers import NO, UNKNOWN, YES

I64 = npt.NDArray[np.int64]
F64 = npt.NDArray[np.float64]
LONGEST = 16 << 20  # bytes of a text that is still compared by its shingles

PAIRS = pa.schema([("left", pa.int64()), ("right", pa.int64())])


class Judge:
    """Callable that decides pairs of one destination: NO, YES, or UNKNOWN where the texts must be compared."""

    def __init__(self, near: NearJob, table: pa.Table, known: list[str | None]) -> None:
        self.table = table
        self.near = near
        self.doc = array(table, "doc").astype(np.int64)
        self._d1, self._d2 = array(table, "d1"), array(table, "d2")
        self._long = array(table, "num_bytes").astype(np.int64) > LONGEST
        column = whole(table.column("slots"))
        width = column.type.byte_width
        data = np.frombuffer(column.buffers()[1], np.uint8, len(column) * width, column.offset * width)
        self._slots = data.reshape(-1, width)
        self._doubt = self._margins(width)
        self._doubt_of_sparse = self._margins(near.least_slots)
        self._sparse = array(table, "sparse") if near.marks_sparse else None
        self._pairs, self._values = self._load([path for path in known if path])

    def _margins(self, slots: int) -> tuple[float, float]:
        """Return how far below and above the threshold an estimate from so many slots decides no pair."""
        below, above = doubt(self.near.threshold, slots) if self.near.compares_texts else (0.0, 0.0)
        return below, math.inf if self.near.verify == "every" else above

    def _load(self, paths: list[str]) -> tuple[I64, F64]:
        """Read verified pairs as sorted keys (position of left * documents + position of right)."""
        keys, values = [np.empty(0, np.int64)], [np.empty(0, np.float64)]
        candidates = pa.array(self.doc)
        for pairs in itertools.chain.from_iterable(map(scan_arrow, paths)):
            left, right = (pc.index_in(pairs.column(side), candidates) for side in PAIRS.names)
            here = pc.and_(left.is_valid(), right.is_valid())  # others belong to decided groups
            keys.append(self._key(*(side.filter(here).to_numpy().astype(np.int64) for side in (left, right))))
            values.append(pairs.column("similarity").filter(here).to_numpy(zero_copy_only=False))
        joined, position = np.unique(np.concatenate(keys), return_index=True)
        return joined, np.concatenate(values)[position]

    def _key(self, left: I64, right: I64) -> I64:
        return np.minimum(left, right) * np.int64(len(self.doc)) + np.maximum(left, right)

    def similarity(self, left: I64, right: I64) -> tuple[F64, npt.NDArray[np.uint8]]:
        """Return the similarity that decides each pair, (pairs,) float64, and its kind, EXACT or ESTIMATED, (pairs,).

        A verified similarity counts only where the estimate is near the threshold: pairs that other runs
        verified must not change a verdict.
        """
        left, right = np.asarray(left, np.int64), np.asarray(right, np.int64)
        value = estimate_pairs(self._slots, left, right).astype(np.float64)
        kind = np.full(len(left), ESTIMATED, np.uint8)
        known, at = self._known(left, right)
        known &= self.is_close(value, left, right)
        value[known] = self._values[at[known]]
        same = (self._d1[left] == self._d1[right]) & (self._d2[left] == self._d2[right])
        value[same] = 1.0
        kind[known | same] = EXACT
        return value, kind

    def is_close(self, value: F64, left: I64, right: I64) -> BoolArray:
        """Mark estimates too close to the threshold to decide their pair, (pairs,) bool."""
        below, above = (np.asarray(margin) for margin in self._doubt)
        if self._sparse is not None:
            few = self._sparse[left] & self._sparse[right]  # a pair with a text of many shingles has as many together
            margins = zip(self._doubt_of_sparse, self._doubt, strict=True)
            below, above = (np.where(few, wide, usual) for wide, usual in margins)
        close: BoolArray = (self.near.threshold - value < below) & (value - self.near.threshold < above)
        return close & ~(self._long[left] | self._long[right])

    def _known(self, left: I64, right: I64) -> tuple[BoolArray, I64]:
        at = places_in(self._pairs, self._key(left, right))
        return at >= 0, at

    def __call__(self, left: I64, right: I64) -> npt.NDArray[np.uint8]:
        """Return NO, YES or UNKNOWN for pairs of document positions, (pairs,) uint8."""
        if self.near.verify == "none":
            return np.full(len(left), YES, np.uint8)
        value, kind = self.similarity(left, right)
        answer = np.where(value >= self.near.threshold, YES, NO).astype(np.uint8)
        answer[(kind == ESTIMATED) & self.is_close(value, left, right)] = UNKNOWN
        return answer
