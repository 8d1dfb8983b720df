"""Repeated lines, paragraphs and n-grams of one text, compiled by numba: Gopher's table A1 (Rae et al. 2021).

Guarantees: equal to the plain rules of `tests/support/heuristics_reference.py`. Two pieces are equal when their 64-bit
hashes are. Memory: a table of at least twice as many slots as the text has pieces.
"""

from __future__ import annotations

import numba
import numpy as np

from stages.kernels.hashes.hashing import folded_product, load64, power
from stages.kernels.text import heuristic_counts as at
from stages.kernels.text.heuristic_facts import ALL_COPIES, COVERED, LONGEST_TOP, OF_UNITS
from stages.kernels.text.marks import FIRST, HIGH
from stages.kernels.text.word_tokens import SPACE

_PRIME = np.uint64(0x9E3779B185EBCA87)
_SEED = np.uint64(0xC2B2AE3D27D4EB4F)
_KEYS = np.array([0xA0761D6478BD642F, 0xE7037ED1A0B428DB, 0x8EBC6AF09C88C6E3, 0x589965CC75374CC3], np.uint64)
_MASKS = np.array([0, (1 << 32) - 1, *[(1 << 64) - 1] * 7], np.uint64)  # of the first n of two code points


def scalar_hash(text: str) -> int:
    """Return the hash that the kernel gives a token; for constants."""
    if text.isascii():
        return _hash_of_bytes(text.encode())
    points = [ord(c) for c in text]
    h, i = int(_SEED) ^ len(points), 0
    while i + 8 < len(points):
        h, i = _eight(points[i : i + 8], h), i + 8
    return _eight([*points[i:], *[0] * 8][:8], h)


def _hash_of_bytes(text: bytes) -> int:
    h, blocks = int(_SEED) ^ len(text), range(0, max(len(text), 1), 16)
    for i in blocks:
        a, b = (int.from_bytes(text[k : k + 8], "little") for k in (i, i + 8))
        h = _folded(a ^ int(_KEYS[0]), b ^ h)
    return _folded(h ^ int(_KEYS[1]), int(_KEYS[2]))


def _eight(points: list[int], h: int) -> int:
    a, b, c, d = (points[i] | points[i + 1] << 32 for i in (0, 2, 4, 6))
    one, other = _folded(a ^ int(_KEYS[0]), b ^ h), _folded(c ^ int(_KEYS[1]), d ^ h)
    return _folded(one ^ int(_KEYS[2]), other ^ int(_KEYS[3]))


def _folded(x: int, y: int) -> int:
    return ((x * y) & ((1 << 64) - 1)) ^ ((x * y) >> 64)


@numba.njit(cache=True, nogil=True)
def _mixed(a, b, c, d, h):  # type: ignore[no-untyped-def]
    one, other = folded_product(a ^ _KEYS[0], b ^ h), folded_product(c ^ _KEYS[1], d ^ h)
    return folded_product(one ^ _KEYS[2], other ^ _KEYS[3])


@numba.njit(cache=True, nogil=True)
def _hash_of_points(points, start, stop):  # type: ignore[no-untyped-def]
    h = _SEED ^ np.uint64(stop - start)
    i = start
    while i + 8 < stop:
        h = _mixed(load64(points, i), load64(points, i + 2), load64(points, i + 4), load64(points, i + 6), h)
        i += 8
    left = stop - i
    a, b = load64(points, i) & _MASKS[left], load64(points, i + 2) & _MASKS[max(left - 2, 0)]
    c, d = load64(points, i + 4) & _MASKS[max(left - 4, 0)], load64(points, i + 6) & _MASKS[max(left - 6, 0)]
    return _mixed(a, b, c, d, h)


@numba.njit(cache=True, nogil=True)
def hash_of_word(word, size):  # type: ignore[no-untyped-def]
    """Hash at most eight ASCII characters, (bytes, the first lowest, zeros behind them), as `hash_of` does."""
    h = folded_product(word ^ _KEYS[0], _SEED ^ np.uint64(size))
    return folded_product(h ^ _KEYS[1], _KEYS[2])


