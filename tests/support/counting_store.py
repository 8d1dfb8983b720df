"""An object store in memory that counts requests and bytes by kind: `counted://…` paths for storage and exchange.

Looks at files and folders take the same time whatever the store holds, so that counting stays linear itself.
"""

from __future__ import annotations

import io
import posixpath
from collections import Counter
from typing import Any, ClassVar

import fsspec
from fsspec.spec import AbstractFileSystem

KINDS = ("get", "head", "list", "put", "delete")
PAGE = 1000  # names in one answer to a listing, keys in one request to delete


class CountingFileSystem(AbstractFileSystem):  # type: ignore[misc]
    """fsspec's view of a store in memory; `requests`, `bytes_read` and `bytes_written` say what it was asked for."""

    protocol = "counted"
    cachable = True
    store: ClassVar[dict[str, bytes]] = {}
    versions: ClassVar[dict[str, int]] = {}
    folders: ClassVar[dict[str, dict[str, None]]] = {}  # names of files and folders below each folder
    requests: ClassVar[Counter[str]] = Counter()
    places: ClassVar[Counter[tuple[str, str]]] = Counter()  # requests by kind and folder
    bytes_read: ClassVar[int] = 0
    bytes_written: ClassVar[int] = 0

    @classmethod
    def reset(cls) -> None:
        """Forget all counts, keep all files."""
        cls.requests.clear()
        cls.places.clear()
        cls.bytes_read = cls.bytes_written = 0

    @classmethod
    def clear(cls) -> None:
        """Forget all counts and files."""
        cls.reset()
        for held in (cls.store, cls.versions, cls.folders):
            held.clear()

    @classmethod
    def total(cls) -> int:
        """Return the requests of all kinds."""
        return sum(cls.requests.values())

    @classmethod
    def _strip_protocol(cls, path: Any) -> str:
        return str(path).removeprefix("counted://").strip("/")

    def _count(self, kind: str, path: str, times: int = 1) -> str:
        path = self._strip_protocol(path)
        self.requests[kind] += times
        self.places[kind, posixpath.dirname(path)] += times
        return path

    def _put(self, path: str, data: bytes) -> None:
        path = self._count("put", path)
        type(self).bytes_written += len(data)
        self.store[path] = data
        self.versions[path] = self.versions.get(path, 0) + 1
        while path:
            path, _, name = path.rpartition("/")
            self.folders.setdefault(path, {})[name] = None

    def pipe_file(self, path: str, value: bytes, mode: str = "overwrite", **kwargs: Any) -> None:
        if mode == "create" and self._strip_protocol(path) in self.store:
            raise FileExistsError(path)
        self._put(path, bytes(value))

    def put_file(self, lpath: str, rpath: str, **kwargs: Any) -> None:
        with open(lpath, "rb") as file:
            self._put(rpath, file.read())

    def cat_file(self, path: str, start: int | None = None, end: int | None = None, **kwargs: Any) -> bytes:
        path = self._count("get", path)
        if path not in self.store:
            raise FileNotFoundError(path)
        found = self.store[path][start:end]
        type(self).bytes_read += len(found)
        return found

    def _open(self, path: str, mode: str = "rb", **kwargs: Any) -> Any:
        if "r" not in mode:
            return _Written(self, path)
        path = self._count("head", path)
        if path not in self.store:
            raise FileNotFoundError(path)
        return io.BufferedReader(_Read(self, path), 1) if kwargs.get("cache_type") != "none" else _Read(self, path)

    def info(self, path: str, **kwargs: Any) -> dict[str, Any]:
        return self._entry(self._count("head", path))

    def _entry(self, path: str) -> dict[str, Any]:
        if path in self.store:
            mark = f"v{self.versions[path]}"
            return {"name": path, "size": len(self.store[path]), "type": "file", "ETag": mark}
        if path in self.folders:
            return {"name": path, "size": 0, "type": "directory"}
        raise FileNotFoundError(path)

    def exists(self, path: str, **kwargs: Any) -> bool:
        path = self._count("head", path)
        return path in self.store or path in self.folders

    def ls(self, path: str, detail: bool = True, **kwargs: Any) -> Any:
        path = self._strip_protocol(path)
        inside = [posixpath.join(path, name) for name in self.folders.get(path, ())]
        found = inside or ([path] if path in self.store else [])
        self._count("list", posixpath.join(path, "*"), 1 + len(found) // PAGE)
        if not found:
            raise FileNotFoundError(path)
        return [self._entry(name) for name in found] if detail else found

    def rm(self, path: Any, recursive: bool = False, maxdepth: int | None = None) -> None:
        gone = [name for one in (path if isinstance(path, list) else [path]) for name in self._below(one)]
        for start in range(0, len(gone), PAGE):
            self._count("delete", gone[start])
        for name in gone:
            self.store.pop(name, None)
            while name:
                above, _, last = name.rpartition("/")
                self.folders.get(above, {}).pop(last, None)
                if self.folders.get(above):
                    break
                self.folders.pop(above, None)
                name = above

    def _below(self, path: str) -> list[str]:
        path = self._strip_protocol(path)
        if path in self.store:
            return [path]
        inside = [posixpath.join(path, name) for name in self.folders.get(path, ())]
        return [name for one in inside for name in self._below(one)]

    def rm_file(self, path: str) -> None:
        self.rm(path)

    def cp_file(self, path1: str, path2: str, **kwargs: Any) -> None:
        self._put(path2, self.store[self._strip_protocol(path1)])

    def mv(self, path1: str, path2: str, **kwargs: Any) -> None:
        self.cp_file(path1, path2)
        self.rm(path1)


class _Read(io.RawIOBase):
    """A stored file that is read by ranges; each read is one request."""

    def __init__(self, fs: CountingFileSystem, path: str) -> None:
        self._fs, self._path, self._at = fs, path, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = 0) -> int:
        start = (0, self._at, len(self._fs.store[self._path]))[whence]
        self._at = start + offset
        return self._at

    def read(self, size: int | None = -1) -> bytes:
        end = None if size is None or size < 0 else self._at + size
        found = self._fs.cat_file(self._path, self._at, end)
        self._at += len(found)
        return found

    def readinto(self, buffer: Any) -> int:
        found = self.read(len(buffer))
        buffer[: len(found)] = found
        return len(found)

    @property
    def size(self) -> int:
        return len(self._fs.store[self._path])


class _Written(io.BytesIO):
    """A file that is stored when it is closed."""

    def __init__(self, fs: CountingFileSystem, path: str) -> None:
        super().__init__()
        self._fs, self._path = fs, path

    def close(self) -> None:
        if not self.closed:
            self._fs._put(self._path, self.getvalue())
        super().close()


fsspec.register_implementation("counted", CountingFileSystem, clobber=True)
