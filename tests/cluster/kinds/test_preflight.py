"""Nodes with other code, other versions, little memory or no run folder are refused before a run, with the reason."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from cluster.errors import BackendError
from cluster.kinds import preflight
from cluster.options import ClusterOptions
from cluster.start import start
from tests.support.dask_processes import ROOT, DaskProcesses

PACKAGES = ("cluster", "classifiers", "stages", "pipelines", "winnow")


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
            start(ClusterOptions(**processes.options(workers=2)), str(tmp_path))
    found = [line for line in str(caught.value).splitlines() if "other winnow code" in line]
    assert len(found) == 1
    assert found[0].startswith("worker tcp://127.0.0.1:")
    assert "stages/minhash.py differ" in found[0]


def test_a_copy_of_the_same_code_elsewhere_is_fit(tmp_path: Path, foreign: Path) -> None:
    with DaskProcesses(tmp_path / "dask", workers=1, python_path=foreign) as processes:
        start(ClusterOptions(**processes.options()), str(tmp_path)).close()


def test_a_cluster_without_winnow_is_told_so(tmp_path: Path) -> None:
    decoy = tmp_path / "decoy" / "cluster"
    decoy.mkdir(parents=True)
    (decoy / "__init__.py").write_text('"""A package of somebody else."""\n')
    words = r"scheduler on .*: (ImportError|ModuleNotFoundError|other winnow code)"  # the latter where it is installed
    with (
        DaskProcesses(tmp_path / "dask", workers=1, python_path=decoy.parent) as processes,
        pytest.raises(BackendError, match=words),
    ):
        start(ClusterOptions(**processes.options()), str(tmp_path))


def test_a_worker_with_little_memory_is_named(tmp_path: Path) -> None:
    with DaskProcesses(tmp_path / "dask", workers=0) as processes:
        processes.workers.append(processes.add_worker("--nthreads", "8"))
        with pytest.raises(BackendError, match=r"worker tcp.*: 2\.00 GB for 8 threads, at least 4\.29 GB"):
            start(ClusterOptions(**processes.options()), str(tmp_path))


def node(**more: Any) -> dict[str, Any]:
    return {**preflight.describe_node(), **more}


def test_every_difference_is_told() -> None:
    mine = node()
    packages = {**mine["packages"], "numpy": "1.0"}
    theirs = node(python="3.9", packages=packages, folder="does not see /x")
    found = preflight.differences(mine, theirs)
    assert [text.split(",")[0] for text in found] == ["python 3.9", "numpy 1.0", "does not see /x"]
    assert preflight.differences(mine, node()) == []


def test_a_run_folder_that_a_worker_does_not_see_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert preflight.describe_node(str(tmp_path), "missing")["folder"].startswith(f"does not see {tmp_path}")
    (tmp_path / "token").touch()
    assert preflight.describe_node(str(tmp_path), "token")["folder"] is None
    monkeypatch.setattr(preflight, "FREE_DISK", 1 << 62)
    assert "GB free" in preflight.describe_node(str(tmp_path), "token")["folder"]
