"""A worker that dies at its start is reported at once, with its cause; a memory limit that cannot work is refused."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest

from cluster.errors import BackendError
from cluster.kinds.deaths import Deaths
from cluster.options import LEAST_MEMORY, ClusterOptions, worker_memory

ROOT = Path(__file__).resolve().parents[3]
START = """\
import time
import cluster.options
from cluster.errors import BackendError
from cluster.start import start
if __name__ == "__main__":
    {before}
    begin = time.monotonic()
    try:
        given = {{"workers": 1, "threads_per_worker": 1, "memory_limit": "{limit}", "wait": 60, "backend": "cpu"}}
        engine = start(cluster.options.ClusterOptions(**given))
        engine.map(time.sleep, [1] * 40)
    except BackendError as error:
        print(f"{{time.monotonic() - begin:.0f}} s: {{error}}")
"""


def started(folder: Path, limit: str, before: str = "pass", site: str = "") -> str:
    (folder / "start.py").write_text(START.format(limit=limit, before=before))
    (folder / "sitecustomize.py").write_text(site)
    environment = {**os.environ, "PYTHONPATH": f"{folder}:{ROOT}"}
    command = [sys.executable, str(folder / "start.py")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=200)
    return done.stdout


def test_workers_that_end_at_their_start_are_reported_with_the_cause(tmp_path: Path) -> None:
    site = 'import sys\nif "spawn_main" in " ".join(sys.orig_argv):\n    raise SystemExit(3)\n'
    found = started(tmp_path, "1GB", site=site)
    assert "0 of 1 workers on this machine started" in found
    assert "exited with status" in found
    assert int(found.split(" s:")[0]) < 55  # not only when the wait is over


def test_workers_that_are_killed_for_memory_are_reported_with_the_cause(tmp_path: Path) -> None:
    found = started(tmp_path, "60MB", before="cluster.options.LEAST_MEMORY = 0")
    assert "exceeded 95% memory budget" in found
    assert "cluster.memory_limit" in found
    assert int(found.split(" s:")[0]) < 55


@pytest.mark.parametrize("limit", ["1", "60MB", "0.2GB", "100 MiB", "250kB"])
def test_a_limit_that_no_worker_survives_is_refused(limit: str) -> None:
    with pytest.raises(BackendError, match="dies of its libraries"):
        worker_memory(ClusterOptions(memory_limit=limit), 1)


@pytest.mark.parametrize("limit", ["1GB", "300MB", "0.5GiB", "2T", str(LEAST_MEMORY)])
def test_other_limits_are_taken(limit: str) -> None:
    assert worker_memory(ClusterOptions(memory_limit=limit), 1) == limit


def test_what_is_logged_of_a_death_is_kept(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "distributed.nanny")
    deaths = Deaths()
    assert deaths.cause == ""
    deaths.listen()
    nanny = logging.getLogger("distributed.nanny")
    nanny.warning("Restarting worker")
    nanny.warning("Worker process 4711 was killed by signal 9")
    nanny.warning("Worker process 4712 was killed by signal 9")
    deaths.stop()
    nanny.warning("Worker process 4713 was killed by signal 11")
    assert deaths.cause == "2 worker processes ended: Worker process N was killed by signal 9."
