"""How far down an order of all documents some limits reach: passes over values that no process holds together.

Guarantees: the bound follows from the values and weights alone, whatever their cut and order. Memory: the values of one
bundle in a task, 256 sums for each group where they are added up.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial

import numpy as np
import numpy.typing as npt

from cluster.engines import Engine, TaskCost

U64 = npt.NDArray[np.uint64]
I64 = npt.NDArray[np.int64]
Emit = Callable[[int], Mapping[str, tuple[U64, I64]]]  # position -> group -> (values, weights (rows, limits))
Sums = dict[str, dict[int, list[int]]]
BITS = 8  # of a bound that one pass finds
TOP = (1 << 64) - 1


def bounds(
    engine: Engine, emit: Emit, positions: Sequence[int], limits: Mapping[str, Sequence[int]], cost: TaskCost
) -> dict[str, int]:
    """Return for each group the greatest bound up to which its values weigh at most its limits; -1 where none does.

    limits : the most that each column of weights may come to, by group.
    """
    high: dict[str, int] = dict.fromkeys(limits, 0)
    below: dict[str, list[int]] = {group: [0] * len(limit) for group, limit in limits.items()}
    found: dict[str, int] = {}
    for shift in range(64 - BITS, -1, -BITS):
        if not high:
            break
        total = _added(engine.map(partial(_sums, emit, shift, dict(high)), positions, cost=cost))
        for group in list(high):
            digit = _first_beyond(total.get(group, {}), below[group], limits[group])
            if digit is None:
                found[group] = ((high.pop(group) + 1) << (shift + BITS)) - 1  # nothing is left of what begins so
            else:
                high[group] = high[group] << BITS | digit
    return {**found, **{group: value - 1 for group, value in high.items()}}


def _first_beyond(sums: Mapping[int, Sequence[int]], below: list[int], limit: Sequence[int]) -> int | None:
    """Return the first digit whose values go beyond a limit, and add those before it to `below`; None for none."""
    for digit in sorted(sums):
        after = [a + b for a, b in zip(below, sums[digit], strict=True)]
        if any(a > most for a, most in zip(after, limit, strict=True)):
            return digit
        below[:] = after
    return None


def _sums(emit: Emit, shift: int, high: Mapping[str, int], position: int) -> Sums:
    """Return the weights of a bundle by group and next digit, of values that begin as the group's bound does."""
    found: Sums = {}
    for group, (values, weights) in emit(position).items():
        if group not in high:
            continue
        if shift + BITS < 64:
            mine = values >> np.uint64(shift + BITS) == np.uint64(high[group])
            values, weights = values[mine], weights[mine]
        digits = (values >> np.uint64(shift)) & np.uint64((1 << BITS) - 1)
        for digit in np.unique(digits).tolist():
            found.setdefault(group, {})[digit] = weights[digits == digit].sum(axis=0).tolist()
    return found


def _added(parts: Iterable[Sums]) -> Sums:
    total: Sums = {}
    for part in parts:
        for group, digits in part.items():
            mine = total.setdefault(group, {})
            for digit, weights in digits.items():
                mine[digit] = [a + b for a, b in zip(mine.get(digit, [0] * len(weights)), weights, strict=True)]
    return total
