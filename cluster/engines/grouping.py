"""How many tasks of a map are sent to a worker at once: one, and several where they are short.

Sending a task takes client and scheduler, which are one thread each, about 6 ms (2026-11), so at a thousand threads
tasks of less than some seconds would wait for them. Those that follow may take longer: a worker begins no more of what
was sent to it once the seconds that it was to take have passed, and the rest comes back. The first ones, of which
nothing is known, go alone: those behind a long one would wait while other threads are idle. Guarantees: which tasks go
together changes neither results nor their order; tasks are handed out in order, those that came back first; every
thread has some to the end, but for `SHORT`.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Generic, TypeVar

T = TypeVar("T")

MOST = 32  # tasks at once: the arguments of as many wait in the scheduler
SECONDS = 0.25  # that the tasks sent at once shall take together, at least
SECONDS_PER_THREAD = 0.02  # and where there are very many threads: three times what sending takes
SHARES = 4  # that every thread gets at least
SHORT = 0.05  # seconds that tasks sent at once may take though a thread then gets fewer shares
RECENT = 64  # tasks by which the next are judged: the first ones load code and compile


@dataclass
class Flight:
    """Tasks sent at once, with their numbers. since: then, or at the last timeout; hung: timeouts; cuts: of links."""

    items: Sequence[tuple[int, Any]]
    future: Any = None
    since: float = field(default_factory=time.monotonic)
    hung: int = 0
    cuts: int = 0

    @property
    def index(self) -> int:
        """The number of the first task."""
        return self.items[0][0]

    @property
    def several(self) -> bool:
        return len(self.items) > 1


class TaskQueue(Generic[T]):
    """The tasks of a map that were not sent yet. timeout: of one, in seconds; those sent at once take half of it."""

    def __init__(self, tasks: Sequence[T], timeout: float | None = None) -> None:
        self._items = iter(enumerate(tasks))
        self._back: deque[tuple[int, T]] = deque()  # tasks that were sent, but not begun
        self._left = len(tasks)
        self._alone: list[tuple[int, T]] = []
        self.tried: set[int] = set()  # numbers of tasks that were tried once, among others
        self.suspects: list[tuple[int, T]] = []  # to be sent one by one, with nothing else on the cluster
        self._most = timeout and timeout / 2
        self._done, self._seconds = 0.0, 0.0

    def take(self, threads: int) -> list[tuple[int, T]]:
        """Return the next tasks with their numbers; none at the end."""
        if self._alone:
            return [self._alone.pop()]
        number = self._together(threads)
        found = [self._back.popleft() for _ in range(min(number, len(self._back)))]
        found += islice(self._items, number - len(found))
        self._left -= len(found)
        return found

    def wanted(self, threads: int) -> float:
        """Return the seconds that the tasks sent at once shall take together."""
        wanted = max(SECONDS, SECONDS_PER_THREAD * threads)
        return wanted if self._most is None else min(wanted, self._most)

    def _together(self, threads: int) -> int:
        if not self._done:
            return 1
        wanted = self.wanted(threads)
        each = max(self._seconds / self._done, wanted / MOST)
        most = max(self._left // (SHARES * threads), min(-(-self._left // threads), int(SHORT / each)))
        return max(1, min(int(wanted / each), most))

    def ended(self, tasks: int, seconds: float) -> None:
        """Note how long tasks took on their worker, one after the other."""
        self._done, self._seconds = self._done + tasks, self._seconds + seconds
        if self._done > RECENT:
            self._done, self._seconds = self._done / 2, self._seconds / 2

    def back(self, items: Sequence[tuple[int, T]]) -> None:
        """Take back tasks that were sent but not begun; they are the next ones, together with others."""
        self._back.extendleft(reversed(items))
        self._left += len(items)

    def apart(self, items: Sequence[tuple[int, T]]) -> None:
        """Let tasks that were sent together be sent one by one, before all others."""
        self._alone.extend(reversed(items))
