"""Survivors in representative mode: a greedy choice in the total order, from buckets and pair similarities.

A document is dropped iff a kept, eligible document before it in the total order, among
the first `1 + further_tries` such of a bucket they share (the bucket's "seats"), is similar to it; its
representative is the first such in the order. Component mode is in component_survivors.py.

Guarantees: the outcome does not depend on the numbering of documents or the order of buckets; a pair is looked up once.
Time: rounds of one pass over all members of distinct buckets. A pass decides every document that the known pairs
suffice for; for any other it requests the first undecided pair of each bucket, and all requests are looked up together.
"""

from __future__ import annotations

from typing import NamedTuple

import numba
import numpy as np
import numpy.typing as npt

from stages.kernels.survivors.candidates import Buckets, Candidates
from stages.kernels.survivors.pair_answers import (
    I64,
    MISSING,
    NO,
    U8,
    YES,
    Answers,
    BoolArray,
    Result,
    Verdict,
    known,
    result_of,
)

OPEN, KEPT, DROPPED, LOSING = 0, 1, 2, 3  # LOSING: certainly dropped, its representative is undecided
SPARE = 4  # undecided seat holders remembered per bucket besides the seats


def representative_survivors(buckets: Buckets, verdict: Verdict, *, keep_all: bool, further_tries: int) -> Result:
    """Choose survivors in representative mode; return a `Result`.

    Parameters
    ----------
    verdict : decides pairs of documents; 2 where the pair is undecided.
    keep_all : documents of one dataset never drop each other.
    further_tries : kept members of a bucket that are tried after the first.
    """
    buckets = buckets.distinct()  # those left out would hold the same seats and request the same pairs
    board, group = _board(buckets, further_tries), buckets.groups
    order = np.argsort(buckets.rank).astype(np.int64)
    answers = Answers(len(buckets))
    while True:
        left, right = _pass(board, order, bool(keep_all), 1 + further_tries, *answers.table())
        if not len(left):
            break
        answers.look_up(left, right, verdict)
        asking = np.zeros(len(buckets), np.bool_)
        asking[group[right]] = True
        order = order[asking[group[order]]]  # only new answers can change a group
    undecided = (board.status == OPEN) | (board.status == LOSING)
    return result_of(board.lost_to, answers, undecided, group)


class Board(NamedTuple):
    """Arrays that a pass reads and writes; the seats of a bucket begin at seat_start, in the total order."""

    place: I64  # (docs,) position in the total order
    of_start: I64  # (docs + 1,) where a document's buckets begin in of_bucket
    of_bucket: I64
    seat_start: I64  # (buckets + 1,)
    dataset: npt.NDArray[np.int32]
    protected: BoolArray
    eligible: BoolArray
    seats: I64
    filled: I64  # (buckets,) seats taken, by kept or open documents
    sure: I64  # (buckets,) seats taken by kept documents
    lost: BoolArray  # (buckets,) an open document found no room and is not remembered
    status: U8  # (docs,)
    lost_to: I64  # (docs,)


def _board(given: Buckets, further_tries: int) -> Board:
    buckets, documents = len(given.start) - 1, len(given)
    of_start, of_bucket = _buckets_of(given)
    seat_start = np.zeros(buckets + 1, np.int64)
    np.cumsum(np.minimum(np.diff(given.start), 1 + further_tries + SPARE), out=seat_start[1:])
    return Board(
        place=np.array(given.rank, np.int64),
        of_start=of_start,
        of_bucket=of_bucket,
        seat_start=seat_start,
        dataset=np.array(given.dataset, np.int32),
        protected=np.array(given.protected, np.bool_),
        eligible=np.array(given.eligible, np.bool_),
        seats=np.empty(seat_start[-1], np.int64),
        filled=np.zeros(buckets, np.int64),
        sure=np.zeros(buckets, np.int64),
        lost=np.zeros(buckets, np.bool_),
        status=np.zeros(documents, np.uint8),
        lost_to=np.full(documents, -1, np.int64),
    )


def exact_survivors(
    h1: npt.NDArray[np.uint64], h2: npt.NDArray[np.uint64], candidates: Candidates, *, keep_all: bool
) -> I64:
    """Return the representative of each document, of equal (h1, h2), -1 where kept, (docs,) int64.

    A document is dropped iff an eligible, kept one of its group (of another dataset with keep_all) comes
    before it; the first is its representative. Ineligible ones before the first eligible one are kept here: a later
    filter drops them.
    """
    order = np.lexsort([candidates.rank, h2, h1])
    first = np.r_[True, (h1[order][1:] != h1[order][:-1]) | (h2[order][1:] != h2[order][:-1])] if len(order) else order
    lost_to = np.full(len(h1), -1, np.int64)
    given = candidates.dataset, candidates.protected, candidates.eligible
    _first_eligible(order.astype(np.int64), first.astype(np.bool_), *given, bool(keep_all), lost_to)
    return lost_to


