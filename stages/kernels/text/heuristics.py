"""Every number that the Gopher, C4 and FineWeb rules compare, in one pass over the text, compiled by numba.

Guarantees: equal to the plain rules of `tests/support/heuristics_reference.py` for every text. Tokens are those of
`word_tokens`; words are tokens with a letter or digit. Lines are those with a character that is no white space.
Holds the code points of one document.
"""

from __future__ import annotations

import numba
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from stages.kernels.hashes.hashing import buffers
from stages.kernels.text.heuristic_facts import FACTS
from stages.kernels.text.word_tokens import ALPHA, SPACE, TERMINAL, WORD, classes, split

F64 = npt.NDArray[np.float64]

STOP_WORDS = ("the", "be", "to", "of", "and", "that", "have", "with")  # Gopher, Rae et al. 2021, A1.1
BULLETS = "\u2022\u2023\u25b6\u25c0\u25e6\u25a0\u25a1\u25aa\u25ab\u2013-*"
SHORT_LINE = 30  # characters, FineWeb
COUNT = len(FACTS)

_PRIME = np.uint64(0x9E3779B185EBCA87)
_SEED = np.uint64(0xC2B2AE3D27D4EB4F)


def scalar_hash(text: str) -> int:
    """Return the hash that the kernel gives a token; for constants."""
    h = int(_SEED)
    for c in text:
        h = ((h ^ ord(c)) * int(_PRIME)) & (2**64 - 1)
        h ^= h >> 29
    return h


_STOPS = np.array([scalar_hash(word) for word in STOP_WORDS], np.uint64)
_BULLETS = np.array([ord(c) for c in BULLETS], np.uint32)
_LOREM = np.array([ord(c) for c in "lorem ipsum"], np.uint32)


@numba.njit(cache=True, nogil=True)
def decode(data, start, stop, points):  # type: ignore[no-untyped-def]
    """Write the code points of valid UTF-8; return their number."""
    n, i = 0, start
    while i < stop:
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
def hash_of(points, start, stop):  # type: ignore[no-untyped-def]
    h = _SEED
    for i in range(start, stop):
        h = (h ^ np.uint64(points[i])) * _PRIME
        h ^= h >> np.uint64(29)
    return h


@numba.njit(cache=True, nogil=True)
def judge_words(points, kinds, tokens, starts, stops, hashes, out):  # type: ignore[no-untyped-def]
    """Fill in the Gopher facts of words (tokens with a letter or digit); write hashes and, into stops, lengths."""
    words = chars = alphabetic = 0
    seen = np.zeros(len(_STOPS), np.bool_)
    for t in range(tokens):
        first, stop = starts[t], stops[t]
        h = hash_of(points, first, stop)
        hashes[t], stops[t] = h, stop - first
        flags = 0
        for k in range(first, stop):
            flags |= kinds[k]
        alphabetic += flags & ALPHA != 0
        if flags & WORD:
            words += 1
            chars += stop - first
        if 2 <= stop - first <= 4:
            for k in range(len(_STOPS)):
                seen[k] |= h == _STOPS[k]
    out[0] = words
    out[1] = chars / max(words, 1)
    out[6] = alphabetic / max(tokens, 1)
    out[7] = seen.sum()


@numba.njit(cache=True, nogil=True)
def insert(table, h, mask):  # type: ignore[no-untyped-def]
    """Insert h into a hash set whose free slots are 0; return whether it was new."""
    h |= np.uint64(1)
    slot = np.int64(h >> np.uint64(20)) & mask
    while table[slot] != 0:
        if table[slot] == h:
            return False
        slot = (slot + 1) & mask
    table[slot] = h
    return True


@numba.njit(cache=True, nogil=True)
def cleared(table, entries):  # type: ignore[no-untyped-def]
    """Clear the part of the table that this number of entries needs; return its mask."""
    size = 16
    while size < 2 * entries:
        size *= 2
    table[:size] = 0
    return size - 1


@numba.njit(cache=True, nogil=True)
def among(point, points):  # type: ignore[no-untyped-def]
    found = False
    for p in points:
        found |= p == point
    return found


@numba.njit(cache=True, nogil=True)
def judge_lines(points, kinds, n, table, tokens, out):  # type: ignore[no-untyped-def]
    """Fill in the facts of lines."""
    lines = bullets = ellipses = punctuated = short = copies = copied = breaks = 0
    for i in range(n):
        breaks += points[i] == 10
    mask = cleared(table, breaks + 1)
    start = 0
    for end in range(n + 1):
        if end < n and points[end] != 10:
            continue
        first, last = start, end
        while first < last and kinds[first] & SPACE:
            first += 1
        while last > first and kinds[last - 1] & SPACE:
            last -= 1
        start = end + 1
        if first == last:
            continue
        lines += 1
        bullets += among(points[first], _BULLETS)
        dots = last - first >= 3 and points[last - 1] == 46 and points[last - 2] == 46 and points[last - 3] == 46
        ellipses += dots or points[last - 1] == 0x2026
        punctuated += kinds[last - 1] & TERMINAL != 0
        short += last - first <= SHORT_LINE
        if not insert(table, hash_of(points, first, last), mask):
            copies += 1
            copied += last - first
    whole = max(lines, 1)
    out[4], out[5] = bullets / whole, ellipses / whole
    out[8], out[9] = copies / whole, copied / max(n, 1)
    out[21], out[22] = punctuated / whole, short / whole
    out[23], out[24] = copied / max(n - breaks, 1), breaks / max(tokens, 1)


