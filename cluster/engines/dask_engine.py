"""The engine on a Dask cluster, whoever started it: a sliding window of tasks in flight.

Guarantees: client and scheduler hold as many tasks as there are threads, times IN_FLIGHT_PER_THREAD,
whatever the corpus; workers may come and go; a task whose worker is lost, or hangs, is run again elsewhere,
at most ATTEMPTS times; a scheduler that is lost, or has no workers left, ends the map with BackendError.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

from cluster.engines.attempt import Attempt, Failed
from cluster.errors import BackendError, LostTaskError, ShardError, WinnowError

T = TypeVar("T")
R = TypeVar("R")

IN_FLIGHT_PER_THREAD = 2  # enough to hide the scheduler's few milliseconds, few enough to stay bounded
ATTEMPTS = 3
TICK = 1.0  # seconds between looks at the cluster
ANSWER = 120.0  # seconds in which a scheduler must answer
NO_WORKERS = 300.0  # seconds to wait for a worker to come (back)
CLOSING = 15.0
FETCH = 5.0  # seconds for a result, which is small, to arrive
LOST: Any = object()
# What a call to a scheduler that is lost, or about to be, may raise.
NO_ANSWER = (OSError, RuntimeError, ValueError, LookupError, AssertionError, AttributeError, CancelledError)


@dataclass(frozen=True, kw_only=True)
class Patience:
    """How long the engine waits, in seconds. task None: a task may take as long as it likes."""

    task: float | None = None
    workers: float = NO_WORKERS
    scheduler: float = ANSWER


@dataclass
class _Flight:
    """A task that is with the cluster. since: when it was handed over, or last found to hang."""

    index: int
    future: Any = None
    since: float = field(default_factory=time.monotonic)
    hung: int = 0


@dataclass
class _Question:
    """Ask the scheduler for its workers without waiting for the answer."""

    client: Any
    asked: float = field(default_factory=time.monotonic)
    answer: dict[str, int] | None = None

    def __post_init__(self) -> None:
        threading.Thread(target=self._ask, daemon=True).start()

    def _ask(self) -> None:
        with contextlib.suppress(*NO_ANSWER):  # a lost scheduler shows by its silence
            self.answer = dict(self.client.nthreads())


class DaskEngine:
    """Tasks on a Dask cluster. `code` is the digest that every worker's code must have; None trusts them."""

    def __init__(
        self,
        client: Any,
        close: Callable[[], None],
        *,
        where: str,
        patience: Patience | None = None,
        code: str | None = None,
    ) -> None:
        self._client = client
        self._close = close
        self._where = where
        self._patience = patience or Patience()
        self._code = code
        self._threads: dict[str, int] = dict(client.nthreads())
        self._seen = time.monotonic()
        self._question: _Question | None = None
        self._flights: dict[str, _Flight] = {}

    @property
    def workers(self) -> int:
        return max(1, sum(self._threads.values()))

    def map(
        self, function: Callable[[T], R], tasks: Sequence[T], *, done: Callable[[R], None] | None = None
    ) -> list[R]:
        ended: SimpleQueue[Any] = SimpleQueue()
        queue = iter(enumerate(tasks))
        results: dict[int, R] = {}
        attempt = Attempt(function, self._code)
        self._question, self._seen = None, time.monotonic()
        try:
            while True:
                self._top_up(attempt, queue, ended)
                if not self._flights:
                    return [results[i] for i in range(len(tasks))]
                for future in _next(ended):
                    flight = self._flights[future.key]
                    result = self._value(flight, attempt)
                    if result is LOST:
                        future.add_done_callback(ended.put)  # it runs again
                        continue
                    results[flight.index] = result
                    del self._flights[future.key]
                    future.release()
                    if done:
                        done(result)
                self._watch()
        finally:
            self._forget()

    def _top_up(self, attempt: Attempt, queue: Iterator[tuple[int, Any]], ended: SimpleQueue[Any]) -> None:
        """Submit tasks until the window is full."""
        while len(self._flights) < self.workers * IN_FLIGHT_PER_THREAD:
            item = next(queue, None)
            if item is None:
                return
            if self._client.status != "running":
                raise self._lost()
            key = _key(attempt)
            flight = self._flights[key] = _Flight(item[0])  # first, so that no event about it is missed
            flight.future = self._client.submit(attempt, item[1], key=key, retries=ATTEMPTS - 1, pure=False)
            flight.future.add_done_callback(ended.put)

    def _value(self, flight: _Flight, attempt: Attempt) -> Any:
        """Return what a task returned, LOST when that went with its worker, or raise what stops the run."""
        from distributed.scheduler import KilledWorker

        task = f"{_name(attempt)} of task {flight.index}"
        try:
            value = flight.future.result(timeout=FETCH)
        except KilledWorker as error:
            raise LostTaskError(
                f"{task} lost its worker {error.allowed_failures + 1} times, last {error.last_worker.address}. Most "
                "often memory was not enough: give workers more memory or fewer threads, and look at that worker's "
                "log. What is finished stays.",
                flight.index,
            ) from None
        except CancelledError:
            raise self._lost() from None
        except (OSError, MemoryError) as error:
            if flight.future.status != "error":
                return LOST
            raise ShardError(f"{task} failed {ATTEMPTS} times: {type(error).__name__}: {error}.") from error
        except WinnowError as error:
            raise type(error)(f"{error} (tried {ATTEMPTS} times)") from None
        if isinstance(value, Failed):
            if not isinstance(value.error, WinnowError):
                value.error.add_note(f"{task}, on worker {value.where}:\n{value.trace}")
            raise value.error
        return value

    def _lost(self) -> BackendError:
        logging.getLogger("distributed.client").setLevel(logging.CRITICAL)  # a traceback of the same, as it closes
        return BackendError(
            f"the connection to the Dask scheduler ({self._where}) is lost. What is finished stays: "
            "see to it that the scheduler runs, then give the same command again."
        )

    def _watch(self) -> None:
        """Look at the cluster, at most every TICK: workers that came or went, silence, tasks that hang."""
        now = time.monotonic()
        if self._question is None:
            if now - self._seen > TICK:
                self._question = _Question(self._client)
        elif self._question.answer is not None:
            self._threads = self._question.answer
            self._question = None
            self._seen = now if self._threads else self._seen
            if now - self._seen > self._patience.workers:
                raise BackendError(
                    f"the Dask scheduler ({self._where}) has had no worker for {self._patience.workers:.0f} s. "
                    "Start workers, then give the same command again; what is finished stays."
                )
        elif now - self._question.asked > self._patience.scheduler:
            raise self._lost()
        if self._patience.task is not None:
            self._end_hung(now, self._patience.task)

    def _end_hung(self, now: float, allowed: float) -> None:
        """Restart the worker of every task that has run for too long; give up on the third time.

        A task that waits behind a hung one, in the same worker's queue, cannot be told from it and counts as hung
        too; a task that waits for a worker does not.
        """
        overdue = {key: flight for key, flight in self._flights.items() if now - flight.since > allowed}
        workers = self._places() if overdue else {}
        for key, flight in overdue.items():
            flight.since = now
            flight.hung += key in workers
            if flight.hung == ATTEMPTS:
                _within(CLOSING, functools.partial(self._client.cancel, [flight.future], force=True))
                _within(CLOSING, functools.partial(_replace, self._client, workers[key]))
                raise LostTaskError(
                    f"{key.rsplit('-', 1)[0]} (task {flight.index}) ran {ATTEMPTS} times for more than task_timeout = "
                    f"{allowed:g} s, last on {workers[key]}. Look at that worker's log, or allow more: "
                    "--set cluster.task_timeout=SECONDS.",
                    flight.index,
                )
        for worker in {workers[key] for key in overdue if key in workers}:
            threading.Thread(target=_replace, args=(self._client, worker), daemon=True).start()

    def _places(self) -> dict[str, str]:
        """Return the worker of every task that is with one."""
        found: dict[str, str] = {}

        def ask() -> None:
            for worker, keys in self._client.processing().items():
                found.update((key, worker) for key in keys)

        _within(CLOSING, ask)
        return dict(found)

    def _forget(self) -> None:
        """Cancel what is still in flight after an error."""
        futures = [flight.future for flight in self._flights.values() if flight.future is not None]
        self._flights.clear()
        if futures and self._client.status == "running":
            _within(CLOSING, lambda: self._client.cancel(futures, force=True))

    def close(self) -> None:
        _within(CLOSING, self._close)


