"""The engine protocol: `map` a function over tasks on workers. `Exchange` is built on it.

Guarantees: a bounded number of tasks is in flight, results are small and come back in task order, and they are the
same for the inline engine (this process, one task after the other) and for any Dask cluster
(`cluster/engines/dask_engine.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

from cluster.engines.cost import TaskCost

T = TypeVar("T")
R = TypeVar("R")


class Engine(Protocol):
    """Runs functions on workers. Functions and tasks must be picklable."""

    @property
    def workers(self) -> int:
        """Number of tasks that run at the same time."""

    def map(
        self,
        function: Callable[[T], R],
        tasks: Sequence[T],
        *,
        done: Callable[[R], None] | None = None,
        cost: TaskCost | None = None,
        on_device: bool = False,
    ) -> list[R]:
        """Return function(task) for every task, in task order; call `done` as each one ends.

        cost : how this kind of task grows with the input, for a planner; changes nothing here.
        on_device : whether the last bits of results depend on the processor (neural models): where only some workers
            have a GPU, the tasks go to these.
        """

    def close(self) -> None:
        """Release the workers."""


class InlineEngine:
    """Engine that runs every task in this process, in order: for tests, debugging and very small runs."""

    workers = 1

    def map(
        self,
        function: Callable[[T], R],
        tasks: Sequence[T],
        *,
        done: Callable[[R], None] | None = None,
        cost: TaskCost | None = None,
        on_device: bool = False,
    ) -> list[R]:
        results = []
        for task in tasks:
            results.append(function(task))
            if done:
                done(results[-1])
        return results

    def close(self) -> None:
        """Nothing to release."""