@numba.njit(cache=True, nogil=True)
def hash_of(points, narrow, start, stop):  # type: ignore[no-untyped-def]
    """Hash characters: ASCII alone sixteen bytes at a time, others eight code points at a time.

    Both arrays have sixteen places more behind `stop`, whatever stands there.
    """
    h, every = _SEED ^ np.uint64(stop - start), np.uint64(0)
    i = start
    while i + 16 < stop:
        a, b = load64(narrow, i), load64(narrow, i + 8)
        h = folded_product(a ^ _KEYS[0], b ^ h)
        every |= a | b
        i += 16
    left = stop - i
    a, b = load64(narrow, i) & FIRST[min(left, 8)], load64(narrow, i + 8) & FIRST[max(left - 8, 0)]
    if (every | a | b) & HIGH != 0:
        return _hash_of_points(points, start, stop)
    return folded_product(folded_product(a ^ _KEYS[0], b ^ h) ^ _KEYS[1], _KEYS[2])


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
def stripped(points, kinds, first, last):  # type: ignore[no-untyped-def]
    """Return where a stretch starts and stops without the white space at its ends."""
    while first < last and kinds[points[first]] & SPACE:
        first += 1
    while last > first and kinds[points[last - 1]] & SPACE:
        last -= 1
    return first, last


@numba.njit(cache=True, nogil=True)
def judge_paragraphs(points, narrow, kinds, n, breaks, table, counts, flags, out):  # type: ignore[no-untyped-def]
    """Count repeated paragraphs: stretches between two or more line breaks, ends stripped."""
    paragraphs = copies = copied = chars = 0
    mask = cleared(table, len(breaks) + 1)
    start = k = np.int64(0)
    while start < n:
        while k < len(breaks) and not (k + 1 < len(breaks) and breaks[k + 1] == breaks[k] + 1):
            k += 1
        first, last = stripped(points, kinds, start, breaks[k] if k < len(breaks) else n)
        if first < last:
            paragraphs += 1
            chars += last - first
            more = copies_of(table, counts, hash_of(points, narrow, first, last), mask, flags)
            copies += more
            copied += more * (last - first)
        while k + 1 < len(breaks) and breaks[k + 1] == breaks[k] + 1:
            k += 1
        start = breaks[k] + 1 if k < len(breaks) else n
        k += 1
    out[at.PARAGRAPHS], out[at.PARAGRAPH_CHARS] = paragraphs, chars
    out[at.PARAGRAPH_COPIES], out[at.PARAGRAPH_COPIED] = copies, copied


@numba.njit(cache=True, nogil=True)
def running_sums(hashes, lengths, tokens, sums):  # type: ignore[no-untyped-def]
    """Fill sums[:tokens + 1] with the polynomial of the first tokens' hashes modulo 2^64.

    In the place of each token's length comes where it ends in the tokens joined, behind a zero; return where all end.
    """
    sums[0] = np.uint64(0)
    end = np.int64(0)
    for i in range(tokens):
        sums[i + 1] = sums[i] * _PRIME + hashes[i]
        size = lengths[i]
        lengths[i] = end
        end += size
    lengths[tokens] = end
    return end


@numba.njit(cache=True, nogil=True)
def count_grams(sums, places, found, width, table, counts, slots):  # type: ignore[no-untyped-def]
    """Count the n-grams that begin at places[:found]; write the slot of each."""
    mask, leave = cleared(table, found), power(_PRIME, width)
    for k in range(found):
        i = places[k]
        h = sums[i + width] - sums[i] * leave
        slot = slot_of(table, h, mask)
        if table[slot] == 0:
            table[slot], counts[slot] = h | np.uint64(1), 0
        counts[slot] += 1
        slots[k] = slot


@numba.njit(cache=True, nogil=True)
def repeated_places(places, found, counts, slots):  # type: ignore[no-untyped-def]
    """Keep the places at which n-grams begin that occur twice; write their number and slots likewise."""
    kept = 0
    for k in range(found):
        if counts[slots[k]] > 1:
            places[kept], slots[kept] = places[k], slots[k]
            kept += 1
    return kept


@numba.njit(cache=True, nogil=True)
def longer_places(places, found):  # type: ignore[no-untyped-def]
    """Keep the places whose successor is a place too: an n-gram occurs twice only if both of its parts do."""
    kept = 0
    for k in range(found - 1):
        if places[k + 1] == places[k] + 1:
            places[kept] = places[k]
            kept += 1
    return kept


