"""docs/api.md holds every public name with its docstring, and nothing that is no longer there."""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import re
import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
MODULES = ("winnow", "stages.base", "stages.testing", "classifiers.base", "pipelines.runfolder")
PAGE = (ROOT / "docs" / "api.md").read_text()
HEADINGS = re.findall(r"^###+ (?:class )?`([\w.]+)", PAGE, re.MULTILINE)


def names(module: str) -> list[str]:
    return [f"{module}.{name}" for name in importlib.import_module(module).__all__ if not name.startswith("__")]


def members(where: str) -> list[str]:
    """Public methods and properties that a class defines itself, checks of a suite left out."""
    module, _, name = where.rpartition(".")
    cls = getattr(importlib.import_module(module), name)
    if not inspect.isclass(cls) or f"### class `{where}`" not in PAGE:
        return []
    fields = {f.name for f in dataclasses.fields(cls)} if dataclasses.is_dataclass(cls) else set()
    own = [n for n in vars(cls) if not n.startswith(("_", "test_")) and n not in fields]
    return [f"{where}.{n}" for n in own if hasattr(vars(cls)[n], "__doc__") and not _is_value(vars(cls)[n])]


def _is_value(found: object) -> bool:
    """Tell whether a class attribute is a ClassVar, which the page lists among the fields."""
    described = (property, classmethod, staticmethod)
    return not (inspect.isfunction(found) or isinstance(found, described) or hasattr(found, "func"))


EVERY = [where for module in MODULES for where in names(module)]


def test_the_page_is_what_the_docstrings_say() -> None:
    assert runpy.run_path(str(ROOT / "docs" / "make_api.py"))["page"]() == PAGE, "docs/api.md is stale: run `make api`"


@pytest.mark.parametrize("where", EVERY)
def test_every_public_name_is_in_it(where: str) -> None:
    assert where in HEADINGS
    for member in members(where):
        assert member in HEADINGS


def test_nothing_in_it_is_gone() -> None:
    known = {*EVERY, *(member for where in EVERY for member in members(where))}
    assert [heading for heading in HEADINGS if heading not in known] == []
    assert len(HEADINGS) == len(set(HEADINGS))


def test_every_entry_says_something() -> None:
    entries = re.split(r"^###+ ", PAGE, flags=re.MULTILINE)[1:]
    assert [entry.split("\n")[0] for entry in entries if not entry.split("\n", 1)[1].split("\n## ")[0].strip()] == []
