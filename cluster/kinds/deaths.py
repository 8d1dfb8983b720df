"""Why worker processes of this machine end: what their nannies log, kept for the error that has to say it.

Guarantees: listening changes nothing that is shown; the last few lines are held.
"""

from __future__ import annotations

import contextlib
import logging
import re
from collections import deque

HELD = 5  # lines
LOGGERS = ("distributed.nanny", "distributed.nanny.memory", "distributed.worker.memory")
_DEATH = re.compile(r"Worker process (\d+ )?(was killed|exited|died)|Failed to (start|initialize)", re.IGNORECASE)
_NOISE = re.compile(r"Restarting worker|Unregistering worker|Closing Nanny|Start Nanny")


class Deaths(logging.Handler):
    """Counts the worker processes that ended by themselves, and keeps what was logged of them."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.count = 0
        self._lines: deque[str] = deque(maxlen=HELD)

    def listen(self) -> None:
        """Listen to the nannies of this process from now on."""
        for name in LOGGERS:
            logging.getLogger(name).addHandler(self)

    def stop(self) -> None:
        """Listen no more."""
        for name in LOGGERS:
            logging.getLogger(name).removeHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        with contextlib.suppress(Exception):  # listening never hurts the one who speaks
            text = " ".join(record.getMessage().split())
            if record.exc_info and record.exc_info[1] is not None:
                text = f"{text}: {type(record.exc_info[1]).__name__}: {record.exc_info[1]}"
            self.count += bool(_DEATH.search(text))
            if not _NOISE.search(text) and (record.levelno >= logging.WARNING or _DEATH.search(text)):
                self._lines.append(text[:500])

    @property
    def cause(self) -> str:
        """What was logged last, in one sentence; empty where nothing was."""
        lines = list(dict.fromkeys(re.sub(r"\b\d{3,}\b", "N", line) for line in self._lines))
        ended = "1 worker process" if self.count == 1 else f"{self.count} worker processes"
        return f"{ended} ended: {'; '.join(lines)}." if self.count else ""
