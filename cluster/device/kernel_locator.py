"""Where Numba finds compiled kernels again: by the place of their source inside winnow, not by its full path.

Numba's own locators take the path of a source file and the time it was changed into account. Both differ where code is
uploaded anew, as Ray does for a job. The cache folder's name already contains a digest of every kernel's source
(kernel_cache.py), so what lies in it fits, wherever the source was unpacked and whenever.
"""

from __future__ import annotations

import inspect
import os
from pathlib import Path
from typing import Any

from numba.core import config
from numba.core.caching import _CacheLocator

from cluster.device.kernel_cache import NAME, ROOT


class KernelLocator(_CacheLocator):  # type: ignore[misc]
    """Numba's cache of functions in winnow's own files; of others, such as a stage of a user, it knows nothing."""

    def __init__(self, function: Any, file: str) -> None:
        self._function = function
        self._file = Path(file).resolve()
        self._line = function.__code__.co_firstlineno

    def get_cache_path(self) -> str:
        """Return the folder of the compiled functions of a source file."""
        inside = self._file.relative_to(ROOT).parent
        return os.path.join(config.CACHE_DIR, "by-place", *inside.parts)

    def get_source_stamp(self) -> tuple[int, ...]:
        """Return what must not have changed: the folder's digest stands for the source."""
        return (self._line,)

    def get_disambiguator(self) -> str:
        """Return what tells functions of one name apart."""
        return str(self._line)

    @classmethod
    def from_function(cls, function: Any, file: str) -> KernelLocator | None:
        """Return the locator of a function; None where its file is not winnow's, or the cache is the user's own."""
        try:
            Path(file).resolve().relative_to(ROOT)
        except ValueError:
            return None
        if NAME not in (config.CACHE_DIR or "") or not inspect.isfunction(function):
            return None
        found = cls(function, file)
        try:
            found.ensure_cache_path()
        except OSError:
            return None
        return found
