"""Exact weighted quantiles of values that no process holds: passes that settle some bits of each, over all documents.

Guarantees: the answer is the smallest value that at least the asked share of the weight does not exceed, whatever the
order and the cut of the documents: counts are whole numbers and add up. Memory: a task's values of one bundle, and
counts of at most 2^18 open digits in a task's answer and in the process that adds them up.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import numpy.typing as npt

from cluster.engines import Engine, TaskCost
from stages.core.arrays import FloatArray

I64 = npt.NDArray[np.int64]
U64 = npt.NDArray[np.uint64]
Emit = Callable[[int], Mapping[str, tuple[FloatArray, I64]]]  # position -> key -> (values, weights); NaN counts not
Counts = dict[str, tuple[U64, I64]]
OPEN = 1 << 18  # digits that are open in one pass
MOST_BITS = 16  # settled in one pass
TASKS = 256  # at most, so that few answers are held at once


@dataclass
class _Search:
    """The state of the quantiles of one key: their leading bits, and the weight below those."""

    shares: tuple[float, ...]
    bits: list[int] = field(default_factory=list)
    below: list[int] = field(default_factory=list)
    wanted: list[int] = field(default_factory=list)


def quantiles(
    engine: Engine, emit: Emit, positions: Sequence[int], wanted: Mapping[str, Sequence[float]], cost: TaskCost
) -> dict[str, dict[float, float]]:
    """Return the value at each share of each key; a key of which no document has a value is left out.

    Parameters
    ----------
    emit : values and weights of the documents of one bundle, per key; called in tasks, once per pass.
    wanted : shares in (0, 1] per key.
    """
    searches = {key: _Search(tuple(sorted(set(shares)))) for key, shares in wanted.items() if shares}
    left = 64
    while left and searches:
        prefixes = {key: np.array(sorted(set(s.bits or [0])), np.uint64) for key, s in searches.items()}
        width = min(left, MOST_BITS, max(4, int(math.log2(OPEN / sum(map(len, prefixes.values()))))))
        left -= width
        count = partial(_count, emit, prefixes, left, width)
        total = _sum(engine.map(count, chunks(positions), cost=cost))
        for key in list(searches):
            if key not in total:
                del searches[key]
            else:
                _narrow(searches[key], *total[key], width)
    return {
        key: {share: float(v) for share, v in zip(s.shares, from_ordered(np.array(s.bits, np.uint64)), strict=True)}
        for key, s in searches.items()
    }


def chunks(positions: Sequence[int]) -> list[list[int]]:
    """Cut positions of bundles into TASKS runs at most."""
    size = max(1, -(-len(positions) // TASKS))
    return [list(positions[start : start + size]) for start in range(0, len(positions), size)]


def _count(emit: Emit, prefixes: Mapping[str, U64], left: int, width: int, positions: Sequence[int]) -> Counts:
    """Return the weight of each open digit below the known prefixes, per key."""
    return _sum(_count_one(emit, prefixes, left, width, position) for position in positions)


def _count_one(emit: Emit, prefixes: Mapping[str, U64], left: int, width: int, position: int) -> Counts:
    found: Counts = {}
    for key, (values, weights) in emit(position).items():
        if key not in prefixes:
            continue
        there = ~np.isnan(values)
        digits, weight = to_ordered(values[there]) >> np.uint64(left), weights[there].astype(np.int64)
        if left + width < 64:
            is_open = np.isin(digits >> np.uint64(width), prefixes[key])
            digits, weight = digits[is_open], weight[is_open]
        if len(digits):
            found[key] = _added(digits, weight)
    return found


def _added(digits: U64, weights: I64) -> tuple[U64, I64]:
    distinct, place = np.unique(digits, return_inverse=True)
    total = np.zeros(len(distinct), np.int64)
    np.add.at(total, place.reshape(-1), weights)
    return distinct, total


def _sum(parts: object) -> Counts:
    total: Counts = {}
    for part in parts:  # type: ignore[attr-defined]
        for key, (digits, weights) in part.items():
            if key in total:
                digits, weights = np.concatenate([total[key][0], digits]), np.concatenate([total[key][1], weights])
                digits, weights = _added(digits, weights)
            total[key] = digits, weights
    return total


def _narrow(search: _Search, digits: U64, weights: I64, width: int) -> None:
    """Take the digit of each quantile: the first up to which the weight reaches what is wanted."""
    first = not search.bits
    if first:
        whole = int(weights.sum())
        search.wanted = [max(1, math.ceil(share * whole)) for share in search.shares]
        search.bits, search.below = [0] * len(search.shares), [0] * len(search.shares)
    owner = digits >> np.uint64(width)
    for place, prefix in enumerate(search.bits):
        ends = np.array([prefix, prefix + 1], np.uint64)
        mine = slice(None) if first else slice(*np.searchsorted(owner, ends).tolist())
        reached = search.below[place] + np.cumsum(weights[mine])
        at = min(int(np.searchsorted(reached, search.wanted[place])), len(reached) - 1)
        search.below[place] = int(reached[at]) - int(weights[mine][at])
        search.bits[place] = int(digits[mine][at])


def to_ordered(values: FloatArray) -> U64:
    """Return integers in the order of the numbers (IEEE 754: flip the sign bit, or all bits of negative ones)."""
    bits = (values + 0.0).view(np.uint64)  # + 0.0 makes -0.0 equal to 0.0
    negative = bits >> np.uint64(63) == 1
    return np.where(negative, ~bits, bits | np.uint64(1 << 63))


def from_ordered(bits: U64) -> FloatArray:
    """Return the numbers of `to_ordered`.

    >>> from_ordered(to_ordered(np.array([-2.5, 0.0, 3.0]))).tolist()
    [-2.5, 0.0, 3.0]
    """
    positive = bits >> np.uint64(63) == 1
    return np.where(positive, bits ^ np.uint64(1 << 63), ~bits).view(np.float64)
