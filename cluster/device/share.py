"""Which bundles of a first read the cores of a GPU's worker take by themselves, while others use its device.

Such a worker has more threads than keep its device busy; one more would only wait for it, and may read a bundle wholly
on the host instead: the bits are the same. It may take tens of times as long, so that at the end of the round all would
wait for the host. Guarantees: it gets a bundle only where those that are left take MARGIN times as long, at the round's
present pace, as it will take for this one; before pace and times are known, and in a run of few bundles, threads wait
for the device. Times come from the caller, so a plan simulates the same rule.
"""

from __future__ import annotations

import contextlib
import math
import threading
import time
import uuid
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from cluster.device import backend, turns

MARGIN = 2.0  # a bundle may be larger than most, and the next ones faster
TRIAL = 64.0  # times as long as over the device that a bundle is thought to take on the host, until one was tried
LEAST, MOST = 8, 64  # bundles that a worker has begun, from which it tells the pace
KEPT = 0.9  # weight of what a bundle took when the next is done


@dataclass(frozen=True, kw_only=True)
class Round:
    """A map over bundles, whose positions ascend. stop: the position behind the last; less where there are gaps."""

    name: str
    stop: int

    @staticmethod
    def over(positions: Sequence[int]) -> Round:
        """Return a new round over some bundles.

        >>> Round.over([3, 4, 5]).stop, Round.over([3, 4, 900]).stop
        (6, 6)
        """
        return Round(name=uuid.uuid4().hex, stop=positions[0] + len(positions))


def feeding(busy: float, held: float) -> float:
    """Return how many threads keep a device busy that need it in `held` of `busy` seconds, waiting not counted.

    >>> feeding(2.0, 2.0), feeding(6.0, 2.0)
    (2.0, 6.0)
    """
    return turns.TURNS * busy / held if held > 0 else math.inf


def pays(left: float, pace: float, seconds: float) -> bool:
    """Tell whether the host may take a bundle for so long: `left` more are to be begun, `pace` of them a second.

    >>> pays(1000, 50.0, 10.0), pays(999, 50.0, 10.0), pays(1000, math.inf, 0.0)
    (True, False, False)
    """
    return 0 < pace < math.inf and MARGIN * seconds <= left / pace


class Share:
    """What one worker knows of a round: how fast it goes, and what a row of a bundle takes on either side."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._begun: deque[tuple[float, int]] = deque(maxlen=MOST)  # time and position of a bundle
        self._feeding = 0  # threads that do a bundle over the device now
        self._device = (0.0, 0.0, 0.0)  # rows, busy seconds, seconds with a turn; the last bundles weigh most
        self._host = (0.0, 0.0)  # rows, seconds

    def begin(self, position: int, left: float, rows: float, now: float) -> bool:
        """Tell whether the host takes this bundle, and count it where the device does."""
        with self._lock:
            if self._device[0]:  # what comes before the first is done is compiling
                self._begun.append((now, position))
            _, busy, held = self._device
            host = self._feeding >= feeding(busy, held) and pays(left, self._pace(), self._on_host(rows))
            self._feeding += not host
            return host

    def end(self, rows: float, busy: float, held: float | None) -> None:
        """Note what a bundle took, without waiting for the device; held: seconds with a turn; None: on the host."""
        with self._lock:
            if held is None:
                self._host = KEPT * self._host[0] + rows, KEPT * self._host[1] + busy
                return
            before = self._device
            self._device = KEPT * before[0] + rows, KEPT * before[1] + busy, KEPT * before[2] + held
            self._feeding -= 1

    def _pace(self) -> float:
        """Return how many bundles of the round all workers begin in a second; infinity where it is not known."""
        if len(self._begun) < LEAST:
            return math.inf
        (since, first), (now, last) = self._begun[0], self._begun[-1]
        return (last - first) / (now - since) if now > since else math.inf

    def _on_host(self, rows: float) -> float:
        """Return the seconds that the host takes for so many rows."""
        if self._host[0]:
            return rows * self._host[1] / self._host[0]
        return TRIAL * rows * self._device[1] / self._device[0] if self._device[0] else math.inf


_shares: dict[tuple[str, str], Share] = {}
_lock = threading.Lock()


def _share(within: Round, kind: str) -> Share:
    """Return what this process knows of bundles of a kind in a round; earlier rounds are forgotten."""
    with _lock:
        if not any(name == within.name for name, _ in _shares):
            _shares.clear()
        return _shares.setdefault((within.name, kind), Share())


@contextlib.contextmanager
def side(within: Round, kind: str, position: int, left: int, rows: int) -> Iterator[bool]:
    """Do a bundle in this block, and tell whether on the host alone, on which the backend of this thread is cpu then.

    Parameters
    ----------
    kind : bundles of one kind are alike: of one dataset.
    position, left : of the bundle in the round, and how many of its kind come after it.
    """
    share, begin, (waited, held) = _share(within, kind), time.perf_counter(), turns.seconds()
    host = share.begin(position, left, rows, begin)
    try:
        with backend.on_host() if host else contextlib.nullcontext():
            yield host
    finally:
        now = turns.seconds()
        busy = time.perf_counter() - begin - (now[0] - waited)
        share.end(rows, busy, None if host else now[1] - held)
