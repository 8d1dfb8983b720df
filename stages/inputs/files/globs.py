"""The local files that a glob names, through links too, without walking in circles.

Guarantees: what `glob.glob(pattern, recursive=True)` finds, each path once, except that `**` enters no folder again
that it is inside of. Links that lead to the same folders over and over are an error. Memory: the folders still to
be searched.
"""

from __future__ import annotations

import fnmatch
import os
import re
from collections.abc import Iterator

from cluster.errors import RecipeError

AGAIN = 1000  # times that links may lead `**` into folders where it was before
_WILD = re.compile(r"[*?[]")
Chain = tuple[str, ...]  # real paths of the folders that links have led into, outermost first


def matching(pattern: str) -> Iterator[str]:
    """Yield the paths that a glob names, folders too where its last part is a wildcard.

    Raises RecipeError where links lead into the same folders more than AGAIN times.
    """
    root, parts = _split(pattern)
    todo: list[tuple[str, int, Chain]] = [(root, 0, (os.path.realpath(root or "."),))]
    seen: set[tuple[str, int]] = set()
    met: set[str] = set()
    again = 0
    while todo:
        folder, at, chain = todo.pop()
        if (folder, at) in seen:
            continue
        seen.add((folder, at))
        part, final = parts[at], at == len(parts) - 1
        if part == "**" and not final:
            todo.append((folder, at + 1, chain))
        if not _WILD.search(part):
            path = os.path.join(folder, part)
            if final and os.path.lexists(path):
                yield path
            elif not final and os.path.isdir(path):
                todo.append((path, at + 1, chain))
            continue
        for entry in _entries(folder, part):
            path = os.path.join(folder, entry.name)
            if final:
                yield path
            if (final and part != "**") or not _is_folder(entry):
                continue
            real = os.path.realpath(path) if entry.is_symlink() else ""
            if real and part == "**" and _inside(chain, real):
                continue  # a circle
            again += real in met
            met.update([real] if real else ())
            _check_links(pattern, path, again)
            todo.append((path, at + (part != "**"), (*chain, real) if real else chain))


def _inside(chain: Chain, real: str) -> bool:
    """Tell whether one of these folders is `real` or lies below it."""
    return any(f"{known}/".startswith(f"{real.rstrip('/')}/") for known in chain)


def _split(pattern: str) -> tuple[str, list[str]]:
    """Return the folder above the first wildcard and the parts below it; `**/**` is `**`."""
    parts = pattern.split("/")
    first = next(i for i, part in enumerate(parts) if _WILD.search(part))
    root = "/".join(parts[:first]) or ("/" if pattern.startswith("/") else "")
    kept: list[str] = []
    for part in parts[first:]:
        if part and not (part == "**" and kept and kept[-1] == "**"):
            kept.append(part)
    return root, kept


def _entries(folder: str, part: str) -> list[os.DirEntry[str]]:
    """Return what of a folder a part of a pattern names; names that begin with a dot only where the part does."""
    fits = re.compile(fnmatch.translate("*" if part == "**" else part)).match
    try:
        with os.scandir(folder or ".") as found:
            named = [entry for entry in found if fits(entry.name)]
    except OSError:
        return []
    return [entry for entry in named if part.startswith(".") or not entry.name.startswith(".")]


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False


def _check_links(pattern: str, path: str, again: int) -> None:
    if again > AGAIN:
        raise RecipeError(
            f"{pattern}: links lead into the same folders again and again (such as {path}). Name the folders "
            "themselves, or remove the links."
        )
