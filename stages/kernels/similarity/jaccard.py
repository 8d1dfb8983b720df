"""Similarity of pairs: estimated from 8-bit signature slots, or exact over the sets of shingles.

Exact similarity compares sets of 64-bit hashes of shingles (shingle_sets.py); two different shingles of a pair of
texts of n shingles collide with probability about n^2 / 2^64. Work is linear in the bytes of the pairs. Pairs of texts
of at most `MAX_SHINGLES` bytes (or the cap, where that is less) are compared by the runs that they share
(shared_runs.py), in 105 bytes of memory per byte of the longest of them. For others memory is 24 bytes per byte of the
longest text and at most 64 bytes per shingle of the cap. Where a text has more distinct shingles than the cap, both
sets of the pair are thinned to the hashes whose upper 24 bits are 0 modulo the least power of two that makes them fit:
the value is then a sample's, with a standard deviation below 1 / sqrt(2 * cap).
"""

from __future__ import annotations

import math

import numba
import numpy as np
import numpy.typing as npt

from stages.kernels.hashes.hashing import I64, U8, check_offsets, read_only
from stages.kernels.similarity.shared_runs import compare_by_runs
from stages.kernels.similarity.shingle_sets import distinct, holds, is_sampled, shingle_hashes

F32 = npt.NDArray[np.float32]
F64 = npt.NDArray[np.float64]
MAX_SHINGLES = 1_000_000
CHANCE = 1.0 / 256.0  # that two different slots agree in their byte
SURE = 4.5  # standard errors from the threshold where the estimate is trusted: 7 in a million pairs
TAIL = 3.4e-6  # the same for one side, where slots that differ are too few for a normal approximation
FEW = 10  # expected slots that differ at the threshold, below which that is so


def estimate(slots_a: U8, slots_b: U8) -> F64:
    """Estimate Jaccard similarity from 8-bit slots, corrected for bytes that agree by chance.

    Parameters
    ----------
    slots_a, slots_b : (…, permutations) uint8 from `minhash.slots8`.

    Returns
    -------
    (…) float64 in [0, 1]: max(0, (m / k - 1/256) / (1 - 1/256)) for m of k bytes equal.

    Examples
    --------
    >>> float(estimate(np.arange(4, dtype=np.uint8), np.arange(4, dtype=np.uint8)))
    1.0
    """
    share = (np.asarray(slots_a) == np.asarray(slots_b)).mean(axis=-1)
    corrected: F64 = np.maximum(0.0, (share - CHANCE) / (1.0 - CHANCE))
    return corrected


def standard_error(j: npt.ArrayLike, k: int) -> F64:
    """Return the standard deviation of `estimate` at similarity j with k permutations, shape of j.

    Examples
    --------
    >>> round(float(standard_error(0.8, 128)), 3)
    0.035
    """
    agree = np.asarray(j, np.float64) * (1.0 - CHANCE) + CHANCE
    deviation: F64 = np.sqrt(agree * (1.0 - agree) / k) / (1.0 - CHANCE)
    return deviation


def doubt(threshold: float, k: int) -> tuple[float, float]:
    """Return the margins (below, above) of a threshold within which an estimate from k slots decides no pair.

    `SURE` standard errors; near 1, where a pair at the threshold differs in less than `FEW` slots on average, as far
    below as such a pair falls with probability `TAIL` (binomial), and any distance above: k equal slots do not show
    that two sets are equal.

    Examples
    --------
    >>> [round(x, 3) for x in doubt(0.8, 128)], [round(x, 3) for x in doubt(0.99, 128)], doubt(1.0, 128)[1]
    ([0.159, 0.159], [0.065, inf], inf)
    """
    margin = SURE * float(standard_error(threshold, k))
    if k * (1.0 - threshold) * (1.0 - CHANCE) >= FEW:
        return margin, margin
    agree, slots = threshold * (1.0 - CHANCE) + CHANCE, k
    while slots > 0 and at_most(slots - 1, k, agree) >= TAIL:
        slots -= 1
    reached = ((slots - 0.5) / k - CHANCE) / (1.0 - CHANCE)  # half a slot: estimates are rounded to 32 bits
    return max(margin, threshold - reached), math.inf


def passes(similarity: float, threshold: float, k: int) -> float:
    """Return the probability that `estimate` from k slots of a pair of this similarity reaches a threshold.

    >>> round(passes(0.99, 1.0, 128), 2)
    0.28
    """
    wanted = math.ceil(k * (threshold * (1.0 - CHANCE) + CHANCE) - 1e-9)
    return 1.0 - at_most(wanted - 1, k, similarity * (1.0 - CHANCE) + CHANCE)


def at_most(slots: int, k: int, agree: float) -> float:
    """Return the probability that at most so many of k slots agree, each with probability `agree` (binomial).

    >>> at_most(0, 1, 0.75), at_most(127, 128, 1.0)
    (0.25, 0.0)
    """
    if agree >= 1.0 or slots >= k:
        return float(slots >= k)
    ways = (math.lgamma(k + 1) - math.lgamma(m + 1) - math.lgamma(k - m + 1) for m in range(slots + 1))
    logs = (way + m * math.log(agree) + (k - m) * math.log1p(-agree) for m, way in enumerate(ways))
    return math.fsum(map(math.exp, logs))


