"""Spherical k-means by Lloyd's iterations whose sums are exact, so that they may be taken in parts.

Guarantees: a component of a half-precision unit vector is a multiple of 2^-24 and at most 1, so a double holds the sum
of 500 million of them without rounding, in any order: the same vectors give the same centroids, however they are cut
into parts and on any device. Memory: ROWS vectors in double precision, and those of the centroids.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from stages.kernels.dispatch.space import HOST, Space
from stages.kernels.similarity.cosine import F16, F64, I64, nearest, unit

ROWS = 8192  # vectors summed at a time
ITERATIONS = 20


def partial_sums(vectors: F16, centroids: F16, space: Space = HOST) -> tuple[F64, I64]:
    """Return (sums, counts) of the vectors nearest to each centroid: (centroids, dimensions) float64 and (centroids,).

    Examples
    --------
    >>> vectors = np.array([[1, 0], [0, 1], [0, 1]], np.float16)
    >>> [part.tolist() for part in partial_sums(vectors, vectors[:2])]
    [[[1.0, 0.0], [0.0, 2.0]], [1, 2]]
    """
    sums = np.zeros(centroids.shape, np.float64)
    counts = np.zeros(len(centroids), np.int64)
    for start in range(0, len(vectors), ROWS):
        part = vectors[start : start + ROWS]
        at = nearest(part, centroids, space)
        order = np.argsort(at, kind="stable")
        begins = np.flatnonzero(np.diff(at[order], prepend=-1))
        sums[at[order[begins]]] += np.add.reduceat(part[order].astype(np.float64), begins, axis=0)
        counts += np.bincount(at, minlength=len(centroids))
    return sums, counts


def next_centroids(sums: F64, before: F16) -> F16:
    """Return the unit vectors of these sums; a centroid whose vectors have none stays where it was."""
    found, good = unit(sums)
    return np.where(good[:, None], found, before)


def first_distinct(vectors: F16, count: int) -> F16:
    """Return the first `count` distinct vectors, all of them where there are fewer."""
    rows = np.ascontiguousarray(vectors).view(np.dtype((np.void, vectors.shape[1] * 2))).reshape(-1)
    first: npt.NDArray[np.intp] = np.sort(np.unique(rows, return_index=True)[1])
    return vectors[first[:count]]


def lloyd(vectors: F16, clusters: int, space: Space = HOST) -> F16:
    """Return the centroids of vectors, (at most `clusters`, dimensions); the first distinct ones begin."""
    centroids = first_distinct(vectors, clusters)
    for _ in range(ITERATIONS):
        moved = next_centroids(partial_sums(vectors, centroids, space)[0], centroids)
        if np.array_equal(moved, centroids):
            break
        centroids = moved
    return centroids
