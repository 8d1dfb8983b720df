"""Tasks on the GPUs of one node and the threads of their workers, simulated chunk by chunk.

Guarantees: a GPU serves requests one after the other, as they come; a thread takes the next task once it has done one.
Which tasks a thread does on the host alone is what a run's workers decide (cluster/device/share.py). Memory: one
request for each thread.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from cluster.device.share import Share
from cluster.device.turns import TURNS


@dataclass(frozen=True, kw_only=True)
class Task:
    """A task that reads texts on a GPU's worker: so many chunks, seconds of device and of host for each.

    alone: seconds of the host for a chunk that it does itself; None: never. whole: it does either all chunks of a task
    so, where that pays, or none; else single ones, while the GPU serves TURNS others.
    """

    chunks: int
    device: float
    host: float
    alone: float | None = None
    whole: bool = False


@dataclass
class _Thread:
    """A thread of a GPU's worker, its task and how much of it is left. by_itself: whether the host does all of it.

    shares: what the worker knows of each kind of task.
    """

    gpu: int
    shares: dict[Task, Share]
    task: Task | None = None
    left: int = 0
    by_itself: bool = False
    begun: float = 0.0

    def take(self, task: Task, position: int, later: int, now: float) -> None:
        """Begin a task; later: tasks like it that come after it."""
        self.task, self.left, self.begun = task, task.chunks, now
        self.by_itself = task.whole and self.shares.setdefault(task, Share()).begin(position, later, 1.0, now)

    def end(self, now: float) -> None:
        """Tell the worker what the task took that is done, if there is one: seconds of a GPU that serves TURNS."""
        if (task := self.task) is not None and task.whole:
            over = task.chunks * (TURNS * task.device + task.host), task.chunks * TURNS * task.device
            self.shares[task].end(1.0, *((now - self.begun, None) if self.by_itself else over))
        self.task = None


def simulate(tasks: Sequence[Task], gpus: int, threads: int) -> tuple[float, float]:
    """Return (seconds until the last task has ended, seconds that the busiest GPU computed).

    threads : of each GPU's worker.

    >>> simulate([Task(chunks=1, device=1, host=2)] * 4, gpus=1, threads=4)
    (6.0, 4.0)
    >>> simulate([Task(chunks=2, device=1, host=1)] * 2, gpus=2, threads=1)
    (4.0, 2.0)
    >>> simulate([Task(chunks=1, device=3, host=1, alone=5)] * 3, gpus=1, threads=3)
    (7.0, 6.0)
    """
    waiting: Iterator[tuple[int, Task]] = iter(enumerate(tasks))
    last = {task: position for position, task in enumerate(tasks)}
    shares: list[dict[Task, Share]] = [{} for _ in range(gpus)]
    ready = [(0.0, n, _Thread(n % gpus, shares[n % gpus])) for n in range(gpus * threads)]
    free, busy, end, order = [0.0] * gpus, [0.0] * gpus, 0.0, len(ready)
    while ready:
        at, _, thread = heapq.heappop(ready)
        if not thread.left:
            thread.end(at)
            if (following := next(waiting, None)) is None:
                continue
            position, task = following
            thread.take(task, position, last[task] - position, at)
        done = _chunk(thread, at, free, busy)
        thread.left, end, order = thread.left - 1, max(end, done), order + 1
        heapq.heappush(ready, (done, order, thread))
    return end, max(busy)


def _chunk(thread: _Thread, at: float, free: list[float], busy: list[float]) -> float:
    """Return when a thread has done the next chunk of its task; free, busy: of the GPUs, told what it takes."""
    task, gpu = thread.task, thread.gpu
    assert task is not None
    if task.alone is not None:
        turns_taken = free[gpu] > at + task.device * (TURNS - 1) * (1 + 1e-9)
        if thread.by_itself or (turns_taken and not task.whole):
            return at + task.alone
    free[gpu] = max(at, free[gpu]) + task.device
    busy[gpu] += task.device
    return free[gpu] + task.host
