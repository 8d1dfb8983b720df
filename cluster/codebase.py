"""Digest of the winnow source code that this process runs.

Guarantees: the digest is taken once, early in a process, so a worker that outlives a change of the files on
disk is still recognised; install location, byte code and data play no part.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.util
from pathlib import Path

PACKAGES = ("cluster", "classifiers", "stages", "pipelines", "winnow")
SOURCES = ("*.py", "*.cu", "*.h")
EXCHANGING = ("cluster/", "stages/", "pipelines/mix/")  # code that writes and reads files of the exchange


def package_folder(name: str) -> Path:
    """Return the folder of one of winnow's packages. Raises ModuleNotFoundError."""
    spec = importlib.util.find_spec(name)
    places = list(spec.submodule_search_locations or ()) if spec else []
    if not places:
        raise ModuleNotFoundError(f"No package named {name!r}", name=name)
    return Path(places[0])


@functools.cache
def code_files() -> dict[str, str]:
    """Return the digest of every source file, by path such as stages/core/stage.py."""
    found = {}
    for name in PACKAGES:
        folder = package_folder(name)
        for path in sorted(path for pattern in SOURCES for path in folder.rglob(pattern)):
            key = f"{name}/{path.relative_to(folder).as_posix()}"
            found[key] = hashlib.blake2b(path.read_bytes(), digest_size=4).hexdigest()
    return found


@functools.cache
def code_digest() -> str:
    """Return the digest of all source files: 16 hexadecimal digits."""
    return _digest_of(sorted(code_files().items()))


@functools.cache
def exchange_code() -> str:
    """Return the digest of the code that writes and reads files of the exchange: 8 hexadecimal digits.

    What other code left there unfinished may be cut into other tasks, so nobody goes on with it.
    """
    return _digest_of([(path, mark) for path, mark in sorted(code_files().items()) if path.startswith(EXCHANGING)])[:8]


def _digest_of(files: list[tuple[str, str]]) -> str:
    lines = "\n".join(f"{path} {mark}" for path, mark in files)
    return hashlib.blake2b(lines.encode(), digest_size=8).hexdigest()
