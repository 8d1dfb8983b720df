"""Hashes of the shingles of a text, and sets of them as open-addressing tables, for kernels to build on.

A symbol is a scrambled character, or XXH64 of a word; the hash of a shingle is a polynomial over its symbols modulo
2^64, scrambled, never 0.
"""

from __future__ import annotations

import numba
import numpy as np

from stages.kernels.hashes.hashing import load64, mix64_word, power, xxh64_span
from stages.kernels.text.words import next_word

GOLDEN = np.uint64(0x9E3779B97F4A7C15)
BASE = np.uint64(0xD1342543DE82EF95)
_ASCII = mix64_word.py_func(np.arange(128, dtype=np.uint64), GOLDEN)
_HIGH_BITS = np.uint64(0x8080808080808080)


@numba.njit(cache=True, nogil=True)
def characters(data, start, stop, symbols):  # type: ignore[no-untyped-def]
    """Write a scrambled word per code point; return how many."""
    text = data[start:stop]  # counted from 0, an index needs no test for being negative
    size, count, i = len(text), 0, 0
    while i < size:
        while i + 8 <= size and (load64(text, i) & _HIGH_BITS) == 0:
            for byte in range(8):
                symbols[count + byte] = _ASCII[text[i + byte]]
            count += 8
            i += 8
        if i == size:
            break
        code = np.uint64(text[i])
        i += 1
        if code < 128:
            symbols[count] = _ASCII[code]
            count += 1
            continue
        while i < size and (text[i] & 0xC0) == 0x80:
            code = (code << np.uint64(8)) | np.uint64(text[i])
            i += 1
        symbols[count] = mix64_word(code, GOLDEN)
        count += 1
    return count


@numba.njit(cache=True, nogil=True)
def find_words(data, start, stop, symbols):  # type: ignore[no-untyped-def]
    """Write XXH64 of each word; return how many."""
    count, at = 0, start
    while at < stop:
        begin, at = next_word(data, at, stop)
        if begin < at:
            symbols[count] = xxh64_span(data, begin, at, np.uint64(0))
            count += 1
    return count


@numba.njit(cache=True, nogil=True)
def polynomial(symbols, size):  # type: ignore[no-untyped-def]
    """Return the polynomial over the first `size` symbols, not yet scrambled."""
    h = np.uint64(0)
    for i in range(size):
        h = h * BASE + symbols[i]
    return h


@numba.njit(cache=True, nogil=True)
def scrambled(h):  # type: ignore[no-untyped-def]
    return max(mix64_word(h, GOLDEN), np.uint64(1))


@numba.njit(cache=True, nogil=True)
def shingles(symbols, count, width, out):  # type: ignore[no-untyped-def]
    """Hash every run of `width` symbols (all of them where there are fewer), never to 0; return how many."""
    if count == 0:
        return 0
    size = min(width, count)
    total, leave = count - size + 1, power(BASE, size)
    steps, entering = out[1:total], symbols[size:count]
    for i in range(len(steps)):
        steps[i] = entering[i] - symbols[i] * leave
    # Each product waits for the one before it, so both halves of the text are walked at a time.
    half = total // 2
    upper = out[half:total]
    low, high = polynomial(symbols, size), polynomial(symbols[half:], size)
    out[0] = low
    upper[0] = high
    for i in range(1, half):
        low = low * BASE + out[i]
        out[i] = low
        high = high * BASE + upper[i]
        upper[i] = high
    for i in range(max(1, half), total - half):
        upper[i] = high * BASE + upper[i]
    for i in range(total):
        out[i] = scrambled(out[i])
    return total


@numba.njit(cache=True, nogil=True)
def symbols_of(data, start, stop, words, symbols):  # type: ignore[no-untyped-def]
    """Write the symbols of a text; return how many."""
    return find_words(data, start, stop, symbols) if words else characters(data, start, stop, symbols)


@numba.njit(cache=True, nogil=True)
def shingle_hashes(data, start, stop, width, words, symbols, out):  # type: ignore[no-untyped-def]
    """Write the hash of every shingle of a text; return how many."""
    return shingles(symbols, symbols_of(data, start, stop, words, symbols), width, out)


@numba.njit(cache=True, nogil=True)
def clear(table, count):  # type: ignore[no-untyped-def]
    """Empty a table for `count` hashes; return its mask."""
    size = 8
    while size < 2 * count:
        size *= 2
    table[:size] = np.uint64(0)
    return np.uint64(size - 1)


@numba.njit(cache=True, nogil=True)
def insert(table, mask, h):  # type: ignore[no-untyped-def]
    """Put h into the table; tell whether it is new."""
    at = h & mask
    while table[at] != 0:
        if table[at] == h:
            return False
        at = (at + np.uint64(1)) & mask
    table[at] = h
    return True


@numba.njit(cache=True, nogil=True)
def holds(table, mask, h):  # type: ignore[no-untyped-def]
    at = h & mask
    while table[at] != 0:
        if table[at] == h:
            return True
        at = (at + np.uint64(1)) & mask
    return False


@numba.njit(cache=True, nogil=True)
def is_sampled(h, stride):  # type: ignore[no-untyped-def]
    """Tell whether h belongs to the sample of one in `stride`, a power of two up to 2^24."""
    return ((h >> np.uint64(40)) & np.uint64(stride - 1)) == 0


@numba.njit(cache=True, nogil=True)
def _thin(hashes, count, stride):  # type: ignore[no-untyped-def]
    """Move the sampled ones to the front; return how many."""
    kept = 0
    for i in range(count):
        h = hashes[i]
        hashes[kept] = h
        kept += is_sampled(h, stride)
    return kept


@numba.njit(cache=True, nogil=True)
def distinct(hashes, count, stride, cap, table):  # type: ignore[no-untyped-def]
    """Move the distinct sampled hashes to the front and into the table.

    Starts from a sample of one in `stride` and doubles that whenever more than `cap` are found.

    Returns
    -------
    (how many, stride, mask of the table).
    """
    mask, kept = clear(table, min(count, cap + 1)), 0
    for i in range(count):
        h = hashes[i]
        if stride > 1 and not is_sampled(h, stride):
            continue
        if insert(table, mask, h):
            hashes[kept] = h
            kept += 1
            while kept > cap and stride < 1 << 24:
                stride *= 2
                kept = _thin(hashes, kept, stride)
                mask = clear(table, min(count, cap + 1))
                for j in range(kept):
                    insert(table, mask, hashes[j])
    return kept, stride, mask
