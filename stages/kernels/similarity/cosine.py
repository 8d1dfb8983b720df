"""Cosine similarity of half-precision unit vectors: nearest centroid, and survivors among neighbours.

Exact, so the outcome depends neither on blocks nor on the device: a component is a multiple of 2^-24, a
product of two of 2^-48, and no partial sum exceeds about 1, so 53 bits of a double hold every one of them,
whatever the order of summation. Memory: BLOCK x ACROSS similarities, 8 bytes each.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numba
import numpy as np
import numpy.typing as npt

from stages.kernels.dispatch.space import HOST, Space
from stages.kernels.survivors.candidates import Candidates

F16 = npt.NDArray[np.float16]
F64 = npt.NDArray[np.float64]
I64 = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]

BLOCK = 1_024  # documents judged at a time
NEARLY_ONE, ROUNDED = 1.0 - 1e-6, 4.5e-16  # two roots and a product are rounded: equal vectors may reach 1 - 2 ** -51
ACROSS = 8_192  # kept documents they are compared with at a time


def unit(vectors: npt.NDArray[np.floating[Any]]) -> tuple[F16, BoolArray]:
    """Scale vectors to unit length in half precision; also return which have a direction.

    Parameters
    ----------
    vectors : (docs, dimensions); a row of zeros, or with NaN or infinity, has no direction.

    Returns
    -------
    (docs, dimensions) float16, zeros where there is no direction, and (docs,) bool.

    Examples
    --------
    >>> unit(np.array([[3.0, 4.0], [0.0, 0.0]]))[1].tolist()
    [True, False]
    """
    wide = np.asarray(vectors, np.float64)
    largest = np.abs(wide).max(axis=1, initial=0.0)  # scaling by it first keeps squares from overflowing
    good = np.isfinite(largest) & (largest > 0)
    scaled = np.zeros_like(wide)
    np.divide(wide, largest[:, None], out=scaled, where=good[:, None])
    length = np.sqrt((scaled * scaled).sum(axis=1))
    np.divide(scaled, length[:, None], out=scaled, where=good[:, None])
    return scaled.astype(np.float16), good


def lengths(vectors: F16) -> F64:
    """Return the lengths of vectors, exact before the root, (docs,)."""
    wide = vectors.astype(np.float64)
    found: F64 = np.sqrt(np.einsum("ij,ij->i", wide, wide))
    return found


def nearest(vectors: F16, centroids: F16, space: Space = HOST) -> npt.NDArray[np.int32]:
    """Return the centroid of greatest inner product for each vector, the first of equals, (docs,) int32."""
    found = np.empty(len(vectors), np.int32)
    right = space.put(centroids.astype(np.float64))
    for start in range(0, len(vectors), BLOCK):
        left = space.put(vectors[start : start + BLOCK].astype(np.float64))
        products = space.xp.matmul(left, right.T)
        found[start : start + BLOCK] = space.get(space.xp.argmax(products, axis=1))
    return found


def two_nearest(
    vectors: F16, centroids: F16, space: Space = HOST
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]]:
    """Return the centroids of greatest and of second greatest inner product for each vector, (docs,) int32 each.

    Of equals the first is nearer; with one centroid both are it.

    Examples
    --------
    >>> [found.tolist() for found in two_nearest(np.array([[0, 1]], np.float16), np.eye(2, dtype=np.float16))]
    [[1], [0]]
    """
    first, second = np.empty(len(vectors), np.int32), np.empty(len(vectors), np.int32)
    right = space.put(centroids.astype(np.float64))
    for start in range(0, len(vectors), BLOCK):
        left = space.put(vectors[start : start + BLOCK].astype(np.float64))
        products = space.xp.matmul(left, right.T)
        best = space.xp.argmax(products, axis=1)
        first[start : start + BLOCK] = space.get(best)
        if len(centroids) > 1:
            places = space.put(np.arange(len(centroids), dtype=np.int64))
            others = space.xp.where(places[None, :] == best[:, None], space.put(np.full(1, -np.inf))[0], products)
            best = space.xp.argmax(others, axis=1)
        second[start : start + BLOCK] = space.get(best)
    return first, second


def pair_cosines(vectors: F16, left: I64, right: I64) -> F64:
    """Return the cosine similarity of pairs of rows, (pairs,) float64, at most 1."""
    size = lengths(vectors)
    found = np.empty(len(left))
    for start in range(0, len(left), ACROSS):
        a, b = left[start : start + ACROSS], right[start : start + ACROSS]
        product = np.einsum("ij,ij->i", vectors[a].astype(np.float64), vectors[b].astype(np.float64))
        found[start : start + ACROSS] = product / (size[a] * size[b])
    return np.minimum(found, 1.0)


class Side(NamedTuple):
    """One side of a comparison, in the space's own arrays."""

    vectors: Any  # (docs, dimensions) float64
    length: Any  # (docs,) float64
    dataset: Any  # (docs,) int32


