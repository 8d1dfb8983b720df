"""How fast a step goes, and when it may end: rates and an estimate of the time left, in words.

Guarantees: no end is promised before several tasks have ended and some seconds have passed since the first of them, so
that what only the first does (kernels are compiled, models are loaded) counts for nothing; where the pace changes, a
range is given. Memory: the last 64 ends of tasks.
"""

from __future__ import annotations

from collections import deque

LEAST_ENDS = 4  # of tasks after the first, before an end is promised
LEAST_SECONDS = 3.0  # since the first end
HELD = 64  # ends of tasks
SURE = 1.3  # a range whose ends differ by less is given as one number
MINUTE, HOUR = 60.0, 3600.0


class Pace:
    """Counts the work of one step. total: documents that it will count, where that is known."""

    def __init__(self, begin: float, total: int | None = None) -> None:
        self.begin = begin
        self.total = total
        self.tasks = self.documents = self.bytes = 0
        self._ends: deque[tuple[float, int]] = deque(maxlen=HELD)  # (time, documents by then)
        self._first: tuple[float, int] | None = None

    def count(self, now: float, documents: int = 0, bytes: int = 0) -> None:
        """Count what a task did that has just ended."""
        self.tasks += 1
        self.documents += documents
        self.bytes += bytes
        if self._first is None:
            self._first = now, self.documents
        else:
            self._ends.append((now, self.documents))

    def left(self, now: float) -> tuple[float, float] | None:
        """Return the least and the greatest number of seconds that the rest may take; None where nobody can tell."""
        if not self.total or self._first is None or len(self._ends) < LEAST_ENDS or self.documents >= self.total:
            return None
        since, before = self._first
        middle = self._ends[len(self._ends) // 2]
        paces = [_rate(now - since, self.documents - before), _rate(now - middle[0], self.documents - middle[1])]
        if now - since < LEAST_SECONDS or not all(paces):
            return None
        doubt = 1 / len(self._ends)
        rest = self.total - self.documents
        return rest / max(paces) * (1 - doubt), rest / min(paces) * (1 + doubt)


def _rate(seconds: float, documents: int) -> float:
    return documents / seconds if seconds > 0 else 0.0


def words_left(left: tuple[float, float] | None) -> str:
    """Return the time left in words; empty where nothing is promised.

    Examples
    --------
    >>> words_left((8.0, 19.0)), words_left((100.0, 110.0)), words_left(None)
    ('5 to 20 s left', 'about 2 min left', '')
    """
    if left is None:
        return ""
    low, high = left
    unit, name, step = (
        (1.0, "s", 5) if high < 1.5 * MINUTE else (MINUTE, "min", 1) if high < 3 * HOUR else (HOUR, "h", 1)
    )
    first, last = int(low / unit / step) * step, max(step, int(-(-high / unit // step)) * step)
    if high <= SURE * low:
        return f"about {max(step, round((low + high) / 2 / unit / step) * step)} {name} left"
    return f"{first} to {last} {name} left" if first else f"up to {last} {name} left"


def parts_of(pace: Pace, now: float, *, compiling: float = 0.0, ended: bool = False) -> list[str]:
    """Return what there is to say of a step, the most telling first. compiling: seconds that went into kernels."""
    seconds, found = now - pace.begin, []
    if pace.documents:
        of = f" of {pace.total:,}" if pace.total and not ended and pace.documents <= pace.total else ""
        found.append(f"{pace.documents:,}{of} documents")
    elif pace.tasks and ended:
        found.append(f"{pace.tasks:,} task{'s' * (pace.tasks > 1)}")
    if not ended and (left := words_left(pace.left(now))):
        found.append(left)
    working = seconds - compiling
    if working > 0.05 and pace.documents:
        found.append(f"{pace.documents / working:,.0f} documents/s")
        if pace.bytes:
            found.append(f"{pace.bytes / working / 1e6:,.1f} MB/s")
    return found
