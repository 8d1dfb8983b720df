"""Batches that exceed a device's memory are halved and retried, with a warning in the log `winnow.gpu`.

Guarantees: results come in the order of the rows; only a single row that does not fit is an error.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

# Parts of messages of out-of-memory RuntimeErrors: CUDA and torch; a C++ exception; cuBLAS; ONNX Runtime.
SIGNS = ("out of memory", "out_of_memory", "bad_alloc", "ALLOC_FAILED", "Failed to allocate memory")


def ran_out(error: Exception) -> bool:
    """Return whether an error means out of memory: MemoryError (RMM, cuDF, CuPy, cuGraph) or RuntimeError (torch).

    >>> ran_out(RuntimeError("CUDA out of memory. Tried to allocate 2 GiB")), ran_out(RuntimeError("no such kernel"))
    (True, False)
    """
    return isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError) and any(sign in str(error) for sign in SIGNS)
    )


def in_parts(work: Callable[[int, int], list[Any]], rows: int, most: int | None = None) -> list[Any]:
    """Return the results of work(start, stop) over all `rows`; a part that runs out of device memory is halved.

    Parameters
    ----------
    work : returns a list of results for rows [start, stop).
    most : rows in a part at most; None: no limit.
    """
    step = max(1, min(rows, most or rows))
    todo = [(start, min(start + step, rows)) for start in range(0, rows, step)][::-1]
    found: list[Any] = []
    while todo:
        start, stop = todo.pop()
        try:
            found += work(start, stop)
        except (MemoryError, RuntimeError) as error:
            if stop - start < 2 or not ran_out(error):
                raise
            half = (start + stop) // 2
            todo += [(half, stop), (start, half)]
            logging.getLogger("winnow.gpu").warning("out of device memory: %d rows are halved", stop - start)
    return found