def similar(left: Side, right: Side, threshold: float, *, keep_all: bool) -> Any:
    """Mark the pairs that reach the threshold, (left, right) bool; with keep_all only across datasets."""
    products = left.vectors @ right.vectors.T
    cosine = products / (left.length[:, None] * right.length[None, :])
    reached = cosine >= (threshold if threshold < NEARLY_ONE else threshold - ROUNDED)
    if keep_all:
        reached = reached & (left.dataset[:, None] != right.dataset[None, :])
    return reached


def first_similar(space: Space, left: Side, right: Side, threshold: float, *, keep_all: bool) -> I64:
    """Return the first row of `right` similar to each row of `left`, (left,); the length of `right` if none is."""
    reached = similar(left, right, threshold, keep_all=keep_all)
    count = right.length.shape[0]
    places = space.put(np.arange(count, dtype=np.int64))
    none = space.put(np.full(1, count, np.int64))
    return space.get(space.xp.min(space.xp.where(reached, places[None, :], none[None, :]), axis=1))


def survivors(
    vectors: F16,
    candidates: Candidates,
    *,
    keep_all: bool,
    threshold: float,
    space: Space = HOST,
    paper: I64 | None = None,
) -> I64:
    """Return the representative of each dropped document, -1 where kept, (docs,) int64.

    A document is dropped iff an eligible, kept one before it in the order is at least as similar to it as the
    threshold (and of another dataset, with keep_all); it names the first such.

    Parameters
    ----------
    vectors : (docs, dimensions) float16 from `unit`, none of them zero.
    paper : rows from first to last, for SemDeDup's own rule (see `earlier_survivors`).
    """
    if paper is not None:
        return earlier_survivors(vectors, candidates, paper, keep_all=keep_all, threshold=threshold, space=space)
    order = np.argsort(candidates.rank)
    sides = Sides(space, vectors[order], candidates.dataset[order].astype(np.int32))
    free, able = ~candidates.protected[order], candidates.eligible[order]
    lost_to = np.full(len(order), -1, np.int64)  # by position in the order
    seats = np.empty(0, np.int64)  # kept, eligible documents so far
    for start in range(0, len(order), BLOCK):
        rows = np.arange(start, min(start + BLOCK, len(order)))
        for first in range(0, len(seats), ACROSS):
            open_ = rows[free[rows] & (lost_to[rows] < 0)]
            if not len(open_):
                break
            rivals = seats[first : first + ACROSS]
            place = first_similar(space, sides.take(open_), sides.take(rivals), threshold, keep_all=keep_all)
            hit = place < len(rivals)
            lost_to[open_[hit]] = rivals[place[hit]]
        side = sides.take(rows)
        among = np.ascontiguousarray(space.get(similar(side, side, threshold, keep_all=keep_all)))
        _decide_block(among, free[rows], able[rows], start, lost_to[start : start + len(rows)])
        seats = np.concatenate([seats, rows[able[rows] & (lost_to[rows] < 0)]])
    found = np.full(len(order), -1, np.int64)
    lost = np.flatnonzero(lost_to >= 0)
    found[order[lost]] = order[lost_to[lost]]
    return found


