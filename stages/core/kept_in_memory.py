"""What this process found last of bundles, kept in memory: lineage, tally, ledger and mix each ask for the same.

Guarantees: only verdicts and sizes of one call of a run whose stages have all decided are kept, so none can change.
Memory: HELD.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any, TypeVar, cast

T = TypeVar("T")
HELD = 32 << 20  # bytes of a process; a verdict on a row has 26
ENTRY = 1024  # bytes of what holds them, and of a key


class Kept:
    """What was asked for last, by key, as much as fits into so many bytes. Threads may share it."""

    def __init__(self, held: int) -> None:
        self._held = held
        self._bytes = 0
        self._found: OrderedDict[Hashable, tuple[Any, int]] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: Hashable, make: Callable[[], T], size: Callable[[T], int]) -> T:
        """Return what is kept under a key, else what `make` gives, which is kept then. size: its bytes."""
        with self._lock:
            if key in self._found:
                self._found.move_to_end(key)
                return cast(T, self._found[key][0])
        made = make()
        taken = size(made) + ENTRY
        with self._lock:
            if key not in self._found:
                self._found[key] = made, taken
                self._bytes += taken
            while self._bytes > self._held:
                self._bytes -= self._found.popitem(last=False)[1][1]
        return made


KEPT = Kept(HELD)
