"""Compiled kernels are kept somewhere, whatever the container allows, and never where others could put theirs."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

import pytest

from classifiers.models import models_folder
from cluster import compiled
from cluster.errors import RecipeError


@pytest.fixture
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Read-only code, a user without a home folder, an empty temporary folder."""
    monkeypatch.setenv("NUMBA_CACHE_DIR", "")
    monkeypatch.setattr(compiled, "_writable", lambda _: False)
    monkeypatch.setattr(compiled, "_home", lambda: False)
    monkeypatch.setattr(tempfile, "gettempdir", lambda: str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setitem(sys.modules, "numba", type("Numba", (), {"config": type("Config", (), {})}))
    return tmp_path


def test_without_a_place_of_their_own_kernels_go_to_a_private_folder(bare: Path) -> None:
    compiled.prepare(bare)
    folder = Path(os.environ["NUMBA_CACHE_DIR"])
    assert folder.parent == bare
    assert folder.stat().st_mode & 0o077 == 0
    assert str(folder) == sys.modules["numba"].config.CACHE_DIR
    os.environ["NUMBA_CACHE_DIR"] = ""
    compiled.prepare(bare)
    assert os.environ["NUMBA_CACHE_DIR"] == str(folder)  # the next process finds what this one compiled


@pytest.mark.parametrize("trap", ["open to all", "a link"])
def test_a_folder_that_others_can_write_to_is_not_used(bare: Path, trap: str) -> None:
    name = bare / f"winnow-kernels-{os.getuid()}"
    (bare / "theirs").mkdir()
    if trap == "a link":
        name.symlink_to(bare / "theirs")
    else:
        name.mkdir()
        name.chmod(0o777)
    assert Path(compiled.private_folder()) != name


def test_a_place_beside_the_code_or_at_home_is_left_to_numba(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NUMBA_CACHE_DIR", "")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "not" / "yet"))
    monkeypatch.setattr(compiled, "private_folder", lambda: pytest.fail("not needed"))
    compiled.prepare(tmp_path)  # beside the code
    monkeypatch.setattr(compiled, "_writable", lambda _: False)
    compiled.prepare(tmp_path)  # below XDG_CACHE_HOME
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    assert not compiled._home()


def test_a_user_without_home_is_told_how_to_name_the_models(monkeypatch: pytest.MonkeyPatch) -> None:
    def homeless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("WINNOW_MODELS", raising=False)
    monkeypatch.setattr(Path, "home", homeless)
    with pytest.raises(RecipeError, match="set WINNOW_MODELS"):
        models_folder()
