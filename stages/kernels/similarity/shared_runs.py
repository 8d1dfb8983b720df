"""Exact similarity of pairs of texts that have much in common: a run of shared shingles is found by its first one.

The distinct hashes of one text of a pair lie in a table that knows where each occurs first. A shingle of the other text
is looked up there; where it is found, both texts are compared symbol by symbol from there on, and every further
shingle of the run is known to be shared without being hashed. Hashes decide what is equal, as in shingle_sets.py: equal
symbols have equal hashes, so runs change no result.
"""

from __future__ import annotations

import numba
import numpy as np

from stages.kernels.hashes.hashing import power
from stages.kernels.similarity.shingle_sets import (
    BASE,
    clear,
    insert,
    polynomial,
    scrambled,
    shingles,
    symbols_of,
)

SLOTS = 4  # of a table, for each hash at least


@numba.njit(cache=True, nogil=True)
def compare_by_runs(data, offsets, order, hub, other, width, words, out):  # type: ignore[no-untyped-def]
    """Write the Jaccard similarity of the pairs of `order`, places in all others.

    data, offsets, width, words : as in `jaccard.exact_pairs`; no text of a pair has 2^31 bytes or more.
    hub, other : (pairs,) documents; the table of a hub serves all its pairs that follow each other in `order`.
    out : (pairs,) float64, 1.0 for two texts without any shingle. Memory: 105 bytes per byte of the longest text.
    """
    longest = 0
    for e in order:
        for d in (hub[e], other[e]):
            longest = max(longest, offsets[d + 1] - offsets[d])
    slots = 16
    while slots < SLOTS * longest:
        slots *= 2
    room = longest + 1
    mine, theirs = np.empty(room, np.uint64), np.empty(room, np.uint64)
    hashes, new = np.empty(room, np.uint64), np.empty(room, np.uint64)
    first, again, shared = np.empty(room, np.int32), np.empty(room, np.int32), np.empty(room, np.uint8)
    table, others = np.empty(slots, np.int32), np.empty(slots // 2, np.uint64)
    held, symbols, total, repeats, mask = -1, 0, 0, 0, np.uint64(0)
    for e in order:
        a, b = hub[e], other[e]
        if a != held:
            symbols = symbols_of(data, offsets[a], offsets[a + 1], words, mine)
            total = shingles(mine, symbols, width, hashes)
            repeats, mask = _index(hashes[:total], table, first, again)
            held = a
        count = symbols_of(data, offsets[b], offsets[b + 1], words, theirs)
        shared[:total] = 0
        found = _mark_shared(mine[:symbols], hashes, table, mask, theirs[:count], width, shared, new)
        union = total - repeats + _count_distinct(new[:found], others)
        out[e] = _count_marked(shared[:total], first[:repeats], again[:repeats]) / union if union else 1.0


@numba.njit(cache=True, nogil=True)
def _index(hashes, table, first, again):  # type: ignore[no-untyped-def]
    """Write the place of each distinct hash, plus 1, into the table; list where hashes occur again, and first.

    Returns
    -------
    (how many occur again, mask of the table).
    """
    size = 8
    while size < SLOTS * len(hashes):
        size *= 2
    table[:size] = 0
    mask, repeats = np.uint64(size - 1), 0
    for i in range(len(hashes)):
        at = hashes[i] & mask
        while table[at] != 0 and hashes[np.uint64(table[at] - 1)] != hashes[i]:
            at = (at + np.uint64(1)) & mask
        if table[at] == 0:
            table[at] = i + 1
        else:
            first[repeats], again[repeats] = table[at] - 1, i
            repeats += 1
    return repeats, mask


@numba.njit(cache=True, nogil=True)
def _place(hashes, table, mask, h):  # type: ignore[no-untyped-def]
    """Return where h occurs first, -1 where it does not."""
    at = h & mask
    while table[at] != 0 and hashes[np.uint64(table[at] - 1)] != h:
        at = (at + np.uint64(1)) & mask
    return np.int64(table[at]) - 1


@numba.njit(cache=True, nogil=True)
def _common(a, b):  # type: ignore[no-untyped-def]
    """Return how many symbols are equal from the beginning."""
    limit, equal = min(len(a), len(b)), 0
    while equal + 8 <= limit:
        different = np.uint64(0)
        for i in range(equal, equal + 8):
            different |= a[i] ^ b[i]
        if different != 0:
            break
        equal += 8
    while equal < limit and a[equal] == b[equal]:
        equal += 1
    return equal


@numba.njit(cache=True, nogil=True)
def _mark_shared(mine, hashes, table, mask, theirs, width, shared, new):  # type: ignore[no-untyped-def]
    """Mark the places in `mine` of shingles of `theirs`; write the hashes that are not there; return how many."""
    size, found, at = min(width, len(theirs)), 0, 0
    total, leave = (len(theirs) - size + 1 if size else 0), power(BASE, size)
    h = polynomial(theirs, size)
    while at < total:
        place, run = _place(hashes, table, mask, scrambled(h)), 1
        if place < 0:
            new[found] = scrambled(h)
            found += 1
        else:
            run = max(1, _common(mine[place:], theirs[at:]) - width + 1)
            shared[place : place + run] = 1
        at += run
        if at >= total:
            break
        if run > size:
            h = polynomial(theirs[at:], size)
        else:
            for i in range(at - run, at):
                h = h * BASE + (theirs[i + size] - theirs[i] * leave)
    return found


@numba.njit(cache=True, nogil=True)
def _count_marked(shared, first, again):  # type: ignore[no-untyped-def]
    """Return how many distinct hashes have a marked place: each counts where it occurs first."""
    for i in range(len(again)):
        if shared[again[i]]:
            shared[again[i]], shared[first[i]] = 0, 1
    count = 0
    for i in range(len(shared)):
        count += shared[i]
    return count


@numba.njit(cache=True, nogil=True)
def _count_distinct(hashes, table):  # type: ignore[no-untyped-def]
    mask, count = clear(table, len(hashes)), 0
    for i in range(len(hashes)):
        count += insert(table, mask, hashes[i])
    return count