def from_centre(vectors: F16) -> F64:
    """Return the cosine similarity of vectors to their mean, (docs,); 1 for all where the mean has no direction.

    The mean is rounded to half precision, so that the products are exact whatever the order of summation.
    """
    centre, good = unit(vectors.astype(np.float64).sum(axis=0, keepdims=True))
    if not good[0]:
        return np.ones(len(vectors))
    product = np.einsum("ij,j->i", vectors.astype(np.float64), centre[0].astype(np.float64))
    found: F64 = product / lengths(vectors)
    return found


def paper_order(vectors: F16, candidates: Candidates, first: str) -> I64:
    """Return rows from first to last, (docs,): by priority of the dataset, distance to the mean, total order.

    first : farthest, nearest, or order (no distance).
    """
    sign = {"farthest": 1.0, "nearest": -1.0, "order": 0.0}[first]
    found: I64 = np.lexsort((candidates.rank, sign * from_centre(vectors), candidates.dataset))
    return found


def earlier_survivors(
    vectors: F16, candidates: Candidates, order: I64, *, keep_all: bool, threshold: float, space: Space = HOST
) -> I64:
    """Return the representative of each dropped document by SemDeDup's own rule, -1 where kept, (docs,) int64.

    A document is dropped iff an eligible one before it, dropped or not, is at least as similar to it as the threshold.
    Its representative is the kept one to which a chain of such documents leads.

    Parameters
    ----------
    order : rows from first to last, a permutation.
    """
    sides = Sides(space, vectors[order], candidates.dataset[order].astype(np.int32))
    free, able = ~candidates.protected[order], candidates.eligible[order]
    rivals, lost_to = np.flatnonzero(able), np.full(len(order), -1, np.int64)
    for start in range(0, len(order), BLOCK):
        stop = min(start + BLOCK, len(order))
        open_ = start + np.flatnonzero(free[start:stop])
        for first in range(0, int(np.searchsorted(rivals, stop)), ACROSS):
            open_ = open_[lost_to[open_] < 0]
            if not len(open_):
                break
            some = rivals[first : first + ACROSS]
            place = first_similar(space, sides.take(open_), sides.take(some), threshold, keep_all=keep_all)
            hit = place < len(some)
            before = hit & (some[np.minimum(place, len(some) - 1)] < open_)
            lost_to[open_[before]] = some[place[before]]
    root = _roots(lost_to)
    found = np.full(len(order), -1, np.int64)
    lost = np.flatnonzero(root >= 0)
    found[order[lost]] = order[root[lost]]
    return found


@numba.njit(cache=True, nogil=True)
def _roots(lost_to):  # type: ignore[no-untyped-def]
    """Follow every document to the one that is kept; lost_to points to earlier ones."""
    found = lost_to.copy()
    for i in range(len(found)):
        if found[i] >= 0 and found[found[i]] >= 0:
            found[i] = found[found[i]]
    return found


class Sides:
    """The documents of one comparison; blocks of them are copied to the space."""

    def __init__(self, space: Space, vectors: F16, dataset: npt.NDArray[np.int32]) -> None:
        self._space, self._vectors, self._dataset = space, vectors, dataset
        self._length = lengths(vectors)

    def take(self, rows: I64) -> Side:
        put = self._space.put
        return Side(put(self._vectors[rows].astype(np.float64)), put(self._length[rows]), put(self._dataset[rows]))


@numba.njit(cache=True, nogil=True)
def _decide_block(among, free, able, start, lost_to):  # type: ignore[no-untyped-def]
    """Compare the documents of one block with each other, in order; dropped ones are no representatives."""
    for i in range(len(free)):
        if lost_to[i] >= 0 or not free[i]:
            continue
        for j in range(i):
            if lost_to[j] < 0 and able[j] and among[i, j]:
                lost_to[i] = start + j
                break
