"""Where the tokens of a text start and stop: pieces of letters and digits alone at once, others by `word_tokens`.

Guarantees: a piece of letters and digits is one token, and of one with a mark behind them nothing but the mark comes
off, so the tokens are those of `word_tokens.split_piece` for every piece.
"""

from __future__ import annotations

import numba
import numpy as np
import numpy.typing as npt

from stages.kernels.hashes.bits import trailing_zeros
from stages.kernels.text.marks import APART, BLANK, OTHER, PAD, bits_of, decode, next_marked, table
from stages.kernels.text.word_tokens import DASH, MARK, POINT, classes, is_full_stop, split_piece

I64 = npt.NDArray[np.int64]

_FROM = np.array([((1 << 64) - 1) & ~((1 << n) - 1) for n in range(65)], np.uint64)  # masks of all but the first n bits


@numba.njit(cache=True, nogil=True)
def ends_in_token(points, kinds, start, stop):  # type: ignore[no-untyped-def]
    """Tell whether the last character of a piece, of letters and digits before it, is a token of its own."""
    if points[stop - 1] == POINT:
        return is_full_stop(points, kinds, start, stop)
    return kinds[points[stop - 1]] & (MARK | DASH) != 0


@numba.njit(cache=True, nogil=True)
def split(points, kinds, marks, n, starts, stops):  # type: ignore[no-untyped-def]
    """Write where the tokens of a text start and stop; return their number. marks[n] is APART and OTHER."""
    count = i = at = np.int64(0)  # no literal, for which the loop would be compiled as well
    while at <= n:
        others = bits_of(marks, at, OTHER)
        if i > at:
            others &= _FROM[i - at]
        while others != 0:
            stop = at + trailing_zeros(others)
            others &= others - np.uint64(1)
            if marks[stop] & APART:
                starts[count], stops[count] = i, stop
                count += stop > i
                if stop < n and not marks[stop] & BLANK:  # a character of a script without spaces
                    starts[count], stops[count] = stop, stop + 1
                    count += 1
                i = stop + 1
            elif stop > i and marks[stop + 1] & APART and ends_in_token(points, kinds, i, stop + 1):
                starts[count], stops[count], starts[count + 1], stops[count + 1] = i, stop, stop, stop + 1
                count += 2
                i = stop + 1
            else:
                stop = next_marked(marks, stop, n, APART)
                count = split_piece(points, kinds, i, stop, starts, stops, count)
                i = stop
                others &= _FROM[min(i - at, 64)]
        at = max(at + 64, i & ~63)
    return count


def token_bounds(text: str) -> tuple[I64, I64]:
    """Return the characters at which the tokens of one text start and stop, (tokens,) each.

    >>> starts, stops = token_bounds("It's so.")
    >>> ["It's so."[a:b] for a, b in zip(starts, stops)]
    ['It', "'s", 'so', '.']
    """
    data = np.frombuffer(text.encode(), np.uint8)
    points = np.empty(len(data) + PAD, np.uint32)
    narrow, marks = np.empty((2, len(data) + PAD), np.uint8)
    n = decode(data, 0, len(data), table(), points, narrow, marks)
    starts, stops = np.empty((2, n + 1), np.int64)
    count = split(points, classes(), marks, n, starts, stops)
    return starts[:count], stops[:count]
