"""A quick start: numba and pyarrow without packages that they look for on the side and winnow does not need.

Guarantees: whoever imports such a package after the block gets it. Measured on 2026-11-25: 0.4 s of CPU for scipy (by
numba), 0.35 s for pandas (by pyarrow), of 2.1 s that `winnow dedup` took on a few documents.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import sys
from collections.abc import Iterator


class _NotFound:
    """A finder that knows one name and denies it."""

    def __init__(self, name: str) -> None:
        self._name = name

    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        if name == self._name:
            raise ModuleNotFoundError(f"{name} is not looked for while winnow starts", name=name)


@contextlib.contextmanager
def not_installed(name: str) -> Iterator[None]:
    """Let imports of a module fail inside the block, unless it is loaded already."""
    finder = _NotFound(name)
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)


@functools.cache
def load_numba() -> None:
    """Load what numba needs for any kernel; its question for a BLAS, which imports scipy, only serves np.convolve."""
    with not_installed("scipy.linalg"):
        importlib.import_module("numba.np.arraymath")
