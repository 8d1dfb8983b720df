"""Engine on threads of this process, without Dask: for short commands, where start-up time counts.

Guarantees: those of every engine (cluster/engines/engine.py). The kernels release the GIL, the Python code between
them does not, so beyond a handful of threads worker processes are faster.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import TypeVar

from cluster.engines.cost import TaskCost

T = TypeVar("T")
R = TypeVar("R")


class ThreadsEngine:
    """Engine on a pool of `workers` threads, with one task more in flight than threads."""

    def __init__(self, workers: int) -> None:
        self.workers = workers
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="winnow")

    def map(
        self,
        function: Callable[[T], R],
        tasks: Sequence[T],
        *,
        done: Callable[[R], None] | None = None,
        cost: TaskCost | None = None,
        on_device: bool = False,
    ) -> list[R]:
        results: dict[int, R] = {}
        running: dict[Future[R], int] = {}
        queue = iter(enumerate(tasks))
        try:
            while True:
                for index, task in queue:
                    running[self._pool.submit(function, task)] = index
                    if len(running) >= self.workers + 1:
                        break
                if not running:
                    return [results[i] for i in range(len(tasks))]
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    results[running.pop(future)] = future.result()
                    if done:
                        done(future.result())
        except BaseException:
            for future in running:
                future.cancel()
            wait(running)
            raise

    def close(self) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)
