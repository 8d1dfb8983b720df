"""Engine on a Dask cluster of any kind: a sliding window of tasks in flight.

Guarantees: client and scheduler hold as many tasks as there are threads, times IN_FLIGHT_PER_THREAD, whatever the
size of the corpus; workers may join and leave; a task whose worker is lost, or hangs, is retried on another, at most
ATTEMPTS times; after a link to the scheduler that was down for a while the tasks in flight are sent again; a
scheduler that is lost, or has no workers left, ends the map with BackendError.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Any, Protocol, TypeVar

from cluster.engines.attempt import Attempt, Failed, Repeat
from cluster.engines.cost import TaskCost
from cluster.engines.grouping import Flight, TaskQueue
from cluster.engines.timeouts import NO_ANSWER, BackgroundCall, refuses, try_with_timeout
from cluster.errors import BackendError, LostTaskError, ShardError, WinnowError, remedy

T = TypeVar("T")
R = TypeVar("R")

DEVICE = "winnow-device"  # resource of the workers with a GPU, where not all have one
IN_FLIGHT_PER_THREAD = 2  # enough to hide the scheduler's few milliseconds, few enough to stay bounded
ATTEMPTS = 3
LOG = logging.getLogger("winnow.cluster")
MOST_DEATHS = 5  # of workers while there is none: each dies at its start
TICK = 1.0  # seconds between two polls of the cluster
SCHEDULER_TIMEOUT = 120.0  # seconds in which a scheduler must answer
WORKERS_TIMEOUT = 300.0  # seconds to wait for a worker to join
LINK_POLL = 0.5  # seconds between two looks whether a link is there again
CLOSING = 15.0  # seconds for a cleanup call to the scheduler
FETCH = 5.0  # seconds for a result, which is small, to arrive
CUTS = 20  # times that a task may be sent again because the link to the scheduler was down
CUT: Any = object()  # instead of a result whose task the scheduler forgot while the link was down
LOST: Any = object()  # instead of a result that was lost with its worker


@dataclass(frozen=True, kw_only=True)
class Timeouts:
    """Timeouts of an engine in seconds. task: run time of one task, None for no limit; workers: time without any."""

    task: float | None = None
    workers: float = WORKERS_TIMEOUT
    scheduler: float = SCHEDULER_TIMEOUT


class KnownDeaths(Protocol):
    """Tells of the workers that ended."""

    count: int

    @property
    def cause(self) -> str:
        """Why, in a sentence; empty where none ended."""


class DaskEngine:
    """Engine that runs tasks on the workers of a Dask client.

    Parameters
    ----------
    close : called by `close`: ends the client, and the cluster where it belongs to this process.
    where : the cluster in words, for error messages.
    code : digest that every worker's code must have; None: not compared.
    deaths : tells how many workers ended, and why; None: nobody knows.
    some_devices : whether only some workers have a GPU; they are marked with the resource DEVICE.
    """

    def __init__(
        self,
        client: Any,
        close: Callable[[], object],
        *,
        where: str,
        timeouts: Timeouts | None = None,
        code: str | None = None,
        deaths: KnownDeaths | None = None,
        some_devices: bool = False,
    ) -> None:
        self._client = client
        self._deaths = deaths
        self._died = self._told = 0  # workers when there was one last; workers of whose end was told
        self._close = close
        self._where = where
        self._timeouts = timeouts or Timeouts()
        self._code = code
        self._some_devices = some_devices
        self._where_to: dict[str, Any] = {}  # keywords of Client.submit for the tasks of the map that runs
        self._threads: dict[str, int] = dict(client.nthreads())
        self._address = str(getattr(getattr(client, "scheduler", None), "address", ""))
        self._seen = time.monotonic()
        self._poll: BackgroundCall[dict[str, int]] | None = None
        self._flights: dict[str, Flight] = {}
        self._queue: TaskQueue[Any] = TaskQueue(())
        self._alone = False  # whether nothing is sent until what is in flight has ended

    @property
    def workers(self) -> int:
        return max(1, sum(self._threads.values()))

    def map(
        self,
        function: Callable[[T], R],
        tasks: Sequence[T],
        *,
        done: Callable[[R], None] | None = None,
        cost: TaskCost | None = None,
        on_device: bool = False,
    ) -> list[R]:
        ended: SimpleQueue[Any] = SimpleQueue()
        self._queue = TaskQueue(tasks, self._timeouts.task)
        results: dict[int, R] = {}
        attempt = Attempt(function, self._code)
        self._where_to = {"resources": {DEVICE: 1}} if on_device and self._some_devices else {}
        self._poll, self._seen = None, time.monotonic()
        try:
            while True:
                self._top_up(attempt, ended)
                if not self._flights:
                    return [results[i] for i in range(len(tasks))]
                for future in _next(ended):
                    flight = self._flights.get(future.key)
                    if flight is None:
                        continue  # given up: its tasks are sent one by one
                    found = self._results(flight, attempt)
                    if found is LOST:
                        future.add_done_callback(ended.put)  # it runs again
                        continue
                    del self._flights[future.key]
                    if found is CUT:
                        self._submit(attempt, flight, ended)
                        continue
                    future.release()
                    results.update(found)
                    for result in found.values() if done else ():
                        done(result)  # type: ignore[misc]
                self._watch()
        finally:
            self._cancel_all()

    def _top_up(self, attempt: Attempt, ended: SimpleQueue[Any]) -> None:
        """Submit tasks until the window is full or the queue is empty; one alone, while there are suspects."""
        if self._alone and self._flights:
            return
        self._alone = bool(self._queue.suspects)
        if self._alone:
            if not self._flights:
                self._submit(attempt, Flight([self._queue.suspects.pop()]), ended)
            return
        while len(self._flights) < self.workers * IN_FLIGHT_PER_THREAD:
            items = self._queue.take(self.workers)
            if not items:
                return
            self._submit(attempt, Flight(items), ended)

    def _submit(self, attempt: Attempt, flight: Flight, ended: SimpleQueue[Any]) -> None:
        """Send tasks to the scheduler, once there is a connection. Raises BackendError where there is none."""
        if not self._is_linked():
            raise self._scheduler_lost()
        key = _key(attempt)
        self._flights[key] = flight  # first, so that no event about it is missed
        flight.since = time.monotonic()
        retries = ATTEMPTS - 1 - (flight.index in self._queue.tried)
        seconds = self._queue.wanted(self.workers)
        keywords = {"key": key, "retries": retries, "pure": False, "seconds": seconds, **self._where_to}
        flight.future = self._client.submit(attempt, [task for _, task in flight.items], **keywords)
        flight.future.add_done_callback(ended.put)

    def _is_linked(self) -> bool:
        """Tell whether there is a connection to the scheduler, after waiting for the client to make it again.

        A machine that refuses the connection answers: its scheduler has ended, and nothing is waited for.
        """
        end, waited = time.monotonic() + self._timeouts.scheduler, False
        while self._client.status == "connecting" and time.monotonic() < end:
            if refuses(self._address):
                return False
            waited = True
            time.sleep(min(TICK, LINK_POLL))
        if waited:
            self._poll, self._seen = None, time.monotonic()
        return bool(self._client.status == "running")

    def _results(self, flight: Flight, attempt: Attempt) -> Any:
        """Return results by the number of their task, LOST where they were lost with the worker, CUT where with a link.

        Raises the error of the task that failed. Of tasks sent together that could not be done together, each is sent
        by itself (alone on the cluster, where workers died: all tasks of a worker that dies are blamed), so that an
        error names the one at fault.
        """
        ended = self._ended(flight, attempt)
        if ended is LOST or ended is CUT or ended == {}:
            return ended
        begun = len(ended.values)
        self._queue.ended(begun, ended.seconds)
        self._queue.back(flight.items[begun:])
        found: dict[int, Any] = {}
        for (index, task), value in zip(flight.items[:begun], ended.values, strict=True):
            if isinstance(value, Failed):
                if not isinstance(value.error, WinnowError):
                    value.error.add_note(f"{_name(attempt)} of task {index}, on worker {value.where}:\n{value.trace}")
                raise value.error
            if isinstance(value, Repeat):
                self._queue.tried.add(index)
                self._queue.apart([(index, task)])
            else:
                found[index] = value
        return found

    def _ended(self, flight: Flight, attempt: Attempt) -> Any:
        """Return what the worker says of tasks, LOST or CUT; nothing where several are to be sent one by one."""
        from distributed.scheduler import KilledWorker

        task = f"{_name(attempt)} of task {flight.index}"
        try:
            return flight.future.result(timeout=FETCH)
        except CancelledError:
            flight.cuts += 1
            if flight.cuts > CUTS or not self._is_linked():
                raise self._scheduler_lost() from None
            return CUT
        except Exception as error:
            if flight.several and flight.future.status == "error":
                if isinstance(error, KilledWorker):
                    self._queue.suspects.extend(reversed(flight.items))
                else:
                    self._queue.apart(flight.items)
                return {}
            if isinstance(error, OSError | MemoryError) and flight.future.status != "error":
                return LOST
            self._raise(error, task, flight.index)
            raise

    def _raise(self, error: Exception, task: str, index: int) -> None:
        """Raise the error of a task in the words of its kind; return where it has none."""
        from distributed.scheduler import KilledWorker

        if isinstance(error, KilledWorker):
            raise LostTaskError(
                f"{task} lost its worker {error.allowed_failures + 1} times, last {error.last_worker.address}. "
                f"{self._cause}Most often memory was not enough: give workers more memory or fewer threads, and look "
                "at that worker's log. What is finished stays.",
                index,
            ) from None
        if isinstance(error, OSError | MemoryError):
            said = f"{task} failed {ATTEMPTS} times: {type(error).__name__}: {error}. {remedy(error)}"
            raise ShardError(said.rstrip()) from error
        if isinstance(error, WinnowError):
            raise type(error)(f"{error} (tried {ATTEMPTS} times)") from None

    def _scheduler_lost(self) -> BackendError:
        """Return the error for a lost connection to the scheduler; Dask's own log of it is silenced."""
        logging.getLogger("distributed.client").setLevel(logging.CRITICAL)  # a traceback of the same, as it closes
        return BackendError(
            f"the connection to the Dask scheduler ({self._where}) is lost. What is finished stays: "
            "see to it that the scheduler runs, then give the same command again."
        )

    def _watch(self) -> None:
        """Poll the cluster, at most every TICK: workers that joined or left, a silent scheduler, hanging tasks.

        The poll runs in the background: a lost scheduler shows by its silence.
        """
        now = time.monotonic()
        self._tell_deaths()
        if self._poll is None:
            if now - self._seen > TICK:
                self._poll = BackgroundCall(lambda: dict(self._client.nthreads()))
        elif self._poll.results:
            self._threads = self._poll.results[0]
            self._poll = None
            if self._threads:
                self._seen, self._died = now, self._deaths.count if self._deaths else 0
            self._check_workers(now - self._seen)
        elif self._poll.error is not None and self._is_linked():
            self._poll = None
        elif self._poll.error is not None or now - self._poll.started > self._timeouts.scheduler:
            raise self._scheduler_lost() from self._poll.error
        if self._timeouts.task is not None:
            self._retry_overdue(now, self._timeouts.task)

    def _tell_deaths(self) -> None:
        """Say that a worker ended while others, or the one started in its place, go on."""
        if self._deaths is not None and self._deaths.count > self._told:
            self._told = self._deaths.count
            LOG.warning("%s Its tasks are done again; what is finished stays.", self._deaths.cause)

    @property
    def _cause(self) -> str:
        """Why workers ended, with a blank behind it; empty where nobody knows."""
        return f"{self._deaths.cause} " if self._deaths and self._deaths.cause else ""

    def _check_workers(self, alone: float) -> None:
        """Raise BackendError where there is no worker for too long, or where each dies at its start."""
        dying = self._deaths is not None and self._deaths.count - self._died >= MOST_DEATHS and alone > 0
        if dying or alone > self._timeouts.workers:
            own = "Give workers more memory (cluster.memory_limit) or fewer threads" if self._cause else "Start workers"
            lost = f"the Dask scheduler ({self._where}) has had no worker for {alone:.0f} s"
            raise BackendError(f"{lost}. {self._cause}{own}, then give the same command again; what is finished stays.")

    def _retry_overdue(self, now: float, allowed: float) -> None:
        """Restart the worker of every task that exceeds the task timeout; raise LostTaskError at the third time.

        Several that were sent together have twice the time, then each is sent by itself. A task that is queued on a
        worker behind a hanging one cannot be told from it and counts as overdue too; a task that no worker has yet does
        not.
        """
        overdue = {k: f for k, f in self._flights.items() if now - f.since > allowed * (1 + f.several)}
        workers = self._worker_of_each_task() if overdue else {}
        for key, flight in overdue.items():
            flight.since = now
            flight.hung += key in workers
            if flight.hung and flight.several:
                self._give_up(key)
            elif flight.hung == ATTEMPTS:
                try_with_timeout(functools.partial(self._client.cancel, [flight.future], force=True), CLOSING)
                try_with_timeout(functools.partial(_restart_worker, self._client, workers[key]), CLOSING)
                raise LostTaskError(
                    f"{key.rsplit('-', 1)[0]} (task {flight.index}) ran {ATTEMPTS} times for more than task_timeout = "
                    f"{allowed:g} s, last on {workers[key]}. Look at that worker's log, or allow more: "
                    "--set cluster.task_timeout=SECONDS.",
                    flight.index,
                )
        for worker in {workers[key] for key in overdue if key in workers}:
            BackgroundCall(functools.partial(_restart_worker, self._client, worker))

    def _give_up(self, key: str) -> None:
        """Take back tasks that were sent together, to send each by itself."""
        flight = self._flights.pop(key)
        try_with_timeout(functools.partial(self._client.cancel, [flight.future], force=True), CLOSING)
        self._queue.apart(flight.items)

    def _worker_of_each_task(self) -> dict[str, str]:
        """Return worker addresses by task key, for tasks that were sent to a worker; empty without an answer."""
        found: dict[str, str] = {}

        def collect() -> None:
            for worker, keys in self._client.processing().items():
                found.update((key, worker) for key in keys)

        try_with_timeout(collect, CLOSING)
        return dict(found)

    def _cancel_all(self) -> None:
        """Cancel the tasks that are still in flight after an error."""
        futures = [flight.future for flight in self._flights.values() if flight.future is not None]
        self._flights.clear()
        if futures and self._client.status == "running":
            try_with_timeout(lambda: self._client.cancel(futures, force=True), CLOSING)

    def close(self) -> None:
        """Close the client, and the cluster where it belongs to this process."""
        try_with_timeout(self._close, CLOSING)


def _next(ended: SimpleQueue[Any]) -> Iterator[Any]:
    """Yield the futures that have ended, after waiting up to a TICK for the first."""
    with contextlib.suppress(Empty):
        yield ended.get(timeout=TICK)
        while True:
            yield ended.get_nowait()


def _name(attempt: Attempt) -> str:
    """Return the name of the task's function, for keys and error messages."""
    function = getattr(attempt.function, "func", attempt.function)
    return str(getattr(function, "__name__", type(function).__name__)).strip("_")


def _key(attempt: Attempt) -> str:
    """Return a unique task key; the scheduler groups keys by the part before the dash."""
    import uuid

    return f"{_name(attempt)}-{uuid.uuid4().hex}"


def _restart_worker(client: Any, worker: str) -> None:
    """Restart a worker through its nanny; where it has none, retire it from the scheduler."""
    try:
        client.restart_workers([worker], timeout=60)
    except NO_ANSWER:  # no nanny, or gone in the meantime
        with contextlib.suppress(*NO_ANSWER):
            client.retire_workers([worker], close_workers=True)
