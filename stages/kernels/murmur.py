"""MurmurHash3 (x86_32 and the first word of x64_128) of byte spans and of every shingle of a block.

Bits equal the reference implementation. What MurmurHash3_x86_32 does to a 4-byte word before it meets the
running hash depends only on these bytes, so it is done once per byte position ("premix") and shared by all
shingles; ASCII shingles are then hashed in vector loops, the others one by one, from the same premixed words.
Every loop that must vectorise works on slices with plain uint32 operations: a signed index would prevent it.
"""

from __future__ import annotations

import numba
import numpy as np

from stages.kernels.hashing import load32, load64

BLOCK = 2048  # shingles per block: premixed words and hashes stay in the first-level cache
MANY = 32  # windows of one byte length in a block from which hashing them all in vectors pays
LENGTHS = 256  # byte lengths from the width on for which there is room: half a megabyte at width 24
SAMPLE = 8  # every eighth window is counted

_TAILS = np.array([0, 0xFF, 0xFFFF, 0xFFFFFF], np.uint32)  # masks of the last 0 to 3 bytes
_A1 = np.uint32(0xCC9E2D51)
_A2 = np.uint32(0x1B873593)
_A3 = np.uint32(0xE6546B64)
_F1 = np.uint32(0x85EBCA6B)
_F2 = np.uint32(0xC2B2AE35)
_B1 = np.uint64(0x87C37B91114253D5)
_B2 = np.uint64(0x4CF5AD432745937F)
_G1 = np.uint64(0xFF51AFD7ED558CCD)
_G2 = np.uint64(0xC4CEB9FE1A85EC53)


@numba.njit(cache=True, nogil=True)
def _rotate32(x, bits):  # type: ignore[no-untyped-def]
    return np.uint32(np.uint32(x << np.uint32(bits)) | np.uint32(x >> np.uint32(32 - bits)))


@numba.njit(cache=True, nogil=True)
def premix32(word):  # type: ignore[no-untyped-def]
    return np.uint32(_rotate32(np.uint32(word * _A1), 15) * _A2)


@numba.njit(cache=True, nogil=True)
def step32(h, premixed):  # type: ignore[no-untyped-def]
    return np.uint32(np.uint32(_rotate32(np.uint32(h ^ premixed), 13) * np.uint32(5)) + _A3)


@numba.njit(cache=True, nogil=True)
def final32(h):  # type: ignore[no-untyped-def]
    """Return the 32-bit finaliser of MurmurHash3."""
    h = np.uint32(np.uint32(h ^ (h >> np.uint32(16))) * _F1)
    h = np.uint32(np.uint32(h ^ (h >> np.uint32(13))) * _F2)
    return np.uint32(h ^ (h >> np.uint32(16)))


@numba.njit(cache=True, nogil=True)
def tail32(data, start, stop):  # type: ignore[no-untyped-def]
    """Return the premixed last 0 to 3 bytes of a span, which is 0 for none."""
    word = np.uint32(0)
    for i in range(stop - start):
        word = np.uint32(word | np.uint32(np.uint32(data[start + i]) << np.uint32(8 * i)))
    return premix32(word)


@numba.njit(cache=True, nogil=True)
def span32(data, start, stop, seed):  # type: ignore[no-untyped-def]
    """Return MurmurHash3_x86_32 of data[start:stop], uint32."""
    h, i = seed, start
    while i + 4 <= stop:
        h = step32(h, premix32(load32(data, i)))
        i += 4
    h = np.uint32(h ^ tail32(data, i, stop))
    return final32(np.uint32(h ^ np.uint32(stop - start)))


@numba.njit(cache=True, nogil=True)
def _premixed_span32(words, start, stop, seed):  # type: ignore[no-untyped-def]
    """Return MurmurHash3_x86_32 of bytes start … stop - 1 of the block whose `words` are prepared."""
    raw, premixed = words[0], words[1]
    h, i = seed, start
    while i + 4 <= stop:
        h = step32(h, premixed[i])
        i += 4
    if i < stop:
        h = np.uint32(h ^ premix32(np.uint32(raw[i] & _TAILS[stop - i])))
    return final32(np.uint32(h ^ np.uint32(stop - start)))


