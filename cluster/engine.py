"""The only two verbs by which a stage reaches its workers: `map` and `exchange`.

Guarantees: a bounded number of tasks is in flight, results are small and come back in task order,
whatever a finished task wrote is not done again, and the outcome is the same for the inline engine
(this process, one task after the other) and for any Dask cluster.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol, TypeVar

T = TypeVar("T")
R = TypeVar("R")

IN_FLIGHT_PER_THREAD = 2  # enough to hide the scheduler's few milliseconds, few enough to stay bounded


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


class DaskEngine:
    """Tasks on a Dask cluster, a sliding window of them in flight."""

    def __init__(self, client: Any, close: Callable[[], None], threads: int) -> None:
        self._client = client
        self._close = close
        self.workers = threads

    def map(
        self, function: Callable[[T], R], tasks: Sequence[T], *, done: Callable[[R], None] | None = None
    ) -> list[R]:
        from distributed import as_completed

        results: dict[int, R] = {}
        position: dict[str, int] = {}
        queue = iter(enumerate(tasks))
        pending: Any = as_completed(with_results=False)  # type: ignore[no-untyped-call]
        try:
            for index, task in _take(queue, self.workers * IN_FLIGHT_PER_THREAD):
                self._submit(function, index, task, position, pending)
            for future in pending:
                result = future.result()
                results[position.pop(future.key)] = result
                future.release()
                if done:
                    done(result)
                for index, task in _take(queue, 1):
                    self._submit(function, index, task, position, pending)
        except BaseException:
            self._client.cancel(list(pending.futures), force=True)
            raise
        return [results[i] for i in range(len(tasks))]

    def _submit(self, function: Callable[[T], R], index: int, task: T, position: dict[str, int], pending: Any) -> None:
        future = self._client.submit(function, task, pure=False)
        position[future.key] = index
        pending.add(future)

    def close(self) -> None:
        self._close()


def _take(queue: Iterable[tuple[int, T]], count: int) -> Iterable[tuple[int, T]]:
    for _ in range(count):
        item = next(iter(queue), None)
        if item is None:
            return
        yield item
