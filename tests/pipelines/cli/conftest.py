"""Fixtures of the tests of the command line: a function that runs a command, a folder with a finished run."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipelines.cli import main
from tests.support import corpora
from tests.support.command_line import RECIPE, Winnow


@pytest.fixture
def winnow(capsys: pytest.CaptureFixture[str]) -> Winnow:
    """Return a function that runs a command and returns (exit code, standard output, standard error)."""

    def run(*arguments: str) -> tuple[int, str, str]:
        code = main.main([str(a) for a in arguments])
        return (code, *capsys.readouterr())

    return run


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a recipe and a finished run."""
    folder = tmp_path_factory.mktemp("cli")
    paths = corpora.write(folder / "in", corpora.corpus(3, 150, ("a", "b")), 2)
    (folder / "r.yaml").write_text(RECIPE.format(**paths))
    assert main.main(["run", str(folder / "r.yaml"), "--run-dir", str(folder / "run"), "--quiet"]) == 0
    return folder
