"""Compiled kernels are kept somewhere, whatever the container allows, and never where others could put theirs."""

from __future__ import annotations

import os
import re
import sys
import tempfile
from pathlib import Path

import pytest

from classifiers.models import models_folder
from cluster.device import kernel_cache
from cluster.errors import RecipeError


@pytest.fixture
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Read-only code, a user without a home folder, an empty temporary folder."""
    monkeypatch.delenv("NUMBA_CACHE_DIR", raising=False)
    monkeypatch.setattr(kernel_cache, "_writable", lambda _: False)
    monkeypatch.setattr(kernel_cache, "_home", lambda: None)
    monkeypatch.setattr(tempfile, "gettempdir", lambda: str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setitem(sys.modules, "numba", type("Numba", (), {"config": type("Config", (), {})}))
    return tmp_path


def test_without_a_place_of_their_own_kernels_go_to_a_private_folder(bare: Path) -> None:
    kernel_cache.prepare()
    folder = Path(os.environ["NUMBA_CACHE_DIR"])
    assert folder.parent.parent == bare
    assert folder.parent.stat().st_mode & 0o077 == 0
    assert str(folder) == sys.modules["numba"].config.CACHE_DIR
    kernel_cache.prepare()
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
    assert Path(kernel_cache.private_folder()) != name


def test_kernels_lie_beside_the_code_or_at_home_where_they_can(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NUMBA_CACHE_DIR", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "not" / "yet"))
    monkeypatch.setattr(kernel_cache, "private_folder", lambda: pytest.fail("not needed"))
    monkeypatch.setitem(sys.modules, "numba", type("Numba", (), {"config": type("Config", (), {})}))
    for writable, place in [(True, kernel_cache.ROOT / "stages/kernels/__pycache__"), (False, tmp_path / "not/yet")]:
        monkeypatch.setattr(kernel_cache, "_writable", lambda _, writable=writable: writable)
        kernel_cache.prepare()
        assert Path(os.environ["NUMBA_CACHE_DIR"]).parent == place / "winnow-kernels"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    assert kernel_cache._home() is None


def test_a_folder_that_the_user_names_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NUMBA_CACHE_DIR", "/theirs")
    kernel_cache.prepare()
    assert os.environ["NUMBA_CACHE_DIR"] == "/theirs"


@pytest.mark.usefixtures("bare")
def test_cupy_gets_a_folder_where_it_cannot_make_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUPY_CACHE_DIR", "/named/by/the/user")
    kernel_cache.prepare_cupy()
    assert os.environ["CUPY_CACHE_DIR"] == "/named/by/the/user"
    monkeypatch.delenv("CUPY_CACHE_DIR")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    kernel_cache.prepare_cupy()
    assert "CUPY_CACHE_DIR" not in os.environ
    (tmp_path / "home").write_text("a file, in which no folder can be made")
    kernel_cache.prepare_cupy()
    assert Path(os.environ["CUPY_CACHE_DIR"]).parent == Path(kernel_cache.private_folder())


def test_a_change_in_any_kernel_is_noticed_by_all(tmp_path: Path) -> None:
    for name in (
        "stages/kernels/hashes/murmur.py",
        "stages/kernels/similarity/sketch.py",
        "classifiers/native_fasttext/kernels.py",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("1")
        before = kernel_cache.source_digest(tmp_path)
        (tmp_path / name).write_text("2")
        assert kernel_cache.source_digest(tmp_path) != before


def test_every_compiled_function_is_in_the_digest() -> None:
    seen = {path for pattern in kernel_cache.KERNELS for path in kernel_cache.ROOT.glob(pattern)}
    code = [p for d in ("stages", "classifiers") for p in (kernel_cache.ROOT / d).rglob("*.py")]
    assert {p for p in code if re.search(r"^@\w*\.?njit|^import numba$", p.read_text(), re.MULTILINE)} <= seen


def test_a_user_without_home_is_told_how_to_name_the_models(monkeypatch: pytest.MonkeyPatch) -> None:
    def homeless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("WINNOW_MODELS", raising=False)
    monkeypatch.setattr(Path, "home", homeless)
    with pytest.raises(RecipeError, match="set WINNOW_MODELS"):
        models_folder()
