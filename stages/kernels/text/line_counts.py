"""Lines of texts and what is counted in each: words, sentences, kinds of characters, compiled by numba.

Guarantees: lines end at line feeds; white space is what `str.isspace` says, words are what `str.split` gives. Memory:
a row of whole numbers for every line with a visible character.
"""

from __future__ import annotations

import numba
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from stages.kernels.dispatch.dispatch import by_backend
from stages.kernels.dispatch.resident import Resident
from stages.kernels.hashes.hashing import U8, buffers, read_only
from stages.kernels.text.fold import code_point
from stages.kernels.text.growing import grown
from stages.kernels.text.word_tokens import ALPHA, DECIMAL, LOWER, SPACE, UPPER, WORD, classes

I64 = npt.NDArray[np.int64]

COLUMNS = (
    "text",  # place of the line's text
    "begin",  # bytes in the texts' buffer: of the line, of its visible part
    "first",
    "last",
    "words",
    "sentences",  # . ! ? before white space or at the line's end
    "chars",  # of the visible part
    "letters",
    "capitals",
    "digits",
    "others",  # visible, neither letter nor digit
    "longest",  # characters of the longest word
    "signs",  # bits, below: what patterns about the line need, so that the others need not be tried
    "tail",  # the last eight bytes of the visible part, the last one highest; zeros before fewer
)
CITED = 1  # [ before a digit, c, e or ]
NAMED = 2  # part of javascript, privacy, cookie or of use, in any case
NAVIGATES = 4  # part of sign, read more or item, in any case
WIDE = 8  # a character beyond ASCII
_KELVIN = 0x212A  # is k in another case
_WATCHED = np.isin(np.arange(256), [ord(c) for c in "[vVkKfFgGmM"])


@numba.njit(cache=True, nogil=True)
def _signs_at(data, i, low, high):  # type: ignore[no-untyped-def]
    """Return the signs that the byte at i, one of _WATCHED, is in the middle of."""
    byte = data[i]
    if byte == 91:  # [
        after = data[i + 1] if i + 1 < high else 0
        return CITED if 48 <= after <= 57 or after == 99 or after == 101 or after == 93 else 0
    if i < low + 2 or i + 2 >= high:
        return 0
    letter, before, after = byte | 32, data[i - 1] | 32, data[i + 1] | 32
    if letter == 118:  # (a)va, (i)va
        return NAMED if after == 97 and (before == 97 or before == 105) else 0
    if letter == 107:  # ooki
        return NAMED if after == 105 and before == 111 and data[i - 2] | 32 == 111 else 0
    if letter == 102:  # of u
        return NAMED if before == 111 and data[i + 1] == 32 and data[i + 2] | 32 == 117 else 0
    if letter == 103:  # ign
        return NAVIGATES if before == 105 and after == 110 else 0
    first = data[i - 2] | 32  # d mo, tem
    return NAVIGATES if (data[i - 1] == 32 and first == 100) or (before == 101 and first == 116) else 0


@numba.njit(cache=True, nogil=True)
def count_line(data, at, high, kinds, row):  # type: ignore[no-untyped-def]
    """Count one line from `at` on; return the byte after it. Its visible part is empty where it has no word."""
    row[1:] = 0
    row[1], row[2], row[3] = at, at, at
    low = at
    words = sentences = chars = letters = capitals = digits = others = longest = length = trailing = signs = 0
    mark = False  # the character before was . ! or ?
    while at < high:
        point, size = code_point(data, at)
        at += size
        kind = kinds[point]
        if kind & SPACE:
            sentences += mark
            mark = False
            longest = max(longest, length)
            length = 0
            trailing += chars > 0
            if point == 10:
                break
            continue
        if length == 0:
            words += 1
            if words == 1:
                row[2] = at - size
        row[3] = at
        chars += trailing + 1
        trailing = 0
        length += 1
        letters += kind & ALPHA != 0
        capitals += kind & (UPPER | LOWER) == UPPER
        digits += kind & DECIMAL != 0
        others += kind & WORD == 0
        mark = point == 46 or point == 33 or point == 63
        if size > 1:
            signs |= WIDE | (point == _KELVIN) * NAMED
        elif _WATCHED[point]:
            signs |= _signs_at(data, at - 1, low, high)
    row[4], row[5], row[6] = words, sentences + mark, chars
    row[7], row[8], row[9], row[10], row[11] = letters, capitals, digits, others, max(longest, length)
    row[12], row[13] = signs, _tail(data, row[2], row[3])
    return at


@numba.njit(cache=True, nogil=True)
def _tail(data, first, last):  # type: ignore[no-untyped-def]
    found, shift = np.uint64(0), np.uint64(56)
    for i in range(last - 1, max(first, last - 8) - 1, -1):
        found |= np.uint64(data[i]) << shift
        shift -= np.uint64(8)
    return np.int64(found)


@numba.njit(cache=True, nogil=True)
def _count(data, offsets, kinds, width):  # type: ignore[no-untyped-def]
    found, n = np.empty((1024, width), np.int64), np.int64(0)
    for d in range(len(offsets) - 1):
        at, high = offsets[d], offsets[d + 1]
        while at < high:
            if n == len(found):
                found = grown(found, n)
            at = count_line(data, at, high, kinds, found[n])
            found[n, 0] = d
            n += found[n, 4] > 0
    return found[:n]


@by_backend
def line_rows(data: U8, offsets: I64) -> I64:
    """Return what is counted in every line with a visible character, (lines, COLUMNS) int64."""
    found: I64 = _count(read_only(data, np.uint8), read_only(offsets, np.int64), classes(), len(COLUMNS))
    return found


def count_lines(texts: pa.Array | Resident) -> dict[str, I64]:
    """Return what is counted in every line with a visible character of large_string texts, by column, (lines,)."""
    found = line_rows(*buffers(texts))
    return {name: np.ascontiguousarray(found[:, i]) for i, name in enumerate(COLUMNS)}
