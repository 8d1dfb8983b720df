"""Whole runs on a Dask cluster of separate processes end with the bytes of a run in one process."""

from __future__ import annotations

import random
import threading
from pathlib import Path

import pytest

from cluster.engines import dask_engine
from cluster.errors import BackendError, RecipeError
from cluster.kinds import preflight
from cluster.options import ClusterOptions
from cluster.start import start
from tests.support import corpora
from tests.support.cluster_runs import outcome, run
from tests.support.dask_processes import DaskProcesses, kill, wait_for


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return corpora.write(tmp_path_factory.mktemp("in"), corpora.corpus(11, 400), 6)


@pytest.fixture(scope="module")
def expected(inputs: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return outcome(run(tmp_path_factory.mktemp("expected"), inputs, kind="inline"))


def test_a_run_on_a_cluster_has_the_bytes_of_a_run_in_one_process(
    tmp_path: Path, inputs: dict[str, str], expected: dict[str, str]
) -> None:
    with DaskProcesses(tmp_path / "dask") as processes:
        assert outcome(run(tmp_path / "run", inputs, **processes.options())) == expected


def test_workers_killed_at_random_change_nothing(
    tmp_path: Path, inputs: dict[str, str], expected: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dask_engine, "TICK", 0.1)
    stop = threading.Event()
    draw = random.Random(7)
    killed = 0

    def murder(processes: DaskProcesses) -> None:
        nonlocal killed
        while killed < 3 and not stop.wait(draw.uniform(0.5, 1.5)):  # a task that loses a fourth worker stops a run
            kill(processes.workers.pop(draw.randrange(len(processes.workers))))
            processes.workers.append(processes.add_worker())
            killed += 1

    with DaskProcesses(tmp_path / "dask", workers=3) as processes:
        engine = start(ClusterOptions(**processes.options(workers=3)))
        engine.close()  # preflight has passed; from here on workers may die at any time
        monkeypatch.setattr(preflight, "check", lambda *_: None)
        thread = threading.Thread(target=murder, args=[processes])
        thread.start()
        try:
            run(tmp_path / "run", inputs, **processes.options())
        finally:
            stop.set()
            thread.join()
    assert outcome(tmp_path / "run") == expected
    assert killed


def test_a_lost_scheduler_stops_the_run_and_another_one_finishes_it(
    tmp_path: Path, inputs: dict[str, str], expected: dict[str, str]
) -> None:
    with DaskProcesses(tmp_path / "dask", workers=1) as processes:
        facts = tmp_path / "run" / "facts" / "minhash"
        stop = threading.Event()

        def wait_and_kill() -> None:
            while not stop.wait(0.01):
                if facts.exists() and any(facts.iterdir()):
                    kill(processes.scheduler)
                    return

        thread = threading.Thread(target=wait_and_kill)
        thread.start()
        with pytest.raises(BackendError, match=r"connection to the Dask scheduler .* is lost"):
            run(tmp_path / "run", inputs, **processes.options())
        stop.set()
        thread.join()
    assert outcome(run(tmp_path / "run", inputs, kind="inline")) == expected


def test_a_scheduler_that_is_not_there_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cluster.kinds.running_scheduler.CONNECT_SECONDS", 1.0)
    for options, words in (
        ({"scheduler_file": str(tmp_path / "none.json"), "wait": 0.3}, "is not there. Start a scheduler"),
        ({"address": "tcp://127.0.0.1:9"}, "no Dask scheduler answers at tcp://127.0.0.1:9"),
    ):
        with pytest.raises(BackendError, match=words):
            start(ClusterOptions(kind="scheduler", **options))  # type: ignore[arg-type]


def test_a_scheduler_without_workers_is_told(tmp_path: Path) -> None:
    with DaskProcesses(tmp_path / "dask", workers=0) as processes:
        wait_for(processes.file.exists)
        with pytest.raises(BackendError, match="has 0 workers after 1 s, 1 are needed"):
            start(ClusterOptions(**{**processes.options(), "wait": 1}))


def test_the_kind_scheduler_needs_one_place_to_find_it() -> None:
    for given, words in (({}, "got neither"), ({"address": "x", "scheduler_file": "y"}, "got both")):
        with pytest.raises(RecipeError, match=words):
            start(ClusterOptions(kind="scheduler", **given))  # type: ignore[arg-type]
