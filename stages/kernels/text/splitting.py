"""Where the tokens of a text start and stop: pieces of letters and digits alone at once, others by `word_tokens`.

Guarantees: a piece of letters and digits is one token, so the tokens are those of `word_tokens.split_piece` for every
piece.
"""

from __future__ import annotations

import numba
import numpy as np
import numpy.typing as npt

from stages.kernels.text.marks import APART, BLANK, OTHER, PAD, look_up, next_marked, table
from stages.kernels.text.word_tokens import classes, split_piece

I64 = npt.NDArray[np.int64]


@numba.njit(cache=True, nogil=True)
def split(points, kinds, marks, n, starts, stops):  # type: ignore[no-untyped-def]
    """Write where the tokens of a text start and stop; return their number. marks[n] is APART and OTHER."""
    count = i = np.int64(0)  # no literal, for which the loop would be compiled as well
    while i < n:
        stop = next_marked(marks, i, n, OTHER)
        if marks[stop] & APART:
            if stop > i:
                starts[count], stops[count] = i, stop
                count += 1
            if stop < n and not marks[stop] & BLANK:  # a character of a script without spaces
                starts[count], stops[count] = stop, stop + 1
                count += 1
            i = stop + 1
            continue
        stop = next_marked(marks, stop, n, APART)
        count = split_piece(points, kinds, i, stop, starts, stops, count)
        i = stop
    return count


def token_bounds(text: str) -> tuple[I64, I64]:
    """Return the characters at which the tokens of one text start and stop, (tokens,) each.

    >>> starts, stops = token_bounds("It's so.")
    >>> ["It's so."[a:b] for a, b in zip(starts, stops)]
    ['It', "'s", 'so', '.']
    """
    points = np.array(np.frombuffer(text.encode("utf-32-le"), np.uint32))
    kinds, marks = np.empty(len(points), np.uint16), np.empty(len(points) + 2 * PAD, np.uint8)
    look_up(points, len(points), classes(), table(), kinds, marks)
    starts, stops = np.empty((2, len(points) + 1), np.int64)
    count = split(points, kinds, marks, len(points), starts, stops)
    return starts[:count], stops[:count]
