"""Opening somebody's run folder imports no code of it or of the working folder, unless it is trusted."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from classifiers import foreign_code
from cluster import storage
from cluster.errors import RecipeError
from pipelines.recipe.code_named import code_named
from pipelines.recipe.lock import sealed_lock

ROOT = Path(__file__).resolve().parents[2]
MARK = "import pathlib\npathlib.Path({mark!r}).write_text('ran')\n"
CODE = """\
import numpy as np, pyarrow as pa
from dataclasses import dataclass
from typing import ClassVar
from classifiers.base import Scores
from stages.base import Decisions, ShardStage

class Model:
    labels = ("a",)
    def score(self, texts):
        return Scores(np.ones(len(texts)), np.zeros(len(texts), np.int32))
    def card(self):
        return {"digest": "1"}

class Filter:
    def score_document(self, text):
        return 1.0
    def keep_document(self, score):
        return True

@dataclass(frozen=True, kw_only=True)
class Quiet(ShardStage):
    use: ClassVar[str] = "quiet"
    schema: ClassVar[pa.Schema] = pa.schema([("n", pa.int32())])
    def annotate(self, documents):
        return pa.table([pa.array([0] * documents.num_rows, pa.int32())], schema=self.schema)
    def decide(self, facts):
        return Decisions.keep_all(facts.num_rows)
"""
RECIPE = """\
datasets: {d: {paths: %s}}
stages:
  - {use: exact_dedup}
  - {use: quality, model: "python:foreign:Model", min_score: 0.5}
  - {use: document_filter, filter: "foreign:Filter"}
  - {use: "foreign:Quiet"}
cluster: {kind: inline}
"""
COMMANDS = {
    "status": ["status", "RUN"],
    "report": ["report", "RUN"],
    "explain": ["explain", "RUN", "--doc-id", "0"],
    "audit": ["audit", "RUN"],
    "facts": ["facts", "RUN", "quality", "-o", "out.parquet"],
    "plan": ["plan", "RUN/recipe.lock.yaml"],
    "clean": ["clean", "RUN", "--dry-run"],
}


def winnow(folder: Path, *arguments: str, python_path: tuple[Path, ...] = ()) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, (ROOT, *python_path)))}
    command = [sys.executable, "-m", "winnow", *arguments]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a run folder whose recipe names code, made where that code lay in the working folder."""
    folder = tmp_path_factory.mktemp("author")
    pq.write_table(pa.table({"text": ["one text", "another text", "one text"]}), folder / "in.parquet")
    (folder / "foreign.py").write_text(CODE)
    (folder / "mix.yaml").write_text(RECIPE % (folder / "in.parquet"))
    done = winnow(folder, "run", "mix.yaml", "--run-dir", "RUN", "--quiet")
    assert done.returncode == 0, done.stderr
    (folder / "foreign.py").unlink()  # commands work where the run was made, while that is there
    return folder


@pytest.fixture
def received(made: Path, tmp_path: Path) -> Path:
    """Return a working folder where a stranger's run folder lies, and in both a module that leaves a mark."""
    shutil.copytree(made / "RUN", tmp_path / "RUN")
    for place in (tmp_path, tmp_path / "RUN"):
        (place / "foreign.py").write_text(MARK.format(mark=str(tmp_path / "mark")) + CODE)
    return tmp_path


@pytest.mark.parametrize("command", COMMANDS)
def test_opening_runs_no_code_of_the_working_folder(received: Path, command: str) -> None:
    done = winnow(received, *COMMANDS[command])
    assert done.returncode != 0
    assert "names code: stages[1].model is foreign:Model" in done.stderr
    assert "--trust" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (received / "mark").exists()


@pytest.mark.parametrize("arguments", [["status", "."], ["plan", "recipe.lock.yaml"]])
def test_nor_of_the_run_folder(received: Path, arguments: list[str]) -> None:
    done = winnow(received / "RUN", *arguments)
    assert done.returncode != 0
    assert "--trust" in done.stderr
    assert not (received / "mark").exists()


