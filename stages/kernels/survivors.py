"""Which documents survive, decided from buckets of candidates and answers about pairs.

Representative mode: a document is dropped iff a kept, eligible document before it in the total order, among
the first `1 + further_tries` such ("seats") of a bucket they share, is similar to it; it names the first
one in the order. Component mode: inside a bucket each member joins the first leader it is similar to, or
becomes one of at most `1 + further_tries` leaders; a connected component is one group.

Guarantees: the outcome does not depend on the numbering of documents or the order of buckets; a pair is asked for once.
Time: rounds of one pass over all bucket members. A pass settles whom it can; who depends on an answer
not known yet asks for the first such pair of each bucket, and all answers are fetched together.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numba
import numpy as np
import numpy.typing as npt

I64 = npt.NDArray[np.int64]
U8 = npt.NDArray[np.uint8]
BoolArray = npt.NDArray[np.bool_]
Verdict = Callable[[I64, I64], U8]  # (earlier, later) documents -> 0 not similar, 1 similar, 2 unknown

NO, YES, UNKNOWN, MISSING = 0, 1, 2, 3
OPEN, KEPT, DROPPED, LOSING = 0, 1, 2, 3  # LOSING: certainly dropped, by whom is not certain yet
SPARE = 4  # undecided seat holders remembered per bucket besides the seats
_EMPTY = np.int64(-1)


@dataclass(frozen=True, eq=False)
class Result:
    """lost_to: (docs,) the document each one lost to, -1 where it stays; final when nothing is unknown.

    unknown_left, unknown_right: pairs (earlier, later) whose similarity must be known first.
    """

    lost_to: I64
    unknown_left: I64
    unknown_right: I64


def resolve(
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
    """Decide in representative mode.

    Parameters
    ----------
    start : (buckets + 1,) where each bucket's members begin in `member`.
    member : documents of all buckets, each at most once per bucket.
    rank : (docs,) position in the total order, unique.
    dataset : (docs,) with keep_all, documents of one dataset never drop each other.
    protected : (docs,) never dropped.
    eligible : (docs,) may represent others.
    further_tries : kept members of a bucket that are tried after the first.
    verdict : answers pairs of documents; 2 means that it cannot tell yet.
    """
    order = np.argsort(rank).astype(np.int64)
    of_start, of_bucket = _buckets_of(start, member, len(rank))
    room = np.minimum(np.diff(start), 1 + further_tries + SPARE)
    seat_start = np.zeros(len(start), np.int64)
    np.cumsum(room, out=seat_start[1:])
    frozen = (
        order,
        of_start,
        of_bucket,
        seat_start,
        dataset,
        protected,
        eligible,
        bool(keep_all),
        1 + further_tries,
    )
    answers = _Answers(len(rank))
    while True:
        status, lost_to, left, right = _pass(*frozen, *answers.table())
        if not len(left):
            break
        answers.ask(left, right, verdict)
    return _result(lost_to, answers, status)


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
    from stages.kernels.components import components

    bucket = np.repeat(np.arange(len(start) - 1), np.diff(start))
    ordered = member[np.lexsort([rank[member], bucket])]
    answers = _Answers(len(rank))
    while True:
        open_docs, ends, left, right = _lead(start, ordered, 1 + further_tries, len(rank), *answers.table())
        if not len(left):
            break
        answers.ask(left, right, verdict)
    group = components(ends[0], ends[1], len(rank))
    lost_to = _lose_in_components(group, np.argsort(rank), dataset, protected, eligible, keep_all)
    return _result(lost_to, answers, np.where(open_docs, OPEN, KEPT).astype(np.uint8))


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


def exact_groups(
    h1: npt.NDArray[np.uint64],
    h2: npt.NDArray[np.uint64],
    rank: I64,
    dataset: npt.NDArray[np.int32],
    protected: BoolArray,
    eligible: BoolArray,
    keep_all: bool,
) -> I64:
    """Return whom each document loses to among those of equal (h1, h2), -1 where it stays, (docs,) int64.

    A document is dropped iff an eligible, kept one of its group (of another dataset with keep_all) comes
    before it; it names the first. Ineligible ones before the first eligible one stay: a later filter drops them.
    """
    order = np.lexsort([rank, h2, h1])
    first = np.r_[True, (h1[order][1:] != h1[order][:-1]) | (h2[order][1:] != h2[order][:-1])] if len(order) else order
    lost_to = np.full(len(h1), -1, np.int64)
    _first_eligible(
        order.astype(np.int64), first.astype(np.bool_), dataset, protected, eligible, bool(keep_all), lost_to
    )
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


def _buckets_of(start: I64, member: I64, documents: int) -> tuple[I64, I64]:
    """Turn buckets -> documents around: return (documents + 1,) starts and the buckets of each document."""
    bucket = np.repeat(np.arange(len(start) - 1, dtype=np.int64), np.diff(start))
    of_start = np.zeros(documents + 1, np.int64)
    np.cumsum(np.bincount(member, minlength=documents), out=of_start[1:])
    return of_start, bucket[np.argsort(member, kind="stable")]


class _Answers:
    """Pairs that were asked for, and what was answered: an open-addressing hash table."""

    def __init__(self, documents: int) -> None:
        self._documents = np.int64(documents)
        self.left = np.empty(0, np.int64)
        self.right = np.empty(0, np.int64)
        self.answer = np.empty(0, np.uint8)
        self._build()

    def table(self) -> tuple[I64, U8]:
        return self._keys, self._values

    def ask(self, left: I64, right: I64, verdict: Verdict) -> None:
        """Fetch the answers for new pairs."""
        key = np.unique(left * self._documents + right)
        left, right = key // self._documents, key % self._documents
        answer = np.asarray(verdict(left, right), np.uint8)
        self.left = np.concatenate([self.left, left])
        self.right = np.concatenate([self.right, right])
        self.answer = np.concatenate([self.answer, answer])
        self._build()

    def _build(self) -> None:
        size = 16
        while size < 2 * len(self.left):
            size *= 2
        self._keys = np.full(size, _EMPTY, np.int64)
        self._values = np.zeros(size, np.uint8)
        _fill(self._keys, self._values, self.left * self._documents + self.right, self.answer)


def _result(lost_to: I64, answers: _Answers, status: U8) -> Result:
    """Name the pairs that stand between an undecided document and its verdict."""
    undecided = (status == OPEN) | (status == LOSING)
    unknown = (answers.answer == UNKNOWN) & undecided[answers.right]
    return Result(lost_to, answers.left[unknown], answers.right[unknown])


@numba.njit(cache=True, nogil=True, inline="always")
def _slot(key, mask):  # type: ignore[no-untyped-def]
    h = np.uint64(key) * np.uint64(0x9E3779B97F4A7C15)
    return np.int64((h ^ (h >> np.uint64(32))) & np.uint64(mask))


@numba.njit(cache=True, nogil=True)
def _fill(keys, values, new, answer):  # type: ignore[no-untyped-def]
    mask = len(keys) - 1
    for i in range(len(new)):
        at = _slot(new[i], mask)
        while keys[at] != -1:
            at = (at + 1) & mask
        keys[at] = new[i]
        values[at] = answer[i]


@numba.njit(cache=True, nogil=True)
def _known(keys, values, key):  # type: ignore[no-untyped-def]
    mask = len(keys) - 1
    at = _slot(key, mask)
    while keys[at] != -1:
        if keys[at] == key:
            return values[at]
        at = (at + 1) & mask
    return np.uint8(3)


@numba.njit(cache=True, nogil=True)
def _judge(  # type: ignore[no-untyped-def]
    doc,
    n,
    place,
    of_start,
    of_bucket,
    seat_start,
    seats,
    filled,
    lost,
    status,
    dataset,
    keep_all,
    tries,
    keys,
    values,
    asked_left,
    asked_right,
    asked,
):
    """Return (best certain winner or -1, whether something earlier than it is open, pairs asked so far)."""
    best = -1
    for i in range(of_start[doc], of_start[doc + 1]):
        bucket = of_bucket[i]
        base = seat_start[bucket]
        ahead = 0  # holders before this one, certain or not
        for s in range(filled[bucket]):
            other = seats[base + s]
            certain = status[other] == KEPT and ahead < tries
            ahead += 1
            if not certain or (keep_all and dataset[other] == dataset[doc]):
                continue
            if (best < 0 or place[other] < place[best]) and _known(keys, values, other * n + doc) == YES:
                best = other
    open_ = False
    for i in range(of_start[doc], of_start[doc + 1]):
        bucket = of_bucket[i]
        base = seat_start[bucket]
        kept = 0
        ahead = 0
        waiting = False
        for s in range(filled[bucket]):
            if kept >= tries:
                break
            other = seats[base + s]
            certain = status[other] == KEPT and ahead < tries
            ahead += 1
            if status[other] == KEPT:
                kept += 1
            if keep_all and dataset[other] == dataset[doc]:
                continue
            if best >= 0 and place[other] >= place[best]:
                break
            answer = _known(keys, values, other * n + doc)
            if answer == NO:
                continue
            open_ = True
            if answer == MISSING and (not waiting or certain):
                asked_left[asked] = other
                asked_right[asked] = doc
                asked += 1
                break
            if answer == UNKNOWN:
                waiting = True  # go on, but only ask certain holders: their texts come in the same pass
        last = seats[base + filled[bucket] - 1] if filled[bucket] else -1
        if lost[bucket] and kept < tries and (best < 0 or last < 0 or place[last] < place[best]):
            open_ = True
    return best, open_, asked


@numba.njit(cache=True, nogil=True)
def _pass(order, of_start, of_bucket, seat_start, dataset, protected, eligible, keep_all, tries, keys, values):  # type: ignore[no-untyped-def]
    n = len(order)
    place = np.empty(n, np.int64)
    for i in range(n):
        place[order[i]] = i
    seats = np.empty(seat_start[-1], np.int64)
    filled = np.zeros(len(seat_start) - 1, np.int64)
    sure = np.zeros(len(seat_start) - 1, np.int64)
    lost = np.zeros(len(seat_start) - 1, np.bool_)
    status = np.zeros(n, np.uint8)
    lost_to = np.full(n, -1, np.int64)
    asked_left = np.empty(len(of_bucket), np.int64)
    asked_right = np.empty(len(of_bucket), np.int64)
    asked = 0
    for i in range(n):
        doc = order[i]
        if protected[doc]:
            status[doc] = KEPT
        else:
            best, open_, asked = _judge(
                doc,
                n,
                place,
                of_start,
                of_bucket,
                seat_start,
                seats,
                filled,
                lost,
                status,
                dataset,
                keep_all,
                tries,
                keys,
                values,
                asked_left,
                asked_right,
                asked,
            )
            if best >= 0:
                status[doc] = LOSING if open_ else DROPPED
                lost_to[doc] = best
            else:
                status[doc] = OPEN if open_ else KEPT
        if not eligible[doc] or status[doc] == DROPPED or status[doc] == LOSING:
            continue
        for j in range(of_start[doc], of_start[doc + 1]):
            bucket = of_bucket[j]
            if sure[bucket] >= tries:
                continue
            if filled[bucket] < seat_start[bucket + 1] - seat_start[bucket]:
                seats[seat_start[bucket] + filled[bucket]] = doc
                filled[bucket] += 1
                if status[doc] == KEPT:
                    sure[bucket] += 1
            else:
                lost[bucket] = True
    return status, lost_to, asked_left[:asked], asked_right[:asked]


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
                answer = _known(keys, values, seats[s] * n + doc)
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
