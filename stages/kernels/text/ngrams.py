"""Find known n-grams of words in texts: one hash per position, looked up in a bitmap and then among sorted hashes.

An n-gram holds n words; of the letters that count as a part of a word (see fold.py) as many as make them up: it ends
with the first by which the parts reach n words.
The hash of words w1 … wn is a polynomial of their hashes modulo 2^64, mixed with n, so that any n-gram of a text costs
two operations. Memory: the words of one text, the bitmap (at least 16 bits per known n-gram).
"""

from __future__ import annotations

import numba
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from stages.kernels.hashes.hashing import buffers, read_only
from stages.kernels.hashes.murmur64 import final64
from stages.kernels.text.fold import PARTS, fold_words, table
from stages.kernels.text.growing import grown

U64 = npt.NDArray[np.uint64]
I64 = npt.NDArray[np.int64]
_BASE = np.uint64(0x9E3779B97F4A7C15)
_LENGTH = np.uint64(0xD6E8FEB86659FD93)


@numba.njit(cache=True, nogil=True)
def _prefixes(hashes, n, sums):  # type: ignore[no-untyped-def]
    """Fill sums[:n + 1] with the polynomial of the first words."""
    sums[0] = np.uint64(0)
    for i in range(n):
        sums[i + 1] = sums[i] * _BASE + hashes[i]


@numba.njit(cache=True, nogil=True)
def _powers(most):  # type: ignore[no-untyped-def]
    found = np.ones(most + 1, np.uint64)
    for i in range(most):
        found[i + 1] = found[i] * _BASE
    return found


@numba.njit(cache=True, nogil=True)
def _grams(data, offsets, folds, shortest, width, longest):  # type: ignore[no-untyped-def]
    """Return (hash), (text, words, whole) of all n-grams; a text of shortest to width - 1 words is one."""
    words, sums = np.empty(longest + 1, np.uint64), np.empty(longest + 2, np.uint64)
    starts, stops = np.empty(longest + 1, np.int64), np.empty(longest + 1, np.int64)
    parts, powers = np.empty(longest + 1, np.int64), _powers(PARTS * width + 1)
    found, where = (
        np.empty(offsets[-1] - offsets[0] + 1, np.uint64),
        np.empty((offsets[-1] - offsets[0] + 1, 3), np.int64),
    )
    count = np.int64(0)
    for d in range(len(offsets) - 1):
        n = fold_words(data, offsets[d], offsets[d + 1], folds, words, starts, stops, parts)
        total = parts[:n].sum()
        if n == 0 or total + PARTS - 1 < PARTS * shortest:
            continue
        _prefixes(words, n, sums)
        short = total < PARTS * width
        held = stop = 0
        for i in range(n):
            while stop < n and (short or held < PARTS * width):
                held += parts[stop]
                stop += 1
            if i > 0 and held < PARTS * width:
                break
            size = stop - i
            found[count] = final64((sums[stop] - sums[i] * powers[size]) ^ (np.uint64(size) * _LENGTH))
            where[count, 0], where[count, 1], where[count, 2] = d, size, short
            count += 1
            held -= parts[i]
    return found[:count], where[:count]


def grams(texts: pa.Array, width: int, shortest: int) -> tuple[U64, I64]:
    """Return the hash of every n-gram of the texts, (n-grams,), and its (text, words, whole), (n-grams, 3).

    A text of fewer than `width` words is one n-gram, if it has `shortest` words: `whole` is 1.
    """
    data, offsets = buffers(texts)
    longest = int(np.diff(offsets).max()) if len(offsets) > 1 else 0
    found, where = _grams(
        read_only(data, np.uint8), read_only(offsets, np.int64), table(digits=False), shortest, width, longest
    )
    return found, where


def bitmap(keys: U64) -> npt.NDArray[np.uint8]:
    """Return a bitmap of the keys' top bits, its size a power of two of at least 16 bits per key."""
    bits = max(16, int(16 * len(keys)).bit_length())
    found = np.zeros(1 << (bits - 3), np.uint8)
    place = keys >> np.uint64(64 - bits)
    np.bitwise_or.at(found, (place >> np.uint64(3)).astype(np.int64), (1 << (place & np.uint64(7))).astype(np.uint8))
    return found


@numba.njit(cache=True, nogil=True)
def _search(data, offsets, folds, width, lengths, keys, bits, shift, longest):  # type: ignore[no-untyped-def]
    words, sums = np.empty(longest + 1, np.uint64), np.empty(longest + 2, np.uint64)
    starts, stops = np.empty(longest + 1, np.int64), np.empty(longest + 1, np.int64)
    parts, powers = np.empty(longest + 1, np.int64), _powers(PARTS * width + 1)
    found = np.empty((256, 4), np.int64)
    count = np.int64(0)
    for d in range(len(offsets) - 1):
        low = offsets[d]
        n = fold_words(data, low, offsets[d + 1], folds, words, starts, stops, parts)
        _prefixes(words, n, sums)
        for k in range(-1, len(lengths)):
            held = stop = 0
            for i in range(n):
                if k >= 0:
                    stop = i + lengths[k]
                    if stop > n:
                        break
                else:
                    while stop < n and held < PARTS * width:
                        held += parts[stop]
                        stop += 1
                    if held < PARTS * width:
                        break
                    held -= parts[i]
                size = stop - i
                h = final64((sums[stop] - sums[i] * powers[size]) ^ (np.uint64(size) * _LENGTH))
                place = h >> shift
                if bits[place >> np.uint64(3)] & (1 << (place & np.uint64(7))) == 0:
                    continue
                at = np.searchsorted(keys, h)
                if at < len(keys) and keys[at] == h:
                    if count == len(found):
                        found = grown(found, count)
                    found[count, 0], found[count, 1] = d, at
                    found[count, 2], found[count, 3] = starts[i] - low, stops[stop - 1] - low
                    count += 1
    return found[:count]


def search(texts: pa.Array, keys: U64, width: int, lengths: tuple[int, ...], bits: npt.NDArray[np.uint8]) -> I64:
    """Return (text, place in keys, start, stop in bytes) of every known n-gram, (matches, 4).

    Parameters
    ----------
    keys : ascending, unique; bits : their bitmap.
    width : words of an n-gram.
    lengths : numbers of words of the n-grams that are a whole text of fewer.
    """
    data, offsets = buffers(texts)
    longest = int(np.diff(offsets).max()) if len(offsets) > 1 else 0
    shift = np.uint64(64 - (len(bits).bit_length() - 1 + 3))
    arguments = (read_only(data, np.uint8), read_only(offsets, np.int64), table(digits=False), width)
    found: I64 = _search(
        *arguments, np.array(lengths, np.int64), read_only(keys, np.uint64), read_only(bits, np.uint8), shift, longest
    )
    return found
