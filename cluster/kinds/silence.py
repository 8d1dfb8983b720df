"""Quiet workers on this machine: what Dask, tornado and asyncio log of an end that winnow tells in its own words.

Guarantees: Ctrl-C reaches the main thread of this process alone, which ends the workers; what Dask logs can still be
listened to (deaths.py), it is not shown.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import signal
import time
from collections.abc import Iterator
from multiprocessing import resource_tracker, util
from typing import Any

from cluster import startup

SILENT = logging.CRITICAL + 1
TRACKER_SECONDS = 2.0  # that multiprocessing's tracker of semaphores has to end
TALKERS = ("distributed", "tornado", "asyncio", "bokeh")


def silence_dask() -> None:
    """Show nothing of what the libraries below winnow log, where the whole process is winnow's."""
    if not startup.is_own_process:
        return
    for name in TALKERS:
        logger = logging.getLogger(name)
        if not any(isinstance(handler, logging.NullHandler) for handler in logger.handlers):
            logger.addHandler(logging.NullHandler())  # without any, Python prints warnings by itself
        logger.propagate = False
        for handler in logger.handlers:
            handler.setLevel(SILENT)


@contextlib.contextmanager
def interrupts_for_this_thread_only() -> Iterator[None]:
    """Let threads that are made in the block, and processes that these start, hold SIGINT back.

    A terminal sends Ctrl-C to every process it shows. One that comes during the block is delivered after it.
    """
    _end_tracker_at_exit()
    resource_tracker.ensure_running()  # first: it lets SIGINT through again in the thread that starts it
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@functools.cache
def _end_tracker_at_exit() -> None:
    """Have winnow's own process wait for multiprocessing's tracker at its end, after all that may need it."""
    if startup.is_own_process:
        util.Finalize(None, _end_tracker, exitpriority=-100)


def _end_tracker() -> None:
    """End the tracker as Python 3.13 does; else it is left behind, and a batch system finds a process of the job."""
    tracker: Any = resource_tracker._resource_tracker
    pipe, pid = getattr(tracker, "_fd", None), getattr(tracker, "_pid", None)
    if pipe is None or pid is None:
        return
    tracker._fd = tracker._pid = None
    os.close(pipe)
    end = time.monotonic() + TRACKER_SECONDS
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(pid, os.WNOHANG) == (0, 0) and time.monotonic() < end:
            time.sleep(0.002)
