"""Cache folder of compiled kernels: beside the code, else in the home folder, else in a private temporary folder.

WINNOW_KERNEL_CACHE names another, such as one that all nodes of a cluster see. Code that was uploaded for a Ray job is
gone after it: its kernels are kept in the home folder, and found again by the next job with the same code
(kernel_locator.py). Numba tells versions of itself and processors apart.

Guarantees: a container with read-only code, or a user without a home folder, still computes; a folder that another
user could write to is not used, since its content is executed. The folder's name contains a digest of all kernels:
numba compares only a kernel's own file and would miss a change in a function that is inlined into it.
"""

from __future__ import annotations

import functools
import hashlib
import os
import stat
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]
KERNELS = (
    "stages/kernels/**/*.py",
    "stages/core/edits.py",
    "classifiers/native_fasttext/*.py",
    "classifiers/segments.py",
    "cluster/device/subroutines.py",  # how they are compiled
    "cluster/device/light_loading.py",
)
NAME = "winnow-kernels"
STILL_COMPILING = 8.0  # seconds after the last kernel; the longest takes 4
SHARED = "WINNOW_KERNEL_CACHE"  # names a folder that all nodes see, which only those who run winnow may write to
UPLOADS = "runtime_resources"  # part of the path below which Ray unpacks what a job uploads
LOCATORS = "cluster.device.kernel_locator.KernelLocator,UserProvidedCacheLocator,InTreeCacheLocator"


def prepare() -> None:
    """Set Numba's cache folder, unless the user set one."""
    if NAME not in os.environ.get("NUMBA_CACHE_DIR", NAME):
        return
    chosen = os.environ["NUMBA_CACHE_DIR"] = os.path.join(_place(), _own_digest())
    shared = is_uploaded() or SHARED in os.environ
    locators = os.environ["NUMBA_CACHE_LOCATOR_CLASSES"] = LOCATORS if shared else ""
    if "numba" in sys.modules:  # which has read its environment already
        sys.modules["numba"].config.CACHE_DIR = chosen
        sys.modules["numba"].config.CACHE_LOCATOR_CLASSES = locators


def folder() -> Path:
    """Return the cache folder of this process: Numba's, once `prepare` has set it."""
    prepare()
    return Path(os.environ["NUMBA_CACHE_DIR"])


class Compiled:
    """Counts the kernels that any process of this machine has compiled since the object was made."""

    def __init__(self) -> None:
        self._before = _kernels_in_cache()
        self._changed: float | None = None
        self._since = time.monotonic()
        self.count = 0
        self.seconds = 0.0  # that went into compiling, about

    def look(self) -> None:
        """Look at the cache folder: one listing."""
        found, now = max(0, _kernels_in_cache() - self._before), time.monotonic()
        if found > self.count:
            self.seconds += min(now - self._since, STILL_COMPILING)
            self.count, self._since, self._changed = found, now, now

    @property
    def growing(self) -> bool:
        """Tell whether a kernel has been compiled in the last seconds."""
        return self._changed is not None and time.monotonic() - self._changed < STILL_COMPILING


def _kernels_in_cache() -> int:
    """Return how many index files of kernels lie in Numba's cache folder."""
    folder = os.environ.get("NUMBA_CACHE_DIR")
    if not folder:
        return 0
    return sum(name.endswith(".nbi") for _, _, names in os.walk(folder) for name in names)


def is_uploaded() -> bool:
    """Return whether this code was uploaded for a job: it goes with the job, and what is compiled shall stay."""
    return UPLOADS in ROOT.parts


def prepare_cupy() -> None:
    """Set CuPy's cache folder where it cannot make its own, unless the user set one: CuPy does not load without."""
    own = Path(os.path.expanduser("~/.cupy/kernel_cache"))
    if "CUPY_CACHE_DIR" not in os.environ and not _can_be_made(own):
        os.environ["CUPY_CACHE_DIR"] = os.path.join(private_folder(), "cupy")


def source_digest(root: Path) -> str:
    """Return a digest of the source files of all kernels. root: folder that holds the packages."""
    found = hashlib.blake2b(digest_size=8)
    for path in sorted(path for pattern in KERNELS for path in root.glob(pattern)):
        found.update(path.read_bytes() + b"\0")
    return found.hexdigest()


@functools.cache
def _own_digest() -> str:
    return source_digest(ROOT)  # each package with kernels asks for it when it is imported


def _place() -> str:
    """Return the folder that the user names, else the first of the three that can be written to."""
    if SHARED in os.environ:
        return os.path.join(os.environ[SHARED], NAME)
    code = ROOT / "stages" / "kernels"
    if _writable(code) and not is_uploaded():
        return str(code / "__pycache__" / NAME)
    home = _home()
    return private_folder() if home is None else str(home / NAME)


def private_folder() -> str:
    """Return this user's cache folder below the temporary folder; a new one where others can write to that."""
    import tempfile

    folder = os.path.join(tempfile.gettempdir(), f"{NAME}-{os.getuid()}")
    try:
        os.makedirs(folder, mode=0o700, exist_ok=True)
        found = os.lstat(folder)
    except OSError:
        return tempfile.mkdtemp(prefix=f"{NAME}-")
    own = stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and not found.st_mode & 0o022
    return folder if own else tempfile.mkdtemp(prefix=f"{NAME}-")


def _writable(code: Path) -> bool:
    """Return whether Numba can write beside the code."""
    beside = code / "__pycache__"
    return os.access(beside if beside.is_dir() else code, os.W_OK | os.X_OK)


def _home() -> Path | None:
    """Return the user's cache folder (XDG_CACHE_HOME or ~/.cache), or None where it cannot be made."""
    wanted = Path(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"))
    return wanted if _can_be_made(wanted) else None


def _can_be_made(folder: Path) -> bool:
    """Return whether a folder is writable or can be made; False for a relative path, as of a user without HOME."""
    place = folder
    if not place.is_absolute():
        return False
    while not place.exists():
        place = place.parent
    return place.is_dir() and os.access(place, os.W_OK | os.X_OK)
