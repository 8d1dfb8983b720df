"""An object store in memory that counts what it is asked for: `foreseen://…` paths, for planners and tests.

Guarantees: requests are counted as an object store counts them: an upload or download is one, however it is opened;
a look whether something exists is a HEAD; a listing answers a thousand names. `watched` splits the counts.
Memory: all files. Not for several threads.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any, ClassVar

import fsspec
from fsspec.implementations.memory import MemoryFileSystem

from cluster.requests import LISTED, Requests

SCHEME = "foreseen"


class CountingStore(MemoryFileSystem):  # type: ignore[misc]
    """fsspec's file system in memory, with its own files; `counts` holds requests and bytes read by label.

    label: called with the path of every request; what it returns is the key of `counts`.
    """

    protocol = SCHEME
    store: ClassVar[dict[str, Any]] = {}
    pseudo_dirs: ClassVar[list[str]] = [""]
    counts: ClassVar[dict[Hashable, Requests]] = {}
    bytes_read: ClassVar[dict[Hashable, int]] = {}
    label: ClassVar[Callable[[str], Hashable]] = lambda path: None

    @classmethod
    def watch(cls, label: Callable[[str], Hashable]) -> None:
        """Forget all counts, and count from now on by what `label` makes of a path."""
        cls.counts, cls.bytes_read = {}, {}
        cls.label = label

    @classmethod
    def empty(cls) -> None:
        """Remove every file."""
        cls.store.clear()
        cls.pseudo_dirs[:] = [""]

    @classmethod
    def _strip_protocol(cls, path: Any) -> str:
        return super()._strip_protocol(str(path).removeprefix(f"{SCHEME}://"))  # type: ignore[no-any-return]

    @classmethod
    def _count(cls, path: Any, found: Requests, size: int = 0) -> None:
        key = cls.label(cls._strip_protocol(path))
        cls.counts[key] = cls.counts.get(key, Requests()) + found
        cls.bytes_read[key] = cls.bytes_read.get(key, 0) + size

    def _data(self, path: str) -> bytes:
        file = self.store.get(self._strip_protocol(path))
        if file is None:
            raise FileNotFoundError(path)
        return bytes(file.getbuffer())

    def cat_file(self, path: str, start: int | None = None, end: int | None = None, **kwargs: Any) -> bytes:
        try:
            found = self._data(path)[start:end]
        except FileNotFoundError:
            self._count(path, Requests(get=1))
            raise
        self._count(path, Requests(get=1), len(found))
        return found

    def _open(self, path: str, mode: str = "rb", **kwargs: Any) -> Any:
        if "r" not in mode:
            self._count(path, Requests(put=1))
            return super()._open(path, mode, **kwargs)
        self._count(path, Requests(head=1))
        return _Reading(self, path, mode, size=len(self._data(path)), **{**kwargs, "autocommit": True})

    def info(self, path: str, **kwargs: Any) -> Any:
        self._count(path, Requests(head=1))
        return super().info(path, **kwargs)

    def exists(self, path: str, **kwargs: Any) -> bool:
        self._count(path, Requests(head=1))
        inner = self._strip_protocol(path)
        return inner in self.store or any(name.startswith(f"{inner}/") for name in self.store)

    def ls(self, path: str, detail: bool = True, **kwargs: Any) -> Any:
        try:
            found = super().ls(path, detail=detail, **kwargs)
        except FileNotFoundError:
            self._count(path, Requests(list=1))
            raise
        self._count(path, Requests(list=1 + len(found) // LISTED))
        return found

    def rm(self, path: Any, recursive: bool = False, maxdepth: int | None = None) -> None:
        paths = path if isinstance(path, list) else [path]
        names = [self._strip_protocol(one) for one in paths]
        if recursive:
            names = [name for name in self.store for above in names if name == above or name.startswith(f"{above}/")]
            self._count(paths[0], Requests(list=1 + len(names) // LISTED))
        self._count(paths[0], Requests(delete=-(-len(names) // LISTED)))
        for name in names:
            self.store.pop(name, None)


class _Reading(fsspec.spec.AbstractBufferedFile):  # type: ignore[misc]
    """A file that is read in blocks, as one of an object store is: each block that is fetched is a GET."""

    def _fetch_range(self, start: int, end: int) -> bytes:
        found = self.fs._data(self.path)[start:end]
        self.fs._count(self.path, Requests(get=1), len(found))
        return bytes(found)


def use() -> None:
    """Let paths that begin with `foreseen://` mean this store."""
    fsspec.register_implementation(SCHEME, CountingStore, clobber=True)
