"""Where compiled kernels are kept: beside the code, else below the home folder, else in a private temporary folder.

Guarantees: a container with read-only code, without HOME or with a user that has none, still computes; a folder
that somebody else could write to is not read, since what lies there is run.
"""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path


def prepare(code: Path) -> None:
    """Tell Numba of a folder where it finds none itself. code: a folder with kernels."""
    if os.environ.get("NUMBA_CACHE_DIR") or _writable(code) or _home():
        return
    folder = os.environ["NUMBA_CACHE_DIR"] = private_folder()
    if "numba" in sys.modules:  # which has read its environment already
        sys.modules["numba"].config.CACHE_DIR = folder


def private_folder() -> str:
    """Return this user's folder for compiled kernels below the temporary folder, or a new one if that is not safe."""
    import tempfile

    folder = os.path.join(tempfile.gettempdir(), f"winnow-kernels-{os.getuid()}")
    try:
        os.makedirs(folder, mode=0o700, exist_ok=True)
        found = os.lstat(folder)
    except OSError:
        return tempfile.mkdtemp(prefix="winnow-kernels-")
    own = stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and not found.st_mode & 0o022
    return folder if own else tempfile.mkdtemp(prefix="winnow-kernels-")


def _writable(code: Path) -> bool:
    """Tell whether Numba can write beside the code."""
    beside = code / "__pycache__"
    return os.access(beside if beside.is_dir() else code, os.W_OK | os.X_OK)


def _home() -> bool:
    """Tell whether the folder that Numba takes instead can be made."""
    place = Path(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"))
    if not place.is_absolute():  # no HOME, and a user without a home folder
        return False
    while not place.exists():
        place = place.parent
    return place.is_dir() and os.access(place, os.W_OK | os.X_OK)
