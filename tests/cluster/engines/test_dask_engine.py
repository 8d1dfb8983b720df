"""The engine on a Dask cluster of separate processes: lost, hanging and failing workers, a lost scheduler."""

from __future__ import annotations

import itertools
import logging
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from cluster.engines import attempt, dask_engine, grouping
from cluster.errors import BackendError, LostTaskError, ShardError
from cluster.options import ClusterOptions
from cluster.start import start as start_engine
from tests.support import cluster_tasks as work
from tests.support.dask_processes import DaskProcesses, kill

Start = Callable[..., Any]
MANY = 20_000  # tasks that no machine ends before something happens to its cluster


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaskProcesses]:
    with DaskProcesses(tmp_path_factory.mktemp("dask")) as processes:
        yield processes


@pytest.fixture
def marks(tmp_path: Path) -> Path:
    folder = tmp_path / "marks"
    folder.mkdir()
    return folder


@pytest.fixture
def own(tmp_path: Path) -> Iterator[DaskProcesses]:
    """A cluster for one test: workers that are started anew may still be on their way when it ends."""
    with DaskProcesses(tmp_path / "dask") as processes:
        yield processes


@pytest.fixture
def start(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Start]:
    engines: list[Any] = []
    run_dir = tmp_path / "run"
    run_dir.mkdir()
    monkeypatch.setattr(dask_engine, "TICK", 0.1)

    def connect(processes: DaskProcesses, **more: Any) -> Any:
        engines.append(start_engine(ClusterOptions(**processes.options(**more)), str(run_dir)))
        return engines[-1]

    yield connect
    for engine in engines:
        engine.close()


def tasks(marks: Path, count: int) -> list[work.Task]:
    return [(str(marks), number) for number in range(count)]


def test_results_come_in_task_order_and_every_end_is_told(shared: DaskProcesses, start: Start, marks: Path) -> None:
    seen: list[int] = []
    found = start(shared).map(work.square, tasks(marks, 40), done=seen.append)
    assert found == [n**2 for n in range(40)]
    assert sorted(seen) == found
    assert all(work.attempts(marks, n) == 1 for n in range(40))


