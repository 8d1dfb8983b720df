"""Globs name what Python's own names, and links that lead in circles neither hang nor hide a file."""

from __future__ import annotations

import glob
import itertools
import os
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cluster.errors import RecipeError
from stages.inputs.files import globs

FILES = ["a.x", "b/a.x", "b/c/a.x", "b/c/d.y", ".h/a.x", "b/.h/a.x", "b/.a.x", "e[1]/a.x", "f/f/f/a.x"]
PARTS = st.sampled_from(["**", "*", "b", "?", "*.x", "a.x", "c", ".*", ".h", "e[[]1]", "[ab]*", "f", "**x", "missing"])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("globs")
    for name in FILES:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(name)
    (root / "link").symlink_to(root / "b" / "c")
    (root / "dangling.x").symlink_to(root / "nothing")
    return root


@settings(deadline=None, max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(PARTS, min_size=1, max_size=5))
def test_what_pythons_glob_finds_is_found(folder: Path, parts: list[str]) -> None:
    if not any(c in "".join(parts) for c in "*?["):
        return
    pattern = os.path.join(folder, *parts)
    expected = {hit for hit in glob.glob(pattern, recursive=True) if os.path.lexists(hit) and not os.path.isdir(hit)}
    found = [hit for hit in globs.matching(pattern) if not os.path.isdir(hit)]
    assert len(found) == len(set(found))
    assert set(found) == expected


def test_relative_patterns_are_relative_to_the_current_folder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    assert sorted(globs.matching("b/**/a.x")) == ["b/a.x", "b/c/a.x"]
    assert sorted(globs.matching("*.x")) == ["a.x", "dangling.x"]


def test_links_in_circles_are_entered_once(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "0.x").write_text("")
    for place, names in {"a": ["b", "a", "up"], "b": ["a", "b", "up"]}.items():
        for name in names:
            (tmp_path / place / name).symlink_to(tmp_path if name == "up" else tmp_path / name)
    begin = time.process_time()
    found = list(globs.matching(f"{tmp_path}/**/*.x"))
    assert {os.path.realpath(path) for path in found} == {str(tmp_path / n / "0.x") for n in ("a", "b")}
    assert time.process_time() - begin < 1


def test_links_that_fan_out_are_a_sentence(tmp_path: Path) -> None:
    folders = [tmp_path / f"f{i}" for i in range(30)]
    for folder in folders:
        folder.mkdir()
    for folder, following in itertools.pairwise(folders):
        (folder / "l").symlink_to(following)
        (folder / "r").symlink_to(following)
    begin = time.process_time()
    with pytest.raises(RecipeError, match="again and again"):
        list(globs.matching(f"{folders[0]}/**/*.x"))
    assert time.process_time() - begin < 2
