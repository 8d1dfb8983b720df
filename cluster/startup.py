"""Faster start of numba and pyarrow: without optional imports, and with an allocator that keeps freed memory.

Guarantees: an import that was suppressed works again after the block; environment variables that the user set stay.
Measured on 2026-11-25: 0.4 s of CPU for scipy (by numba), 0.35 s for pandas (by pyarrow), of 2.1 s that `winnow dedup`
took on a few documents.
"""

from __future__ import annotations

import contextlib
import functools
import gc
import importlib
import importlib.util
import os
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

is_own_process = False  # of winnow's command line, not a program that imports winnow; see `own_process`


def own_process() -> None:
    """Take this process for winnow's own: what libraries log of things that winnow tells itself is not shown."""
    global is_own_process
    is_own_process = True


class _NotFound:
    """Import finder that raises ModuleNotFoundError for one module.

    thread : the only one that it holds for. by : the only module that it holds for, while that is imported itself.
    """

    def __init__(self, name: str, thread: int | None, by: str | None = None) -> None:
        self._name = name
        self._thread = thread
        self._by = by

    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        if name == self._name and self._thread in (None, threading.get_ident()) and self._is_asked():
            raise ModuleNotFoundError(f"{name} is not looked for while winnow starts", name=name)

    def _is_asked(self) -> bool:
        spec = getattr(sys.modules.get(self._by), "__spec__", None) if self._by else None
        return self._by is None or bool(getattr(spec, "_initializing", False))


@contextlib.contextmanager
def not_installed(name: str, *, this_thread: bool = False) -> Iterator[None]:
    """Make imports of a module fail inside the block, unless it is loaded already."""
    finder = _NotFound(name, threading.get_ident() if this_thread else None)
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)


class _AfterImport:
    """Import finder that calls `then` once a module has been imported, by whomever."""

    def __init__(self, name: str, then: Callable[[], None]) -> None:
        self._name = name
        self._then = then
        self._asks = threading.local()

    def find_spec(self, name: str, path: object = None, target: object = None) -> Any:
        if name != self._name or getattr(self._asks, "others", False):
            return None
        self._asks.others = True
        try:
            spec = importlib.util.find_spec(name)
        finally:
            self._asks.others = False
        loader: Any = spec and spec.loader
        execute = getattr(loader, "exec_module", None)
        if execute is not None:
            loader.exec_module = functools.partial(self._execute, execute)
        return spec

    def _execute(self, execute: Callable[[Any], None], module: Any) -> None:
        execute(module)
        if self in sys.meta_path:
            sys.meta_path.remove(self)
            self._then()


def skip_optional_imports() -> None:
    """Keep numba from importing coverage, which it would only need to measure compilation, and pyarrow from pandas.

    pyarrow prefers cloudpickle for what its Python subclasses pickle; winnow has none, and pickle does.
    """
    sys.meta_path.insert(0, _NotFound("coverage", None, by="numba.misc.coverage_support"))
    sys.meta_path.insert(0, _NotFound("cloudpickle", None, by="pyarrow.lib"))
    pass_over_pandas()


def pass_over_pandas() -> None:
    """Have pyarrow look for pandas when somebody imports pandas, not at its first array.

    pyarrow imports pandas to tell arrays from series, of which there are none until somebody imports pandas: 0.2 s of
    CPU time and 40 MB. Afterwards pyarrow knows it as ever.
    """
    if "pyarrow" in sys.modules or "pandas" in sys.modules:
        return
    sys.meta_path.insert(0, _AfterImport("pandas", _tell_pyarrow))
    sys.meta_path.insert(0, _AfterImport("pyarrow", _without_pandas))


def _without_pandas() -> None:
    """Use up pyarrow's only look that is allowed to fail."""
    if "pandas" not in sys.modules:
        with not_installed("pandas"):
            sys.modules["pyarrow"].array(())


def _tell_pyarrow() -> None:
    shim = getattr(sys.modules.get("pyarrow.lib"), "_pandas_api", None)
    _ = getattr(shim, "pd", None)  # asked for pandas itself, the shim looks again


@functools.cache
def load_numba() -> None:
    """Import numba's array functions without scipy, which numba imports for a BLAS that only np.convolve needs."""
    with not_installed("scipy.linalg", this_thread=True):
        importlib.import_module("numba.np.arraymath")


def collect_garbage_seldom() -> None:
    """Look for garbage in cycles after 50,000 new objects instead of 700: imports make hundreds of thousands.

    It took 0.2 of 1.5 seconds of CPU time of `winnow dedup` on 60 documents (2026-11).
    """
    gc.set_threshold(50_000, 20, 20)


def keep_freed_memory() -> None:
    """Let pyarrow's allocator keep freed memory for the next batch; has no effect once pyarrow is loaded.

    Returning it to the system and faulting it in again took 0.7 of 10 seconds of CPU time on 200 MB of text; keeping it
    took 23 MB more at the peak (2026-11-25).
    """
    os.environ.setdefault("MIMALLOC_PURGE_DELAY", "-1")