@numba.njit(cache=True, nogil=True)
def top_chars(places, found, slots, ends, width, counts, flags):  # type: ignore[no-untyped-def]
    """Return the characters covered by the most frequent n-gram; none where no n-gram occurs twice.

    Its words are joined by spaces, except where shares are of words. Of ties it is the first, or the longest.
    """
    best, size, top = 1, 0, np.int64(-1)
    for k in range(found):
        slot = slots[k]
        if counts[slot] > best or (flags & LONGEST_TOP and top >= 0 and counts[slot] == best):
            chars = ends[places[k] + width] - ends[places[k]]
            if counts[slot] > best or chars > size:
                best, size, top = counts[slot], chars, slot
    if top < 0:
        return 0
    spaces = 0 if flags & OF_UNITS else 1
    if flags & COVERED:
        return _covered(places, found, slots, ends, width, top, spaces)
    return (size + spaces * (width - 1)) * best


@numba.njit(cache=True, nogil=True)
def _covered(places, found, slots, ends, width, top, spaces):  # type: ignore[no-untyped-def]
    """Return the characters that occurrences of one n-gram cover, each once, with the spaces inside them."""
    chars = reach = 0
    for k in range(found):
        if slots[k] != top:
            continue
        i = places[k]
        begin = max(i, reach)
        chars += ends[i + width] - ends[begin]
        inside = width - 1 if begin == i else i + width - begin
        chars += spaces * inside
        reach = i + width
    return chars


@numba.njit(cache=True, nogil=True)
def repeated_chars(places, found, slots, ends, width, counts, flags):  # type: ignore[no-untyped-def]
    """Return the characters of repeated n-grams, none of them twice. Counts of n-grams that were met turn negative."""
    chars = reach = 0
    for k in range(found):
        i, slot = places[k], slots[k]
        if i < reach and not flags & COVERED:
            continue
        if flags & ALL_COPIES or counts[slot] < 0:
            chars += ends[i + width] - ends[max(i, reach)]
            reach = i + width
        counts[slot] = -abs(counts[slot])
    return chars


@numba.njit(cache=True, nogil=True)
def likely_twice(sums, found, table, places):  # type: ignore[no-untyped-def]
    """Write the places of pairs of tokens that may occur twice, all that do among them; return their number.

    A bit of `table` for each pair, and one for each bit that was set before: most pairs occur once, and need no slot.
    """
    size = 4
    while 4 * size < found:
        size *= 2
    table[: 2 * size] = 0
    mask, leave = np.uint64(2 * size - 2), power(_PRIME, 2)
    for i in range(found):
        h = sums[i + 2] - sums[i] * leave
        at, bit = (h >> np.uint64(39)) & mask, np.uint64(1) << (h >> np.uint64(58))
        seen = table[at]
        table[at | np.uint64(1)] |= seen & bit
        table[at] = seen | bit
    kept = np.int64(0)
    for i in range(found):
        h = sums[i + 2] - sums[i] * leave
        places[kept] = i
        at = (h >> np.uint64(39)) & mask
        kept += np.int64((table[at | np.uint64(1)] >> (h >> np.uint64(58))) & np.uint64(1))
    return kept


@numba.njit(cache=True, nogil=True)
def judge_grams(sums, ends, tokens, room, table, counts, flags, out):  # type: ignore[no-untyped-def]
    """Count the characters of repeated n-grams of 2 to 10 tokens.

    Only the places where the n-gram of one token less occurs twice are looked at again, which in most texts are few.
    """
    places, slots = room
    out[at.GRAMS : at.GRAMS + 9] = 0
    found = likely_twice(sums, max(0, tokens - 1), table, places)
    for width in range(2, 11):
        if found == 0:
            return
        count_grams(sums, places, found, width, table, counts, slots)
        found = repeated_places(places, found, counts, slots)
        if width < 5:
            out[at.GRAMS - 2 + width] = top_chars(places, found, slots, ends, width, counts, flags)
        else:
            out[at.GRAMS - 2 + width] = repeated_chars(places, found, slots, ends, width, counts, flags)
        found = longer_places(places, found)
