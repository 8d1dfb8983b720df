"""The front door: every kind by its name, and no more imported than the kind needs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from cluster.errors import RecipeError
from cluster.options import KINDS, ClusterOptions
from cluster.start import start
from tests.support.dask_processes import ROOT


def test_an_unknown_kind_is_refused_with_those_there_are() -> None:
    with pytest.raises(RecipeError, match=rf"{', '.join(KINDS)}, got 'cloud'"):
        start(ClusterOptions(kind="cloud"))


@pytest.mark.parametrize("kind", ["inline", "threads"])
def test_engines_of_this_process_start_without_dask(kind: str) -> None:
    code = f"""
import sys
from cluster.options import ClusterOptions
from cluster.start import start

engine = start(ClusterOptions(kind={kind!r}, workers=2, backend="cpu"))
print(engine.map(abs, [-1, 2, -3]), sorted({{"dask", "distributed", "numba", "pyarrow"}} & set(sys.modules)))
engine.close()
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[1, 2, 3] []"


@pytest.mark.slow
def test_a_script_that_starts_workers_at_its_top_level_is_told_so_at_once(tmp_path: Path) -> None:
    """Each worker imports the script, which starts workers: they die at their start, and the error says why."""
    lines = [
        "from cluster.options import ClusterOptions",
        "from cluster.start import start",
        f"start(ClusterOptions(kind='local', workers=1), {str(tmp_path / 'run')!r})",
    ]
    (tmp_path / "mine.py").write_text("\n".join(lines))
    ended = subprocess.run([sys.executable, "mine.py"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ended.returncode == 1
    last = ended.stderr.strip().splitlines()[-1]
    assert "0 of 1 workers on this machine started" in last
    assert 'if __name__ == "__main__"' in last
    assert "a worker process that starts runs its script again" in ended.stderr
