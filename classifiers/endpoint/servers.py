"""Which server is asked next: round robin over base URLs; one that refuses or fails is left alone for a while.

Guarantees: a server that refuses gets fewer requests at a time (half of them after each refusal, down to one) and more
again as it answers; one that cannot be used at all is not asked again. Nothing here changes what is asked.
"""

from __future__ import annotations

import random
from collections.abc import Collection
from dataclasses import dataclass, field

LONGEST = 60.0  # seconds that a server is left alone unless it asks for more
MOST_ASKED_FOR = 3600.0  # seconds, of a Retry-After
FAILURES = 3  # in a row, from which on a server is left alone


@dataclass
class Server:
    """One base URL: what is under way there, and until when it is left alone."""

    number: int
    limit: float
    busy: int = 0
    until: float = 0.0
    refusals: int = 0  # in a row
    mark: int = 0  # rises with each refusal that counts: those of requests sent before it tell nothing new
    failures: int = 0  # in a row
    mode: int = 0  # place among the asker's ways of asking for the form of an answer
    proven: bool = False  # an answer has come in that mode
    dead: str = ""  # why it cannot be used

    def is_free(self, now: float) -> bool:
        return not self.dead and self.until <= now and self.busy < self.limit


@dataclass
class Servers:
    """All servers of a model, asked in turn."""

    count: int
    concurrency: int
    backoff: float
    all: list[Server] = field(init=False)
    _next: int = 0

    def __post_init__(self) -> None:
        self.all = [Server(number, float(self.concurrency)) for number in range(self.count)]

    def take(self, now: float, avoid: Collection[int] = ()) -> Server | None:
        """Return the next server that may be asked, with one more request under way; None where there is none.

        avoid : servers that are asked only where no other can be used.
        """
        others = any(not server.dead and server.number not in avoid for server in self.all)
        for step in range(self.count):
            server = self.all[(self._next + step) % self.count]
            if server.is_free(now) and not (others and server.number in avoid):
                self._next = (server.number + 1) % self.count
                server.busy += 1
                return server
        return None

    def wait(self, now: float) -> float:
        """Return how many seconds to wait before `take` is worth another try."""
        waits = [server.until - now for server in self.all if not server.dead and server.until > now]
        return min(0.05, max(0.001, min(waits, default=0.01)))

    def dead(self) -> str:
        """Return why no server can be used; empty while one can."""
        reasons = [server.dead for server in self.all]
        return reasons[0] if all(reasons) else ""

    def healthy(self) -> bool:
        """Tell whether some server has done nothing wrong since its last answer."""
        return any(not (server.dead or server.refusals or server.failures) for server in self.all)

    def answered(self, server: Server) -> None:
        """Note an answer of a server."""
        server.refusals = server.failures = 0
        server.limit = min(float(self.concurrency), server.limit + 0.5)

    def refused(self, server: Server, mark: int, now: float, wait: float | None) -> None:
        """Leave a server alone after a refusal. mark: its own when the request was sent; wait: what it asks for."""
        if mark == server.mark:
            server.mark += 1
            server.refusals += 1
            server.limit = max(1.0, server.limit // 2)
        pause = self._pause(server.refusals) * random.uniform(0.5, 1.0)
        server.until = max(server.until, now + max(pause, min(wait or 0.0, MOST_ASKED_FOR)))

    def failed(self, server: Server, mark: int, now: float) -> None:
        """Note that a server broke off or took too long; after some failures in a row it is left alone."""
        if mark == server.mark:
            server.failures += 1
            if server.failures >= FAILURES:
                server.mark += 1
                server.limit = 1.0
                server.until = max(server.until, now + self._pause(server.failures - FAILURES + 1))

    def _pause(self, times: int) -> float:
        return float(min(LONGEST, self.backoff * 2.0 ** min(max(times, 1) - 1, 16)))
