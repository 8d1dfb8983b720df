"""Lineage: one task follows few verdicts to the same files as hops of an exchange follow many."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from cluster.engines import InlineEngine
from pipelines.run import runner
from pipelines.run_state import reopen
from stages.outcome import lineage
from tests.pipelines.run.test_additions import KEYS, RECIPES, Inputs
from tests.support.small_runs import recipe_of


@pytest.mark.parametrize("how", ["plain", "filtered", "twice", "promoted"])
def test_one_task_and_hops_lead_to_the_same_survivors(tmp_path: Path, how: str) -> None:
    inputs = Inputs(tmp_path, RECIPES[how])
    for key in KEYS[:10]:
        inputs.add(key)
    paths = {path.name: str(path) for path in (tmp_path / "in").iterdir()}
    runner.run(recipe_of(paths, RECIPES[how]), str(tmp_path / "run"), with_report=False)
    run = reopen(str(tmp_path / "run")).run
    assert lineage.is_one_task(run, 0, 0) == (how != "promoted")  # a filter comes after deduplication there
    folder = Path(lineage._folder(run, ""))
    ours = files(folder)
    shutil.rmtree(folder)
    lineage.trace(InlineEngine(), run, in_hops=True)
    assert files(folder) == ours
    assert any(name.startswith("groups") for name in ours)
    assert sum(map(len, ours.values())) > 0


@pytest.mark.parametrize("bound", ["AT_ONCE", "MOST_AT_ONCE"])
def test_many_verdicts_are_followed_in_hops(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bound: str) -> None:
    inputs = Inputs(tmp_path, RECIPES["plain"])
    for key in KEYS[:4]:
        inputs.add(key)
    few = inputs.run("few")
    monkeypatch.setattr(lineage, bound, 0)
    monkeypatch.setattr(lineage, "_trace_at_once", None)
    assert inputs.run("many") == few


def files(folder: Path) -> dict[str, bytes]:
    """Return the outputs of a lineage, by path."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*.arrow"))}
