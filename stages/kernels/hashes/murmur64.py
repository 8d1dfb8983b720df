"""The first word of MurmurHash3_x64_128 of byte spans and of every shingle of a block.

Bits equal the reference implementation.
"""

from __future__ import annotations

import numba
import numpy as np

from stages.kernels.hashes.code_points import BLOCK, code_points
from stages.kernels.hashes.hashing import load64

_B1 = np.uint64(0x87C37B91114253D5)
_B2 = np.uint64(0x4CF5AD432745937F)
_G1 = np.uint64(0xFF51AFD7ED558CCD)
_G2 = np.uint64(0xC4CEB9FE1A85EC53)


@numba.njit(cache=True, nogil=True)
def _rotate64(x, bits):  # type: ignore[no-untyped-def]
    return (x << np.uint64(bits)) | (x >> np.uint64(64 - bits))


@numba.njit(cache=True, nogil=True)
def final64(h):  # type: ignore[no-untyped-def]
    """Return the 64-bit finaliser of MurmurHash3."""
    h = (h ^ (h >> np.uint64(33))) * _G1
    h = (h ^ (h >> np.uint64(33))) * _G2
    return h ^ (h >> np.uint64(33))


@numba.njit(cache=True, nogil=True)
def _partial64(data, start, stop):  # type: ignore[no-untyped-def]
    """Return up to 8 bytes of data[start:stop] as a little-endian word; 0 for an empty span."""
    word = np.uint64(0)
    for i in range(min(stop - start, 8)):
        word |= np.uint64(data[start + i]) << np.uint64(8 * i)
    return word


@numba.njit(cache=True, nogil=True)
def span64(data, start, stop, seed):  # type: ignore[no-untyped-def]
    """Return the first word of MurmurHash3_x64_128 of data[start:stop], uint64, both lanes seeded."""
    h1, h2, i = seed, seed, start
    while i + 16 <= stop:
        h1 ^= _rotate64(load64(data, i) * _B1, 31) * _B2
        h1 = (_rotate64(h1, 27) + h2) * np.uint64(5) + np.uint64(0x52DCE729)
        h2 ^= _rotate64(load64(data, i + 8) * _B2, 33) * _B1
        h2 = (_rotate64(h2, 31) + h1) * np.uint64(5) + np.uint64(0x38495AB5)
        i += 16
    h2 ^= _rotate64(_partial64(data, i + 8, stop) * _B2, 33) * _B1
    h1 ^= _rotate64(_partial64(data, i, stop) * _B1, 31) * _B2
    length = np.uint64(stop - start)
    h1 ^= length
    h2 ^= length
    h1 += h2
    h2 += h1
    return final64(h1) + final64(h2)


@numba.njit(cache=True, nogil=True)
def hash_block64(data, at, stop, width, seed, scratch, out):  # type: ignore[no-untyped-def]
    """Hash shingles as `hash_block32` does, to uint64."""
    starts = scratch[1]
    here, known = code_points(data, at, stop, BLOCK + 4 * width, starts)
    count = max(0, min(here, known - width))
    for i in range(count):
        out[i] = span64(data, at + starts[i], at + starts[i + width], seed)
    return count
