"""Marks of every character of a text, a byte each, so that eight to 64 characters are looked at in one step.

Guarantees: `next_marked` and `counted` are the plain loops over characters that they stand for; `decode` gives each
character the marks of `table`. A text's marks are followed by PAD bytes, of which the first ends every search for APART
or OTHER.
"""

from __future__ import annotations

import functools
from typing import Any

import numba
import numpy as np
import numpy.typing as npt
from llvmlite import ir
from numba.core import types
from numba.core.extending import intrinsic

from stages.kernels.hashes.bits import set_bits, trailing_zeros
from stages.kernels.hashes.hashing import load64
from stages.kernels.text.byte_vectors import between, filled, loaded, spread, stored
from stages.kernels.text.fold import code_point
from stages.kernels.text.word_tokens import ALPHA, DECIMAL, DIGIT, LOWER, SINGLE, SPACE, UPPER, WORD, classes

U8 = npt.NDArray[np.uint8]

APART, OTHER, LOOK, BLANK, LETTER, CAPITAL, NUMBER, SIGN = (1 << i for i in range(8))
PAD = 64  # places behind a text's characters
STEP = 32  # bytes that are read at once
WIDE = 255  # stands for a character beyond ASCII
LOOKED_AT = "\npP"  # besides signs: line ends, and the rarest letter of "lorem ipsum"

