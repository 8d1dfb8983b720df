"""The verb by which a stage reaches its workers: `map`. `Exchange` is built on it.

Guarantees: a bounded number of tasks is in flight, results are small and come back in task order,
whatever a finished task wrote is not done again, and the outcome is the same for the inline engine
(this process, one task after the other) and for any Dask cluster (`cluster/engines/dask_engine.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

T = TypeVar("T")
R = TypeVar("R")


class Engine(Protocol):
    """Run functions on workers. Functions and tasks must be picklable."""

    @property
    def workers(self) -> int:
        """How many tasks run at the same time."""

    def map(
        self, function: Callable[[T], R], tasks: Sequence[T], *, done: Callable[[R], None] | None = None
    ) -> list[R]:
        """Return function(task) for every task, in task order; call `done` as each one ends."""

    def close(self) -> None:
        """Release the workers."""


class InlineEngine:
    """Every task in this process, in order: for tests, debugging and very small runs."""

    workers = 1

    def map(
        self, function: Callable[[T], R], tasks: Sequence[T], *, done: Callable[[R], None] | None = None
    ) -> list[R]:
        results = []
        for task in tasks:
            results.append(function(task))
            if done:
                done(results[-1])
        return results

    def close(self) -> None:
        """Nothing to release."""
