"""Survivors where a connected component is one group (Zyda-2's way), candidates verified or not.

Inside a bucket each member joins the first leader it is similar to, or becomes one of at most
`1 + further_tries` leaders; components are those of these edges. Guarantees: as for bucket_survivors.py.
"""

from __future__ import annotations

import numba
import numpy as np
import numpy.typing as npt

from stages.kernels.survivors.components import components
from stages.kernels.survivors.pair_answers import (
    I64,
    MISSING,
    NO,
    YES,
    Answers,
    BoolArray,
    Result,
    Verdict,
    groups_of,
    known,
    result_of,
)


def component_survivors(
    start: I64,
    member: I64,
    rank: I64,
    dataset: npt.NDArray[np.int32],
    protected: BoolArray,
    eligible: BoolArray,
    keep_all: bool,
    further_tries: int,
    verdict: Verdict,
) -> Result:
    """Decide in component mode; parameters as for `resolve`.

    The first eligible member of a component stays, with keep_all its whole dataset does; protected ones stay.
    A component without an eligible member loses nothing.
    """
    bucket = np.repeat(np.arange(len(start) - 1), np.diff(start))
    ordered = member[np.lexsort([rank[member], bucket])]
    answers = Answers(len(rank))
    while True:
        open_docs, ends, left, right = _lead(start, ordered, 1 + further_tries, len(rank), *answers.table())
        if not len(left):
            break
        answers.ask(left, right, verdict)
    group = components(ends[0], ends[1], len(rank))
    lost_to = _lose_in_components(group, np.argsort(rank), dataset, protected, eligible, keep_all)
    return result_of(lost_to, answers, open_docs, groups_of(start, member, len(rank)))


def _lose_in_components(
    group: I64,
    order: I64,
    dataset: npt.NDArray[np.int32],
    protected: BoolArray,
    eligible: BoolArray,
    keep_all: bool,
) -> I64:
    """Return whom each document loses to when a component is one group."""
    able = order[eligible[order]]
    best = np.full(len(group), -1, np.int64)
    names, first = np.unique(group[able], return_index=True)
    best[names] = able[first]
    winner = best[group]
    stays = (winner < 0) | (winner == np.arange(len(group))) | protected
    if keep_all:
        stays |= dataset[winner] == dataset
    return np.where(stays, -1, winner).astype(np.int64)


@numba.njit(cache=True, nogil=True)
def _lead(start, ordered, leaders, n, keys, values):  # type: ignore[no-untyped-def]
    """Run through every bucket; return (open documents, edges, pairs asked)."""
    open_docs = np.zeros(n, np.bool_)
    total = len(ordered)
    edges = np.empty((2, total), np.int64)
    asked_left = np.empty(total, np.int64)
    asked_right = np.empty(total, np.int64)
    found = 0
    asked = 0
    seats = np.empty(leaders, np.int64)
    for bucket in range(len(start) - 1):
        filled = 0
        settled = True  # whether all leaders so far are certain
        for i in range(start[bucket], start[bucket + 1]):
            doc = ordered[i]
            decided = settled
            joined = False
            for s in range(filled):
                answer = known(keys, values, seats[s] * n + doc)
                if answer == NO:
                    continue
                if answer == YES:
                    edges[0, found] = seats[s]
                    edges[1, found] = doc
                    found += 1
                    joined = True
                else:
                    decided = False
                    if answer == MISSING:
                        asked_left[asked] = seats[s]
                        asked_right[asked] = doc
                        asked += 1
                break
            if joined:
                continue
            if not decided:
                open_docs[doc] = True
                settled = settled and filled >= leaders
            elif filled < leaders:
                seats[filled] = doc
                filled += 1
    return open_docs, edges[:, :found], asked_left[:asked], asked_right[:asked]
