"""An object store in memory that counts what it is asked for: `foreseen://…` paths, for planners and tests.

Guarantees: requests are counted as an object store counts them: an upload or download is one, however it is opened;
a look whether something exists is a HEAD; a listing answers a thousand names. `watch` splits the counts. A request
takes the same time whatever the store holds. Memory: all files. Not for several threads.
"""

from __future__ import annotations

import io
import posixpath
from collections.abc import Callable, Hashable
from typing import Any, ClassVar

import fsspec
from fsspec.spec import AbstractBufferedFile, AbstractFileSystem

from cluster.requests import LISTED, Requests

SCHEME = "foreseen"


class CountingStore(AbstractFileSystem):  # type: ignore[misc]
    """fsspec's view of a store in memory; `counts` holds requests, and bytes read and written, by label.

    label: called with the path of every request; what it returns is the key of the counts.
    """

    protocol = SCHEME
    store: ClassVar[dict[str, bytes]] = {}
    versions: ClassVar[dict[str, int]] = {}
    folders: ClassVar[dict[str, dict[str, None]]] = {}  # names of files and folders in each folder
    counts: ClassVar[dict[Hashable, Requests]] = {}
    bytes_read: ClassVar[dict[Hashable, int]] = {}
    bytes_written: ClassVar[dict[Hashable, int]] = {}
    label: ClassVar[Callable[[str], Hashable]] = lambda path: None

    @classmethod
    def watch(cls, label: Callable[[str], Hashable] = lambda path: None) -> None:
        """Forget all counts, and count from now on by what `label` makes of a path."""
        cls.counts, cls.bytes_read, cls.bytes_written = {}, {}, {}
        cls.label = label

    @classmethod
    def total(cls) -> Requests:
        """Return the requests of all labels."""
        return sum(cls.counts.values(), Requests())

    @classmethod
    def empty(cls) -> None:
        """Remove every file."""
        for held in (cls.store, cls.versions, cls.folders):
            held.clear()

    @classmethod
    def _strip_protocol(cls, path: Any) -> str:
        return str(path).removeprefix(f"{SCHEME}://").strip("/")

    @classmethod
    def _count(cls, path: str, found: Requests, read: int = 0, written: int = 0) -> None:
        key = cls.label(path)
        cls.counts[key] = cls.counts.get(key, Requests()) + found
        cls.bytes_read[key] = cls.bytes_read.get(key, 0) + read
        cls.bytes_written[key] = cls.bytes_written.get(key, 0) + written

    def _asked(self, path: Any, found: Requests) -> str:
        """Count a request; return the path inside the store."""
        inner = self._strip_protocol(path)
        self._count(inner, found)
        return inner

    def _data(self, path: str) -> bytes:
        if path not in self.store:
            raise FileNotFoundError(path)
        return self.store[path]

    def _put(self, path: str, data: bytes) -> None:
        path = self._strip_protocol(path)
        self._count(path, Requests(put=1), written=len(data))
        self.store[path] = data
        self.versions[path] = self.versions.get(path, 0) + 1
        while path:
            path, _, name = path.rpartition("/")
            self.folders.setdefault(path, {})[name] = None

    def pipe_file(self, path: str, value: bytes, mode: str = "overwrite", **kwargs: Any) -> None:
        if mode == "create" and self._strip_protocol(path) in self.store:
            self._asked(path, Requests(put=1))
            raise FileExistsError(path)
        self._put(path, bytes(value))

    def put_file(self, lpath: str, rpath: str, **kwargs: Any) -> None:
        with open(lpath, "rb") as file:
            self._put(rpath, file.read())

    def cp_file(self, path1: str, path2: str, **kwargs: Any) -> None:
        self._put(path2, self._data(self._strip_protocol(path1)))

    def mv(self, path1: str, path2: str, **kwargs: Any) -> None:
        self.cp_file(path1, path2)
        self.rm(path1)

    def cat_file(self, path: str, start: int | None = None, end: int | None = None, **kwargs: Any) -> bytes:
        path = self._asked(path, Requests(get=1))
        found = self._data(path)[start:end]
        self._count(path, Requests(), read=len(found))
        return found

    def _open(self, path: str, mode: str = "rb", **kwargs: Any) -> Any:
        if "r" not in mode:
            return _Written(self, path)
        path = self._asked(path, Requests(head=1))
        return _Reading(self, path, mode, size=len(self._data(path)), **{**kwargs, "autocommit": True})

    def _entry(self, path: str) -> dict[str, Any]:
        if path in self.store:
            mark = f"v{self.versions[path]}"
            return {"name": path, "size": len(self.store[path]), "type": "file", "ETag": mark}
        if path in self.folders:
            return {"name": path, "size": 0, "type": "directory"}
        raise FileNotFoundError(path)

    def info(self, path: str, **kwargs: Any) -> dict[str, Any]:
        return self._entry(self._asked(path, Requests(head=1)))

    def exists(self, path: str, **kwargs: Any) -> bool:
        path = self._asked(path, Requests(head=1))
        return path in self.store or path in self.folders

    def ls(self, path: str, detail: bool = True, **kwargs: Any) -> Any:
        path = self._strip_protocol(path)
        found = [posixpath.join(path, name) for name in self.folders.get(path, ())]
        found = found or [path] * (path in self.store)
        self._count(path, Requests(list=1 + len(found) // LISTED))
        if not found:
            raise FileNotFoundError(path)
        return [self._entry(name) for name in found] if detail else found

    def _below(self, path: str) -> list[str]:
        """Return the files of a folder and those below it, or the file of this path."""
        if path in self.store:
            return [path]
        inside = [posixpath.join(path, name) for name in self.folders.get(path, ())]
        return [name for one in inside for name in self._below(one)]

    def rm(self, path: Any, recursive: bool = False, maxdepth: int | None = None) -> None:
        names = [self._strip_protocol(one) for one in (path if isinstance(path, list) else [path])]
        first = names[0]
        if recursive:
            names = [name for above in names for name in self._below(above)]
            self._count(first, Requests(list=1 + len(names) // LISTED))
        self._count(first, Requests(delete=-(-len(names) // LISTED)))
        for name in names:
            self._forget(name)

    def rm_file(self, path: str) -> None:
        self.rm(path)

    def _forget(self, name: str) -> None:
        """Drop a file, and the folders that are empty without it."""
        if self.store.pop(name, None) is None:
            return
        while name:
            above, _, last = name.rpartition("/")
            self.folders[above].pop(last, None)
            if self.folders[above]:
                return
            del self.folders[above]
            name = above


class _Reading(AbstractBufferedFile):  # type: ignore[misc]
    """A file that is read in blocks, as one of an object store is: each block that is fetched is a GET."""

    def _fetch_range(self, start: int, end: int) -> bytes:
        return bytes(self.fs.cat_file(self.path, start, end))


class _Written(io.BytesIO):
    """A file that is stored when it is closed."""

    def __init__(self, fs: CountingStore, path: str) -> None:
        super().__init__()
        self._fs, self._path = fs, path

    def close(self) -> None:
        if not self.closed:
            self._fs._put(self._path, self.getvalue())
        super().close()


def use() -> None:
    """Let paths that begin with `foreseen://` mean this store."""
    fsspec.register_implementation(SCHEME, CountingStore, clobber=True)
