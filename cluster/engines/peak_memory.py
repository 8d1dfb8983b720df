"""Peak resident memory (Linux's VmHWM) of a worker process during one stage.

The kernel's counter is reset at a stage's first task. Where the reset is forbidden, the peak is that since the process
began; on other systems it is 0.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

T = TypeVar("T")
R = TypeVar("R")
_RESET = "5"  # to clear_refs: resets the peak resident size (proc(5))
_lock = threading.Lock()
_measuring = ""  # key of the stage that this process measures


@dataclass(frozen=True)
class Measured(Generic[T, R]):
    """A task function that also returns the peak resident bytes of its process since the first task of stage `key`."""

    function: Callable[[T], R]
    key: str

    @property
    def func(self) -> Callable[..., R]:
        """The innermost function, which names the tasks."""
        bare: Any = getattr(self.function, "func", self.function)
        found: Callable[..., R] = bare
        return found

    def __call__(self, task: T) -> tuple[R, int]:
        _reset_peak(self.key)
        return self.function(task), peak_memory()


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
