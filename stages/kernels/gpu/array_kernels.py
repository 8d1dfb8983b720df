"""Kernels in plain array code, for any namespace of the array API standard (see space.py).

Guarantees: the bits of their namesakes in bands.py; integers wrap, as unsigned arrays do in every namespace.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from stages.kernels.dispatch.space import Space
from stages.kernels.hashes.hashing import I64, MASK64, U64

_GOLDEN = 0x9E3779B97F4A7C15
_FIRST, _SECOND = 0xBF58476D1CE4E5B9, 0x94D049BB133111EB


class Mixer:
    """The finaliser of SplitMix64 on uint64 arrays of one space; constants are brought there once."""

    def __init__(self, space: Space) -> None:
        self._space = space
        self._golden, self._first, self._second = (self.word(c) for c in (_GOLDEN, _FIRST, _SECOND))
        self._shifts = tuple(self.word(s) for s in (30, 27, 31))

    def word(self, value: int) -> Any:
        """Return a constant as a uint64 array of one element."""
        return self._space.put(np.array([value & MASK64], np.uint64))

    def __call__(self, x: Any) -> Any:
        z = x + self._golden
        z = (z ^ (z >> self._shifts[0])) * self._first
        z = (z ^ (z >> self._shifts[1])) * self._second
        return z ^ (z >> self._shifts[2])


def _band_keys(space: Space, signatures: np.ndarray[Any, Any], rows: int, first: int, count: int) -> Any:
    """Return the keys of bands as an array of the space, (count, docs) uint64; count is at least 1."""
    xp = space.xp
    slots = space.put(np.ascontiguousarray(signatures[:, first * rows : (first + count) * rows]))
    mix, found = Mixer(space), []
    for j in range(count):
        key = mix(mix.word(first + j))
        for i in range(j * rows, (j + 1) * rows):
            key = mix(key ^ xp.astype(slots[:, i], xp.uint64))
        found.append(key)
    return xp.stack(found)


def band_keys(space: Space, signatures: np.ndarray[Any, Any], rows: int, first: int, count: int) -> U64:
    """Return the keys of bands first … first + count - 1 of signatures (docs, permutations), (docs, count) uint64."""
    if not count:
        return np.empty((len(signatures), 0), np.uint64)
    return space.get(_band_keys(space, signatures, rows, first, count)).T


# --- UTF-8 -------------------------------------------------------------------------------------------------

WINDOW = 32 << 20  # bytes looked at together; about ten masks of that size exist at a time


def well_formed(space: Space, data: Any, starts: Any) -> bool:
    """Tell whether adjacent texts are each well-formed UTF-8 (Unicode 15, table 3-7), bool.

    Parameters
    ----------
    data : (bytes,) uint8 and starts : (docs,) integers below the number of bytes, both in the space.
    """
    xp = space.xp
    count = int(data.shape[0])
    if count == 0:
        return True
    if bool(xp.any(_continues(space, xp.take(data, starts)))):
        return False
    edge = space.put(np.zeros(3, np.uint8))
    padded = xp.concat([edge, data, edge])
    windows = (padded[at : min(at + WINDOW, count + 3) + 3] for at in range(0, count + 3, WINDOW))
    return not any(bool(xp.any(_malformed(space, window))) for window in windows)


def _byte(space: Space, value: int) -> Any:
    return space.put(np.array([value], np.uint8))


def _between(space: Space, data: Any, low: int, high: int) -> Any:
    return (data >= _byte(space, low)) & (data <= _byte(space, high))


def _continues(space: Space, data: Any) -> Any:
    return _between(space, data, 0x80, 0xBF)


def _malformed(space: Space, window: Any) -> Any:
    """Mark bytes, from the fourth on, that do not fit the three before them."""
    this, one, two, three = window[3:], window[2:-1], window[1:-2], window[:-3]
    expected = _between(space, one, 0xC2, 0xF4) | _between(space, two, 0xE0, 0xF4) | _between(space, three, 0xF0, 0xF4)
    wrong = _continues(space, this) != expected
    wrong = wrong | _between(space, this, 0xC0, 0xC1) | (this >= _byte(space, 0xF5))
    for lead, low, high in ((0xE0, 0x80, 0x9F), (0xED, 0xA0, 0xBF), (0xF0, 0x80, 0x8F), (0xF4, 0x90, 0xBF)):
        wrong = wrong | ((one == _byte(space, lead)) & _between(space, this, low, high))
    return wrong


# --- records of the exchange -------------------------------------------------------------------------------


def band_records(
    space: Space, signatures: np.ndarray[Any, Any], doc: I64, rows: int, first: int, count: int
) -> tuple[U64, I64]:
    """Return (keys, documents) of every document and band, sorted by key, so that the exchange only slices them."""
    xp = space.xp
    keys = xp.reshape(_band_keys(space, signatures, rows, first, count), (-1,))
    docs = xp.tile(space.put(doc), (count,))
    order = xp.argsort(keys)
    return space.get(xp.take(keys, order)), space.get(xp.take(docs, order))


def shared_records(space: Space, keys: U64, doc: I64) -> tuple[U64, I64]:
    """Return the records whose key occurs twice or more, sorted by key."""
    xp = space.xp
    if len(keys) < 2:
        return keys[:0], doc[:0]
    given = space.put(keys)
    order = xp.argsort(given)
    ordered = xp.take(given, order)
    same = ordered[1:] == ordered[:-1]
    never = space.put(np.zeros(1, np.bool_))
    shared = xp.concat([never, same]) | xp.concat([same, never])
    docs = xp.take(space.put(doc), order)
    return space.get(ordered[shared]), space.get(docs[shared])


def sorted_records(space: Space, keys: U64, docs: I64) -> tuple[U64, I64]:
    """Return all records sorted by key."""
    xp = space.xp
    given = space.put(keys)
    order = xp.argsort(given)
    return space.get(xp.take(given, order)), space.get(xp.take(space.put(docs), order))
