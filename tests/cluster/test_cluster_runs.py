"""Whole runs on a Dask cluster of separate processes end with the bytes of a run in one process; preflight refuses."""

from __future__ import annotations

import hashlib
import random
import shutil
import threading
from pathlib import Path
from typing import Any

import pytest

from cluster.engines import dask_engine
from cluster.errors import BackendError, RecipeError
from cluster.kinds import local, preflight
from pipelines.recipe.recipe import load_data
from pipelines.run import runner
from tests.support import corpora
from tests.support.dask_processes import ROOT, DaskProcesses, kill, wait_for
from tests.support.run_folders import STAGES

PACKAGES = ("cluster", "classifiers", "stages", "pipelines")


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return corpora.write(tmp_path_factory.mktemp("in"), corpora.corpus(11, 400), 6)


@pytest.fixture(scope="module")
def expected(inputs: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return outcome(run(tmp_path_factory.mktemp("expected"), inputs, kind="inline"))


def recipe(inputs: dict[str, str], **cluster: Any) -> Any:
    columns = {"text": "text", "id": "id", "url": "url"}
    datasets = {name: {"paths": path, "columns": columns} for name, path in sorted(inputs.items())}
    return load_data({"seed": 5, "datasets": datasets, "stages": STAGES, "cluster": cluster}, "test")


def run(root: Path, inputs: dict[str, str], **cluster: Any) -> Path:
    runner.run(recipe(inputs, **cluster), str(root), with_report=False)
    return root


def outcome(root: Path) -> dict[str, str]:
    """Return a digest of every file of ledger and mix (the card is written with the report only)."""
    files = [*root.glob("ledger/*.parquet"), *root.glob("mix/*/*.parquet"), root / "mix" / "manifest.json"]
    return {str(f.relative_to(root)): hashlib.sha256(f.read_bytes()).hexdigest() for f in files}


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
        engine = local.start(local.ClusterOptions(**processes.options(workers=3)))
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


@pytest.fixture
def foreign(tmp_path: Path) -> Path:
    """A copy of winnow's code, as another machine may have it."""
    folder = tmp_path / "foreign"
    for name in PACKAGES:
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    return folder


def test_a_worker_with_other_code_is_named_with_the_file_that_differs(tmp_path: Path, foreign: Path) -> None:
    changed = foreign / "stages" / "minhash.py"
    changed.write_text(changed.read_text() + "\n# another day\n")
    with DaskProcesses(tmp_path / "dask", workers=1) as processes:
        processes.workers.append(processes.add_worker(python_path=foreign))
        with pytest.raises(BackendError) as caught:
            local.start(local.ClusterOptions(**processes.options(workers=2)), str(tmp_path))
    found = [line for line in str(caught.value).splitlines() if "other winnow code" in line]
    assert len(found) == 1
    assert found[0].startswith("worker tcp://127.0.0.1:")
    assert "stages/minhash.py differ" in found[0]


def test_a_copy_of_the_same_code_elsewhere_is_fit(tmp_path: Path, foreign: Path) -> None:
    with DaskProcesses(tmp_path / "dask", workers=1, python_path=foreign) as processes:
        local.start(local.ClusterOptions(**processes.options()), str(tmp_path)).close()


def test_a_cluster_without_winnow_is_told_so(tmp_path: Path) -> None:
    decoy = tmp_path / "decoy" / "cluster"
    decoy.mkdir(parents=True)
    (decoy / "__init__.py").write_text('"""A package of somebody else."""\n')
    words = r"scheduler on .*: (ImportError|ModuleNotFoundError|other winnow code)"  # the latter where it is installed
    with (
        DaskProcesses(tmp_path / "dask", workers=1, python_path=decoy.parent) as processes,
        pytest.raises(BackendError, match=words),
    ):
        local.start(local.ClusterOptions(**processes.options()), str(tmp_path))


def test_a_worker_with_little_memory_is_named(tmp_path: Path) -> None:
    with DaskProcesses(tmp_path / "dask", workers=0) as processes:
        processes.workers.append(processes.add_worker("--nthreads", "8"))
        with pytest.raises(BackendError, match=r"worker tcp.*: 2\.00 GB for 8 threads, at least 4\.29 GB"):
            local.start(local.ClusterOptions(**processes.options()), str(tmp_path))


def facts(**more: Any) -> dict[str, Any]:
    return {**preflight.facts(), **more}


def test_every_difference_is_told() -> None:
    mine = facts()
    packages = {**mine["packages"], "numpy": "1.0"}
    theirs = facts(python="3.9", packages=packages, folder="does not see /x")
    found = preflight.differences(mine, theirs)
    assert [text.split(",")[0] for text in found] == ["python 3.9", "numpy 1.0", "does not see /x"]
    assert preflight.differences(mine, facts()) == []


def test_a_run_folder_that_a_worker_does_not_see_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert preflight.facts(str(tmp_path), "missing")["folder"].startswith(f"does not see {tmp_path}")
    (tmp_path / "token").touch()
    assert preflight.facts(str(tmp_path), "token")["folder"] is None
    monkeypatch.setattr(preflight, "FREE_DISK", 1 << 62)
    assert "GB free" in preflight.facts(str(tmp_path), "token")["folder"]


def test_a_scheduler_that_is_not_there_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cluster.kinds.running_scheduler.CONNECT", 1.0)
    for options, words in (
        ({"scheduler_file": str(tmp_path / "none.json"), "wait": 0.3}, "is not there. Start a scheduler"),
        ({"address": "tcp://127.0.0.1:9"}, "no Dask scheduler answers at tcp://127.0.0.1:9"),
    ):
        with pytest.raises(BackendError, match=words):
            local.start(local.ClusterOptions(kind="scheduler", **options))  # type: ignore[arg-type]


def test_a_scheduler_without_workers_is_told(tmp_path: Path) -> None:
    with DaskProcesses(tmp_path / "dask", workers=0) as processes:
        wait_for(processes.file.exists)
        with pytest.raises(BackendError, match="has 0 workers after 1 s, 1 are needed"):
            local.start(local.ClusterOptions(**{**processes.options(), "wait": 1}))


def test_the_kind_scheduler_needs_one_place_to_find_it() -> None:
    for given, words in (({}, "got neither"), ({"address": "x", "scheduler_file": "y"}, "got both")):
        with pytest.raises(RecipeError, match=words):
            local.start(local.ClusterOptions(kind="scheduler", **given))  # type: ignore[arg-type]
