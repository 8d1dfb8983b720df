"""An object store in memory that counts requests and bytes by kind: `counted://…` paths for storage and exchange."""

from __future__ import annotations

from collections import Counter
from typing import Any, ClassVar

import fsspec
from fsspec.implementations.memory import MemoryFileSystem

KINDS = ("get", "head", "list", "put", "delete")


class CountingFileSystem(MemoryFileSystem):  # type: ignore[misc]
    """fsspec's file system in memory; `requests` and `bytes_read` say what an object store would be asked for."""

    protocol = "counted"
    store: ClassVar[dict[str, Any]] = {}
    pseudo_dirs: ClassVar[list[str]] = [""]
    requests: ClassVar[Counter[str]] = Counter()
    bytes_read: ClassVar[int] = 0

    @classmethod
    def _strip_protocol(cls, path: Any) -> str:
        text = str(path).removeprefix("counted://")
        return super()._strip_protocol(text)  # type: ignore[no-any-return]

    @classmethod
    def reset(cls) -> None:
        """Forget all counts, keep all files."""
        cls.requests.clear()
        cls.bytes_read = 0

    @classmethod
    def total(cls) -> int:
        """Return the requests of all kinds."""
        return sum(cls.requests.values())

    def cat_file(self, path: str, start: int | None = None, end: int | None = None, **kwargs: Any) -> bytes:
        self.requests["get"] += 1
        file = self.store.get(self._strip_protocol(path))
        if file is None:
            raise FileNotFoundError(path)
        found = bytes(file.getbuffer()[start:end])
        type(self).bytes_read += len(found)
        return found

    def _open(self, path: str, mode: str = "rb", **kwargs: Any) -> Any:
        self.requests["head" if "r" in mode else "put"] += 1
        return super()._open(path, mode, **kwargs)

    def info(self, path: str, **kwargs: Any) -> Any:
        self.requests["head"] += 1
        return super().info(path, **kwargs)

    def exists(self, path: str, **kwargs: Any) -> bool:
        self.requests["head"] += 1
        return bool(super().exists(path, **kwargs))

    def ls(self, path: str, detail: bool = True, **kwargs: Any) -> Any:
        found = super().ls(path, detail=detail, **kwargs)
        self.requests["list"] += 1 + len(found) // 1000
        return found

    def rm(self, path: Any, recursive: bool = False, maxdepth: int | None = None) -> None:
        paths = path if isinstance(path, list) else [path]
        self.requests["delete"] += -(-len(paths) // 1000)
        for one in paths:
            if recursive:
                super().rm(one, recursive=True)
            else:
                self.store.pop(self._strip_protocol(one), None)


fsspec.register_implementation("counted", CountingFileSystem, clobber=True)
