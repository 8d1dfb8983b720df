"""Runs through a real Slurm of two nodes on this machine: same bytes, also after a requeue."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.support import corpora
from tests.support.cluster_runs import outcome, recipe, run
from tests.support.dask_processes import ROOT, wait_for
from tests.support.run_folders import STAGES
from tests.support.slurm_cluster import SlurmCluster, missing

pytestmark = [
    pytest.mark.skipif(
        bool(missing()), reason=f"no Slurm: {', '.join(missing())} not installed (slurmctld slurmd munge)"
    ),
    pytest.mark.slow,
    pytest.mark.timeout(600),
]
PIPELINES = [sys.executable, "-m", "pipelines"]


@pytest.fixture(scope="module")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SlurmCluster]:
    started = SlurmCluster(tmp_path_factory.mktemp("slurm"))
    started.env["PYTHONPATH"] = str(ROOT)
    yield started
    started.close()


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    """A folder with a recipe for two nodes, and what a run in one process makes of it."""
    folder = tmp_path_factory.mktemp("work")
    inputs = corpora.write(folder / "in", corpora.corpus(11, 400), 6)
    options = {"jobs": 2, "cores": 2, "memory": "2GB", "walltime": "00:05:00"}
    data = {**recipe(inputs).to_data(), "stages": STAGES, "cluster": {"kind": "slurm", "slurm": options}}
    (folder / "recipe.yaml").write_text(yaml.safe_dump(data))
    return folder, outcome(run(folder / "expected", inputs, kind="inline"))


def script(slurm: SlurmCluster, folder: Path, run_dir: str) -> str:
    command = [*PIPELINES, "slurm-script", "recipe.yaml", "--run-dir", run_dir]
    return subprocess.run(command, cwd=folder, env=slurm.env, capture_output=True, text=True, check=True).stdout


def log(folder: Path, job: str) -> str:
    return (folder / f"{job}.out").read_text(errors="replace")


def test_a_batch_job_on_two_nodes_has_the_bytes_of_a_run_in_one_process(
    slurm: SlurmCluster, work: tuple[Path, dict[str, str]]
) -> None:
    folder, expected = work
    waits = " --set cluster.workers=2\n"  # for both nodes: so small a run may end before the second has joined
    both = script(slurm, folder, "run").rstrip("\n") + waits
    job = slurm.submit(both, folder)
    assert slurm.ended(job) == "COMPLETED", log(folder, job)[-3000:]
    assert outcome(folder / "run") == expected
    assert json.loads((folder / "run" / "timings.json").read_text())["workers"] == 4  # two threads on each node
    assert "1.68 GiB" in log(folder, job)  # a worker knows the job's memory, not the machine's
    assert not list((folder / "run").glob("scheduler-*"))


def test_a_requeued_job_goes_on_beside_what_its_first_try_left(
    slurm: SlurmCluster, work: tuple[Path, dict[str, str]]
) -> None:
    folder, expected = work
    job = slurm.submit(script(slurm, folder, "requeued"), folder)
    wait_for(lambda: (folder / "requeued" / "manifest.parquet").exists(), 120)
    left = next((folder / "requeued").glob("scheduler-*.json"))
    address = left.read_text()
    slurm.ask("scontrol", "requeue", job)
    wait_for(lambda: slurm.state(job) == "PENDING")
    wait_for(slurm.idle)  # a node that still ends the first try fails the second
    left.write_text(address)  # as after the loss of a node, when no trap cleans up
    # Not before two minutes otherwise; at once, a node takes a credential of the same second for the revoked one.
    slurm.ask("scontrol", "update", f"JobId={job}", "StartTime=now+3")
    assert slurm.ended(job) == "COMPLETED", log(folder, job)[-3000:]
    assert outcome(folder / "requeued") == expected


def test_jobs_that_winnow_asks_for_bring_workers_and_end_with_the_run(
    slurm: SlurmCluster, work: tuple[Path, dict[str, str]]
) -> None:
    pytest.importorskip("dask_jobqueue")
    folder, expected = work
    command = [*PIPELINES, "run", "recipe.yaml", "--run-dir", "asked", "--quiet"]
    done = subprocess.run(command, cwd=folder, env=slurm.env, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr[-3000:]
    assert outcome(folder / "asked") == expected
    wait_for(lambda: not slurm.ask("squeue", "-h"))