@pytest.mark.parametrize("command", ["status", "plan"])
def test_trust_and_pythonpath_let_the_code_in(received: Path, command: str) -> None:
    done = winnow(received, *COMMANDS[command], "--trust")
    assert done.returncode == 0, done.stderr
    assert (received / "mark").exists()
    (received / "mark").unlink()
    elsewhere = received / "mine"
    elsewhere.mkdir()
    (elsewhere / "foreign.py").write_text(CODE)
    (received / "foreign.py").unlink()
    done = winnow(received, *COMMANDS[command], python_path=(elsewhere,))
    assert done.returncode == 0, done.stderr
    assert not (received / "mark").exists()


def test_verify_imports_nothing(received: Path) -> None:
    assert winnow(received, "verify", "RUN").returncode == 0
    assert not (received / "mark").exists()


def test_a_module_named_like_an_installed_one_does_not_take_its_place(received: Path) -> None:
    lock = received / "RUN" / "recipe.lock.yaml"
    text = lock.read_text().replace("foreign:", "shadow:")
    head, _, rest = text.partition("\n")
    lock.write_text(sealed_lock(f"{head}\n{rest.partition(chr(10))[2]}"))
    elsewhere = received / "mine"
    elsewhere.mkdir()
    (elsewhere / "shadow.py").write_text(CODE)
    (received / "shadow.py").write_text(MARK.format(mark=str(received / "mark")) + CODE)
    done = winnow(received, "status", "RUN", python_path=(elsewhere,))
    assert done.returncode == 0, done.stderr  # the working folder comes last
    assert not (received / "mark").exists()


def test_a_working_folder_that_comes_first_hides_no_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("here", "there"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "shadowed.py").write_text("")
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.syspath_prepend(str(tmp_path / "there"))
    foreign_code.check_foreign("shadowed:X", "stages[0].use", "RUN")
    monkeypatch.setattr(sys, "path", ["", *sys.path])
    with pytest.raises(RecipeError, match="another shadowed lies in the working folder"):
        foreign_code.check_foreign("shadowed:X", "stages[0].use", "RUN")


def test_the_working_folder_stays_foreign_where_a_command_goes_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("here", "there"):
        (tmp_path / name).mkdir()
    (tmp_path / "here" / "behind.py").write_text("")
    monkeypatch.chdir(tmp_path / "there")
    monkeypatch.setattr(sys, "path", [str(tmp_path / "here"), *sys.path])
    foreign_code.check_foreign("behind:X", "stages[0].use", "RUN")  # it is not where the command works
    with storage.relative_to(str(tmp_path / "here")), pytest.raises(RecipeError, match="neither in an installed"):
        foreign_code.check_foreign("behind:X", "stages[0].use", "RUN")
    monkeypatch.chdir(tmp_path / "here")
    with storage.relative_to(str(tmp_path / "there")), pytest.raises(RecipeError, match="neither in an installed"):
        foreign_code.check_foreign("behind:X", "stages[0].use", "RUN")


@pytest.mark.parametrize("path", ["os:abort", "antigravity:x", "builtins:print", "__main__:x", "sys:exit"])
def test_pythons_own_library_is_no_place_for_stages(path: str, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="part of Python"):
        foreign_code.check_foreign(path, "stages[0].model", str(tmp_path))


def test_an_installed_package_is_the_users_own_will(tmp_path: Path) -> None:
    foreign_code.check_foreign("numpy.linalg:norm", "stages[0].use", str(tmp_path))
    with pytest.raises(RecipeError, match="neither in an installed package"):
        foreign_code.check_foreign("no_such_module_anywhere:x", "stages[0].use", str(tmp_path))


def named(data: object) -> Iterator[str]:
    return (path for _, path in code_named(data))


def test_code_is_found_however_it_is_written() -> None:
    stages = [{"use": "é:X"}, {"use": "x", "model": "python: m:X"}, {"filter": ["a:B"]}, {"anything": "python:n:Y"}]
    assert list(named({"stages": stages})) == ["é:X", " m:X", "a:B", "n:Y"]
    assert list(named({"stages": "text"})) == list(named(None)) == list(named({"stages": [3, None, []]})) == []
