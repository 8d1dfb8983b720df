"""Words of a text with case, punctuation and accents evened out: hashes of words, of word runs and of lines.

A word is a run of letters, digits and marks. In scripts without spaces a character stands alone: each of those that
stand for a syllable or a word (Han, kana …), and each letter with its marks where a script spells (Thai, Khmer …);
unspaced.py lists both. Three letters of the latter
count as one word where words are counted, a rest as one more.
Before it is hashed a character is lower-cased, taken apart (NFKD) and freed of the accents U+0300-036F; apostrophes,
soft hyphens and zero-width characters vanish, any other character separates words. Characters that come apart into
several letters stay as they are.
"""

from __future__ import annotations

import functools
import sys
import unicodedata

import numba
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from stages.kernels.hashes.hashing import buffers, read_only
from stages.kernels.hashes.murmur64 import final64
from stages.kernels.text import unspaced
from stages.kernels.text.growing import grown, grown_row
from stages.kernels.text.word_tokens import SINGLE, WORD, classes
from stages.kernels.text.words import next_word

U64 = npt.NDArray[np.uint64]
I64 = npt.NDArray[np.int64]
BREAK, SKIP = 0, 1  # besides folded code points
ALONE, LETTER, JOINED = 1 << 31, 1 << 30, 1 << 29  # a word by itself; begins one that only marks JOINED to it go on
PARTS = 3  # of a word; a letter of a spelling script without spaces is one of them
_FLAGS = np.uint32(ALONE | LETTER | JOINED)
_SKIPPED = "'\u2019\u02bc\u00ad\u200b\u200c\u200d\u2060\ufeff"
_PRIME = np.uint64(0x9E3779B185EBCA87)
_SEED = np.uint64(0xC2B2AE3D27D4EB4F)


def fold_character(c: str, *, digits: bool) -> str:
    """Return what a character that belongs to a word is hashed as; "" for an accent.

    >>> [fold_character(c, digits=True) for c in "É5ß"]
    ['e', '0', 'ß']
    """
    lower = c.lower()
    bare = "".join(x for x in unicodedata.normalize("NFKD", lower) if not 0x300 <= ord(x) <= 0x36F)
    if not bare:
        return ""
    one = bare if len(bare) == 1 else lower if len(lower) == 1 else c
    return "0" if digits and one.isdecimal() else one


def _flag(code: int) -> int:
    """Return what a character of a script without spaces does to words, 0 for all others."""
    if unspaced.is_in(code, unspaced.SYLLABLES):
        return ALONE if chr(code).isalpha() else 0
    if not unspaced.is_in(code, unspaced.SPELLED):
        return 0
    return LETTER if chr(code).isalpha() else JOINED if unicodedata.category(chr(code))[0] == "M" else 0


@functools.cache
def table(*, digits: bool) -> npt.NDArray[np.uint32]:
    """Return what becomes of every code point, (1114112,) uint32; with `digits` every digit is a 0."""
    found = np.zeros(sys.maxunicode + 1, np.uint32)
    kinds = classes()
    for code in np.flatnonzero(kinds & WORD).tolist():
        folded = fold_character(chr(code), digits=digits)
        found[code] = (ord(folded) | (ALONE if kinds[code] & SINGLE else _flag(code))) if folded else SKIP
    found[[ord(c) for c in _SKIPPED]] = SKIP
    found.flags.writeable = False
    return found


@numba.njit(cache=True, nogil=True)
def code_point(data, i):  # type: ignore[no-untyped-def]
    """Return (code point, bytes) of the valid UTF-8 at i."""
    b = np.uint32(data[i])
    if b < 0x80:
        return b, 1
    if b < 0xE0:
        return ((b & 0x1F) << 6) | (data[i + 1] & 0x3F), 2
    if b < 0xF0:
        return ((b & 0x0F) << 12) | ((data[i + 1] & 0x3F) << 6) | (data[i + 2] & 0x3F), 3
    high = ((b & 0x07) << 18) | ((data[i + 1] & 0x3F) << 12)
    return high | ((data[i + 2] & 0x3F) << 6) | (data[i + 3] & 0x3F), 4


