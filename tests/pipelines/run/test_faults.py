"""A run that is killed, or meets an error, at any call to the storage: the same command goes on to the same bytes."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from cluster.errors import WinnowError
from pipelines.commands.verify import verify
from tests.support import every_artefact, faults

EVERY = 97  # calls between two kills of the default suite; nightly, all are tried


@pytest.fixture(autouse=True)
def _synced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WINNOW_FSYNC", raising=False)


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return every_artefact.write_inputs(tmp_path_factory.mktemp("in"))


@pytest.fixture(scope="module")
def wanted(inputs: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    root = tmp_path_factory.mktemp("wanted") / "run"
    every_artefact.run(inputs, root)
    found = every_artefact.result(root)
    assert len(found) > 6
    return found


def calls_of(work: Callable[[], None]) -> int:
    with faults.recorded() as calls:
        work()
    return len(calls.made)


def sweep(folder: Path, start: Path | None, work: Callable[[Path], None], every: int, first: int = 0) -> int:
    """Kill `work` at every so many-th call, each time in a folder like `start`, then do all of it; return how often."""
    number, tried = first, 0
    while True:
        root = folder / f"run-{number}"
        if start is not None:
            shutil.copytree(start, root)
        try:
            with faults.killed_at(number):
                work(root)
            shutil.rmtree(root)
            return tried
        except faults.Killed:
            tried += 1
        work(root)
        assert verify(str(root))["faults"] == [], number
        shutil.rmtree(root)
        number += every


@pytest.mark.parametrize("every", [EVERY, pytest.param(1, marks=pytest.mark.nightly)], ids=["strided", "all"])
def test_a_run_that_is_killed_at_any_call_goes_on_to_the_same_bytes(
    inputs: Path, wanted: dict[str, str], tmp_path: Path, every: int
) -> None:
    def work(root: Path) -> None:
        every_artefact.run(inputs, root)
        assert every_artefact.result(root) == wanted

    assert sweep(tmp_path, None, work, every, first=3) > 5


@pytest.mark.parametrize("every", [EVERY, pytest.param(1, marks=pytest.mark.nightly)], ids=["strided", "all"])
def test_a_limit_that_is_lifted_by_a_run_that_is_killed_leaves_no_trial_behind(
    inputs: Path, tmp_path: Path, every: int
) -> None:
    every_artefact.run(inputs, tmp_path / "trial", limit=5)

    lifted = Path(shutil.copytree(tmp_path / "trial", tmp_path / "lifted"))
    every_artefact.run(inputs, lifted)
    rows = every_artefact.ledger_rows(tmp_path / "trial"), every_artefact.ledger_rows(lifted)
    assert rows[0] < rows[1]

    def work(root: Path) -> None:
        every_artefact.run(inputs, root)
        assert every_artefact.result(root) == every_artefact.result(lifted)

    assert sweep(tmp_path, tmp_path / "trial", work, every) > 5


@pytest.mark.parametrize("every", [EVERY, pytest.param(1, marks=pytest.mark.nightly)], ids=["strided", "all"])
def test_other_decisions_replace_ledger_and_mix_whole_when_killed(
    inputs: Path, wanted: dict[str, str], tmp_path: Path, every: int
) -> None:
    """From one threshold to another and back: what stands for either is never that of the other."""
    other = [{**s, "min_score": 0.6} if s["use"] == "quality" else s for s in every_artefact.STAGES]
    every_artefact.run(inputs, tmp_path / "first")

    def work(root: Path) -> None:
        every_artefact.run(inputs, root, stages=other)

    def back(root: Path) -> None:
        every_artefact.run(inputs, root)
        assert every_artefact.result(root) == wanted

    work(tmp_path / "second")
    there = every_artefact.result(tmp_path / "second")
    assert there != wanted
    total = calls_of(lambda: work(shutil.copytree(tmp_path / "first", tmp_path / "count")))
    for number in range(0, total, every):
        root = Path(shutil.copytree(tmp_path / "first", tmp_path / f"run-{number}"))
        with pytest.raises(faults.Killed), faults.killed_at(number):
            work(root)
        again = Path(shutil.copytree(root, tmp_path / f"again-{number}"))
        work(root)
        assert every_artefact.result(root) == there, number
        back(again)
        shutil.rmtree(root)
        shutil.rmtree(again)


@pytest.mark.parametrize("every", [EVERY, pytest.param(1, marks=pytest.mark.nightly)], ids=["strided", "all"])
def test_an_error_of_the_storage_at_any_call_stops_with_it_or_changes_nothing(
    inputs: Path, wanted: dict[str, str], tmp_path: Path, every: int
) -> None:
    total = calls_of(lambda: every_artefact.run(inputs, tmp_path / "count"))
    failed = 0
    for number in range(1, total, every):
        root = tmp_path / f"run-{number}"
        try:
            with faults.failing_at(number, errno.ENOSPC if number % 2 else errno.EIO):
                every_artefact.run(inputs, root)
        except (OSError, WinnowError):
            failed += 1
        else:
            assert every_artefact.result(root) == wanted
        every_artefact.run(inputs, root)
        assert every_artefact.result(root) == wanted, number
        shutil.rmtree(root)
    assert failed


@pytest.mark.parametrize("kept", ["ledger", "mix", "manifest"])
def test_an_old_result_that_cannot_be_removed_stops_the_run(
    inputs: Path, wanted: dict[str, str], tmp_path: Path, kept: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import os

    every_artefact.run(inputs, tmp_path / "run")
    other = [{**s, "min_score": 0.6} if s["use"] == "quality" else s for s in every_artefact.STAGES]
    real = os.unlink
    place = {"ledger": "/ledger/", "mix": "/part-", "manifest": "/mix/manifest.json"}[kept]

    def refuse(path: str) -> None:
        if place in str(path):
            raise OSError(errno.EIO, "Input/output error", path)
        real(path)

    with monkeypatch.context() as patch:
        patch.setattr(os, "unlink", refuse)
        with pytest.raises(OSError, match="Input/output error"):
            every_artefact.run(inputs, tmp_path / "run", stages=other)
    every_artefact.run(inputs, tmp_path / "run")
    assert every_artefact.result(tmp_path / "run") == wanted


@pytest.mark.parametrize("linked", ["ledger", "mix", "mix/a", "exchange", "facts", "decisions"])
def test_folders_on_a_larger_disk_are_written_there_and_replaced_there(
    inputs: Path, wanted: dict[str, str], tmp_path: Path, linked: str
) -> None:
    root = tmp_path / "run"
    every_artefact.run(inputs, root)
    other = [{**s, "min_score": 0.6} if s["use"] == "quality" else s for s in every_artefact.STAGES]
    shutil.move(root / linked, tmp_path / "disk")
    (root / linked).symlink_to(tmp_path / "disk")
    every_artefact.run(inputs, root, stages=other)
    assert every_artefact.result(root) != wanted
    every_artefact.run(inputs, root)
    assert (root / linked).is_symlink()
    assert result_through_links(root) == wanted
    assert verify(str(root))["faults"] == []


def result_through_links(root: Path) -> dict[str, str]:
    copy = root.parent / "copy"
    shutil.copytree(root, copy)
    return every_artefact.result(copy)