@numba.njit(cache=True, nogil=True)
def _prepare_block(data, at, stop, count, words):  # type: ignore[no-untyped-def]
    """Fill words[0] with the little-endian words at `count` positions from `at`, words[1] with their premix.

    A word that would reach beyond `stop` holds zeros there.
    """
    raw, premixed = words[0], words[1]
    d0, d1, d2, d3 = data[at:], data[at + 1 :], data[at + 2 :], data[at + 3 :]
    full = max(0, min(count, stop - at - 3))
    for i in range(full):
        low = np.uint32(np.uint32(d0[i]) | np.uint32(np.uint32(d1[i]) << np.uint32(8)))
        high = np.uint32(np.uint32(d2[i]) | np.uint32(np.uint32(d3[i]) << np.uint32(8)))
        word = np.uint32(low | np.uint32(high << np.uint32(16)))
        raw[i] = word
        premixed[i] = premix32(word)
    for i in range(full, min(count, stop - at)):
        word = np.uint32(0)
        for j in range(stop - at - i):
            word = np.uint32(word | np.uint32(np.uint32(data[at + i + j]) << np.uint32(8 * j)))
        raw[i] = word
        premixed[i] = premix32(word)


@numba.njit(cache=True, nogil=True)
def _step_block(state, premixed, word, count):  # type: ignore[no-untyped-def]
    """Feed word number `word` of the windows at positions 0 … count - 1 of the block to their states."""
    source = premixed[4 * word :]
    for i in range(count):
        state[i] = step32(state[i], source[i])


