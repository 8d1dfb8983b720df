"""The compiled loops behind `minhash`: minima of permuted shingle hashes for every document.

Where there are no multipliers, the minima are of the hashes themselves, bin by bin (one_permutation.py).

One row of `out` per document, all zeros where there is no shingle. Scratch memory is a few blocks of
`murmur.BLOCK` shingles, whatever the length of a document. The permutation step takes eight shingles per pass
with the permutations in the inner loop, which compiles to one vector multiply, add and minimum per 16 lanes.
"""

from __future__ import annotations

import numba
import numpy as np

from stages.kernels.hashes.code_points import BLOCK, code_points
from stages.kernels.hashes.hashing import load32
from stages.kernels.hashes.murmur import (
    ROUND,
    final32,
    hash_block32,
    make_scratch,
    premix32,
    span32,
    step32,
    tail32,
)
from stages.kernels.hashes.murmur64 import hash_block64, span64
from stages.kernels.similarity.one_permutation import EMPTY32, EMPTY64, bin32, bin64, densify, make_targets

_MERSENNE = np.uint64((1 << 61) - 1)


@numba.njit(cache=True, nogil=True)
def _pad(hashes, count):  # type: ignore[no-untyped-def]
    """Raise zeros to 1 and repeat the last hash up to a multiple of eight; return that multiple."""
    for i in range(count):
        hashes[i] = max(hashes[i], hashes.dtype.type(1))
    padded = (count + 7) // 8 * 8
    hashes[count:padded] = hashes[count - 1]
    return padded


@numba.njit(cache=True, nogil=True)
def _min32(h, a, b, least):  # type: ignore[no-untyped-def]
    return min(np.uint32(np.uint32(h * a) + b), least)


@numba.njit(cache=True, nogil=True)
def permute32(hashes, count, a, b, row):  # type: ignore[no-untyped-def]
    """Lower row[p] to the minimum of hashes * a[p] + b[p] mod 2^32; room for 7 more hashes is needed."""
    if count == 0:
        return
    if len(a) == 0:
        bin32(hashes, count, row)
        return
    for i in range(0, _pad(hashes, count), 8):
        eight = hashes[i : i + 8]
        h0, h1, h2, h3 = eight[0], eight[1], eight[2], eight[3]
        h4, h5, h6, h7 = eight[4], eight[5], eight[6], eight[7]
        for p in range(len(row)):
            x, y, least = a[p], b[p], row[p]
            least = _min32(h0, x, y, least)
            least = _min32(h1, x, y, least)
            least = _min32(h2, x, y, least)
            least = _min32(h3, x, y, least)
            least = _min32(h4, x, y, least)
            least = _min32(h5, x, y, least)
            least = _min32(h6, x, y, least)
            row[p] = _min32(h7, x, y, least)


@numba.njit(cache=True, nogil=True)
def _min64(h, a, b, least):  # type: ignore[no-untyped-def]
    x = h * a + b
    x = (x & _MERSENNE) + (x >> np.uint64(61))
    return min(min(x, x - _MERSENNE), least)  # x - _MERSENNE wraps to a huge number unless x >= _MERSENNE


@numba.njit(cache=True, nogil=True)
def permute64(hashes, count, a, b, row):  # type: ignore[no-untyped-def]
    """Lower row[p] to the minimum of ((hashes * a[p] + b[p]) mod 2^64) mod (2^61 - 1)."""
    if count == 0:
        return
    if len(a) == 0:
        bin64(hashes, count, row)
        return
    for i in range(0, _pad(hashes, count), 4):
        h0, h1, h2, h3 = hashes[i], hashes[i + 1], hashes[i + 2], hashes[i + 3]
        for p in range(len(row)):
            x, y, least = a[p], b[p], row[p]
            least = _min64(h0, x, y, least)
            least = _min64(h1, x, y, least)
            least = _min64(h2, x, y, least)
            row[p] = _min64(h3, x, y, least)


@numba.njit(cache=True, nogil=True)
def stride_of(data, start, stop, width, cap):  # type: ignore[no-untyped-def]
    """Return the smallest power of two by which a document's shingles must be thinned to fit `cap`."""
    stride = 1
    if cap <= 0 or stop - start - width + 1 <= cap:
        return stride
    characters = 0
    for byte in data[start:stop]:
        characters += (byte & 0xC0) != 0x80
    while stride * cap < characters - width + 1:
        stride *= 2
    return stride


@numba.njit(cache=True, nogil=True)
def _thin(hashes, judges, count, stride):  # type: ignore[no-untyped-def]
    """Keep the hashes whose `judge`, a second hash, is a multiple of `stride`, a power of two; return how many."""
    mask, kept = judges.dtype.type(stride - 1), 0
    for i in range(count):
        hashes[kept] = hashes[i]
        kept += (judges[i] & mask) == 0
    return kept


