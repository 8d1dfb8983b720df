"""What a disk may hold after a power cut: a model of a file system that promises what POSIX does, and no more.

Data that were written since a file was last synced may be there, missing, or zeros, from some point on; a name that was
made, changed or removed since its folder was last synced may be as before or as after, each name by itself. Folders
that a lost name led to are gone with what is in them.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

Names = dict[str, dict[str, int]]  # folder -> name -> number of the file or folder
State = dict[str, bytes]  # path -> content of the files that can be reached


@dataclass
class _Inode:
    synced: bytes | None  # content that is on the disk; None: a folder
    written: bytes = b""
    versions: list[bytes] = field(default_factory=list)  # contents since the last sync

    def contents(self) -> list[bytes]:
        """Return what may be found."""
        found = {self.synced or b"", *self.versions}
        for data in self.versions:
            found |= {
                data[: len(data) // 2],
                bytes(len(data)),
                data[: len(data) // 2] + bytes(len(data) - len(data) // 2),
            }
        return sorted(found)


class Disk:
    """A file system with files that are on the disk already; `apply` the calls that `faults.recorded` made."""

    def __init__(self, files: dict[str, bytes], folders: list[str]) -> None:
        self._inodes: list[_Inode] = []
        self._now: dict[str, int] = {}
        self._entries: dict[str, list[int | None]] = {}  # path -> what its name led to since its folder was synced
        for path in folders:
            self._now[path] = self._new(None)
        for path, data in files.items():
            self._now[path] = self._new(data)
        self._entries = {path: [number] for path, number in self._now.items()}

    def _new(self, synced: bytes | None) -> int:
        self._inodes.append(_Inode(synced, synced or b""))
        return len(self._inodes) - 1

    def _name(self, path: str, number: int | None) -> None:
        self._entries.setdefault(path, [None]).append(number)
        if number is None:
            self._now.pop(path, None)
        else:
            self._now[path] = number

    def apply(self, name: str, *arguments: Any) -> None:
        """Do what one call does."""
        if name == "mkdir":
            self._name(arguments[0], self._new(None))
        elif name == "create":
            self._name(arguments[0], self._new(b""))
        elif name == "write":
            path, start, data = arguments
            inode = self._inodes[self._now[path]]
            inode.written = inode.written[:start].ljust(start, b"\0") + data + inode.written[start + len(data) :]
            inode.versions.append(inode.written)
        elif name == "replace":
            source, target = arguments
            number = self._now[source]
            self._name(source, None)
            self._name(target, number)
        elif name in ("unlink", "rmdir"):
            self._name(arguments[0], None)
        elif name == "fsync":
            self._sync(arguments[0])
        else:
            raise AssertionError(f"the model does not know the call {name}")

    def _sync(self, path: str) -> None:
        inode = self._inodes[self._now[path]]
        if inode.synced is not None:
            inode.synced, inode.versions = inode.written, []
            return
        for entry, history in self._entries.items():
            if os.path.dirname(entry) == path:
                del history[:-1]

    def crashed(self, path: str) -> set[bytes | None]:
        """Return all that may be found at `path` after a power cut now; None: nothing."""
        ways = [[*self._entries.get(place, [None])] for place in _above(path)]
        found: set[bytes | None] = set()
        for choice in itertools.product(*ways):
            if any(number is None for number in choice):
                found.add(None)
            else:
                found |= set(self._inodes[int(choice[-1] or 0)].contents())
        return found


def _above(path: str) -> Iterator[str]:
    """Yield the path and the folders above it below the root of the model, the topmost first."""
    parts = path.split("/")
    yield from ("/".join(parts[: i + 1]) for i in range(1, len(parts)))
