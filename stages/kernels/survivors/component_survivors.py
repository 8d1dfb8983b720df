"""Survivors in component mode: each connected component is one group, as in Zyda-2, candidates verified or not.

Inside a bucket each member joins the first leader it is similar to, or becomes one of at most
`1 + further_tries` leaders; components are those of these edges. Guarantees: as for bucket_survivors.py.
"""

from __future__ import annotations

from typing import NamedTuple

import numba
import numpy as np

from stages.kernels.survivors.candidates import Buckets, Candidates
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
    known,
    result_of,
)


def component_survivors(buckets: Buckets, verdict: Verdict, *, keep_all: bool, further_tries: int) -> Result:
    """Choose survivors in component mode; return a `Result`; parameters as for `representative_survivors`.

    The first eligible member of a component is kept, with keep_all its whole dataset; protected ones are kept.
    A component without an eligible member loses nothing.
    """
    led = lead(buckets, verdict, further_tries=further_tries)
    group = components(led.ends[0], led.ends[1], len(buckets))
    lost_to = lose_in_components(group, buckets, keep_all=keep_all)
    return result_of(lost_to, led.answers, led.undecided, buckets.groups)


class Led(NamedTuple):
    """Members joined to the leaders of their buckets.

    ends: (2, edges) documents that belong together. leads: (members,) entries that became leaders, in the order
    `ordered`, (members,) documents. undecided: (docs,) what waits for a pair; answers: the pairs that were looked up.
    """

    ends: I64
    leads: BoolArray
    ordered: I64
    undecided: BoolArray
    answers: Answers


def lead(buckets: Buckets, verdict: Verdict, *, further_tries: int, carried: BoolArray | None = None) -> Led:
    """Join the members of every bucket to its leaders, as far as the verdicts suffice.

    carried : (docs,) leaders of all their buckets, which come before the others and are not compared with each other.
    """
    ordered = buckets.member[np.lexsort([buckets.rank[buckets.member], buckets.of_member])]
    answers, count = Answers(len(buckets)), len(buckets)
    sure = np.zeros(count, np.bool_) if carried is None else carried
    while True:
        open_docs, ends, leads, left, right = _lead(
            buckets.start, ordered, sure, 1 + further_tries, count, *answers.table()
        )
        if not len(left):
            return Led(ends, leads, ordered, open_docs, answers)
        answers.look_up(left, right, verdict)


def lose_in_components(group: I64, candidates: Candidates, *, keep_all: bool) -> I64:
    """Return the representative of each document in its component, -1 where kept, (docs,) int64."""
    order = np.argsort(candidates.rank)
    able = order[candidates.eligible[order]]
    best = np.full(len(group), -1, np.int64)
    names, first = np.unique(group[able], return_index=True)
    best[names] = able[first]
    winner = best[group]
    stays = (winner < 0) | (winner == np.arange(len(group))) | candidates.protected
    if keep_all:
        stays |= candidates.dataset[winner] == candidates.dataset
    return np.where(stays, -1, winner).astype(np.int64)


@numba.njit(cache=True, nogil=True)
def _lead(start, ordered, carried, leaders, n, keys, values):  # type: ignore[no-untyped-def]
    """Join the members of every bucket to leaders; return (undecided documents, edges, new leaders, pairs to ask)."""
    open_docs = np.zeros(n, np.bool_)
    leads = np.zeros(len(ordered), np.bool_)
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
            if carried[doc]:
                seats[filled] = doc
                filled += 1
                continue
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
                leads[i] = True
    return open_docs, edges[:, :found], leads, asked_left[:asked], asked_right[:asked]
