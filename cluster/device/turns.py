"""Turns on a device: at most TURNS threads of a process compute on its GPU, or hold text there, at the same time.

A worker with a GPU has as many threads as its share of the machine's cores, for the work of the host. Two tasks keep
a device busy, one computing while the other copies; more would only share its memory. How long threads wait for turns
and have them is counted, for share.py. Guarantees: a thread that has a turn takes another at once, so nested turns do
not wait for each other; nothing is waited for while a turn is taken, but for the device.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator

TURNS = 2


class _Seconds(threading.local):
    waited = held = 0.0


_here = _Seconds()


def seconds() -> tuple[float, float]:
    """Return how long this thread has waited for turns so far, and how long it has had them."""
    return _here.waited, _here.held


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
            begin = time.perf_counter()
            self._free.acquire()
            _here.waited += time.perf_counter() - begin
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
        begin, outer = time.perf_counter(), self._add(thread, 1) == 1
        try:
            yield
        finally:
            if not self._add(thread, -1):
                self._free.release()
            if outer:
                _here.held += time.perf_counter() - begin

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
