"""How much memory a worker process holds at most while it works on one stage.

Linux counts the largest resident size of a process and lets it be reset; elsewhere the answer is 0. Where the
reset is forbidden the answer is the largest since the process began.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

T = TypeVar("T")
R = TypeVar("R")
_RESET = "5"  # to clear_refs: begin anew with the largest resident size (proc(5))
_lock = threading.Lock()
_measuring = ""  # key of the stage that this process measures


@dataclass(frozen=True)
class Measured(Generic[T, R]):
    """A function of a task that also returns the bytes its process held at most since its first task of `key`."""

    function: Callable[[T], R]
    key: str

    @property
    def func(self) -> Callable[..., R]:
        """The bare function, after which tasks are named."""
        bare: Any = getattr(self.function, "func", self.function)
        found: Callable[..., R] = bare
        return found

    def __call__(self, task: T) -> tuple[R, int]:
        _begin(self.key)
        return self.function(task), peak_memory()


def _begin(key: str) -> None:
    """Count anew if this is the process's first task of this stage."""
    global _measuring
    with _lock:
        if _measuring == key:
            return
        _measuring = key
        with contextlib.suppress(OSError), open("/proc/self/clear_refs", "w") as file:
            file.write(_RESET)


def peak_memory() -> int:
    """Return the largest resident size of this process in bytes, 0 where the system does not tell."""
    with contextlib.suppress(OSError), open("/proc/self/status") as file:
        for line in file:
            if line.startswith("VmHWM:"):
                return 1024 * int(line.split()[1])
    return 0