ONES = np.uint64(0x0101010101010101)
HIGH = np.uint64(0x8080808080808080)
FIRST = np.array([(1 << 8 * n) - 1 for n in range(9)], np.uint64)  # masks of the first n bytes


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
def bits_of(_typing: Any, marks: Any, index: Any, mark: Any) -> Any:
    """Return which of the 64 characters from index on have a mark, the first in the lowest bit; uint64."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        found = loaded(context, builder, signature.args[0], args[0], args[1], 64)
        wanted = spread(builder, builder.trunc(args[2], ir.IntType(8)), 64)
        some = builder.icmp_unsigned("!=", builder.and_(found, wanted), filled(0, 64))
        return builder.bitcast(some, ir.IntType(64))

    return types.uint64(marks, types.int64, types.int64), codegen


def _ascii_marks(builder: Any, c: Any) -> Any:
    """Build the marks of ASCII characters, as `table` has them, by comparisons instead of look-ups."""

    within = functools.partial(between, builder)

    def any_of(*found: Any) -> Any:
        return functools.reduce(builder.or_, found)

    folded = builder.or_(c, filled(32, STEP))
    letter, number = within(folded, "a", "z"), within(c, "0", "9")
    blank = any_of(within(c, " ", " "), within(c, "\t", "\r"), within(c, "\x1c", "\x1f"))
    other = builder.not_(builder.or_(letter, number))
    sign = builder.and_(other, builder.not_(blank))
    look = any_of(sign, within(c, "\n", "\n"), within(folded, "p", "p"))
    planes = {APART | BLANK: blank, OTHER: other, LOOK: look, LETTER: letter, NUMBER: number, SIGN: sign}
    planes[CAPITAL] = within(c, "A", "Z")
    return any_of(*(builder.select(plane, filled(mark, STEP), filled(0, STEP)) for mark, plane in planes.items()))


@intrinsic
def read_ascii(_typing: Any, data: Any, i: Any, points: Any, narrow: Any, marks: Any, n: Any) -> Any:
    """Write STEP bytes from data[i] on, as if all were ASCII, to place n of the three arrays; points may be None.

    Return which are beyond ASCII, the first in the lowest bit; uint64.
    """

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        c = loaded(context, builder, signature.args[0], args[0], args[1], STEP)
        wide = builder.zext(c, ir.VectorType(ir.IntType(32), STEP))
        values = {2: wide, 3: c, 4: _ascii_marks(builder, c)}
        for place, value in values.items():
            if not isinstance(signature.args[place], types.NoneType):
                stored(context, builder, signature.args[place], args[place], args[5], value)
        beyond = builder.icmp_signed("<", c, filled(0, STEP))
        return builder.zext(builder.bitcast(beyond, ir.IntType(STEP)), ir.IntType(64))

    return types.uint64(data, types.int64, points, narrow, marks, types.int64), codegen


@numba.njit(cache=True, nogil=True)
def decode(data, start, stop, table_of_marks, points, narrow, marks):  # type: ignore[no-untyped-def]
    """Write code points and marks of valid UTF-8; return the number of characters.

    narrow : the characters of ASCII as bytes, WIDE for others. The three arrays have room for PAD characters more;
    marks behind the text end searches and count nothing.
    """
    n, i, last = np.int64(0), np.int64(start), len(data) - STEP
    while i < stop:
        if i <= last:
            beyond = read_ascii(data, i, points, narrow, marks, n)
            plain = min(STEP if beyond == 0 else trailing_zeros(beyond), stop - i)
            n += plain
            i += plain
            if beyond == 0:
                continue
        while i < stop and (data[i] > 127 or i > last):
            point, size = code_point(data, i)
            points[n], marks[n] = point, table_of_marks[point]
            narrow[n] = min(point, WIDE)
            n += 1
            i += size
    marks[n : n + PAD] = 0
    marks[n] = APART | OTHER
    return n


@numba.njit(cache=True, nogil=True)
def copy_marked(data, start, stop, table_of_marks, copy, marks):  # type: ignore[no-untyped-def]
    """Copy bytes of valid UTF-8 to copy[PAD:] and write the marks of each; return where they end.

    A character's marks are its first byte's; the others have BLANK alone, of white space. PAD more are BLANK.
    """
    n, i, last = np.int64(PAD), np.int64(start), len(data) - STEP
    while i < stop:
        if i <= last:
            beyond = read_ascii(data, i, None, copy, marks, n)
            plain = min(STEP if beyond == 0 else trailing_zeros(beyond), stop - i)
            n += plain
            i += plain
            if beyond == 0:
                continue
        while i < stop and (data[i] > 127 or i > last):
            point, size = code_point(data, i)
            found = table_of_marks[point]
            copy[n], marks[n] = data[i], found
            for k in range(1, size):
                copy[n + k], marks[n + k] = data[i + k], found & BLANK
            n += size
            i += size
    marks[n : n + PAD] = BLANK
    return n


@numba.njit(cache=True, nogil=True)
def next_marked(marks, i, n, mark):  # type: ignore[no-untyped-def]
    """Return the first place from i on that has this mark, n where there is none."""
    wanted = np.uint64(mark) * ONES
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
        here = FIRST[min(8, stop - first)]
        x = load64(marks, first)
        every |= x & here
        inside |= ~(x | (x << np.uint64(4))) & here & HIGH  # SIGN is the highest bit, BLANK four below
        first += 8
    every |= every >> np.uint64(32)
    every |= every >> np.uint64(16)
    every |= every >> np.uint64(8)
    return np.uint8(every & np.uint64(255)), inside != 0


@numba.njit(cache=True, nogil=True)
def counted(marks, n):  # type: ignore[no-untyped-def]
    """Return how many characters are BLANK, LETTER, CAPITAL, NUMBER, SIGN; and of the longest run without BLANK."""
    blanks = letters = capitals = numbers = signs = longest = start = np.int64(0)
    for at in range(0, n, 64):
        letters += set_bits(bits_of(marks, at, LETTER))
        capitals += set_bits(bits_of(marks, at, CAPITAL))
        numbers += set_bits(bits_of(marks, at, NUMBER))
        signs += set_bits(bits_of(marks, at, SIGN))
        here = bits_of(marks, at, BLANK)
        blanks += set_bits(here)
        while here != 0:
            i = at + trailing_zeros(here)
            longest = max(longest, i - start)
            start = i + 1
            here &= here - np.uint64(1)
    return blanks, letters, capitals, numbers, signs, max(longest, n - start)
