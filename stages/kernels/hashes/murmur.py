"""MurmurHash3_x86_32 of byte spans and of every shingle of a block; the 64-bit kind is in murmur64.py.

Bits equal the reference implementation. What MurmurHash3_x86_32 does to a 4-byte word before it meets the
running hash depends only on these bytes, so it is done once per byte position ("premix") and shared by all
shingles. ASCII is then hashed in vector loops; text with few other characters likewise, the windows that hold some of
them run by run of equal byte length; denser text by byte length, and what is rare there one by one, all from the same
premixed words. Every loop that must vectorise works on slices with plain uint32 operations: a signed index would
prevent it. Loops over a block run to a multiple of ROUND: for what lies beyond, there is room and nobody reads it.
"""

from __future__ import annotations

import numba
import numpy as np

from stages.kernels.hashes.code_points import BLOCK, SPARSE, code_points, is_ascii, long_code_points
from stages.kernels.hashes.hashing import load32

MANY = 32  # windows of one byte length in a block from which hashing them all in vectors pays
LENGTHS = 256  # byte lengths from the width on for which there is room: half a megabyte at width 24
SAMPLE = 8  # every eighth window is counted
LANES = 16  # windows hashed side by side in a run
ROUND = 64  # four vectors of 16: what is left over of a vector loop goes one by one, up to 60 steps; divides BLOCK

_TAILS = np.array([0, 0xFF, 0xFFFF, 0xFFFFFF], np.uint32)  # masks of the last 0 to 3 bytes
_A1 = np.uint32(0xCC9E2D51)
_A2 = np.uint32(0x1B873593)
_A3 = np.uint32(0xE6546B64)
_F1 = np.uint32(0x85EBCA6B)
_F2 = np.uint32(0xC2B2AE35)


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
def _rounded(count):  # type: ignore[no-untyped-def]
    """Return the next multiple of ROUND."""
    return (count + ROUND - 1) // ROUND * ROUND


@numba.njit(cache=True, nogil=True)
def _load_quads(data, at, quads, raw):  # type: ignore[no-untyped-def]
    """Fill raw[:4 * quads] with the words from `at` on: those at every fourth byte lie side by side in the data."""
    for quad in range(quads):
        i = at + 4 * quad
        raw[4 * quad] = load32(data, i)
        raw[4 * quad + 1] = load32(data, i + 1)
        raw[4 * quad + 2] = load32(data, i + 2)
        raw[4 * quad + 3] = load32(data, i + 3)


@numba.njit(cache=True, nogil=True)
def _prepare_block(data, at, stop, count, words):  # type: ignore[no-untyped-def]
    """Fill words[0] with the little-endian words at `count` positions from `at`, words[1] with their premix.

    A word that reaches beyond `stop` holds there what lies in the data, and zeros beyond that.
    """
    raw, premixed, last = words[0], words[1], min(count, stop - at)
    quads = max(0, min(_rounded(last), len(data) - at - 3)) // 4
    _load_quads(data, at, quads, raw)
    for i in range(4 * quads):
        premixed[i] = premix32(raw[i])
    for i in range(4 * quads, last):
        word = np.uint32(0)
        for j in range(min(4, len(data) - at - i)):
            word = np.uint32(word | np.uint32(np.uint32(data[at + i + j]) << np.uint32(8 * j)))
        raw[i] = word
        premixed[i] = premix32(word)


@numba.njit(cache=True, nogil=True)
def _step_block(state, premixed, word, count):  # type: ignore[no-untyped-def]
    """Feed word number `word` of the windows at positions 0 … count - 1 of the block, and beyond, to their states."""
    source = premixed[4 * word :]
    for i in range(_rounded(count)):
        state[i] = step32(state[i], source[i])


@numba.njit(cache=True, nogil=True)
def _start_block(words, shared, count, seed):  # type: ignore[no-untyped-def]
    """Put the states of windows at positions 0 … count - 1 after `shared` words into words[2]."""
    state, premixed = words[2], words[1]
    state[: _rounded(count)] = seed
    for word in range(shared):
        _step_block(state, premixed, word, count)


