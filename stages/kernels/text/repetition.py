"""Repeated lines, paragraphs and n-grams of one text, compiled by numba: Gopher's table A1 (Rae et al. 2021).

Guarantees: equal to the plain rules of `tests/support/heuristics_reference.py`. Two pieces are equal when their 64-bit
hashes are. Memory: a table of at least twice as many slots as the text has pieces.
"""

from __future__ import annotations

import numba
import numpy as np

from stages.kernels.text.heuristic_facts import ALL_COPIES, COVERED, LONGEST_TOP, OF_UNITS
from stages.kernels.text.word_tokens import SPACE

_PRIME = np.uint64(0x9E3779B185EBCA87)
_SEED = np.uint64(0xC2B2AE3D27D4EB4F)


def scalar_hash(text: str) -> int:
    """Return the hash that the kernel gives a token; for constants."""
    h = int(_SEED)
    for c in text:
        h = ((h ^ ord(c)) * int(_PRIME)) & (2**64 - 1)
        h ^= h >> 29
    return h


@numba.njit(cache=True, nogil=True)
def hash_of(points, start, stop):  # type: ignore[no-untyped-def]
    h = _SEED
    for i in range(start, stop):
        h = (h ^ np.uint64(points[i])) * _PRIME
        h ^= h >> np.uint64(29)
    return h


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
def slot_of(table, h, mask):  # type: ignore[no-untyped-def]
    """Return the slot of h, or the free one where it belongs."""
    h |= np.uint64(1)
    slot = np.int64(h >> np.uint64(20)) & mask
    while table[slot] != 0 and table[slot] != h:
        slot = (slot + 1) & mask
    return slot


@numba.njit(cache=True, nogil=True)
def cleared(table, entries):  # type: ignore[no-untyped-def]
    """Clear the part of the table that this number of entries needs; return its mask."""
    size = 16
    while size < 2 * entries:
        size *= 2
    table[:size] = 0
    return size - 1


@numba.njit(cache=True, nogil=True)
def copies_of(table, counts, h, mask, flags):  # type: ignore[no-untyped-def]
    """Count a piece; return how many more copies there are with it: 0 or 1, or 2 where the first counts as well."""
    slot = slot_of(table, h, mask)
    if table[slot] == 0:
        table[slot] = h | np.uint64(1)
        counts[slot] = 1
        return 0
    counts[slot] += 1
    return 2 if flags & ALL_COPIES and counts[slot] == 2 else 1


@numba.njit(cache=True, nogil=True)
def judge_paragraphs(points, kinds, n, table, counts, flags, out):  # type: ignore[no-untyped-def]
    """Fill in the facts of repeated paragraphs: stretches between two or more line breaks, ends stripped."""
    paragraphs = copies = copied = chars = 0
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
            chars += last - first
            more = copies_of(table, counts, hash_of(points, first, last), mask, flags)
            copies += more
            copied += more * (last - first)
        while end < n and points[end] == 10:
            end += 1
        start = end
        if end == n:
            break
    out[10], out[11] = copies / max(paragraphs, 1), copied / max(chars if flags & OF_UNITS else n, 1)


@numba.njit(cache=True, nogil=True)
def running_sums(hashes, tokens, sums):  # type: ignore[no-untyped-def]
    """Fill sums[:tokens + 1] with the polynomial of the first tokens' hashes modulo 2^64."""
    sums[0] = np.uint64(0)
    for i in range(tokens):
        sums[i + 1] = sums[i] * _PRIME + hashes[i]


@numba.njit(cache=True, nogil=True)
def power_of(width):  # type: ignore[no-untyped-def]
    found = np.uint64(1)
    for _ in range(width):
        found *= _PRIME
    return found


@numba.njit(cache=True, nogil=True)
def top_gram(sums, lengths, tokens, width, table, counts, flags):  # type: ignore[no-untyped-def]
    """Return the characters covered by the most frequent n-gram; none where no n-gram occurs twice.

    Its words are joined by spaces, except where shares are of words. Of ties it is the first, or the longest.
    """
    if tokens < width:
        return 0
    mask, power = cleared(table, tokens), power_of(width)
    counts[: mask + 1] = 0
    best, size, top = 1, 0, -1
    for turn in range(2):
        for i in range(tokens - width + 1):
            h = (sums[i + width] - sums[i] * power) | np.uint64(1)
            slot = slot_of(table, h, mask)
            if turn == 0:
                table[slot] = h
                counts[slot] += 1
            elif counts[slot] > best or (flags & LONGEST_TOP and top >= 0 and counts[slot] == best):
                chars = lengths[i : i + width].sum()
                if counts[slot] > best or chars > size:
                    best, size, top = counts[slot], chars, slot
    if top < 0:
        return 0
    spaces = 0 if flags & OF_UNITS else 1
    if flags & COVERED:
        return _covered(sums, lengths, tokens, width, table, mask, top, spaces)
    return (size + spaces * (width - 1)) * best


@numba.njit(cache=True, nogil=True)
def _covered(sums, lengths, tokens, width, table, mask, top, spaces):  # type: ignore[no-untyped-def]
    """Return the characters that occurrences of one n-gram cover, each once, with the spaces inside them."""
    chars = reach = 0
    power = power_of(width)
    for i in range(tokens - width + 1):
        if slot_of(table, sums[i + width] - sums[i] * power, mask) != top:
            continue
        begin = max(i, reach)
        chars += lengths[begin : i + width].sum()
        inside = width - 1 if begin == i else i + width - begin
        chars += spaces * inside
        reach = i + width
    return chars


@numba.njit(cache=True, nogil=True)
def repeated_chars(sums, lengths, tokens, width, table, counts, flags):  # type: ignore[no-untyped-def]
    """Return the characters of repeated n-grams, none of them twice."""
    mask, power = cleared(table, tokens), power_of(width)
    if flags & (ALL_COPIES | COVERED) == 0:
        chars = i = 0
        while i <= tokens - width:
            if insert(table, sums[i + width] - sums[i] * power, mask):
                i += 1
            else:
                chars += lengths[i : i + width].sum()
                i += width
        return chars
    if flags & ALL_COPIES:
        counts[: mask + 1] = 0
        for i in range(tokens - width + 1):
            h = sums[i + width] - sums[i] * power
            slot = slot_of(table, h, mask)
            table[slot] = h | np.uint64(1)
            counts[slot] += 1
    chars = i = reach = 0
    while i <= tokens - width:
        h = sums[i + width] - sums[i] * power
        again = counts[slot_of(table, h, mask)] > 1 if flags & ALL_COPIES else not insert(table, h, mask)
        if again:
            begin = max(i, reach)
            chars += lengths[begin : i + width].sum()
            reach = i + width
        i = reach if again and not flags & COVERED else i + 1
    return chars
