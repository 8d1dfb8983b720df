"""What others wrote, by import path MODULE:NAME: classifiers, filters, stages.

A module is looked for among what is installed or on PYTHONPATH, then in the working folder: the one that winnow is
called in, on its workers too. Guarantees: what goes wrong in such code is a RecipeError that names it and the line.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
import traceback
from collections.abc import Iterator
from typing import Any

from cluster import storage
from cluster.codebase import PACKAGES
from cluster.errors import RecipeError, WinnowError

OURS = tuple(os.path.join(os.path.dirname(os.path.dirname(__file__)), name, "") for name in PACKAGES)


def imported(path: str, what: str) -> Any:
    """Return what MODULE:NAME names; `what` says in an error what it was wanted for.

    Raises
    ------
    RecipeError
        when there is no such module or name, or importing it fails.
    """
    module, _, name = path.partition(":")
    if not module or not name:
        raise RecipeError(f"{what} must be named MODULE:NAME, got {path!r}.")
    for folder in (os.getcwd(), storage.base_folder()):
        if folder not in sys.path:
            sys.path.append(folder)  # last, so that a file here hides no package
    with blamed(f"importing {what} {path}"):
        try:
            found = importlib.import_module(module)
        except ModuleNotFoundError as error:
            if error.name and (module == error.name or module.startswith(error.name + ".")):
                raise RecipeError(
                    f"{what} {path} cannot be imported ({error}). Put {module.split('.')[0]} in the folder where "
                    "winnow is called or on PYTHONPATH, or install it, wherever there are workers."
                ) from error
            raise
    try:
        return getattr(found, name)
    except AttributeError as error:
        names = ", ".join(n for n in vars(found) if not n.startswith("_")) or "nothing"
        raise RecipeError(f"module {module} has no {name}, which {what} {path} asks for; it has {names}.") from error


@contextlib.contextmanager
def blamed(doing: str) -> Iterator[None]:
    """Turn an error of somebody else's code into a RecipeError that names the code and the line."""
    try:
        yield
    except (WinnowError, MemoryError):
        raise
    except Exception as error:  # reported here, whatever it is
        frames = [f for f in traceback.extract_tb(error.__traceback__) if not _is_ours(f.filename)]
        place = f" ({frames[-1].filename}, line {frames[-1].lineno})" if frames else ""
        raise RecipeError(f"{doing} failed with {type(error).__name__}: {error}{place}. Correct it there.") from error


def _is_ours(file: str) -> bool:
    """Tell whether a line of a traceback is winnow's or the import system's; neither is the one to correct."""
    return file.startswith(("<", *OURS)) or file == importlib.__file__
