"""Connected components of an undirected graph by union-find in one process: union by least index, path halving.

Work is near linear in the edges, memory 8 bytes per document; nothing recurses, so a chain of millions
is fine.
"""

from __future__ import annotations

import numba
import numpy as np
import numpy.typing as npt

from stages.kernels.dispatch.dispatch import by_backend
from stages.kernels.hashes.hashing import I64, read_only


def components(left: npt.ArrayLike, right: npt.ArrayLike, n: int) -> I64:
    """Label each of n documents with the smallest index of its component.

    Parameters
    ----------
    left, right : (edges,) indices in [0, n); any order, repeats and loops allowed.

    Returns
    -------
    (n,) int64; a document without edges is its own label.

    Raises
    ------
    ValueError : left and right differ in length or an index is out of range.

    Examples
    --------
    >>> components([3, 1], [1, 0], 4).tolist()
    [0, 0, 2, 0]
    """
    u, v = read_only(left, np.int64), read_only(right, np.int64)
    if len(u) != len(v):
        raise ValueError(f"left and right must have the same length, got {len(u)} and {len(v)}.")
    for ends in (u, v):
        if len(ends) and not (ends.min() >= 0 and ends.max() < n):
            raise ValueError(f"edges must join indices in [0, {n}), got {ends.min()} to {ends.max()}.")
    label = np.arange(n, dtype=np.int64)
    _unite(u, v, label)
    return label


@by_backend
def join(label: I64, left: I64, right: I64) -> None:
    """Union more edges into the labels of `components`, in place; edges may come in several portions."""
    _unite(left, right, label)


@numba.njit(cache=True, nogil=True)
def _root(parent, i):  # type: ignore[no-untyped-def]
    while parent[i] != i:
        parent[i] = parent[parent[i]]
        i = parent[i]
    return i


@numba.njit(cache=True, nogil=True)
def _unite(left, right, parent):  # type: ignore[no-untyped-def]
    for e in range(len(left)):
        a, b = _root(parent, left[e]), _root(parent, right[e])
        parent[max(a, b)] = min(a, b)
    for i in range(len(parent)):  # parents come before their children, so one pass flattens
        parent[i] = parent[parent[i]]
