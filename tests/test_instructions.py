"""Counted instructions: what is read from callgrind, what fails, what is skipped; the text that kernels are given."""

from __future__ import annotations

import doctest
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks import counted_kernels, instructions
from benchmarks.instructions import Figures

ROOT = Path(__file__).parents[1]
FIGURES = Figures(release="1.0", llvmlite="0.46.0", instructions={"one": 1000, "other": 2000})


def test_examples_hold() -> None:
    assert doctest.testmod(instructions).failed == 0


@pytest.mark.parametrize(
    ("now", "code"),
    [
        ({"one": 1050, "other": 2000}, 0),
        ({"one": 1051, "other": 1000}, 1),
        ({"one": 10, "other": 20, "new": 5}, 0),
        ({"one": 1000}, 1),
    ],
)
def test_a_kernel_may_need_five_percent_more(
    now: dict[str, int], code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert instructions.tell(FIGURES, replace(FIGURES, instructions=now)) == code
    assert ("error: " in capsys.readouterr().out) == bool(code)


def test_figures_of_another_compiler_are_shown_and_not_judged(capsys: pytest.CaptureFixture[str]) -> None:
    now = replace(FIGURES, llvmlite="0.47.1", instructions={"one": 9000, "other": 2000})
    assert instructions.tell(FIGURES, now) == 0
    shown = capsys.readouterr().out
    assert "+800.0%" in shown
    assert "not judged: the figures are of llvmlite 0.46.0, this is 0.47.1" in shown


def test_without_valgrind_it_says_so(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(instructions.shutil, "which", lambda name: None)
    monkeypatch.setattr(instructions.sys, "platform", "linux")
    monkeypatch.setattr(instructions.platform, "machine", lambda: "x86_64")
    assert instructions.main([]) == 0
    assert capsys.readouterr().out == "skipped: valgrind is not installed (apt-get install valgrind)\n"
    monkeypatch.setattr(instructions.platform, "machine", lambda: "aarch64")
    assert instructions.main([]) == 0
    assert "this is linux on aarch64" in capsys.readouterr().out


def test_figures_are_written_as_they_are_read(tmp_path: Path) -> None:
    instructions.write(FIGURES, tmp_path / "figures.json")
    assert instructions.read(tmp_path / "figures.json") == FIGURES
    assert len(instructions.read().instructions) >= 10
    assert min(instructions.read().instructions.values()) > 100_000


def test_the_text_is_the_same_in_every_process() -> None:
    code = "from benchmarks import counted_kernels; print(repr(counted_kernels.texts(20_000)))"
    found = counted_kernels.texts(20_000)
    other = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"PYTHONHASHSEED": "7"},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert other.stdout.strip() == repr(found)
    assert 20_000 <= sum(len(text.encode()) for text in found) < 30_000


@pytest.mark.nightly
@pytest.mark.skipif(bool(instructions.reason_to_skip()), reason=instructions.reason_to_skip() or "counts")
def test_counts_are_the_same_again() -> None:
    first, second = instructions.count(), instructions.count()
    assert first.keys() == second.keys() == instructions.read().instructions.keys()
    assert all(abs(second[name] / first[name] - 1) < 0.005 for name in first)
