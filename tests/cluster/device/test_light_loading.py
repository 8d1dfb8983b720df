"""Kernels out of the cache need none of numba's array functions; others are loaded and compiled as ever."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

USE = """
import sys
import numpy as np
from stages.kernels.hashes.hashing import mix64, xxh64
data, offsets = np.frombuffer(b"winnow", np.uint8), np.array([0, 6])
print(int(xxh64(data, offsets, 7)[0]), int(mix64([3], 1)[0]), "numba.np.arraymath" in sys.modules)
import numba
@numba.njit
def of_a_user(values):
    return values.sum() + np.cumsum(values)[-1]
print(of_a_user(np.arange(4)), "numba.np.arraymath" in sys.modules, "scipy.linalg" in sys.modules)
"""


def run(cache: Path) -> list[str]:
    environment = os.environ | {"NUMBA_CACHE_DIR": str(cache)}
    done = subprocess.run([sys.executable, "-c", USE], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.split("\n")


def test_a_kernel_is_compiled_once_and_then_loaded_without_the_compiler(tmp_path: Path) -> None:
    first, second = run(tmp_path), run(tmp_path)
    assert first[0].endswith("True")
    assert second[0] == first[0].replace("True", "False")
    assert first[1].split()[:2] == second[1].split()[:2] == ["12", "True"]


def test_flags_of_the_compiler_are_equal_where_all_their_values_are() -> None:
    """A value that is set to the default equals one that is not set, as Numba has it."""
    from numba.core.compiler import Flags

    from stages.kernels.hashes import hashing  # noqa: F401  which sets numba up

    made = {name: Flags() for name in ("plain", "default", "set")}
    made["default"].nrt, made["set"].nrt = False, True
    assert made["plain"] == made["default"] != made["set"] == made["set"].copy()
    assert len({hash(flags) for flags in made.values()}) == 1
    assert len(set(made.values())) == 2


def test_a_folder_of_kernels_that_went_is_made_again(tmp_path: Path) -> None:
    from numba.core.caching import UserProvidedCacheLocator

    from stages.kernels.hashes import hashing  # noqa: F401  which sets numba up

    locator = UserProvidedCacheLocator(run, __file__)
    locator._cache_path = str(tmp_path / "kernels")
    for _ in range(2):
        locator.ensure_cache_path()
        (tmp_path / "kernels").rmdir()
    locator.ensure_cache_path()
    locator.ensure_cache_path()
    assert (tmp_path / "kernels").is_dir()
