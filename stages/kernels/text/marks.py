"""Marks of every character of a text, a byte each, so that eight characters are looked at in one step.

Guarantees: `next_marked` and `counted` are the plain loops over characters that they stand for. A text's marks are
followed by PAD bytes, of which the first ends every search for APART or OTHER.
"""

from __future__ import annotations

import functools
from typing import Any

import numba
import numpy as np
import numpy.typing as npt
from numba.core import types
from numba.core.extending import intrinsic

from stages.kernels.hashes.hashing import load64
from stages.kernels.text.word_tokens import ALPHA, DECIMAL, DIGIT, LOWER, SINGLE, SPACE, UPPER, WORD, classes

U8 = npt.NDArray[np.uint8]

APART, OTHER, LOOK, BLANK, LETTER, CAPITAL, NUMBER, SIGN = (1 << i for i in range(8))
PAD = 8  # bytes behind a text's marks
LOOKED_AT = "\npP"  # besides signs: line ends, and the rarest letter of "lorem ipsum"

_ONES = np.uint64(0x0101010101010101)
_HIGH = np.uint64(0x8080808080808080)
_FIRST = np.array([(1 << 8 * n) - 1 for n in range(9)], np.uint64)  # masks of the first n bytes
_SUM = np.uint64(56)
_STEPS = 31  # of eight characters each, after which a byte is not yet full


@functools.cache
def table() -> U8:
    """Return the marks of every code point, (1114112,) uint8."""
    kinds = classes()
    found = np.zeros(len(kinds), np.uint8)
    single = kinds & SINGLE > 0
    found[(kinds & SPACE > 0) | single] |= APART
    found[(kinds & (ALPHA | DIGIT) == 0) | single] |= OTHER
    found[kinds & SPACE > 0] |= BLANK
    found[kinds & ALPHA > 0] |= LETTER
    found[kinds & (UPPER | LOWER) == UPPER] |= CAPITAL
    found[kinds & DECIMAL > 0] |= NUMBER
    found[kinds & (SPACE | WORD) == 0] |= SIGN | LOOK
    found[[ord(c) for c in LOOKED_AT]] |= LOOK
    found.flags.writeable = False
    return found


@intrinsic
def trailing_zeros(_typing: Any, word: Any) -> Any:
    """Return how many of the lowest bits of a uint64 are 0, 64 of none set; int64."""

    def codegen(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        from llvmlite import ir

        return builder.cttz(args[0], ir.Constant(ir.IntType(1), 0))

    return types.int64(types.uint64), codegen


@numba.njit(cache=True, nogil=True)
def decode(data, start, stop, points):  # type: ignore[no-untyped-def]
    """Write the code points of valid UTF-8; return their number."""
    n, i = 0, start
    while i < stop:
        while i + 8 <= stop and load64(data, i) & _HIGH == 0:
            for k in range(8):
                points[n + k] = data[i + k]
            n += 8
            i += 8
        if i == stop:
            break
        b = np.uint32(data[i])
        if b < 0x80:
            points[n] = b
            i += 1
        elif b < 0xE0:
            points[n] = ((b & 0x1F) << 6) | (data[i + 1] & 0x3F)
            i += 2
        elif b < 0xF0:
            points[n] = ((b & 0x0F) << 12) | ((data[i + 1] & 0x3F) << 6) | (data[i + 2] & 0x3F)
            i += 3
        else:
            high = ((b & 0x07) << 18) | ((data[i + 1] & 0x3F) << 12)
            points[n] = high | ((data[i + 2] & 0x3F) << 6) | (data[i + 3] & 0x3F)
            i += 4
        n += 1
    return n


@numba.njit(cache=True, nogil=True)
def look_up(points, n, table_of_classes, table_of_marks, kinds, marks):  # type: ignore[no-untyped-def]
    """Write class and marks of every character; what follows them ends searches and counts nothing."""
    for i in range(n):
        kinds[i] = table_of_classes[points[i]]
        marks[i] = table_of_marks[points[i]]
    marks[n : n + PAD] = 0
    marks[n] = APART | OTHER


@numba.njit(cache=True, nogil=True)
def next_marked(marks, i, n, mark):  # type: ignore[no-untyped-def]
    """Return the first place from i on that has this mark, n where there is none."""
    wanted = np.uint64(mark) * _ONES
    while i < n:
        found = load64(marks, i) & wanted
        if found != 0:
            return min(n, i + (trailing_zeros(found) >> 3))
        i += 8
    return n


@numba.njit(cache=True, nogil=True)
def marks_in(marks, first, stop):  # type: ignore[no-untyped-def]
    """Return (marks that any character has, whether any is a word's: neither sign nor white space)."""
    every, inside = np.uint64(0), np.uint64(0)
    while first < stop:
        here = _FIRST[min(8, stop - first)]
        x = load64(marks, first)
        every |= x & here
        inside |= ~(x | (x << np.uint64(4))) & here & _HIGH  # SIGN is the highest bit, BLANK four below
        first += 8
    every |= every >> np.uint64(32)
    every |= every >> np.uint64(16)
    every |= every >> np.uint64(8)
    return np.uint8(every & np.uint64(255)), inside != 0


@numba.njit(cache=True, nogil=True)
def counted(marks, n):  # type: ignore[no-untyped-def]
    """Return how many characters are BLANK, LETTER, CAPITAL, NUMBER, SIGN."""
    blanks = letters = capitals = numbers = signs = np.int64(0)
    i = 0
    while i < n:
        b = le = c = d = s = np.uint64(0)
        for at in range(i, min(n, i + 8 * _STEPS), 8):
            x = load64(marks, at)
            b += (x >> np.uint64(3)) & _ONES
            le += (x >> np.uint64(4)) & _ONES
            c += (x >> np.uint64(5)) & _ONES
            d += (x >> np.uint64(6)) & _ONES
            s += (x >> np.uint64(7)) & _ONES
        blanks += np.int64((b * _ONES) >> _SUM)
        letters += np.int64((le * _ONES) >> _SUM)
        capitals += np.int64((c * _ONES) >> _SUM)
        numbers += np.int64((d * _ONES) >> _SUM)
        signs += np.int64((s * _ONES) >> _SUM)
        i += 8 * _STEPS
    return blanks, letters, capitals, numbers, signs


@numba.njit(cache=True, nogil=True)
def longest_run(marks, n):  # type: ignore[no-untyped-def]
    """Return the characters of the longest stretch without white space."""
    longest = i = np.int64(0)
    while i + longest < n:
        k = i + longest  # a longer stretch from i on has no white space up to here: looked for from its end
        while k >= i and not marks[k] & BLANK:
            k -= 1
        if k >= i:
            i = k + 1
            continue
        stop = next_marked(marks, i + longest, n, BLANK)
        longest, i = stop - i, stop + 1
    return longest
