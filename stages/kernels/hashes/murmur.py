"""MurmurHash3_x86_32 of byte spans and of every shingle of a block; the 64-bit kind is in murmur64.py.

Bits equal the reference implementation. What MurmurHash3_x86_32 does to a 4-byte word before it meets the
running hash depends only on these bytes, so it is done once per byte position ("premix") and shared by all
shingles. ASCII is then hashed in vector loops; text with few other characters likewise, run by run of windows of equal
byte length; denser text by byte length, and what is rare there one by one, all from the same premixed words.
Every loop that must vectorise works on slices with plain uint32 operations: a signed index would prevent it.
"""

from __future__ import annotations

import numba
import numpy as np

from stages.kernels.hashes.hashing import load32, load64

BLOCK = 2048  # shingles per block: premixed words and hashes stay in the first-level cache
MANY = 32  # windows of one byte length in a block from which hashing them all in vectors pays
LENGTHS = 256  # byte lengths from the width on for which there is room: half a megabyte at width 24
SAMPLE = 8  # every eighth window is counted
SPARSE = BLOCK // 16  # characters beyond ASCII in a block up to which runs of equal windows are long enough
LANES = 16  # windows hashed side by side in a run, which may write so many beyond its end

_TAILS = np.array([0, 0xFF, 0xFFFF, 0xFFFFFF], np.uint32)  # masks of the last 0 to 3 bytes
_HIGH = np.uint64(0x8080808080808080)
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
    """Tell whether data[start:stop] is ASCII."""
    span = data[start:stop]
    union = np.uint8(0)
    for i in range(len(span)):
        union |= span[i]
    return union < 128


@numba.njit(cache=True, nogil=True)
def code_points(data, at, stop, reach, starts):  # type: ignore[no-untyped-def]
    """Write the starts of code points, relative to `at`, in data[at:min(stop, at + reach)].

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
    """Allocate what the block functions need: words, code-point starts, hashes per length, length counts, marks."""
    room = BLOCK + 4 * width + 8 + LANES
    words, lengths = np.empty((3, room), np.uint32), min(3 * width + 1, LENGTHS)
    vectors = np.empty((lengths, BLOCK), np.uint32)
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
    scratch : from `make_scratch`. out : (BLOCK + LANES,) uint32 or longer, receives the hashes in order.

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
    """Hash the shingles of a block of any text: in vectors, by runs or by byte length."""
    words, starts, _, counts, marks = scratch
    reach = BLOCK + 4 * width
    _prepare_block(data, at, stop, reach, words)
    end = min(stop, at + reach)
    found, more, inside = _mark(data, at, end, marks)
    if found <= SPARSE:
        here, known = min(BLOCK, end - at) - inside, end - at - more + (end == stop)
        count = max(0, min(here, known - width))
        _hash_runs(count, width, found, seed, scratch, out)
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
def _mark(data, at, end, marks):  # type: ignore[no-untyped-def]
    """Write marks of the code points of data[at:end] that are longer than a byte.

    Fills marks[0] with their places among the code points and marks[1, k] with the bytes that continue a code point up
    to the first k of them; bytes at the very beginning that continue a code point of the block before count for all k.

    Returns
    -------
    found : how many there are; it stops at SPARSE + 1.
    more, inside : bytes that continue a code point, in all and among the first BLOCK.
    """
    place, gain, found, more, inside, i = marks[0], marks[1], 0, 0, 0, at
    gain[0] = 0
    while i < end and found <= SPARSE:
        if i + 8 <= end and (load64(data, i) & _HIGH) == 0:
            i += 8
            continue
        if (data[i] & 0xC0) == 0x80:
            owner = i - at - more - 1
            more += 1
            inside += i - at < BLOCK
            if owner >= 0 and (found == 0 or place[found - 1] != owner):
                place[found] = owner
                found += 1
            gain[found] = more
        i += 1
    return found, more, inside


@numba.njit(cache=True, nogil=True)
def _hash_runs(count, width, found, seed, scratch, out):  # type: ignore[no-untyped-def]
    """Hash the windows of a block run by run: a run ends where a marked code point enters or leaves the window."""
    words, marks, shared = scratch[0], scratch[4], width // 4
    place, gain, state = marks[0], marks[1], words[2]
    state[:BLOCK] = seed
    for word in range(shared):
        _step_block(state, words[1], word, BLOCK)
    i, entered, left = np.int64(0), 0, 0
    while i < count:
        while entered < found and place[entered] < i + width:
            entered += 1
        while left < found and place[left] < i:
            left += 1
        end = count
        if entered < found:
            end = min(end, place[entered] - width + 1)
        if left < found:
            end = min(end, place[left] + 1)
        _hash_run(words, shared, i, i + gain[left], width + gain[entered] - gain[left], end - i, out)
        i = end


@numba.njit(cache=True, nogil=True)
def _hash_run(words, shared, first, start, length, count, out):  # type: ignore[no-untyped-def]
    """Put the hashes of `count` windows of `length` bytes, one byte apart from `start`, into out[first:].

    The states hold their first `shared` words already. Unsigned indices keep the loops over LANES in vectors.
    """
    raw, premixed, state = words[0], words[1], words[2]
    whole, mask, size = length // 4, _TAILS[length % 4], np.uint32(length)
    source, target = np.uint64(start), np.uint64(first)
    for _ in range((count + LANES - 1) // LANES):
        for lane in range(LANES):
            out[target + np.uint64(lane)] = state[source + np.uint64(lane)]
        for word in range(shared, whole):
            begin = source + np.uint64(4 * word)
            for lane in range(LANES):
                i = target + np.uint64(lane)
                out[i] = step32(out[i], premixed[begin + np.uint64(lane)])
        begin = source + np.uint64(4 * whole)
        for lane in range(LANES):
            i = target + np.uint64(lane)
            h = np.uint32(out[i] ^ premix32(np.uint32(raw[begin + np.uint64(lane)] & mask)))
            out[i] = final32(np.uint32(h ^ size))
        source += np.uint64(LANES)
        target += np.uint64(LANES)


@numba.njit(cache=True, nogil=True)
def _place_of_largest(counts):  # type: ignore[no-untyped-def]
    """Return the first place of the largest number; `argmax` would load numba's array functions at every start."""
    found = 0
    for i in range(len(counts)):
        if counts[i] > counts[found]:
            found = i
    return found


@numba.njit(cache=True, nogil=True)
def _pick(count, width, seed, scratch, out):  # type: ignore[no-untyped-def]
    """Write the hash of each window: from the vectors, or computed here if its byte length is rare."""
    words, starts, vectors, counts, _ = scratch
    ends = starts[width:]
    extra = np.uint32(_place_of_largest(counts))
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
    words, _, vectors, counts, _ = scratch
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
