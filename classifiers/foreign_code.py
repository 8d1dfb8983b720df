"""What of the code that somebody's run folder names may be imported when the folder is opened, not run.

Installed packages and what PYTHONPATH names are there by the user's own will. A module of the working folder or of the
run folder is not: it may have come along with the run folder. Nor is Python's own library, which holds no stage and no
classifier but many functions that do something. Guarantees: nothing is imported to find out.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from contextvars import ContextVar
from importlib.machinery import ModuleSpec

from cluster import storage
from cluster.errors import RecipeError

_trusts: ContextVar[bool] = ContextVar("winnow_trusts", default=False)


@contextlib.contextmanager
def trusting(trust: bool = True) -> Iterator[None]:
    """Open run folders with the code that they name, wherever it lies, until the block ends."""
    token = _trusts.set(trust or _trusts.get())
    try:
        yield
    finally:
        _trusts.reset(token)


def trust_from_now_on() -> None:
    """Open every run folder of this process with the code that it names (`--trust`)."""
    _trusts.set(True)


def is_trusting() -> bool:
    """Tell whether run folders are opened with the code that they name."""
    return _trusts.get()


def check_foreign(path: str, what: str, root: str) -> None:
    """Raise RecipeError where MODULE:NAME, named by the run folder `root` as its `what`, may not be imported."""
    module = path.partition(":")[0]
    why = _why_not(module.partition(".")[0], root)
    if why:
        raise RecipeError(
            f"{root} names code: {what} is {path}, and {why}. Opening a run folder runs no code of it or of the "
            "working folder. Give --trust (in Python: trust=True) if you trust it, or put the module on PYTHONPATH."
        )


def _why_not(top: str, root: str) -> str:
    """Return why a module may not be imported for a run folder; empty where it may."""
    if top in sys.builtin_module_names or top in sys.stdlib_module_names or top == "__main__":
        return f"{top} is a part of Python, not of a package for winnow"
    allowed = [entry for entry in sys.path if not _is_foreign(entry, root)]
    elsewhere = _spec(top, allowed)
    if elsewhere is None:
        return f"{top} lies neither in an installed package nor on PYTHONPATH"
    first = _spec(top, [*sys.path, os.getcwd(), storage.base_folder()])
    if first is None or _places(first) != _places(elsewhere):
        return f"another {top} lies in the working folder or the run folder"
    return ""


def _spec(top: str, path: list[str]) -> ModuleSpec | None:
    """Return where Python would find a top-level module on a path, without importing it."""
    before = sys.path[:]
    sys.path[:] = path
    try:
        for finder in sys.meta_path:
            found = finder.find_spec(top, None) if hasattr(finder, "find_spec") else None
            if found is not None:
                return found
        return None
    except (ImportError, ValueError, OSError):
        return None
    finally:
        sys.path[:] = before


def _places(spec: ModuleSpec) -> tuple[str, ...]:
    folders = [] if spec.submodule_search_locations is None else list(spec.submodule_search_locations)
    return tuple(os.path.realpath(place) for place in [spec.origin or "", *folders])


def _is_foreign(entry: str, root: str) -> bool:
    """Tell whether an entry of sys.path is the working folder or lies in the run folder, unless PYTHONPATH names it."""
    place = os.path.realpath(entry or os.getcwd())
    named = [os.path.realpath(name) for name in os.environ.get("PYTHONPATH", "").split(os.pathsep) if name]
    if place in named:
        return False
    if storage.is_local(root):
        inside = os.path.realpath(storage.local_path(root))
        if f"{place}/".startswith(f"{inside}/"):
            return True
    return place in {os.path.realpath(folder) for folder in (os.getcwd(), storage.base_folder())}
