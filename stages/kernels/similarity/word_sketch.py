"""The compiled loops behind `minhash` where shingles are runs of consecutive words, as `str.split` sees them.

Word hashes are MurmurHash3 of the word's bytes (at least 1), as everywhere in `minhash`. The hash of n consecutive
words w1 … wn is `final(((w1 * C + w2) * C + …) * C + wn)`, modulo 2^32 or 2^64, with `final` the finaliser of
MurmurHash3 and C = 0x9E3779B185EBCA87 (its low 32 bits for 32-bit hashes): plain column arithmetic, the same on any
device.
"""

from __future__ import annotations

import numba
import numpy as np

from stages.kernels.hashes.code_points import BLOCK
from stages.kernels.hashes.murmur import final32, span32
from stages.kernels.hashes.murmur64 import final64, span64
from stages.kernels.similarity.one_permutation import EMPTY32, EMPTY64, densify, make_targets
from stages.kernels.similarity.sketch import permute32, permute64
from stages.kernels.text.words import next_word

COMBINE = 0x9E3779B185EBCA87
_C64 = np.uint64(COMBINE)
_C32 = np.uint32(COMBINE & 0xFFFFFFFF)


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
    bins = out.shape[1] if len(a) == 0 else 0
    targets = make_targets(bins)
    words, hashes = np.empty(BLOCK + num_words, np.uint32), np.empty(BLOCK + 8, np.uint32)
    for d in range(len(out)):
        row, at, stop = out[d], offsets[d], offsets[d + 1]
        row[:] = EMPTY32
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
            permute32(hashes, np.int64(1), a, b, row)
        if seen == 0:
            row[:] = np.uint32(0)
        elif bins:
            densify(row, EMPTY32, targets)


@numba.njit(cache=True, nogil=True)
def words64(data, offsets, a, b, seed, num_words, out):  # type: ignore[no-untyped-def]
    """Fill out (docs, permutations) uint64 with signatures of runs of `num_words` words."""
    bins = out.shape[1] if len(a) == 0 else 0
    targets = make_targets(bins)
    words, hashes = np.empty(BLOCK + num_words, np.uint64), np.empty(BLOCK + 8, np.uint64)
    for d in range(len(out)):
        row, at, stop = out[d], offsets[d], offsets[d + 1]
        row[:] = EMPTY64
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
            permute64(hashes, np.int64(1), a, b, row)
        if seen == 0:
            row[:] = np.uint64(0)
        elif bins:
            densify(row, EMPTY64, targets)
