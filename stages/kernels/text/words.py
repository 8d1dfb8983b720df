"""Words as `str.split` sees them, and signatures of runs of consecutive words.

A word is a maximal run of characters for which `str.isspace` is false. Word hashes are MurmurHash3 of
the word's bytes (at least 1), as everywhere in `minhash`. The hash of n consecutive words w1 … wn is
`final(((w1 * C + w2) * C + …) * C + wn)`, modulo 2^32 or 2^64, with `final` the finaliser of MurmurHash3
and C = 0x9E3779B185EBCA87 (its low 32 bits for 32-bit hashes): plain column arithmetic, the same on any
device.
"""

from __future__ import annotations

import numba
import numpy as np

from stages.kernels.hashes.murmur import BLOCK, final32, span32
from stages.kernels.hashes.murmur64 import final64, span64
from stages.kernels.hashes.sketch import permute32, permute64

COMBINE = 0x9E3779B185EBCA87
_MAY_BE_SPACE = np.isin(np.arange(256), [*range(0x09, 0x0E), *range(0x1C, 0x21), 0xC2, 0xE1, 0xE2, 0xE3])
_C64 = np.uint64(COMBINE)
_C32 = np.uint32(COMBINE & 0xFFFFFFFF)


@numba.njit(cache=True, nogil=True)
def space_bytes(data, i, stop):  # type: ignore[no-untyped-def]
    """Return the length in bytes of the white-space character at i, 0 if there is none."""
    first = data[i]
    if first < 0x80:
        return 1 if first == 0x20 or 0x09 <= first <= 0x0D or 0x1C <= first <= 0x1F else 0
    if first == 0xC2:
        return 2 if i + 1 < stop and (data[i + 1] == 0x85 or data[i + 1] == 0xA0) else 0
    if 0xE1 <= first <= 0xE3 and i + 2 < stop:
        return 3 if _wide_space((first << 16) | (data[i + 1] << 8) | data[i + 2]) else 0
    return 0


@numba.njit(cache=True, nogil=True)
def _wide_space(code):  # type: ignore[no-untyped-def]
    """Tell whether three UTF-8 bytes are U+1680, 2000-200A, 2028, 2029, 202F, 205F or 3000."""
    if 0xE28080 <= code <= 0xE2808A or code == 0xE280A8 or code == 0xE280A9:
        return True
    return code == 0xE19A80 or code == 0xE280AF or code == 0xE2819F or code == 0xE38080


@numba.njit(cache=True, nogil=True)
def next_word(data, at, stop):  # type: ignore[no-untyped-def]
    """Return (start, end) of the first word in data[at:stop]; start == stop where there is none."""
    while at < stop and _MAY_BE_SPACE[data[at]]:
        skip = space_bytes(data, at, stop)
        if skip == 0:
            break
        at += skip
    end = at
    while end < stop:
        if _MAY_BE_SPACE[data[end]] and space_bytes(data, end, stop) > 0:
            break
        end += 1
    return at, end


@numba.njit(cache=True, nogil=True)
def _combine32(words, first, count):  # type: ignore[no-untyped-def]
    h = words[first]
    for i in range(first + 1, first + count):
        h = np.uint32(np.uint32(h * _C32) + words[i])
    return final32(h)


@numba.njit(cache=True, nogil=True)
def _combine64(words, first, count):  # type: ignore[no-untyped-def]
    h = words[first]
    for i in range(first + 1, first + count):
        h = h * _C64 + words[i]
    return final64(h)


@numba.njit(cache=True, nogil=True)
def words32(data, offsets, a, b, seed, num_words, out):  # type: ignore[no-untyped-def]
    """Fill out (docs, permutations) uint32 with signatures of runs of `num_words` words."""
    words, hashes = np.empty(BLOCK + num_words, np.uint32), np.empty(BLOCK + 8, np.uint32)
    for d in range(len(out)):
        row, at, stop = out[d], offsets[d], offsets[d + 1]
        row[:] = np.uint32(0xFFFFFFFF)
        held, seen = 0, 0
        while at < stop:
            start, at = next_word(data, at, stop)
            if start < at:
                words[held] = max(span32(data, start, at, seed), np.uint32(1))
                held, seen = held + 1, seen + 1
            if held == len(words) or (at >= stop and held >= num_words):
                runs = held - num_words + 1
                for i in range(runs):
                    hashes[i] = _combine32(words, i, num_words)
                permute32(hashes, runs, a, b, row)
                held = num_words - 1
                for i in range(held):
                    words[i] = words[runs + i]
        if 0 < seen < num_words:
            hashes[0] = _combine32(words, 0, seen)
            permute32(hashes, 1, a, b, row)
        if seen == 0:
            row[:] = np.uint32(0)


@numba.njit(cache=True, nogil=True)
def words64(data, offsets, a, b, seed, num_words, out):  # type: ignore[no-untyped-def]
    """Fill out (docs, permutations) uint64 with signatures of runs of `num_words` words."""
    words, hashes = np.empty(BLOCK + num_words, np.uint64), np.empty(BLOCK + 8, np.uint64)
    for d in range(len(out)):
        row, at, stop = out[d], offsets[d], offsets[d + 1]
        row[:] = np.uint64(0xFFFFFFFFFFFFFFFF)
        held, seen = 0, 0
        while at < stop:
            start, at = next_word(data, at, stop)
            if start < at:
                words[held] = max(span64(data, start, at, seed), np.uint64(1))
                held, seen = held + 1, seen + 1
            if held == len(words) or (at >= stop and held >= num_words):
                runs = held - num_words + 1
                for i in range(runs):
                    hashes[i] = _combine64(words, i, num_words)
                permute64(hashes, runs, a, b, row)
                held = num_words - 1
                for i in range(held):
                    words[i] = words[runs + i]
        if 0 < seen < num_words:
            hashes[0] = _combine64(words, 0, seen)
            permute64(hashes, 1, a, b, row)
        if seen == 0:
            row[:] = np.uint64(0)
