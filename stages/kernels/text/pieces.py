"""Pieces of texts, copied together: the few lines or words that patterns are tried on, wherever the texts lie."""

from __future__ import annotations

import numba
import numpy as np
import pyarrow as pa

from stages.kernels.dispatch.dispatch import by_backend
from stages.kernels.hashes.hashing import I64, U8, read_only


@numba.njit(cache=True, nogil=True)
def _copy(data, starts, places, out):  # type: ignore[no-untyped-def]
    for k in range(len(starts)):
        start, place = starts[k], places[k]
        for i in range(places[k + 1] - place):
            out[place + i] = data[start + i]


@by_backend
def copied(data: U8, starts: I64, places: I64) -> U8:
    """Return bytes [starts[k], …) of texts, one piece behind the other; piece k is [places[k], places[k + 1])."""
    out = np.empty(int(places[-1]), np.uint8)
    _copy(read_only(data, np.uint8), read_only(starts, np.int64), read_only(places, np.int64), out)
    return out


def pieces(data: U8, starts: I64, stops: I64) -> pa.Array:
    """Return bytes [start, stop) of texts as large_string, (pieces,); both are at borders of characters.

    >>> pieces(np.frombuffer(b"one two", np.uint8), np.array([4, 0]), np.array([7, 3])).to_pylist()
    ['two', 'one']
    """
    places = np.zeros(len(starts) + 1, np.int64)
    np.cumsum(stops - starts, out=places[1:])
    text = copied(data, starts, places) if places[-1] else np.empty(0, np.uint8)
    return pa.LargeStringArray.from_buffers(len(starts), pa.py_buffer(places), pa.py_buffer(text))
