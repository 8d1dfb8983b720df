"""What only kernels call has no entry until Python calls it; results and errors are those of plain Numba."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.dask_processes import ROOT

MADE_UP = """
import numba
import numpy as np

from stages.kernels.hashes import hashing  # sets numba up as for all of winnow

@numba.njit(cache=True)
def root(value):
    if value < 0:
        raise ValueError("no root of", value)
    return np.sqrt(value)

@numba.njit(cache=True)
def twice(value):
    return 2 * root(value)

@numba.njit(cache=True)
def total(values):
    summed = np.zeros(1)
    for value in values:
        summed[0] += twice(value)
    return summed[0]

@numba.njit(cache=True)
def most(values):
    best = 0.0
    for value in values:
        best = max(best, twice(value))
    return best
"""
USE = """
import importlib.util, sys
import numpy as np

spec = importlib.util.spec_from_file_location(sys.argv[2] + ".made_up", sys.argv[1])
kernels = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
spec.loader.exec_module(kernels)
VALUES = {"root": 16.0, "twice": 9.0, "total": np.array([1.0, 4.0]), "most": np.array([1.0, 4.0])}
for name in sys.argv[3:]:
    print(name, getattr(kernels, name)(VALUES[name]))
try:
    getattr(kernels, sys.argv[-1])(np.array([1.0, -4.0]))
except ValueError as error:
    print(error)
"""
WANTED = {"root": "root 4.0", "twice": "twice 6.0", "total": "total 6.0", "most": "most 4.0"}
ERROR = "('no root of', -4.0)"


def use(folder: Path, *names: str, package: str = "stages") -> list[str]:
    """Call the functions in this order, the last once more with a value that it refuses; return what is printed."""
    script, made_up = folder / "use.py", folder / "made_up.py"
    if not script.exists():
        script.write_text(USE)
        made_up.write_text(MADE_UP)
    environment = os.environ | {"NUMBA_CACHE_DIR": str(folder / "cache"), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, str(script), str(made_up), package, *names]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def entries(folder: Path) -> dict[str, int]:
    """Return by function how many stored files hold machine code, which has an entry for Python."""
    found: dict[str, int] = {}
    for path in (folder / "cache").rglob("made_up.*.nbc"):
        name = path.name.split(".")[1].split("-")[0]
        found[name] = found.get(name, 0) + (b"\x7fELF" in path.read_bytes())
    return found


@pytest.mark.parametrize("package", ["stages", "of_a_user"])
def test_kernels_with_and_without_subroutines_do_the_same(tmp_path: Path, package: str) -> None:
    for _ in ("compiled", "loaded"):
        assert use(tmp_path, "total", package=package) == [WANTED["total"], ERROR]
    has_entry = int(package != "stages")
    assert entries(tmp_path) == {"root": has_entry, "twice": has_entry, "total": 1}


def test_a_subroutine_that_python_calls_after_all_gets_an_entry(tmp_path: Path) -> None:
    names = ("total", "twice", "root", "total")
    assert use(tmp_path, *names) == [*map(WANTED.get, names), ERROR]
    assert entries(tmp_path) == {"root": 1, "twice": 1, "total": 1}


def test_one_process_has_the_subroutines_that_another_compiled_and_gives_them_entries(tmp_path: Path) -> None:
    assert use(tmp_path, "total") == [WANTED["total"], ERROR]
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("made_up.*.nbc")}
    assert use(tmp_path, "most") == [WANTED["most"], ERROR]
    assert before == {path: path.stat().st_mtime_ns for path in before}
    assert entries(tmp_path) == {"root": 0, "twice": 0, "total": 1, "most": 1}
    assert use(tmp_path, "root", "most", "total") == [WANTED["root"], WANTED["most"], WANTED["total"], ERROR]
    assert entries(tmp_path) == {"root": 1, "twice": 0, "total": 1, "most": 1}


THEIRS = """
import numba
import numpy as np
from numba import types
from numba.experimental import jitclass

import winnow
from stages.kernels.hashes import hashing

assert len(winnow.minhash(["a text of some length, longer than a shingle"])) == 1

@numba.cfunc("float64(float64)")
def callback(x):
    return 2 * x

@numba.vectorize(["float64(float64)"])
def each(x):
    return x + 1

@jitclass([("x", types.float64)])
class Box:
    def __init__(self, x):
        self.x = x

space = {"numba": numba}
exec("@numba.njit\\ndef made(x):\\n    return x + 3", {"numba": numba, "__name__": None}, space)
print(callback.ctypes(2.0), each(np.array([1.0]))[0], Box(5.0).x, space["made"](4))
"""


def test_functions_that_a_user_compiles_are_left_as_they_are(tmp_path: Path) -> None:
    (tmp_path / "theirs.py").write_text(THEIRS)
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, str(tmp_path / "theirs.py")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["4.0", "2.0", "5.0", "7"]
