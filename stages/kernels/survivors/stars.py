"""Large-star and small-star: one round of distributed connected components, each node seeing its neighbours alone.

Kiveris, Lattanzi, Mirrokni, Rastogi, Vassilvitskii: Connected Components in MapReduce and Beyond (SoCC 2014),
alternating large-star and small-star. Both keep the components as they are, neither makes more edges than it is
given. When no node is open, the edges of `large_star` are the stars sought: each node with the least of its
component. Memory: about eight times the edges given.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

I64 = npt.NDArray[np.int64]


def large_star(node: I64, other: I64) -> tuple[I64, I64, int]:
    """Large-star: connect the greater neighbours of every node to the least of its neighbours and itself.

    Parameters
    ----------
    node, other : (edges,) all neighbours of each node given, in any order; repeats and loops allowed.

    Returns
    -------
    (greater end, lesser end, open nodes). A node is open unless it has no lesser neighbour, or one and no greater.

    Examples
    --------
    >>> high, low, still_open = large_star(np.array([2, 2, 1, 3]), np.array([1, 3, 2, 2]))
    >>> high.tolist(), low.tolist(), still_open
    ([2, 3], [1, 1], 1)
    """
    node, other, starts = _neighbours(node, other)
    if not len(node):
        return node, other, 0
    counts = np.diff(np.r_[starts, len(node)])
    lesser = np.add.reduceat((other < node).astype(np.int64), starts)
    least = np.repeat(np.minimum(node[starts], other[starts]), counts)
    greater = other > node
    return other[greater], least[greater], int(((lesser > 1) | ((lesser > 0) & (counts > lesser))).sum())


def small_star(node: I64, other: I64) -> tuple[I64, I64]:
    """Small-star: connect every node and its lesser neighbours to the least of these.

    Parameters
    ----------
    node, other : (edges,) all lesser neighbours of each node given, in any order; repeats allowed.

    Returns
    -------
    (greater end, lesser end).

    Examples
    --------
    >>> [ends.tolist() for ends in small_star(np.array([5, 5]), np.array([3, 1]))]
    [[5, 3], [1, 1]]
    """
    node, other, starts = _neighbours(node, other)
    if not len(node):
        return node, other
    least = np.repeat(other[starts], np.diff(np.r_[starts, len(node)]))
    rest = other != least
    return np.r_[node[starts], other[rest]], np.r_[other[starts], least[rest]]


def _neighbours(node: I64, other: I64) -> tuple[I64, I64, I64]:
    """Return the distinct edges sorted by (node, other), loops left out, and where each node's begin."""
    order = np.lexsort((other, node))
    node, other = node[order], other[order]
    new = node != other
    new[1:] &= (node[1:] != node[:-1]) | (other[1:] != other[:-1])
    node, other = node[new], other[new]
    starts = np.flatnonzero(np.r_[True, node[1:] != node[:-1]]) if len(node) else np.empty(0, np.int64)
    return node, other, starts