@numba.njit(cache=True, nogil=True)
def fold_words(data, low, high, folds, hashes, starts, stops, parts):  # type: ignore[no-untyped-def]
    """Write hash, first and last byte and parts (see `PARTS`) of every word of data[low:high]; return their number."""
    n, h, inside, letter, i = 0, _SEED, False, False, low
    while i < high:
        point, size = code_point(data, i)
        folded = folds[point]
        flags = folded & _FLAGS
        if inside and (
            folded == BREAK
            or flags & np.uint32(ALONE | LETTER) != 0
            or (letter and folded > SKIP and flags & np.uint32(JOINED) == 0)
        ):
            hashes[n] = h
            n += 1
            inside = False
        if folded > SKIP:
            if not inside:
                h, starts[n], inside = _SEED, i, True
                letter = flags & np.uint32(LETTER | JOINED) != 0
                parts[n] = 1 if letter else PARTS
            h = (h ^ np.uint64(folded & ~_FLAGS)) * _PRIME
            h ^= h >> np.uint64(29)
            stops[n] = i + size
            if flags & np.uint32(ALONE) != 0:
                hashes[n] = h
                n += 1
                inside = False
        i += size
    if inside:
        hashes[n] = h
        n += 1
    return n


@numba.njit(cache=True, nogil=True)
def _finish(data, begin, end, folds, words, room):  # type: ignore[no-untyped-def]
    """Return (words, hash) of a line; its bytes are hashed where `words` is not wanted."""
    hashes, starts, stops, parts = room
    n = fold_words(data, begin, end, folds, hashes, starts, stops, parts)
    h = _SEED
    if words:
        for k in range(n):
            h = (h ^ hashes[k]) * _PRIME
            h ^= h >> np.uint64(31)
    else:
        for k in range(begin, end):
            h = (h ^ np.uint64(data[k])) * _PRIME
            h ^= h >> np.uint64(29)
    return (parts[:n].sum() + PARTS - 1) // PARTS, final64(h)


@numba.njit(cache=True, nogil=True)
def _lines(data, offsets, folds, words, paragraphs, fewest, longest):  # type: ignore[no-untyped-def]
    starts, stops = np.empty(longest + 1, np.int64), np.empty(longest + 1, np.int64)
    room = np.empty(longest + 1, np.uint64), starts, stops, np.empty(longest + 1, np.int64)
    keys, spans = np.empty(1024, np.uint64), np.empty((1024, 3), np.int64)
    n = np.int64(0)
    for d in range(len(offsets) - 1):
        low, high = offsets[d], offsets[d + 1]
        at = span = begin = end = low  # the piece held: its visible part [begin, end), what is cut from `span` on
        held = blank = False
        while at <= high:
            stop = at
            while stop < high and data[stop] != 10:
                stop += 1
            first, _ = next_word(data, at, stop)
            visible = first < stop
            last = stop
            while visible and last > first and (data[last - 1] == 32 or 9 <= data[last - 1] <= 13):
                last -= 1
            over = stop >= high
            if held and visible and (blank or not paragraphs):
                count, h = _finish(data, begin, end, folds, words, room)
                keys, spans, n = _append(keys, spans, n, d, h, span - low, at - low, count >= fewest)
                held, span = False, at
            if visible:
                if not held:
                    begin, held = first, True
                end = last
            blank = not visible
            if over:
                break
            at = stop + 1
        if held:
            count, h = _finish(data, begin, end, folds, words, room)
            keys, spans, n = _append(keys, spans, n, d, h, span - low, high - low, count >= fewest)
    return keys[:n], spans[:n]


@numba.njit(cache=True, nogil=True)
def _append(keys, spans, n, d, h, start, stop, wanted):  # type: ignore[no-untyped-def]
    if not wanted:
        return keys, spans, n
    if n == len(keys):
        keys, spans = grown_row(keys, n), grown(spans, n)
    keys[n] = h
    spans[n, 0], spans[n, 1], spans[n, 2] = d, start, stop
    return keys, spans, n + 1


def lines(texts: pa.Array, normalise: str, unit: str, min_words: int) -> tuple[U64, I64]:
    """Hash the lines (or paragraphs: lines up to a blank one) of texts that have enough words.

    Parameters
    ----------
    normalise : words (folded, see above), digits (and every digit is a 0), none (bytes, white space at the ends
        aside).
    unit : line or paragraph.

    Returns
    -------
    (lines,) uint64 and (lines, 3) int64 of text, start, stop: what goes when the line goes, in bytes of the text,
    that is all up to the next line with a visible character; the spans of all lines of a text cover it.
    """
    data, offsets = buffers(texts)
    longest = int(np.diff(offsets).max()) if len(offsets) > 1 else 0
    arguments = (read_only(data, np.uint8), read_only(offsets, np.int64), table(digits=normalise == "digits"))
    keys, spans = _lines(*arguments, normalise != "none", unit == "paragraph", min_words, longest)
    return keys, spans