def test_no_more_tasks_are_in_flight_than_the_window_holds(
    shared: DaskProcesses, start: Start, marks: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = start(shared, workers=2)
    most = 0
    submit = engine._client.submit

    def counted(*args: Any, **more: Any) -> Any:
        nonlocal most
        most = max(most, len(engine._flights))
        return submit(*args, **more)

    monkeypatch.setattr(engine._client, "submit", counted)
    engine.map(work.square, tasks(marks, 60))
    assert most == engine.workers * dask_engine.IN_FLIGHT_PER_THREAD
    assert len(engine._client.futures) <= most  # releasing takes a moment


def test_tasks_of_killed_workers_are_run_again(shared: DaskProcesses, start: Start, marks: Path) -> None:
    assert start(shared).map(work.die_once, tasks(marks, 12)) == [n**2 for n in range(12)]
    assert work.attempts(marks, 5) >= 2


def test_a_task_that_kills_its_workers_stops_the_map_with_its_name(
    shared: DaskProcesses, start: Start, marks: Path
) -> None:
    with pytest.raises(LostTaskError, match=r"always_die of task 0 lost its worker \d times.*memory"):
        start(shared).map(work.always_die, tasks(marks, 1))
    assert work.attempts(marks, 0) <= 5


def test_a_hanging_task_is_run_elsewhere(own: DaskProcesses, start: Start, marks: Path) -> None:
    assert start(own, task_timeout=8).map(work.hang_once, tasks(marks, 6)) == [n**2 for n in range(6)]
    assert work.attempts(marks, 3) >= 2


def test_a_task_that_always_hangs_stops_the_map(own: DaskProcesses, start: Start, marks: Path) -> None:
    with pytest.raises(LostTaskError, match=r"always_hang \(task 0\) ran 3 times .* task_timeout = 1 s"):
        start(own, task_timeout=1).map(work.always_hang, tasks(marks, 1))
    assert work.attempts(marks, 0) == dask_engine.ATTEMPTS


def test_a_failure_of_the_storage_is_tried_three_times(shared: DaskProcesses, start: Start, marks: Path) -> None:
    engine = start(shared)
    assert engine.map(work.storage_fails_twice, tasks(marks, 3)) == [0, 1, 4]
    with pytest.raises(ShardError, match=r"shard 9 cannot be reached.*\(tried 3 times\)"):
        engine.map(work.storage_fails, [(str(marks), 9)])
    assert work.attempts(marks, 9) == 3


def test_bad_content_is_not_tried_again(shared: DaskProcesses, start: Start, marks: Path) -> None:
    with pytest.raises(ShardError, match="row 7 is broken"):
        start(shared).map(work.bad_content, tasks(marks, 1))
    assert work.attempts(marks, 0) == 1


def test_a_slip_in_the_code_comes_with_the_workers_traceback(shared: DaskProcesses, start: Start, marks: Path) -> None:
    with pytest.raises(ZeroDivisionError) as caught:
        start(shared).map(work.slip, tasks(marks, 1))
    assert "on worker tcp://" in caught.value.__notes__[0]
    assert "cluster_tasks.py" in caught.value.__notes__[0]


def test_an_engine_goes_on_after_a_failed_map(shared: DaskProcesses, start: Start, marks: Path) -> None:
    engine = start(shared)
    with pytest.raises(ShardError):
        engine.map(work.bad_content, tasks(marks, 30))
    assert engine.map(work.square, tasks(marks, 5)) == [0, 1, 4, 9, 16]


# --- short tasks, which are sent together ------------------------------------------------------------------


def test_short_tasks_are_sent_together_and_come_in_order(
    shared: DaskProcesses, start: Start, marks: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine, sent, seen = start(shared, workers=2), [], []
    submit = engine._client.submit

    def counted(function: Any, items: list[Any], **more: Any) -> Any:
        sent.append(len(items))
        return submit(function, items, **more)

    monkeypatch.setattr(engine._client, "submit", counted)
    assert engine.map(work.quick, tasks(marks, 400), done=seen.append) == [n**2 for n in range(400)]
    assert sorted(seen) == [n**2 for n in range(400)]
    assert sum(sent) == 400
    assert sent[:4] == [1] * 4  # nothing is known of them yet
    assert len(sent) < 100
    assert max(sent[-4:]) < 8  # every thread has some to the end


def test_of_long_tasks_that_follow_short_ones_a_worker_begins_one_and_gives_the_others_back(
    shared: DaskProcesses, start: Start, marks: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(grouping, "SECONDS", work.SLOW)
    engine, sent, long, real = start(shared, workers=2), [], [], grouping.TaskQueue.ended
    engine.map(work.quick, tasks(marks, 20))  # the first tasks of a worker load code
    submit = engine._client.submit

    def counted(function: Any, items: list[Any], **more: Any) -> Any:
        sent.append(len(items))
        return submit(function, items, **more)

    def ended(queue: grouping.TaskQueue[Any], tasks: int, seconds: float) -> None:
        long.append(seconds >= work.SLOW)
        real(queue, tasks, seconds)

    monkeypatch.setattr(engine._client, "submit", counted)
    monkeypatch.setattr(grouping.TaskQueue, "ended", ended)
    count, slow = work.LATE + 48, 48
    assert engine.map(work.slow_late, tasks(marks, count)) == [n**2 for n in range(count)]
    assert sum(long) >= slow  # no two of them together
    assert sum(sent) > count  # though they were sent so
    assert all(work.attempts(marks, n) == 1 for n in range(work.LATE, count))


def test_a_bad_task_among_others_names_itself_alone(shared: DaskProcesses, start: Start, marks: Path) -> None:
    with pytest.raises(ShardError, match=rf"^shard {work.LATE}: row 7 is broken$"):
        start(shared).map(work.bad_late, tasks(marks, 400))
    assert work.attempts(marks, work.LATE) == 1


def test_a_failure_of_the_storage_among_others_is_tried_three_times(
    shared: DaskProcesses, start: Start, marks: Path
) -> None:
    engine = start(shared)
    assert engine.map(work.storage_fails_twice, tasks(marks, 24)) == [n**2 for n in range(24)]
    assert all(work.attempts(marks, n) == 3 for n in range(24))
    with pytest.raises(ShardError, match=rf"shard {work.LATE} cannot be reached.*\(tried 3 times\)"):
        engine.map(work.storage_fails_late, tasks(marks, 400))
    assert work.attempts(marks, work.LATE) == 3


def test_a_deadly_task_among_others_names_itself_alone(own: DaskProcesses, start: Start, marks: Path) -> None:
    with pytest.raises(LostTaskError, match=rf"die_late of task {work.LATE} lost its worker") as caught:
        start(own).map(work.die_late, tasks(marks, 400))
    assert caught.value.index == work.LATE


def test_a_task_that_hangs_among_others_is_run_elsewhere(own: DaskProcesses, start: Start, marks: Path) -> None:
    assert start(own, task_timeout=6).map(work.hang_late, tasks(marks, 400)) == [n**2 for n in range(400)]
    assert work.attempts(marks, work.LATE) == 2


def test_workers_start_in_the_clients_folder(
    shared: DaskProcesses, start: Start, marks: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert set(start(shared).map(work.where, tasks(marks, 4))) == {os.getcwd()}


def test_a_worker_with_other_code_refuses_to_compute(marks: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attempt, "_worker_address", lambda: "tcp://x:1")
    (refused,) = attempt.Attempt(work.square, "0123456789abcdef")([(str(marks), 1)]).values
    assert isinstance(refused.error, BackendError)
    assert "tcp://x:1 runs other winnow code" in str(refused.error)
    assert work.attempts(marks, 1) == 0


def test_a_worker_begins_no_task_but_the_first_once_the_time_is_used_up(
    marks: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = itertools.count()
    monkeypatch.setattr(attempt, "_worker_address", lambda: "tcp://x:1")
    monkeypatch.setattr(attempt, "time", SimpleNamespace(perf_counter=lambda: next(clock)))
    done = attempt.Attempt(work.quick)
    assert done(tasks(marks, 5), seconds=0) == attempt.Ended((0,), 1)
    assert done(tasks(marks, 5), seconds=3) == attempt.Ended((0, 1, 4), 3)
    assert done(tasks(marks, 5)) == attempt.Ended((0, 1, 4, 9, 16), 5)


def test_a_lost_scheduler_stops_the_map_with_a_clear_error(tmp_path: Path, start: Start, marks: Path) -> None:
    with DaskProcesses(tmp_path / "dask", workers=1) as processes:
        engine = start(processes)
        threading.Timer(1.0, kill, [processes.scheduler]).start()
        logging.getLogger("distributed.client").setLevel(logging.WARNING)
        with pytest.raises(BackendError, match=r"connection to the Dask scheduler .* is lost"):
            engine.map(work.square, tasks(marks, MANY))
        assert not logging.getLogger("distributed.client").isEnabledFor(logging.ERROR)


def test_losing_every_worker_stops_the_map_with_a_clear_error(tmp_path: Path, start: Start, marks: Path) -> None:
    with DaskProcesses(tmp_path / "dask", workers=1) as processes:
        engine = start(processes, workers=1)
        engine._timeouts = dask_engine.Timeouts(workers=2)
        threading.Timer(1.0, kill, [processes.workers[0]]).start()
        with pytest.raises(BackendError, match=r"has had no worker for \d+ s"):
            engine.map(work.square, tasks(marks, MANY))


def test_a_worker_that_joins_takes_part(tmp_path: Path, start: Start, marks: Path) -> None:
    with DaskProcesses(tmp_path / "dask", workers=1) as processes:
        engine = start(processes)
        assert engine.workers == 1
        processes.workers.append(processes.add_worker())
        most = 0

        def look(_: int) -> None:
            nonlocal most
            most = max(most, engine.workers)

        engine.map(work.square, tasks(marks, 2000), done=look)
        assert most == 2
