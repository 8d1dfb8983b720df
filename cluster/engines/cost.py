"""What one kind of task costs, declared by its owner where the tasks are handed to an engine.

Engines pass declarations over and compute the same without them. A planner that timed the tasks of a small input
reads from them how many tasks a larger input has and how their work grows. A quantity is a name on which owner and
planner agree; this package does not know what it counts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass


def proportional(amount: float) -> float:
    """Return the amount itself: the law of what grows with its quantity."""
    return amount


@dataclass(frozen=True, kw_only=True)
class Growth:
    """How a number follows a quantity of the input: `law` of its amount.

    Examples
    --------
    >>> Growth(quantity="rows", law=lambda rows: rows**2).at({"rows": 3.0})
    9.0
    """

    quantity: str
    law: Callable[[float], float] = proportional

    def at(self, amounts: Mapping[str, float]) -> float:
        """Return the number for an input of which so much of every quantity is known."""
        return float(self.law(amounts[self.quantity]))


@dataclass(frozen=True, kw_only=True)
class TaskCost:
    """How one kind of task grows with the input.

    Parameters
    ----------
    name : of the kind, unique within a step: what a planner adds up and shows.
    tasks : how many tasks there are; more workers than that do not help.
    work : what the work of all of them together is proportional to.
    rare : a small input has too little of the work to time it; a planner needs a price of its own.
    """

    name: str
    tasks: Growth
    work: Growth
    rare: bool = False
