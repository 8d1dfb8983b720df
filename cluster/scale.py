"""Sizes of tasks, which a test may divide: a run of a thousandth of the documents then has the tasks of a whole one.

What a task takes at most (rows, bytes) is a constant beside its code, wrapped in `scaled`. `WINNOW_SIZES_DIVIDED_BY` is
read once, when a process starts; it is for tests (tests/support/wind_tunnel.py), not for runs: bundles and destinations
follow from these sizes, so a run folder goes on only with the divisor it was begun with.
"""

from __future__ import annotations

import os

DIVISOR = max(1, int(os.environ.get("WINNOW_SIZES_DIVIDED_BY") or 1))


def scaled(size: int, least: int = 1) -> int:
    """Return a size, divided where a test wants tasks smaller.

    least : what it stays at, for sizes below which a fixed cost (the header of a message) would count.

    Examples
    --------
    >>> scaled(250_000)
    250000
    """
    return size if DIVISOR == 1 else max(least, size // DIVISOR)
