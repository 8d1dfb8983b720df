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