@numba.njit(cache=True, nogil=True)
def _first_eligible(order, first, dataset, protected, eligible, keep_all, lost_to):  # type: ignore[no-untyped-def]
    best = -1
    for i in range(len(order)):
        doc = order[i]
        if first[i]:
            best = -1
        if best >= 0 and not protected[doc] and not (keep_all and dataset[best] == dataset[doc]):
            lost_to[doc] = best
        elif best < 0 and eligible[doc]:
            best = doc


def _buckets_of(buckets: Buckets) -> tuple[I64, I64]:
    """Invert buckets -> documents: return (docs + 1,) starts and the buckets of each document."""
    of_start = np.zeros(len(buckets) + 1, np.int64)
    np.cumsum(np.bincount(buckets.member, minlength=len(buckets)), out=of_start[1:])
    return of_start, buckets.of_member[np.argsort(buckets.member, kind="stable")]


@numba.njit(cache=True, nogil=True, inline="always")
def _certain_winner(board, doc, keep_all, tries, keys, values):  # type: ignore[no-untyped-def]
    """Return the first kept document in the order that is known to be similar to `doc`, or -1."""
    n = len(board.place)
    best = -1
    for i in range(board.of_start[doc], board.of_start[doc + 1]):
        bucket = board.of_bucket[i]
        base = board.seat_start[bucket]
        for s in range(min(tries, board.filled[bucket])):
            other = board.seats[base + s]
            if board.status[other] != KEPT or (keep_all and board.dataset[other] == board.dataset[doc]):
                continue
            if best >= 0 and board.place[other] >= board.place[best]:
                break
            if known(keys, values, other * n + doc) == YES:
                best = other
                break
    return best


@numba.njit(cache=True, nogil=True, inline="always")
def _look(board, doc, bucket, best, keep_all, tries, keys, values):  # type: ignore[no-untyped-def]
    """Return (whether a seat before `best` is undecided for `doc`, the document whose pair to request or -1)."""
    n = len(board.place)
    base = board.seat_start[bucket]
    kept = 0
    open_ = False
    last = -1
    for s in range(board.filled[bucket]):
        if kept >= tries:
            return open_, -1
        other = board.seats[base + s]
        last = other
        if best >= 0 and board.place[other] >= board.place[best]:
            return open_, -1
        if board.status[other] == KEPT:
            kept += 1
        if keep_all and board.dataset[other] == board.dataset[doc]:
            continue
        answer = known(keys, values, other * n + doc)
        if answer == NO:
            continue
        # After a pair that needs text, request the next likely seats too: their texts come in the same pass.
        if answer == MISSING and (not open_ or s < tries):
            return True, other
        open_ = True
    if board.lost[bucket] and kept < tries and (best < 0 or last < 0 or board.place[last] < board.place[best]):
        open_ = True
    return open_, -1


@numba.njit(cache=True, nogil=True, inline="always")
def _take_seats(board, doc, tries):  # type: ignore[no-untyped-def]
    for j in range(board.of_start[doc], board.of_start[doc + 1]):
        bucket = board.of_bucket[j]
        if board.sure[bucket] >= tries:
            continue
        if board.filled[bucket] < board.seat_start[bucket + 1] - board.seat_start[bucket]:
            board.seats[board.seat_start[bucket] + board.filled[bucket]] = doc
            board.filled[bucket] += 1
            if board.status[doc] == KEPT:
                board.sure[bucket] += 1
        else:
            board.lost[bucket] = True


@numba.njit(cache=True, nogil=True)
def _pass(board, order, keep_all, tries, keys, values):  # type: ignore[no-untyped-def]
    """Decide the documents of `order`, whole groups in the total order; return the pairs to look up."""
    size = 0
    for doc in order:
        size += board.of_start[doc + 1] - board.of_start[doc]
        for j in range(board.of_start[doc], board.of_start[doc + 1]):
            board.filled[board.of_bucket[j]] = 0
            board.sure[board.of_bucket[j]] = 0
            board.lost[board.of_bucket[j]] = False
    asked_left = np.empty(size, np.int64)
    asked_right = np.empty(size, np.int64)
    asked = 0
    for doc in order:
        best = -1
        open_ = False
        if not board.protected[doc]:
            best = _certain_winner(board, doc, keep_all, tries, keys, values)
            for j in range(board.of_start[doc], board.of_start[doc + 1]):
                waits, other = _look(board, doc, board.of_bucket[j], best, keep_all, tries, keys, values)
                open_ = open_ or waits
                if other >= 0:
                    asked_left[asked] = other
                    asked_right[asked] = doc
                    asked += 1
        board.lost_to[doc] = best
        if best >= 0:
            board.status[doc] = LOSING if open_ else DROPPED
        else:
            board.status[doc] = OPEN if open_ else KEPT
            if board.eligible[doc]:
                _take_seats(board, doc, tries)
    return asked_left[:asked], asked_right[:asked]
