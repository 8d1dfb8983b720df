"""What one cluster says of its undecided documents, given which of the others are kept.

Exact as cosine.py is. Memory: BLOCK x ACROSS similarities, 8 bytes each.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from stages.kernels.dispatch.space import HOST, Space
from stages.kernels.similarity.cosine import ACROSS, BLOCK, F16, I64, BoolArray, Sides, similar
from stages.kernels.survivors.candidates import Candidates

WAIT, FREE, DROP = 0, 1, 2


def votes(
    vectors: F16,
    candidates: Candidates,
    *,
    undecided: BoolArray,
    kept: BoolArray,
    keep_all: bool,
    threshold: float,
    space: Space = HOST,
) -> tuple[I64, I64, npt.NDArray[np.int8]]:
    """Return (undecided rows in order, the kept row that drops each or -1, votes), (found,) each.

    DROP: an eligible, kept document before it in the order is similar; FREE: none that is kept or undecided is, or the
    document is protected; WAIT: an undecided one is.
    """
    order = np.argsort(candidates.rank)
    sides = Sides(space, vectors[order], candidates.dataset[order].astype(np.int32))
    able = candidates.eligible[order]
    open_ = np.flatnonzero(undecided[order])  # positions in the order, as all below
    rivals = np.flatnonzero((undecided | kept)[order] & able)
    is_kept = kept[order]
    lost_to, waits = np.full(len(open_), -1, np.int64), np.zeros(len(open_), np.bool_)
    for start in range(0, len(open_), BLOCK):
        mine = slice(start, start + BLOCK)
        rows = open_[mine]
        before = rivals[: np.searchsorted(rivals, rows[-1])]
        for first in range(0, len(before), ACROSS):
            some = before[first : first + ACROSS]
            reached = space.get(similar(sides.take(rows), sides.take(some), threshold, keep_all=keep_all))
            reached = reached & (some[None, :] < rows[:, None])
            hit = reached & is_kept[some][None, :]
            new = np.flatnonzero(hit.any(axis=1) & (lost_to[mine] < 0))
            lost_to[mine][new] = some[hit[new].argmax(axis=1)]
            waits[mine] |= (reached & ~is_kept[some][None, :]).any(axis=1)
    free = candidates.protected[order][open_]
    lost_to[free] = -1
    vote = np.where(free, FREE, np.where(lost_to >= 0, DROP, np.where(waits, WAIT, FREE))).astype(np.int8)
    return order[open_], np.where(lost_to >= 0, order[np.maximum(lost_to, 0)], -1), vote
