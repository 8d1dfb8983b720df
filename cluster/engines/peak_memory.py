"""Peak resident memory (Linux VmHWM) of a worker process during one stage; freed memory is given back between passes.

The kernel's counter is reset at a stage's first task. Where the reset is forbidden, the peak is that since the process
began; on other systems it is 0. Allocators keep what was freed (startup.py says why): a large process hands it back at
the first task of each pass, so that the peak is that of one pass and not what several left behind.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from cluster.engines.transfers import brought

T = TypeVar("T")
R = TypeVar("R")
_RESET = "5"  # to clear_refs: resets the peak resident size (proc(5))
_lock = threading.Lock()
_measuring = ""  # key of the stage that this process measures
_passing = ""  # the pass that it works on
LARGE = 320 << 20  # bytes of a process from which on freed memory is given back: it takes some milliseconds


@dataclass(frozen=True)
class Measured(Generic[T, R]):
    """A task function that also returns the peak resident bytes of its process since the first task of stage `key`.

    And how many documents it brought from a GPU to the host.

    pass_: names the pass over which this function is mapped; at its first task freed memory is given back.
    """

    function: Callable[[T], R]
    key: str
    pass_: str = ""

    @property
    def func(self) -> Callable[..., R]:
        """The innermost function, which names the tasks."""
        bare: Any = getattr(self.function, "func", self.function)
        found: Callable[..., R] = bare
        return found

    def __call__(self, task: T) -> tuple[R, int, int]:
        _give_back(self.pass_)
        _reset_peak(self.key)
        before = brought()
        return self.function(task), peak_memory(), brought() - before


def _give_back(pass_: str) -> None:
    """Give freed memory back to the system at the process's first task of a pass, where the process is large."""
    global _passing
    with _lock:
        if _passing == pass_ or not pass_:
            return
        _passing = pass_
    give_back()


def give_back() -> None:
    """Give freed memory back to the system where the process is large; a long task does between its parts."""
    if resident_memory() > LARGE:
        release_unused()


def release_unused() -> None:
    """Give memory that was freed back to the system, as far as the allocators can."""
    import pyarrow as pa

    pa.default_memory_pool().release_unused()
    with contextlib.suppress(OSError, AttributeError):  # another C library than glibc
        ctypes.CDLL(None).malloc_trim(0)


def _reset_peak(key: str) -> None:
    """Reset the peak at the process's first task of a stage."""
    global _measuring
    with _lock:
        if _measuring == key:
            return
        _measuring = key
        with contextlib.suppress(OSError), open("/proc/self/clear_refs", "w") as file:
            file.write(_RESET)


def peak_memory() -> int:
    """Return the peak resident size of this process in bytes; 0 where the system does not report it."""
    with contextlib.suppress(OSError), open("/proc/self/status") as file:
        for line in file:
            if line.startswith("VmHWM:"):
                return 1024 * int(line.split()[1])
    return 0


def resident_memory() -> int:
    """Return the present resident size of this process in bytes; 0 where the system does not report it."""
    with contextlib.suppress(OSError), open("/proc/self/statm") as file:
        return os.sysconf("SC_PAGE_SIZE") * int(file.read().split()[1])
    return 0