@numba.njit(cache=True, nogil=True)
def _finish_block(words, length, count, out):  # type: ignore[no-untyped-def]
    """Turn the states after length // 4 words into hashes of the windows of `length` bytes, and some more."""
    state, tails, mask, size = words[2], words[0][length // 4 * 4 :], _TAILS[length % 4], np.uint32(length)
    if mask == 0:
        for i in range(_rounded(count)):
            out[i] = final32(np.uint32(state[i] ^ size))
        return
    for i in range(_rounded(count)):
        h = np.uint32(state[i] ^ premix32(np.uint32(tails[i] & mask)))
        out[i] = final32(np.uint32(h ^ size))


@numba.njit(cache=True, nogil=True)
def make_scratch(width):  # type: ignore[no-untyped-def]
    """Allocate what the block functions need: words, code-point starts, hashes per length, length counts, marks."""
    room = _rounded(BLOCK + 4 * width + 8) + ROUND
    words, lengths = np.empty((3, room), np.uint32), min(3 * width + 1, LENGTHS)
    vectors = np.empty((lengths, BLOCK + ROUND), np.uint32)
    return (
        words,
        np.empty(room, np.uint32),
        vectors,
        np.zeros(lengths + 1, np.int64),
        np.empty((2, SPARSE + 2), np.int64),
    )


@numba.njit(cache=True, nogil=True)
def hash_block32(data, at, stop, width, seed, scratch, out):  # type: ignore[no-untyped-def]
    """Hash the shingles of `width` code points that begin in data[at:at + BLOCK] and end by `stop`.

    Parameters
    ----------
    scratch : from `make_scratch`. out : (BLOCK + ROUND,) uint32 or longer, receives the hashes in order.

    Returns
    -------
    The number of shingles.
    """
    if not is_ascii(data, at, min(stop, at + BLOCK + width)):
        return _mixed_block32(data, at, stop, width, seed, scratch, out)
    words = scratch[0]
    windows = min(BLOCK, stop - at - width + 1)
    if windows <= 0:
        return 0
    _prepare_block(data, at, stop, windows + width // 4 * 4, words)
    _start_block(words, width // 4, windows, seed)
    _finish_block(words, width, windows, out)
    return windows


@numba.njit(cache=True, nogil=True)
def _mixed_block32(data, at, stop, width, seed, scratch, out):  # type: ignore[no-untyped-def]
    """Hash the shingles of a block of any text: in vectors, by runs or by byte length."""
    words, starts, _, counts, marks = scratch
    reach = BLOCK + 4 * width
    _prepare_block(data, at, stop, reach, words)
    end = min(stop, at + reach)
    found, more, inside = long_code_points(data, at, end, marks)
    if found <= SPARSE:
        here, known = min(BLOCK, end - at) - inside, end - at - more + (end == stop)
        count = max(0, min(here, known - width))
        _hash_runs(count, min(BLOCK, end - at - width + 1), width, found, seed, scratch, out)
        return count
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
def _hash_runs(count, reach, width, found, seed, scratch, out):  # type: ignore[no-untyped-def]
    """Hash the windows of a block run by run: a run ends where a marked code point enters or leaves the window.

    reach : positions in the block at which windows begin. Those of ASCII alone are hashed together, in `vectors`.
    """
    if count == 0:
        return
    words, vectors, marks, shared = scratch[0], scratch[2], scratch[4], width // 4
    place, gain, plain = marks[0], marks[1], vectors[0]
    _start_block(words, shared, reach, seed)
    _finish_block(words, width, reach, plain)
    place[found] = count + width  # of none, behind all windows
    i, entered, left = np.int64(0), np.uint64(0), np.uint64(0)
    while place[entered] < width:
        entered += np.uint64(1)
    while i < count:
        enters, leaves = place[entered] - width + 1, place[left] + 1
        end = min(count, min(enters, leaves))
        if entered == left:
            _copy_run(plain, i, i + gain[left], end - i, out)
        else:
            _hash_run(words, shared, i, i + gain[left], width + gain[entered] - gain[left], end - i, out)
        entered += np.uint64(enters == end)
        left += np.uint64(leaves == end)
        i = end


@numba.njit(cache=True, nogil=True)
def _copy_run(plain, first, start, count, out):  # type: ignore[no-untyped-def]
    """Put the hashes of `count` windows, one byte apart from `start`, into out[first:]."""
    source, target = plain[start:], out[first:]
    for i in range(_rounded(count)):
        target[i] = source[i]


@numba.njit(cache=True, nogil=True)
def _hash_run(words, shared, first, start, length, count, out):  # type: ignore[no-untyped-def]
    """Put the hashes of `count` windows of `length` bytes, one byte apart from `start`, into out[first:].

    The states hold their first `shared` words already. The last step is one with the end, so that a run of up to one
    further word, as most are, stays in registers. Unsigned indices keep the loops over LANES in vectors.
    """
    raw, premixed, state = words[0], words[1], words[2]
    whole, mask, size = length // 4, _TAILS[length % 4], np.uint32(length)
    source, target = np.uint64(start), np.uint64(first)
    for _ in range((count + LANES - 1) // LANES):
        begin, tail = source + np.uint64(4 * (whole - 1)), source + np.uint64(4 * whole)
        if whole == shared:
            for lane in range(LANES):
                i = np.uint64(lane)
                end = premix32(np.uint32(raw[tail + i] & mask))
                out[target + i] = final32(np.uint32(np.uint32(state[source + i] ^ end) ^ size))
        elif whole == shared + 1:
            for lane in range(LANES):
                i = np.uint64(lane)
                end = premix32(np.uint32(raw[tail + i] & mask))
                h = step32(state[source + i], premixed[begin + i])
                out[target + i] = final32(np.uint32(np.uint32(h ^ end) ^ size))
        else:
            for lane in range(LANES):
                i = np.uint64(lane)
                end = premix32(np.uint32(raw[tail + i] & mask))
                h = state[source + i]
                for word in range(shared, whole):
                    h = step32(h, premixed[source + np.uint64(4 * word) + i])
                out[target + i] = final32(np.uint32(np.uint32(h ^ end) ^ size))
        source += np.uint64(LANES)
        target += np.uint64(LANES)


@numba.njit(cache=True, nogil=True)
def _pick(count, width, seed, scratch, out):  # type: ignore[no-untyped-def]
    """Write the hash of each window: from the vectors, or computed here if its byte length is rare."""
    words, starts, vectors, counts, _ = scratch
    ends, least, last = starts[width:], np.uint32(width), np.uint32(len(vectors) - 1)
    for i in range(count):  # right for the usual lengths, without a branch
        start = starts[i]
        out[i] = vectors[min(np.uint32(np.uint32(ends[i] - start) - least), last), start]
    for i in range(count):
        start, end = starts[i], ends[i]
        row = np.uint32(np.uint32(end - start) - least)
        if counts[min(row, np.uint32(len(counts) - 1))] < MANY:
            out[i] = _premixed_span32(words, np.int64(start), np.int64(end), seed)


@numba.njit(cache=True, nogil=True)
def _vectors_by_length(size, width, seed, scratch):  # type: ignore[no-untyped-def]
    """Fill vectors[length - width] with the hashes of all byte windows of each length counted often.

    `size` is what is left of the document, in bytes.
    """
    words, _, vectors, counts, _ = scratch
    longest = 0
    for extra in range(len(counts)):
        if counts[extra] >= MANY:
            longest = width + extra
    reach = min(BLOCK, size - width + 1)
    _start_block(words, 0, reach, seed)
    for word in range(longest // 4 + 1):
        for length in range(max(4 * word, width), min(4 * word + 4, longest + 1)):
            if counts[length - width] >= MANY:
                windows = min(BLOCK, size - length + 1)
                _finish_block(words, length, windows, vectors[length - width])
        _step_block(words[2], words[1], word, reach)
