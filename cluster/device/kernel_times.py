"""Seconds of the host's kernels that a GPU has as well, while somebody asks: `winnow plan` does, of its sample.

Guarantees: nothing is timed but in a thread where `watched` is open; of nested watches only the innermost is told.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator

Seconds = dict[str, float]  # by kernel
MODEL = "neural_model"  # the name under which forward passes of neural models are timed
_open = threading.local()


@contextlib.contextmanager
def watched() -> Iterator[Seconds]:
    """Collect the seconds of kernels until the end of the block."""
    outer, found = getattr(_open, "watch", None), Seconds()
    _open.watch = found
    try:
        yield found
    finally:
        _open.watch = outer


def timed(kernel: str) -> contextlib.AbstractContextManager[None]:
    """Return the context in which a kernel computes on the host.

    >>> with watched() as seconds, timed("hash"):
    ...     pass
    >>> list(seconds)
    ['hash']
    """
    seconds = getattr(_open, "watch", None)
    return contextlib.nullcontext() if seconds is None else _timed(kernel, seconds)


@contextlib.contextmanager
def _timed(kernel: str, seconds: Seconds) -> Iterator[None]:
    begin = time.perf_counter()
    yield
    seconds[kernel] = seconds.get(kernel, 0.0) + time.perf_counter() - begin