def estimate_pairs(slots: U8, left: npt.ArrayLike, right: npt.ArrayLike) -> F32:
    """Return `estimate` of each pair of rows of `slots` (docs, permutations) uint8, as (pairs,) float32."""
    table = read_only(slots, np.uint8)
    u, v = _pairs(left, right, len(table))
    out = np.empty(len(u), np.float32)
    _estimate_each(table, u, v, out)
    return out


def exact_pairs(
    data: U8,
    offsets: I64,
    left: npt.ArrayLike,
    right: npt.ArrayLike,
    width: int,
    *,
    words: bool = False,
    max_shingles: int = MAX_SHINGLES,
) -> F64:
    """Return the Jaccard similarity of the sets of shingles of each pair of documents.

    Parameters
    ----------
    data, offsets : (bytes,) uint8 and (docs + 1,) int64 from `hashing.buffers`.
    left, right : (pairs,) indices of documents, in any order.
    width : code points (or words, as `str.split` finds them) in a shingle. A shorter text is one shingle.
    words : whether shingles are made of words.
    max_shingles : the cap on distinct shingles of a text beyond which both texts of a pair are sampled.

    Returns
    -------
    (pairs,) float64; 1.0 for two texts without any shingle. Pairs are visited grouped by the document that
    has most of them, whose set is built once.

    Examples
    --------
    >>> from stages.kernels.hashes.hashing import buffers
    >>> import pyarrow as pa
    >>> exact_pairs(*buffers(pa.array(["abcd", "abce"])), [0], [1], 2).tolist()
    [0.5]
    """
    check_offsets(data, offsets)
    places = read_only(offsets, np.int64)
    u, v = _pairs(left, right, len(places) - 1)
    if width < 1 or max_shingles < 1:
        raise ValueError(f"width and max_shingles must be at least 1, got {width} and {max_shingles}.")
    out = np.empty(len(u), np.float64)
    if len(u):
        hub, other = _by_degree(u, v, len(places) - 1)
        order, size = np.lexsort((other, hub)), np.diff(places)
        long = (np.maximum(size[hub], size[other]) > min(max_shingles, MAX_SHINGLES))[order]
        texts, pairs = (read_only(data, np.uint8), places), (read_only(hub, np.int64), read_only(other, np.int64))
        how = (width, bool(words))
        if not long.all():
            compare_by_runs(*texts, read_only(order[~long], np.int64), *pairs, *how, out)
        if long.any():
            _compare_sets(*texts, read_only(order[long], np.int64), *pairs, *how, max_shingles, out)
    return out


def _pairs(left: npt.ArrayLike, right: npt.ArrayLike, n: int) -> tuple[I64, I64]:
    u, v = read_only(left, np.int64), read_only(right, np.int64)
    if len(u) != len(v):
        raise ValueError(f"left and right must have the same length, got {len(u)} and {len(v)}.")
    for ends in (u, v):
        if len(ends) and not (ends.min() >= 0 and ends.max() < n):
            raise ValueError(f"pairs must name documents in [0, {n}), got {ends.min()} to {ends.max()}.")
    return u, v


def _by_degree(u: I64, v: I64, n: int) -> tuple[I64, I64]:
    """Swap pairs so that the document with more pairs comes first; return (left, right)."""
    degree = np.bincount(u, minlength=n) + np.bincount(v, minlength=n)
    swap = degree[v] > degree[u]
    return np.where(swap, v, u), np.where(swap, u, v)


@numba.njit(cache=True, nogil=True)
def _estimate_each(slots, left, right, out):  # type: ignore[no-untyped-def]
    k = slots.shape[1]
    for e in range(len(out)):
        a, b, same = slots[left[e]], slots[right[e]], np.int32(0)
        for p in range(k):
            same += np.int32(a[p] == b[p])
        out[e] = max(0.0, (same / k - CHANCE) / (1.0 - CHANCE))


@numba.njit(cache=True, nogil=True)
def _compare_sets(data, offsets, order, hub, other, width, words, cap, out):  # type: ignore[no-untyped-def]
    """Compare the pairs of `order` by their whole sets, sampled where one has more than `cap` shingles."""
    longest = 0
    for e in order:
        for d in (hub[e], other[e]):
            longest = max(longest, offsets[d + 1] - offsets[d])
    size = 8
    while size < 2 * min(longest, cap + 1):
        size *= 2
    symbols, kept = np.empty(longest + 1, np.uint64), np.empty(longest + 1, np.uint64)
    hashes, mine, theirs = (
        np.empty(longest + 1, np.uint64),
        np.empty(size, np.uint64),
        np.empty(size, np.uint64),
    )
    held, num_mine, stride, mask = -1, 0, 1, np.uint64(0)
    for e in order:
        a, b = hub[e], other[e]
        if a != held:
            count = shingle_hashes(data, offsets[a], offsets[a + 1], width, words, symbols, kept)
            num_mine, stride, mask = distinct(kept, count, np.int64(1), cap, mine)
            held = a
        count = shingle_hashes(data, offsets[b], offsets[b + 1], width, words, symbols, hashes)
        num_theirs, common, _ = distinct(hashes, count, stride, cap, theirs)
        union, shared = num_theirs, 0
        for i in range(num_theirs):
            shared += holds(mine, mask, hashes[i])
        if common == stride:
            union += num_mine
        else:
            for i in range(num_mine):
                union += is_sampled(kept[i], common)
        out[e] = shared / (union - shared) if union else 1.0
