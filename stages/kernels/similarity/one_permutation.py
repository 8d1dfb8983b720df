"""The compiled loops of one-permutation hashing: least hashes of bins, and their optimal densification.

A shingle of hash h falls into bin floor(h * k / 2^bits) of k (for 64 bits, of the upper 32 of them), so that h alone
names its bin; a slot holds the least hash of its bin (Li, Owen, Zhang 2012, "One permutation hashing"). An empty bin i
takes the slot of the first bin that is not empty among u(i, 1), u(i, 2), …, where u is a hash that depends on no text:
Shrivastava 2017, "Optimal Densification for Fast and Accurate Minwise Hashing" (ICML, PMLR 70), Algorithm 1. Its
Theorem 1: slots of two texts agree with probability J, also where bins are empty. A hash is at least 1, and below the
largest number, which marks an empty bin; a slot taken from another bin never agrees with a hash of its own.

Cost: one comparison for each shingle, and k - m searches of k / m steps for m bins that are not empty.
"""

from __future__ import annotations

import numba
import numpy as np

from stages.kernels.hashes.hashing import mix64_word

ATTEMPTS = 32  # of each bin that are looked up in a table; further ones are computed
EMPTY32 = np.uint32(0xFFFFFFFF)
EMPTY64 = np.uint64(0xFFFFFFFFFFFFFFFF)
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_HALF = np.uint64(32)


@numba.njit(cache=True, nogil=True)
def _target(place, attempt, bins):  # type: ignore[no-untyped-def]
    """Return u(place, attempt), the bin that an empty bin looks at."""
    word = mix64_word(np.uint64(place) << _HALF | np.uint64(attempt), _GOLDEN)
    return np.int64(((word >> _HALF) * np.uint64(bins)) >> _HALF)


@numba.njit(cache=True, nogil=True)
def make_targets(bins):  # type: ignore[no-untyped-def]
    """Return u(i, t) for t below ATTEMPTS, (bins, ATTEMPTS) uint16; bins is at most 4,096."""
    targets = np.empty((bins, ATTEMPTS), np.uint16)
    for place in range(bins):
        for attempt in range(ATTEMPTS):
            targets[place, attempt] = _target(place, attempt + 1, bins)
    return targets


@numba.njit(cache=True, nogil=True)
def _shift_of(bins):  # type: ignore[no-untyped-def]
    """Return s where floor(h * bins / 2^32) is h >> s for all h below 2^32; 0 where there is none."""
    shift, power = np.uint64(32), 1
    while power < bins:
        shift -= np.uint64(1)
        power *= 2
    return shift if power == bins else np.uint64(0)


@numba.njit(cache=True, nogil=True)
def bin32(hashes, count, row):  # type: ignore[no-untyped-def]
    """Lower row[bin of h] to h for each of `count` hashes, as if 0 were 1 and the largest number the one below."""
    bins, shift, largest = np.uint64(len(row)), _shift_of(len(row)), np.uint32(0)
    if shift:
        for i in range(count):
            place = np.uint64(hashes[i]) >> shift
            row[place] = min(row[place], hashes[i])
    else:
        for i in range(count):
            place = (np.uint64(hashes[i]) * bins) >> _HALF
            row[place] = min(row[place], hashes[i])
    for i in range(count):
        largest = max(largest, hashes[i])
    _clamp(row, largest, EMPTY32)


@numba.njit(cache=True, nogil=True)
def bin64(hashes, count, row):  # type: ignore[no-untyped-def]
    """Lower row[bin of h] to h for each of `count` hashes, as if 0 were 1 and the largest number the one below."""
    bins, largest = np.uint64(len(row)), np.uint64(0)
    for i in range(count):
        h = hashes[i]
        place = ((h >> _HALF) * bins) >> _HALF
        row[place] = min(row[place], h)
        largest = max(largest, h)
    _clamp(row, largest, EMPTY64)


@numba.njit(cache=True, nogil=True)
def _clamp(row, largest, empty):  # type: ignore[no-untyped-def]
    """Bring a row of hashes, the largest of which is `largest`, to what it were if each had been in [1, empty - 1].

    Both 0 and 1 fall into the first bin, and both of the largest numbers into the last.
    """
    row[0] = max(row[0], row.dtype.type(1))
    if largest == empty:
        row[-1] = min(row[-1], row.dtype.type(np.uint64(empty) - np.uint64(1)))


@numba.njit(cache=True, nogil=True)
def densify(row, empty, targets):  # type: ignore[no-untyped-def]
    """Fill the empty slots of a row that has one that is not, from slots that were not."""
    bins, vacant, least = len(row), np.uint32(0), empty
    for place in range(bins):
        vacant += np.uint32(row[place] == empty)
        least = min(least, row[place])
    if vacant == 0:
        return
    if vacant == bins - 1:  # every search would end there
        row[:] = least
        return
    own, places, count = row.copy(), np.empty(bins, np.uint16), np.uint64(0)
    for place in range(bins):  # without a branch: nothing tells which will be empty
        places[count] = place
        count += np.uint64(own[place] == empty)
    for place in places[:vacant]:
        attempt, found = 0, empty
        while found == empty:
            target = np.int64(targets[place, attempt]) if attempt < ATTEMPTS else _target(place, attempt + 1, bins)
            found = own[target]
            attempt += 1
        row[place] = found


@numba.njit(cache=True, nogil=True)
def own_slots(signature, shift, out):  # type: ignore[no-untyped-def]
    """Count the slots of each row that hold a hash of their own bin: bins that were not empty, (docs,) int64."""
    bins = np.uint64(signature.shape[1])
    for d in range(len(signature)):
        count = 0
        for place in range(signature.shape[1]):
            upper = np.uint64(signature[d, place]) >> np.uint64(shift)
            count += (upper * bins) >> _HALF == np.uint64(place)
        out[d] = count
