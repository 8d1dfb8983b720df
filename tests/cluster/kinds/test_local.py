"""Workers of this machine take tasks from the run that started them only."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from cluster.kinds import own_worker
from cluster.options import ClusterOptions
from cluster.start import start
from tests.support.cluster_tasks import loaded


def test_nobody_without_the_runs_certificate_reaches_the_workers_of_this_machine() -> None:
    from distributed.core import connect

    engine: Any = start(ClusterOptions(workers=1))
    try:
        assert engine.map(len, [(1, 2)]) == [2]
        address = engine._client.scheduler.address
        assert address.startswith("tls://127.0.0.1:")
        for stranger in (address.replace("tls", "tcp"), address):
            with pytest.raises((OSError, TypeError)):
                asyncio.run(connect(stranger, timeout=2, deserialize=False))
    finally:
        engine.close()


CODE = """
import sys
sys.path.insert(0, {home!r})
from cluster import startup
from cluster.options import ClusterOptions
from cluster.start import start
from tests.support.cluster_tasks import loaded

if __name__ == "__main__":
    startup.own_process()
    engine = start(ClusterOptions(workers=2, backend="cpu"))
    print(engine.map(loaded, ["pandas", "coverage", "prometheus_client", "numba"]))
    engine.close()
"""


def test_workers_load_no_optional_packages_and_no_process_is_left_in_the_group(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(CODE.format(home=str(Path(__file__).parents[3])))
    process = subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, text=True, start_new_session=True)
    said, _ = process.communicate()
    with pytest.raises(ProcessLookupError):  # a zombie of the group would be found
        os.killpg(process.pid, 0)
    assert (process.returncode, said) == (0, "[False, False, False, True]\n")


PRELOAD = """
import pathlib
import click

@click.command()
@click.option("--to")
def dask_setup(worker, to):
    pathlib.Path(to).touch()
"""


@pytest.mark.parametrize("one", [True, False])
def test_workers_load_what_the_users_dask_settings_name_too(tmp_path: Path, one: bool) -> None:
    import dask

    script, mark = tmp_path / "of_user.py", tmp_path / "set-up"
    script.write_text(PRELOAD)
    arguments: list[Any] = ["--to", str(mark)]
    more = {"preload": str(script) if one else [str(script)], "preload-argv": arguments if one else [arguments]}
    with dask.config.set({f"distributed.worker.{key}": value for key, value in more.items()}):
        engine: Any = start(ClusterOptions(workers=1))
    try:
        assert engine.map(loaded, [own_worker.__name__, "of_user"]) == [True, True]
        assert mark.exists()
    finally:
        engine.close()
