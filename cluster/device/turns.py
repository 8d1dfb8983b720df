"""Turns on a device: at most TURNS threads of a process compute on its GPU, or hold text there, at the same time.

A worker with a GPU has as many threads as its share of the machine's cores, for the work of the host. Two tasks keep
a device busy, one computing while the other copies; more would only share its memory. Guarantees: a thread that has a
turn takes another at once, so nested turns do not wait for each other; nothing is waited for while a turn is taken,
but for the device.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

TURNS = 2


class Turns:
    """A semaphore that a thread may take again while it has it."""

    def __init__(self, count: int = TURNS) -> None:
        self._free = threading.BoundedSemaphore(count)
        self._depth: dict[int, int] = {}  # by thread that has a turn
        self._lock = threading.Lock()

    @contextlib.contextmanager
    def taken(self) -> Iterator[None]:
        """Wait for a turn, and give it back at the end, which may come in another thread (of a generator)."""
        thread = threading.get_ident()
        if not self._depth.get(thread):
            self._free.acquire()
        with self._held(thread):
            yield

    @contextlib.contextmanager
    def taken_if_free(self) -> Iterator[bool]:
        """Take a turn where one is free now, and tell whether one was: the host can do that work as well."""
        thread = threading.get_ident()
        if not self._depth.get(thread) and not self._free.acquire(blocking=False):
            yield False
            return
        with self._held(thread):
            yield True

    @contextlib.contextmanager
    def _held(self, thread: int) -> Iterator[None]:
        """Count a turn that a thread has, and give it back at the end."""
        self._add(thread, 1)
        try:
            yield
        finally:
            if not self._add(thread, -1):
                self._free.release()

    def _add(self, thread: int, step: int) -> int:
        """Return how often a thread has its turn, after this step."""
        with self._lock:
            depth = self._depth.pop(thread, 0) + step
            if depth:
                self._depth[thread] = depth
            return depth


_turns = Turns()
taken = _turns.taken
taken_if_free = _turns.taken_if_free


def taken_on(device: str) -> contextlib.AbstractContextManager[None]:
    """Return a turn for what a model computes on a torch device; on cpu nothing is waited for."""
    return contextlib.nullcontext() if device == "cpu" else taken()
