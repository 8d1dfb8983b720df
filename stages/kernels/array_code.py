"""Kernels in plain array code, for any namespace of the array API standard (see space.py).

Guarantees: the bits of their namesakes in bands.py; integers wrap, as unsigned arrays do in every namespace.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from stages.kernels.hashing import MASK64, U64
from stages.kernels.space import Space

_GOLDEN = 0x9E3779B97F4A7C15
_FIRST, _SECOND = 0xBF58476D1CE4E5B9, 0x94D049BB133111EB


class Mixer:
    """The finaliser of SplitMix64 on uint64 arrays of one space; constants are brought there once."""

    def __init__(self, space: Space) -> None:
        self._space = space
        self._golden, self._first, self._second = (self.word(c) for c in (_GOLDEN, _FIRST, _SECOND))
        self._shifts = tuple(self.word(s) for s in (30, 27, 31))

    def word(self, value: int) -> Any:
        """Return a constant as an array of one uint64."""
        return self._space.put(np.array([value & MASK64], np.uint64))

    def __call__(self, x: Any) -> Any:
        z = x + self._golden
        z = (z ^ (z >> self._shifts[0])) * self._first
        z = (z ^ (z >> self._shifts[1])) * self._second
        return z ^ (z >> self._shifts[2])


def band_keys(space: Space, signatures: np.ndarray[Any, Any], rows: int, first: int, count: int) -> U64:
    """Return the keys of bands first … first + count - 1 of signatures (docs, permutations), (docs, count) uint64."""
    out = np.empty((len(signatures), count), np.uint64)
    mix = Mixer(space)
    for j in range(count):
        begin = (first + j) * rows
        slots = space.put(np.ascontiguousarray(signatures[:, begin : begin + rows].T.astype(np.uint64)))
        key = mix(mix.word(first + j))
        for i in range(rows):
            key = mix(key ^ slots[i, :])
        out[:, j] = space.get(key)
    return out
