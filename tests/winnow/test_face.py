"""`import winnow` is the public face: every name is there, documented, typed, and loaded only when asked for."""

from __future__ import annotations

import ast
import importlib
import inspect
import json
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

import winnow

ROOT = Path(__file__).resolve().parents[2]
NAMES = [name for name in winnow.__all__ if name != "__version__"]


@pytest.mark.parametrize("name", NAMES)
def test_a_name_is_the_documented_thing_of_its_module(name: str) -> None:
    module, _, attribute = winnow._HOMES[name].partition(":")
    found = getattr(winnow, name)
    assert found is getattr(importlib.import_module(module), attribute)
    assert inspect.getdoc(found), f"{name} has no docstring"
    assert not str(inspect.getdoc(found)).startswith(f"{name}("), f"{name} has only the docstring of a dataclass"
    assert name in dir(winnow)


def test_what_is_loaded_is_what_type_checkers_see() -> None:
    tree = ast.parse((ROOT / "winnow" / "__init__.py").read_text())
    [block] = [n for n in tree.body if isinstance(n, ast.If) and ast.unparse(n.test) == "TYPE_CHECKING"]
    seen = {
        alias.asname: f"{node.module}:{alias.name}"
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert seen == winnow._HOMES
    assert sorted(winnow._HOMES) == sorted(NAMES)


def test_the_docstring_names_everything() -> None:
    assert [name for name in NAMES if f"`{name}`" not in str(winnow.__doc__)] == []


def test_importing_it_loads_nothing_heavy() -> None:
    code = (
        "import sys, winnow; print([m for m in ('numpy', 'pyarrow', 'numba', 'dask', 'pydantic') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        winnow.nothing  # noqa: B018


def test_mypy_sees_the_types(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(
        "import winnow\n"
        "reveal_type(winnow.run)\nreveal_type(winnow.open_run)\nreveal_type(winnow.dedup('a', 'b')['kept'])\n"
        "winnow.run(3, 'RUN')\nwinnow.nothing\n"
    )
    command = [sys.executable, "-m", "mypy", "--config-file", str(ROOT / "pyproject.toml"), str(program)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert "-> pipelines.run.result.RunResult" in done.stdout
    assert "-> pipelines.runfolder.RunFolder" in done.stdout
    assert 'Argument 1 to "run" has incompatible type "int"; expected "Recipe | str' in done.stdout
    assert 'has no attribute "nothing"' in done.stdout
    assert done.stdout.count("error:") == 2, done.stdout


def test_a_program_needs_nothing_else(tmp_path: Path) -> None:
    rows = [{"text": text, "id": str(i)} for i, text in enumerate(["some words that are kept"] * 2 + ["other words"])]
    (tmp_path / "in.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "mix.yaml").write_text(
        f"datasets: {{web: {{paths: {tmp_path}/in.jsonl, columns: {{id: id}}}}}}\n"
        "stages: [{use: exact_dedup}]\ncluster: {kind: inline}\n"
    )
    result = winnow.run(winnow.load_recipe(str(tmp_path / "mix.yaml")), str(tmp_path / "run"))
    assert result.tallies["web"]["kept"] == 2
    assert winnow.open_run(result.root).counts["web"].kept == 2
    assert winnow.explain(result.root, id="1")["documents"][0]["kept"] is False
    assert winnow.minhash(str(tmp_path / "in.jsonl"), str(tmp_path / "signatures"), num_permutations=8) == (3, 0)
    assert winnow.dedup(str(tmp_path / "in.jsonl"), str(tmp_path / "out"), workers=1)["kept"] == 2
    assert pq.read_table(tmp_path / "signatures").num_rows == 3
