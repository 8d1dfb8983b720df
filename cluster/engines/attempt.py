"""One attempt at a task, on a Dask worker.

Guarantees: a worker whose code differs from the client's refuses to compute; only transient errors (of storage or
memory) are raised on the worker, where Dask retries them; any other error is returned and raised by the client.
"""

from __future__ import annotations

import math
import pickle
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from cluster.errors import BackendError, WinnowError

PAUSE = 1.0  # seconds before a transient error is reported, so that three attempts span some time


@dataclass(frozen=True)
class Failed:
    """A permanent error of a task, with the worker's address and traceback."""

    error: BaseException
    where: str
    trace: str


@dataclass(frozen=True)
class Repeat:
    """Instead of the result of a task that met a transient error among others: it is to be sent again, by itself."""


@dataclass(frozen=True)
class Ended:
    """What became of tasks that were sent together. seconds: that they took, one after the other.

    values : of the first of them; those behind were not begun.
    """

    values: tuple[Any, ...]
    seconds: float


@dataclass(frozen=True)
class Attempt:
    """A task function with its error handling. code: digest that the worker's code must have; None: any."""

    function: Callable[[Any], Any]
    code: str | None = None
    pause: float = PAUSE

    def __call__(self, tasks: Sequence[Any], seconds: float = math.inf) -> Ended:
        """Do tasks one after the other; begin none but the first once so many seconds have passed.

        Of several, one that meets a transient error does not make others run again.
        """
        begin, passed = time.perf_counter(), 0.0
        one = self._one if len(tasks) == 1 else self._one_of_several
        values: list[Any] = []
        for task in tasks:
            if values and passed >= seconds:
                break
            values.append(one(task))
            passed = time.perf_counter() - begin
        return Ended(tuple(values), passed)

    def _one_of_several(self, task: Any) -> Any:
        try:
            return self._one(task, pause=0.0)
        except Exception:  # is transient, see `_one`
            return Repeat()

    def _one(self, task: Any, pause: float | None = None) -> Any:
        where = _worker_address()
        try:
            self._check_code(where)
            return self.function(task)
        except Exception as error:  # the one place where a worker's errors are classified
            if is_transient(error):
                time.sleep(self.pause if pause is None else pause)
                raise _picklable(error) from None
            return Failed(_picklable(error), where, traceback.format_exc())

    def _check_code(self, where: str) -> None:
        """Raise BackendError where this worker's code is not the client's."""
        from cluster.codebase import code_digest

        if self.code is not None and self.code != code_digest():
            raise BackendError(
                f"worker {where} runs other winnow code ({code_digest()}) than this process ({self.code}). "
                "Install the same version there and start that worker again."
            )


def is_transient(error: BaseException) -> bool:
    """Return whether a retry, perhaps on another worker, can succeed: errors of storage and memory, not of content."""
    return isinstance(error, OSError | MemoryError) or isinstance(error.__cause__, OSError)


def _worker_address() -> str:
    from distributed import get_worker

    worker: Any = get_worker()
    return str(worker.address)


def _picklable(error: Exception) -> Exception:
    """Return the error itself, or one with the same message where it cannot be pickled."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:  # whatever __reduce__ raises
        message = f"{type(error).__name__}: {error}"
        return WinnowError(message) if isinstance(error, WinnowError) else RuntimeError(message)
    return error