@numba.njit(cache=True, nogil=True)
def _finish_block(words, length, count, out):  # type: ignore[no-untyped-def]
    """Turn the states after length // 4 words into hashes of the windows of `length` bytes."""
    state, tails, mask, size = words[2], words[0][length // 4 * 4 :], _TAILS[length % 4], np.uint32(length)
    if mask == 0:
        for i in range(count):
            out[i] = final32(np.uint32(state[i] ^ size))
        return
    for i in range(count):
        h = np.uint32(state[i] ^ premix32(np.uint32(tails[i] & mask)))
        out[i] = final32(np.uint32(h ^ size))


@numba.njit(cache=True, nogil=True)
def is_ascii(data, start, stop):  # type: ignore[no-untyped-def]
    """Tell whether no byte of data[start:stop] is above 127."""
    span = data[start:stop]
    union = np.uint8(0)
    for i in range(len(span)):
        union |= span[i]
    return union < 128


@numba.njit(cache=True, nogil=True)
def code_points(data, at, stop, reach, starts):  # type: ignore[no-untyped-def]
    """List where code points start, relative to `at`, in data[at:min(stop, at + reach)].

    If the span ends where the document does, its length follows as a sentinel.

    Returns
    -------
    here : how many of them begin in the first BLOCK bytes.
    known : how many there are in `starts`, sentinel included.
    """
    length = min(stop - at, reach)
    known, here = 0, 0
    span = data[at : at + length]
    for i in range(length):
        if i == BLOCK:
            here = known
        starts[known] = np.uint32(i)
        known += (span[i] & 0xC0) != 0x80
    if length <= BLOCK:
        here = known
    if at + length == stop:
        starts[known] = np.uint32(length)
        known += 1
    return here, known


@numba.njit(cache=True, nogil=True)
def make_scratch(width):  # type: ignore[no-untyped-def]
    """Allocate what the block functions need: words, code-point starts, hashes per length, length counts."""
    room = BLOCK + 4 * width + 8
    words, lengths = np.empty((3, room), np.uint32), min(3 * width + 1, LENGTHS)
    vectors = np.empty((lengths, BLOCK), np.uint32)
    return words, np.empty(room, np.uint32), vectors, np.zeros(lengths + 1, np.int64)


@numba.njit(cache=True, nogil=True)
def hash_block32(data, at, stop, width, seed, scratch, out):  # type: ignore[no-untyped-def]
    """Hash the shingles of `width` code points that begin in data[at:at + BLOCK] and end by `stop`.

    Parameters
    ----------
    scratch : from `make_scratch`. out : (BLOCK,) uint32 or longer, receives the hashes in order.

    Returns
    -------
    The number of shingles.
    """
    if not is_ascii(data, at, min(stop, at + BLOCK + width)):
        return _mixed_block32(data, at, stop, width, seed, scratch, out)
    words = scratch[0]
    premixed, state = words[1], words[2]
    windows = min(BLOCK, stop - at - width + 1)
    if windows <= 0:
        return 0
    _prepare_block(data, at, stop, windows + width // 4 * 4, words)
    state[:windows] = seed
    for word in range(width // 4):
        _step_block(state, premixed, word, windows)
    _finish_block(words, width, windows, out)
    return windows


@numba.njit(cache=True, nogil=True)
def _mixed_block32(data, at, stop, width, seed, scratch, out):  # type: ignore[no-untyped-def]
    """Hash the shingles of a block of any text: in vectors for byte lengths that many of them share."""
    words, starts, _, counts = scratch
    reach = BLOCK + 4 * width
    _prepare_block(data, at, stop, reach, words)
    here, known = code_points(data, at, stop, reach, starts)
    count = max(0, min(here, known - width))
    counts[:] = 0
    for i in range(0, count, SAMPLE):
        extra = np.uint32(starts[i + width] - starts[i] - np.uint32(width))
        counts[min(extra, np.uint32(len(counts) - 1))] += SAMPLE
    counts[-1] = 0  # all longer ones, which have no row in `vectors`
    _vectors_by_length(stop - at, width, seed, scratch)
    _pick(count, width, seed, scratch, out)
    return count


@numba.njit(cache=True, nogil=True)
def _pick(count, width, seed, scratch, out):  # type: ignore[no-untyped-def]
    """Take each window's hash from the vectors, or hash it now where its length is rare."""
    words, starts, vectors, counts = scratch
    ends = starts[width:]
    extra = np.uint32(counts.argmax())
    usual = np.uint32(np.uint32(width) + extra) if counts[extra] >= MANY else np.uint32(0)
    common = vectors[min(extra, np.uint32(len(vectors) - 1))]
    for i in range(count):  # right for the usual length, which is most of them
        out[i] = common[starts[i]]
    for i in range(count):
        start = starts[i]
        length = np.uint32(ends[i] - start)
        if length == usual:
            continue
        row = np.uint32(length - np.uint32(width))
        if row < len(counts) and counts[row] >= MANY:
            out[i] = vectors[row, start]
        else:
            out[i] = _premixed_span32(words, np.int64(start), np.int64(start + length), seed)


@numba.njit(cache=True, nogil=True)
def _vectors_by_length(size, width, seed, scratch):  # type: ignore[no-untyped-def]
    """Fill vectors[length - width] with the hashes of all byte windows of each length counted often.

    `size` is what is left of the document, in bytes.
    """
    words, _, vectors, counts = scratch
    premixed, state = words[1], words[2]
    longest = 0
    for extra in range(len(counts)):
        if counts[extra] >= MANY:
            longest = width + extra
    reach = min(BLOCK, size - width + 1)
    state[:reach] = seed
    for word in range(longest // 4 + 1):
        for length in range(max(4 * word, width), min(4 * word + 4, longest + 1)):
            if counts[length - width] >= MANY:
                windows = min(BLOCK, size - length + 1)
                _finish_block(words, length, windows, vectors[length - width])
        _step_block(state, premixed, word, reach)


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
