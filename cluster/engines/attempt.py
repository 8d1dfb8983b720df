"""One attempt at a task, as a worker makes it.

Guarantees: a worker that holds other code than the client refuses to compute; only what another attempt
can heal (the storage, the memory) is raised and retried by Dask, any other error is returned and raised
by the client.
"""

from __future__ import annotations

import pickle
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from cluster.errors import BackendError, WinnowError

PAUSE = 1.0  # seconds before a failure that may pass is reported, so that three attempts span some time


@dataclass(frozen=True)
class Failed:
    """What a task raised that another attempt would raise again."""

    error: BaseException
    where: str
    trace: str


@dataclass(frozen=True)
class Attempt:
    """A function with what surrounds it on a worker. code: digest that the worker's code must have."""

    function: Callable[[Any], Any]
    code: str | None = None
    pause: float = PAUSE

    def __call__(self, task: Any) -> Any:
        where = _address()
        try:
            self._same_code(where)
            return self.function(task)
        except Exception as error:  # the one place where a worker's errors are sorted
            if may_pass(error):
                time.sleep(self.pause)
                raise _portable(error) from None
            return Failed(_portable(error), where, traceback.format_exc())

    def _same_code(self, where: str) -> None:
        from cluster.codebase import code_digest

        if self.code is not None and self.code != code_digest():
            raise BackendError(
                f"worker {where} runs other winnow code ({code_digest()}) than this process ({self.code}). "
                "Install the same version there and start that worker again."
            )


def may_pass(error: BaseException) -> bool:
    """Tell whether another attempt, perhaps elsewhere, can succeed: storage and memory, not content."""
    return isinstance(error, OSError | MemoryError) or isinstance(error.__cause__, OSError)


def _address() -> str:
    from distributed import get_worker

    worker: Any = get_worker()
    return str(worker.address)


def _portable(error: Exception) -> Exception:
    """Return the error itself, or one with the same words where it cannot be pickled."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:  # whatever __reduce__ raises
        words = f"{type(error).__name__}: {error}"
        return WinnowError(words) if isinstance(error, WinnowError) else RuntimeError(words)
    return error
