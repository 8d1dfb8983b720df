"""Lines of texts and what is counted in each: words, sentences, kinds of characters, compiled by numba.

Guarantees: lines end at line feeds; white space is what `str.isspace` says, words are what `str.split` gives. Memory:
a row of whole numbers for every line with a visible character, and two bytes for each
of the longest text.
"""

from __future__ import annotations

import numba
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from stages.kernels.dispatch.dispatch import by_backend
from stages.kernels.dispatch.resident import Resident
from stages.kernels.hashes.bits import leading_zeros, set_bits, trailing_zeros
from stages.kernels.hashes.hashing import U8, buffers, load64, read_only
from stages.kernels.text.byte_signs import (
    BELOW,
    WIDTH,
    beyond_ascii,
    continuations,
    line_feeds,
    sentence_ends,
    watched,
)
from stages.kernels.text.growing import grown
from stages.kernels.text.marks import BLANK, CAPITAL, FIRST, LETTER, NUMBER, PAD, SIGN, bits_of, copy_marked, table

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
_TURNED = 4096  # rows that are made columns at a time: as many as fit the cache


@numba.njit(cache=True, nogil=True)
def _signs_at(data, i, low, high):  # type: ignore[no-untyped-def]
    """Return the signs that the byte at i, one of `watched`, is in the middle of."""
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
def _characters(text, first, last):  # type: ignore[no-untyped-def]
    """Return the characters of text[first:last]."""
    found = last - first
    for at in range(first, last, WIDTH):
        found -= set_bits(continuations(text, at) & BELOW[min(WIDTH, last - at)])
    return found


@numba.njit(cache=True, nogil=True)
def _signs_of(text, low, high, candidates, at):  # type: ignore[no-untyped-def]
    """Return the signs around the candidates among the bytes from `at` on."""
    signs = np.int64(0)
    while candidates != 0:
        signs |= _signs_at(text, at + trailing_zeros(candidates), low, high)
        candidates &= candidates - np.uint64(1)
    return signs


@numba.njit(cache=True, nogil=True)
def _wide_signs(text, first, last):  # type: ignore[no-untyped-def]
    signs = WIDE
    for i in range(first, last - 2):
        if text[i] == 0xE2 and text[i + 1] == 0x84 and text[i + 2] == 0xAA:  # the Kelvin sign is k in another case
            signs |= NAMED
    return signs


@numba.njit(cache=True, nogil=True)
def count_line(text, marks, at, high, row):  # type: ignore[no-untyped-def]
    """Count the line of text that begins at `at`, 64 bytes at a time; return the byte after it.

    text, marks : as `copy_marked` writes them. The visible part is empty where the line has no word.
    """
    low = first = last = at
    words = sentences = letters = capitals = digits = others = longest = signs = np.int64(0)
    wide, blank_before, ends = np.uint64(0), at - 1, np.uint64(0)
    while at < high and ends == 0:
        ends = line_feeds(text, at)
        size = min(WIDTH if ends == 0 else trailing_zeros(ends), high - at)
        here, blanks = BELOW[size], bits_of(marks, at, BLANK)
        seen, blanks = ~blanks & here, blanks & here
        if seen != 0:
            first = at + trailing_zeros(seen) if words == 0 else first
            last = at + WIDTH - leading_zeros(seen)
            words += set_bits(seen & bits_of(marks, at - 1, BLANK))
            letters += set_bits(bits_of(marks, at, LETTER) & here)
            capitals += set_bits(bits_of(marks, at, CAPITAL) & here)
            digits += set_bits(bits_of(marks, at, NUMBER) & here)
            others += set_bits(bits_of(marks, at, SIGN) & here)
            sentences += set_bits(sentence_ends(text, at) & here & bits_of(marks, at + 1, BLANK))
            signs |= _signs_of(text, low, high, watched(text, at) & here, at)
            wide |= beyond_ascii(text, at) & seen
        while blanks != 0:
            i = at + trailing_zeros(blanks)
            blanks &= blanks - np.uint64(1)
            if i - blank_before - 1 > longest:
                longest = max(longest, _characters(text, blank_before + 1, i))
            blank_before = i
        at += size
    if at - blank_before - 1 > longest:
        longest = max(longest, _characters(text, blank_before + 1, at))
    if wide != 0:
        signs |= _wide_signs(text, first, last)
    row[1], row[2], row[3], row[4], row[5] = low, first, last, words, sentences
    row[6], row[7], row[8], row[9] = _characters(text, first, last), letters, capitals, digits
    row[10], row[11], row[12] = others, longest, signs
    row[13] = np.int64(load64(text, last - 8) & ~FIRST[8 - min(8, last - first)])
    return at + (ends != 0 and at < high)


@numba.njit(cache=True, nogil=True)
def _count(data, offsets, table_of_marks, text, marks, found):  # type: ignore[no-untyped-def]
    n = np.int64(0)
    for d in range(len(offsets) - 1):
        at, base = np.int64(PAD), offsets[d] - PAD
        high = copy_marked(data, offsets[d], offsets[d + 1], table_of_marks, text, marks)
        while at < high:
            if n == len(found):
                found = grown(found, n)
            row = found[n]
            at = count_line(text, marks, at, high, row)
            row[0] = d
            row[1] += base
            row[2] += base
            row[3] += base
            n += row[4] > 0
    return found[:n]


@by_backend
def line_rows(data: U8, offsets: I64) -> I64:
    """Return what is counted in every line with a visible character, (lines, COLUMNS) int64."""
    longest = int(np.diff(offsets).max()) if len(offsets) > 1 else 0
    text, marks = np.zeros(longest + 3 * PAD, np.uint8), np.full(longest + 3 * PAD, BLANK, np.uint8)
    room = text, marks, np.empty((1024, len(COLUMNS)), np.int64)
    found: I64 = _count(read_only(data, np.uint8), read_only(offsets, np.int64), table(), *room)
    return found


def count_lines(texts: pa.Array | Resident) -> dict[str, I64]:
    """Return what is counted in every line with a visible character of large_string texts, by column, (lines,)."""
    rows = line_rows(*buffers(texts))
    found = np.empty((len(COLUMNS), len(rows)), np.int64)
    for first in range(0, len(rows), _TURNED):
        found[:, first : first + _TURNED] = rows[first : first + _TURNED].T
    return dict(zip(COLUMNS, found, strict=True))