@numba.njit(cache=True, nogil=True)
def judge_paragraphs(points, kinds, n, table, out):  # type: ignore[no-untyped-def]
    """Fill in the facts of repeated paragraphs: stretches between two or more line breaks, ends stripped."""
    paragraphs = copies = copied = 0
    mask = cleared(table, n // 2 + 1)
    start, end = 0, 0
    while end <= n:
        if end < n and not (points[end] == 10 and end + 1 < n and points[end + 1] == 10):
            end += 1
            continue
        first, last = start, end
        while first < last and kinds[first] & SPACE:
            first += 1
        while last > first and kinds[last - 1] & SPACE:
            last -= 1
        if first < last:
            paragraphs += 1
            if not insert(table, hash_of(points, first, last), mask):
                copies += 1
                copied += last - first
        while end < n and points[end] == 10:
            end += 1
        start = end
        if end == n:
            break
    out[10], out[11] = copies / max(paragraphs, 1), copied / max(n, 1)


@numba.njit(cache=True, nogil=True)
def gram_hash(hashes, i, width):  # type: ignore[no-untyped-def]
    h = _SEED
    for k in range(i, i + width):
        h = (h ^ hashes[k]) * _PRIME
        h ^= h >> np.uint64(31)
    return h


@numba.njit(cache=True, nogil=True)
def top_gram(hashes, lengths, tokens, width, table, counts):  # type: ignore[no-untyped-def]
    """Return the characters covered by the most frequent n-gram, joined by spaces; of ties the first."""
    if tokens < width:
        return 0
    mask = cleared(table, tokens)
    counts[: mask + 1] = 0
    best = chars = 0
    for turn in range(2):
        for i in range(tokens - width + 1):
            h = gram_hash(hashes, i, width) | np.uint64(1)
            slot = np.int64(h >> np.uint64(20)) & mask
            while table[slot] != 0 and table[slot] != h:
                slot = (slot + 1) & mask
            if turn == 0:
                table[slot] = h
                counts[slot] += 1
            elif counts[slot] > best:
                best = counts[slot]
                chars = (lengths[i : i + width].sum() + width - 1) * best
    return chars


@numba.njit(cache=True, nogil=True)
def repeated_chars(hashes, lengths, tokens, width, table):  # type: ignore[no-untyped-def]
    """Return the characters of repeated n-grams, counted without overlap."""
    mask = cleared(table, tokens)
    chars = i = 0
    while i <= tokens - width:
        if insert(table, gram_hash(hashes, i, width), mask):
            i += 1
        else:
            chars += lengths[i : i + width].sum()
            i += width
    return chars


@numba.njit(cache=True, nogil=True)
def judge_characters(points, kinds, n, tokens, out):  # type: ignore[no-untyped-def]
    """Fill in the facts of single characters: hashes, ellipses, brackets, lorem ipsum, ends of sentences."""
    marks = ellipses = brackets = lorem = sentences = 0
    i = skip = 0
    for i in range(n):
        c = points[i]
        marks += c == 35
        brackets |= c == 123
        if c == 0x2026:
            ellipses += 1
        elif c == 46 and i >= skip and i + 2 < n and points[i + 1] == 46 and points[i + 2] == 46:
            ellipses += 1
            skip = i + 3
        if c == 46 or c == 33 or c == 63:
            sentences += i + 1 == n or kinds[i + 1] & SPACE > 0
        if (c == 108 or c == 76) and i + len(_LOREM) <= n:
            same = True
            for k in range(len(_LOREM)):
                p = points[i + k]
                same &= _LOREM[k] == (p + 32 if 65 <= p <= 90 else p)
            lorem |= same
    out[2], out[3] = marks / max(tokens, 1), ellipses / max(tokens, 1)
    out[25], out[26], out[27] = brackets, lorem, sentences


@numba.njit(cache=True, nogil=True)
def judge(data, offsets, table_of_classes, longest, found):  # type: ignore[no-untyped-def]
    """Fill in `found`, (documents, facts)."""
    points, kinds = np.empty(longest + 1, np.uint32), np.empty(longest + 1, np.uint16)
    starts, lengths = np.empty(longest + 1, np.int64), np.empty(longest + 1, np.int64)
    hashes = np.empty(longest + 1, np.uint64)
    size = 32
    while size < 4 * (longest + 2):
        size *= 2
    table, counts = np.zeros(size, np.uint64), np.zeros(size, np.int32)
    for d in range(len(offsets) - 1):
        out = found[d]
        n = decode(data, offsets[d], offsets[d + 1], points)
        for i in range(n):
            kinds[i] = table_of_classes[points[i]]
        tokens = split(points, kinds, n, starts, lengths)
        judge_words(points, kinds, tokens, starts, lengths, hashes, out)
        judge_characters(points, kinds, n, tokens, out)
        judge_lines(points, kinds, n, table, tokens, out)
        judge_paragraphs(points, kinds, n, table, out)
        for k in range(3):
            out[12 + k] = top_gram(hashes, lengths, tokens, 2 + k, table, counts) / max(n, 1)
        for k in range(6):
            out[15 + k] = repeated_chars(hashes, lengths, tokens, 5 + k, table) / max(n, 1)


def measure(texts: pa.Array | pa.ChunkedArray) -> F64:
    """Return the facts of large_string texts without nulls, (texts, len(FACTS)) float64."""
    data, offsets = buffers(texts)
    found = np.zeros((len(offsets) - 1, COUNT), np.float64)
    if len(found):
        judge(data, offsets, classes(), int(np.diff(offsets).max()), found)
    return found
