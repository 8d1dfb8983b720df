"""Optional imports that winnow's own processes leave out, and that come back for whoever asks."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

HOME = str(Path(__file__).parents[2])
START = "import sys; from cluster.startup import skip_optional_imports; skip_optional_imports(); import pyarrow as pa"


def printed(code: str) -> list[str]:
    """Return the lines that a new interpreter prints, which starts as winnow does."""
    path = os.pathsep.join([HOME, os.environ.get("PYTHONPATH", "")])
    command = [sys.executable, "-c", f"{START}\n{code}"]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": path}, cwd=HOME)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_arrow_looks_for_pandas_when_somebody_imports_it() -> None:
    code = """
pa.array([[1], None]); pa.Table.from_pylist([{"a": 1}])
print("pandas" in sys.modules)
import importlib.util
assert importlib.util.find_spec("pandas")
import pandas
print(pa.array(pandas.Series([1.0, None])).null_count, pa.array([1, 2]).to_pandas().sum())
"""
    assert printed(code) == ["False", "1 3"]


def test_arrow_makes_pandas_tables_for_those_who_do_not_import_it() -> None:
    code = """
frame = pa.table({"a": [1, None]}).to_pandas()
print(type(frame).__module__.split(".")[0], pa.Table.from_pandas(frame).column("a").null_count)
"""
    assert printed(code) == ["pandas 1"]


def test_numba_starts_without_coverage_which_others_may_import() -> None:
    pytest.importorskip("coverage")
    code = """
import numba
print("coverage" in sys.modules)
import coverage
print(coverage.__name__, numba.njit(lambda x: x + 1)(1))
"""
    assert printed(code) == ["False", "coverage 2"]