def _next(ended: SimpleQueue[Any]) -> Iterator[Any]:
    """Yield the futures that have ended; wait a TICK for the first of them."""
    with contextlib.suppress(Empty):
        yield ended.get(timeout=TICK)
        while True:
            yield ended.get_nowait()


def _name(attempt: Attempt) -> str:
    function = getattr(attempt.function, "func", attempt.function)
    return str(getattr(function, "__name__", type(function).__name__)).strip("_")


def _key(attempt: Attempt) -> str:
    """Return a key that no other run has; the scheduler groups keys by what stands before the dash."""
    import uuid

    return f"{_name(attempt)}-{uuid.uuid4().hex}"


def _replace(client: Any, worker: str) -> None:
    """Restart a worker through its nanny; where it has none, let the scheduler forget it."""
    try:
        client.restart_workers([worker], timeout=60)
    except NO_ANSWER:  # no nanny, or gone in the meantime
        with contextlib.suppress(*NO_ANSWER):
            client.retire_workers([worker], close_workers=True)


def _within(seconds: float, action: Callable[[], Any]) -> None:
    """Do something that may never end, and go on after a while."""
    thread = threading.Thread(target=lambda: _quietly(action), daemon=True)
    thread.start()
    thread.join(seconds)


def _quietly(action: Callable[[], Any]) -> None:
    with contextlib.suppress(*NO_ANSWER):  # what is closed may be gone already
        action()
