"""Compiled kernels from Numba's cache without Numba's compiler: half a second less at the start of each process.

Before it looks into its cache, Numba registers what it can compile: every array function, list, dictionary and random
generator. A kernel that was compiled before needs none of it but the memory of its arrays. So winnow's own kernels are
looked for first, and what a compilation needs is loaded when one is due.

Guarantees: functions of others are loaded as Numba does; a kernel that is not in the cache is compiled as ever. Numba
is pinned to one minor version, whose methods this calls; where they are gone, Numba does as it always does.
"""

from __future__ import annotations

import functools
import os
from typing import Any

from cluster.device import subroutines
from cluster.startup import load_numba, not_installed

OWN = ("stages.", "classifiers.")


def is_own(function: Any) -> bool:
    """Tell whether a function is a kernel of winnow's; functions that `exec` made may be of no module."""
    return (function.__module__ or "").startswith(OWN)


def install() -> None:
    """Have Numba look for winnow's kernels in its cache first; once per process."""
    from numba.core import caching

    cache: Any = getattr(caching, "Cache", None)
    if not hasattr(cache, "_load_overload") or hasattr(cache, "_winnow"):
        return
    as_ever = cache.load_overload

    def load_overload(self: Any, signature: Any, target: Any) -> Any:
        if not is_own(self._py_func):
            return as_ever(self, signature, target)
        from numba.core.runtime import rtsys

        rtsys.initialize(target)
        # what a kernel names of numba.np is imported here
        with not_installed("scipy.linalg", this_thread=True), self._guard_against_spurious_io_errors():
            found = self._load_overload(signature, target)
            if found is not None and subroutines.usable(found):
                return found
        load_numba()  # it will be compiled
        found = as_ever(self, signature, target)
        return found if subroutines.usable(found) else None

    cache.load_overload, cache._winnow = load_overload, True
    _leave_out_wrappers_for_c()
    _look_at_each_folder_once(caching)
    _compare_flags_by_what_is_set()
    subroutines.install(is_own)


def _look_at_each_folder_once(caching: Any) -> None:
    """Ask once whether a folder of the cache can be written to, not for each of its functions by a file of its own."""
    kind: Any = getattr(caching, "UserProvidedCacheLocator", None)
    if kind is None or not hasattr(kind, "ensure_cache_path"):
        return
    as_ever, writable = kind.ensure_cache_path, set()

    def ensure_cache_path(self: Any) -> None:
        path = self.get_cache_path()
        if path not in writable or not os.path.isdir(path):
            as_ever(self)
            writable.add(path)

    kind.ensure_cache_path = ensure_cache_path


def _compare_flags_by_what_is_set() -> None:
    """Compare flags of the compiler, which are keys of its caches, without a dictionary of all options each time.

    The hash has the value that Numba's has: it is that of the options' names. It took a twentieth of the time.
    """
    from numba.core import targetconfig

    kind: Any = getattr(targetconfig, "TargetConfig", None)
    if "_values" not in getattr(kind, "__slots__", ()):
        return
    as_ever = kind.__eq__

    def equal(self: Any, other: Any) -> Any:
        return True if type(self) is type(other) and self._values == other._values else as_ever(self, other)

    @functools.cache
    def of_names(names: tuple[str, ...]) -> int:
        return hash(tuple(sorted(names)))

    kind.__eq__, kind.__hash__ = equal, lambda self: of_names(tuple(self.options))


def _leave_out_wrappers_for_c() -> None:
    """Compile winnow's kernels without an entry for C, which nobody calls: a twelfth of the time."""
    from numba.core import dispatcher

    compiler: Any = getattr(dispatcher, "_FunctionCompiler", None)
    as_ever = getattr(compiler, "_customize_flags", None)
    if as_ever is None:
        return

    def customized(self: Any, flags: Any) -> Any:
        found = as_ever(self, flags)
        if is_own(self.py_func):
            found.no_cfunc_wrapper = True
        return found

    compiler._customize_flags = customized
