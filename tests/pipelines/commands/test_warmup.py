"""`winnow warmup`: what is missing is told, shared out and compiled; a failure is told."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from cluster.device import kernel_cache
from cluster.errors import BackendError
from pipelines.commands import kernel_calls, warmup


@pytest.fixture
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    return tmp_path


def sentences(stages: list[str]) -> list[str]:
    told: list[str] = []
    warmup.compile_missing(iter(stages), told.append)
    return told


def test_a_run_is_told_what_it_compiles_first(empty_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(warmup, "available_cores", lambda: 1)
    seconds = sum(family.seconds for family in warmup.FAMILIES if family.name in ("heuristics", "fasttext"))
    [sentence] = sentences(["language_id", "exact_dedup", "heuristics"])
    assert f"fasttext, heuristics on first use, about {seconds:.0f} s on one core" in sentence
    folder = empty_cache / "text_0123"
    folder.mkdir()
    (folder / "heuristics.judge-300.py311.nbi").touch()
    [sentence] = sentences(["language_id", "heuristics"])
    assert "heuristics" not in sentence
    assert sentences(["exact_dedup"]) == []


@pytest.mark.parametrize("fails", [False, True])
def test_what_is_missing_is_compiled_by_several_processes_before_a_run(
    fails: bool, empty_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[list[str]] = []

    def start(names: list[str]) -> subprocess.Popen[str]:
        started.append(names)
        code = "raise SystemExit('out of memory')" if fails else f"print('{json.dumps([names[0], 1])}')"
        command = [sys.executable, "-c", code]
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    monkeypatch.setattr(warmup, "available_cores", lambda: 2)
    monkeypatch.setattr(warmup, "_start", start)
    [sentence] = sentences(["language_id", "heuristics"])
    assert "about 10 s in 2 processes" in sentence
    assert started == [["fasttext"], ["heuristics"]]
    started.clear()
    [sentence] = sentences(["pii"])
    assert "on one core" in sentence
    assert not started, "one family is left to the run"


def test_every_family_has_its_calls_and_a_process() -> None:
    names = [family.name for family in warmup.FAMILIES]
    assert all(callable(getattr(kernel_calls, name)) for name in names)
    parts = warmup._shared_out(warmup.FAMILIES, 2)
    assert sorted(family.name for part in parts for family in part) == sorted(names)
    loads = [warmup._cost(part) for part in parts]
    assert max(loads) < 1.1 * warmup._cost(warmup.FAMILIES) / 2, "what families share is compiled once"
    assert len(warmup._shared_out(warmup.FAMILIES, 50)) == len(names)


def test_families_are_compiled_in_processes_and_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(warmup, "FAMILIES", tuple(f for f in warmup.FAMILIES if f.name in ("pii", "lines")))
    told: list[str] = []
    warmup.warm_up(2, told.append)
    assert told[0].startswith("2 groups of kernels, 2 processes")
    assert sorted(line.partition(":")[0] for line in told[1:]) == ["lines", "pii"]
    assert "left" in told[1]
    assert "left" not in told[2]


ALL = """
import importlib, pkgutil
from numba.core.registry import CPUDispatcher
from pipelines.commands import warmup
warmup.compile_here([family.name for family in warmup.FAMILIES])
for root in ("stages", "classifiers"):
    for found in pkgutil.walk_packages(importlib.import_module(root).__path__, root + "."):
        if "on_device" in found.name or ".gpu" in found.name:
            continue
        for name, kernel in vars(importlib.import_module(found.name)).items():
            if isinstance(kernel, CPUDispatcher) and kernel.py_func.__module__ == found.name and not kernel.signatures:
                print("left out:", found.name, name)
"""


@pytest.mark.nightly
def test_every_kernel_of_the_host_is_compiled_in_some_family(tmp_path: Path) -> None:
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}  # of what is loaded, no inner kernel is seen
    done = subprocess.run([sys.executable, "-c", ALL], env=environment, capture_output=True, text=True, check=True)
    left = {line for line in done.stdout.splitlines() if line.startswith("left out")}
    survivors = "left out: stages.kernels.survivors."
    steps = {f"{survivors}bucket_survivors {name}" for name in ("_certain_winner", "_look", "_take_seats")}
    assert left == steps | {f"{survivors}pair_answers _slot"}  # inlined wherever they are called


@pytest.mark.parametrize("family", [family.name for family in warmup.FAMILIES])
def test_compiled_families_are_known_by_their_marks(family: str) -> None:
    warmup.compile_here([family])
    [found] = [entry for entry in warmup.FAMILIES if entry.name == family]
    assert next(kernel_cache.folder().rglob(found.mark), None)


def test_a_failure_is_told_with_what_was_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(warmup, "FAMILIES", (warmup.Family(name="nobody", seconds=1, mark="x"),))
    with pytest.raises(BackendError, match="no attribute 'nobody'"):
        warmup.warm_up(1)


def test_a_folder_can_be_named_for_all_nodes(tmp_path: Path) -> None:
    code = "from cluster.device import kernel_cache; print(kernel_cache.folder())"
    environment = {k: v for k, v in os.environ.items() if k != "NUMBA_CACHE_DIR"}
    environment["WINNOW_KERNEL_CACHE"] = str(tmp_path)
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert Path(done.stdout.strip()).parent == tmp_path / "winnow-kernels"
