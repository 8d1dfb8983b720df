"""Kernels that one upload compiled are found by the next upload of the same code, and by no other code."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
SOURCE = """
import numba

@numba.njit(cache=True)
def double(x):
    return x * {factor}
"""
PROGRAM = """
import sys
from pathlib import Path
from cluster.device import kernel_cache

kernel_cache.ROOT = Path(sys.argv[1])
kernel_cache.KERNELS = ("*.py",)
kernel_cache._own_digest.cache_clear()
kernel_cache.prepare()
sys.path.insert(0, sys.argv[1])
import kernels

print(kernels.double(3), sum(kernels.double.stats.cache_hits.values()))
"""


def run(home: Path, upload: str, factor: int) -> list[int]:
    """Import a kernel from an upload of its own; return its result and how often the cache had it."""
    place = home / "runtime_resources" / upload
    place.mkdir(parents=True)
    (place / "kernels.py").write_text(SOURCE.format(factor=factor))
    keep = {name: value for name, value in os.environ.items() if not name.startswith("NUMBA_")}
    env = {**keep, "HOME": str(home), "XDG_CACHE_HOME": str(home / "cache"), "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(place)], env=env, cwd=home, capture_output=True, text=True, check=True
    )
    return [int(word) for word in done.stdout.split()]


def test_the_same_code_uploaded_again_is_not_compiled_again(tmp_path: Path) -> None:
    assert run(tmp_path, "first", 2) == [6, 0]
    assert run(tmp_path, "second", 2) == [6, 1]
    assert run(tmp_path, "other", 5) == [15, 0]