@numba.njit(cache=True, nogil=True)
def sketch32(data, offsets, a, b, seed, width, cap, out):  # type: ignore[no-untyped-def]
    """Fill out (docs, permutations) uint32 with signatures of character shingles."""
    scratch, judge, bins = make_scratch(width), np.uint32(~seed), out.shape[1] if len(a) == 0 else 0
    targets = make_targets(bins)
    hashes, judges = np.empty(BLOCK + ROUND, np.uint32), np.empty(BLOCK + ROUND, np.uint32)
    for d in range(len(out)):
        row, start, stop = out[d], offsets[d], offsets[d + 1]
        row[:] = EMPTY32 if stop > start else np.uint32(0)
        stride, taken = stride_of(data, start, stop, width, cap), 0
        while taken == 0 and stop > start:
            for at in range(start, stop, BLOCK):
                count = hash_block32(data, at, stop, width, seed, scratch, hashes)
                if stride > 1:
                    hash_block32(data, at, stop, width, judge, scratch, judges)
                    count = _thin(hashes, judges, count, stride)
                permute32(hashes, count, a, b, row)
                taken += count
            if taken == 0 and stride == 1:
                hashes[0], taken = span32(data, start, stop, seed), 1
                permute32(hashes, np.int64(1), a, b, row)
            stride = 1
        if bins and stop > start:
            densify(row, EMPTY32, targets)


@numba.njit(cache=True, nogil=True)
def sketch64(data, offsets, a, b, seed, width, cap, out):  # type: ignore[no-untyped-def]
    """Fill out (docs, permutations) uint64 with signatures of character shingles."""
    scratch, judge, bins = make_scratch(width), np.uint64(~seed), out.shape[1] if len(a) == 0 else 0
    targets = make_targets(bins)
    hashes, judges = np.empty(BLOCK + 8, np.uint64), np.empty(BLOCK + 8, np.uint64)
    for d in range(len(out)):
        row, start, stop = out[d], offsets[d], offsets[d + 1]
        row[:] = EMPTY64 if stop > start else np.uint64(0)
        stride, taken = stride_of(data, start, stop, width, cap), 0
        while taken == 0 and stop > start:
            for at in range(start, stop, BLOCK):
                count = hash_block64(data, at, stop, width, seed, scratch, hashes)
                if stride > 1:
                    hash_block64(data, at, stop, width, judge, scratch, judges)
                    count = _thin(hashes, judges, count, stride)
                permute64(hashes, count, a, b, row)
                taken += count
            if taken == 0 and stride == 1:
                hashes[0], taken = span64(data, start, stop, seed), 1
                permute64(hashes, np.int64(1), a, b, row)
            stride = 1
        if bins and stop > start:
            densify(row, EMPTY64, targets)


@numba.njit(cache=True, nogil=True)
def _six_steps(data, i, before, states):  # type: ignore[no-untyped-def]
    """Feed 24 bytes to the states of all seeds, in registers, which is twice as fast as word by word."""
    w0, w1 = premix32(load32(data, i)), premix32(load32(data, i + 4))
    w2, w3 = premix32(load32(data, i + 8)), premix32(load32(data, i + 12))
    w4, w5 = premix32(load32(data, i + 16)), premix32(load32(data, i + 20))
    for p in range(len(states)):
        h = step32(step32(step32(before[p], w0), w1), w2)
        states[p] = step32(step32(step32(h, w3), w4), w5)


@numba.njit(cache=True, nogil=True)
def _seeded(data, start, stop, seeds, states, row):  # type: ignore[no-untyped-def]
    """Lower row[p] to MurmurHash3_x86_32 of data[start:stop] under seeds[p]."""
    i = start
    if i + 24 <= stop:
        _six_steps(data, i, seeds, states)
        i += 24
    else:
        states[:] = seeds
    while i + 24 <= stop:
        _six_steps(data, i, states, states)
        i += 24
    while i + 4 <= stop:
        premixed = premix32(load32(data, i))
        for p in range(len(states)):
            states[p] = step32(states[p], premixed)
        i += 4
    tail = np.uint32(tail32(data, i, stop) ^ np.uint32(stop - start))
    for p in range(len(states)):
        row[p] = min(row[p], final32(np.uint32(states[p] ^ tail)))


@numba.njit(cache=True, nogil=True)
def sketch_seeds(data, offsets, seeds, width, cap, out):  # type: ignore[no-untyped-def]
    """Fill out (docs, seeds) uint32 with the minimum over shingles of the hash under each seed."""
    starts = np.empty(BLOCK + 4 * width + 8, np.uint32)
    states, judge = np.empty(len(seeds), np.uint32), np.uint32(~seeds[0])
    for d in range(len(out)):
        row, start, stop = out[d], offsets[d], offsets[d + 1]
        row[:] = EMPTY32 if stop > start else np.uint32(0)
        stride, taken = stride_of(data, start, stop, width, cap), 0
        while taken == 0 and stop > start:
            mask = np.uint32(stride - 1)
            for at in range(start, stop, BLOCK):
                here, known = code_points(data, at, stop, BLOCK + 4 * width, starts)
                for i in range(min(here, known - width)):
                    begin, end = at + np.int64(starts[i]), at + np.int64(starts[i + width])
                    if stride == 1 or (span32(data, begin, end, judge) & mask) == 0:
                        _seeded(data, begin, end, seeds, states, row)
                        taken += 1
            if taken == 0 and stride == 1:
                _seeded(data, start, stop, seeds, states, row)
                taken = 1
            stride = 1
