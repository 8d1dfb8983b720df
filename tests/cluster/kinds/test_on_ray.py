"""Jobs on a real Ray cluster of two nodes, submitted over HTTP: same bytes, whatever dies."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml

from cluster.codebase import PACKAGES
from tests.support import corpora
from tests.support.cluster_runs import outcome, recipe, run
from tests.support.dask_processes import ROOT, wait_for
from tests.support.run_folders import STAGES

pytest.importorskip("ray")
pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


class RayCluster:
    """Two nodes in processes of their own, with their own home folder and access token."""

    def __init__(self, folder: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        path = f"{os.path.dirname(sys.executable)}:{os.environ['PATH']}"
        token = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(16)}
        hidden = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST")}
        self.env = {**hidden, **token, "HOME": str(folder), "PATH": path, "RAY_USAGE_STATS_ENABLED": "0"}
        self._log = open(folder / "ray.log", "wb")  # noqa: SIM115
        self.process = subprocess.Popen(
            [sys.executable, str(ROOT / "tests" / "support" / "ray_cluster.py"), str(port)],
            env=self.env,
            cwd=folder,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
        )
        assert self._answer() == "ready", (folder / "ray.log").read_text()

    def _answer(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def tell(self, line: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        assert self._answer() == "done"

    def actors(self) -> list[psutil.Process]:
        """Return the processes of the workers' actors."""
        found = []
        for process in psutil.Process(self.process.pid).children(recursive=True):
            try:
                if process.name().startswith("ray::Worker") or "ray::WorkerActor" in " ".join(process.cmdline()):
                    found.append(process)
            except psutil.Error:
                continue
        return found

    def winnow(self, *arguments: str, cwd: Path, check: bool = True) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "pipelines", "submit", "--address", self.url, *arguments]
        env = {**self.env, "PYTHONPATH": str(ROOT)}
        done = subprocess.run(command, env=env, cwd=cwd, capture_output=True, text=True, timeout=400)
        assert not check or done.returncode == 0, done.stdout + done.stderr
        return done

    def close(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait(60)
        assert self.process.stdout is not None
        self.process.stdout.close()
        self._log.close()


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RayCluster]:
    started = RayCluster(tmp_path_factory.mktemp("ray"))
    yield started
    started.close()


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    """A folder with a recipe whose paths are relative to it, and what a run in one process makes of it."""
    folder = tmp_path_factory.mktemp("work")
    inputs = corpora.write(folder / "in", corpora.corpus(11, 400), 6)
    relative = {name: os.path.relpath(path, folder) for name, path in inputs.items()}
    data: dict[str, Any] = recipe(relative).to_data()
    (folder / "recipe.yaml").write_text(yaml.safe_dump({**data, "stages": STAGES, "cluster": {}}))
    with contextlib.chdir(folder):
        return folder, outcome(run(folder / "expected", relative, kind="inline"))


def test_a_submitted_recipe_has_the_bytes_of_a_run_in_one_process(
    cluster: RayCluster, work: tuple[Path, dict[str, str]]
) -> None:
    folder, expected = work
    done = cluster.winnow("recipe.yaml", "--run-dir", "run", cwd=folder)
    assert "write mix" in done.stdout  # the job's progress
    assert outcome(folder / "run") == expected
    wait_for(lambda: not cluster.actors())


def test_a_job_is_asked_for_stopped_and_goes_on(cluster: RayCluster, work: tuple[Path, dict[str, str]]) -> None:
    folder, expected = work
    job = cluster.winnow("recipe.yaml", "--run-dir", "stopped", "--no-wait", cwd=folder).stdout.strip()
    wait_for(lambda: (folder / "stopped" / "manifest.parquet").exists(), 120)
    assert "RUNNING" in cluster.winnow("--status", job, cwd=folder).stdout
    assert "STOPPED" in cluster.winnow("--stop", job, cwd=folder).stdout
    wait_for(lambda: not cluster.actors())
    time.sleep(1)
    cluster.winnow("recipe.yaml", "--run-dir", "stopped", cwd=folder)
    assert outcome(folder / "stopped") == expected


def test_a_job_that_fails_is_an_error(cluster: RayCluster, work: tuple[Path, dict[str, str]]) -> None:
    folder, _ = work
    more = ["--set", "datasets.a.paths=nowhere"]
    done = cluster.winnow("recipe.yaml", "--run-dir", "failed", *more, cwd=folder, check=False)
    assert done.returncode == 1
    assert "nowhere" in done.stdout
    assert "FAILED" in done.stderr
    done = cluster.winnow("--follow", "nobody", cwd=folder, check=False)
    assert done.returncode == 1
    assert "job nobody" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_wrong_token_is_told(cluster: RayCluster, work: tuple[Path, dict[str, str]]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(cluster.env, "RAY_AUTH_TOKEN", secrets.token_hex(16))
        done = cluster.winnow("--status", "nobody", cwd=work[0], check=False)
    assert done.returncode == 1
    assert "another token" in done.stderr
    assert "Traceback" not in done.stderr


def test_plain_ray_job_submission_works_from_a_checkout(
    cluster: RayCluster, work: tuple[Path, dict[str, str]], tmp_path: Path
) -> None:
    folder, expected = work
    for name in PACKAGES:
        shutil.copytree(ROOT / name, tmp_path / name)
    shutil.copytree(folder / "in", tmp_path / "in")
    shutil.copy(folder / "recipe.yaml", tmp_path)
    job = ["python", "-m", "pipelines", "run", "recipe.yaml", "--run-dir", str(tmp_path / "run"), "--cluster", "ray"]
    command = ["ray", "job", "submit", "--address", cluster.url, "--working-dir", ".", "--", *job]
    done = subprocess.run(command, env=cluster.env, cwd=tmp_path, capture_output=True, text=True, timeout=400)
    assert done.returncode == 0, done.stdout + done.stderr
    assert outcome(tmp_path / "run") == expected


def test_rayignore_and_relative_paths_of_an_uploaded_folder(
    cluster: RayCluster, work: tuple[Path, dict[str, str]], tmp_path: Path
) -> None:
    folder, expected = work
    (folder / ".rayignore").write_text("expected\nrun\nkilled\nstopped\n")
    arguments = ["--run-dir", str(tmp_path / "run"), "--working-dir", str(folder)]
    cluster.winnow(str(folder / "recipe.yaml"), *arguments, cwd=tmp_path)
    assert outcome(tmp_path / "run") == expected


# Last: nodes on one machine share the folder of uploads, so a node that goes takes those of the others along.
def test_killed_actors_and_lost_nodes_change_nothing(cluster: RayCluster, work: tuple[Path, dict[str, str]]) -> None:
    folder, expected = work
    stop = threading.Event()
    killed = 0

    def murder() -> None:
        nonlocal killed
        while not stop.wait(0.5):
            for actor in cluster.actors()[:1] if (folder / "killed" / "manifest.parquet").exists() else []:
                actor.kill()
                killed += 1
                if killed == 1:
                    cluster.tell("remove")
                if killed == 2:
                    cluster.tell("add")
                    return

    thread = threading.Thread(target=murder)
    thread.start()
    try:
        cluster.winnow("recipe.yaml", "--run-dir", "killed", cwd=folder)
    finally:
        stop.set()
        thread.join()
    assert killed
    assert outcome(folder / "killed") == expected
