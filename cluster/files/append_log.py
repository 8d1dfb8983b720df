"""Append-only files of lines that carry a checksum each: what was appended survives the death of its process.

A log is a folder of numbered files of one name; each writer makes a file of its own, so that two of them never share
one. Guarantees: a line is handed to the system before `append` returns (in an object store, before 256 more are, or at
the end); a line that was cut off or changed is passed over and counted, never taken for another. Memory: one line; in
an object store 256 of them.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from types import TracebackType

import xxhash

from cluster import storage

MARK = 16  # hexadecimal digits of the checksum of a line
LINES = 256  # of an object
SUFFIX = ".log"


class AppendLog:
    """Writer of one more file of a log; the file is made with the first line."""

    def __init__(self, folder: str, name: str) -> None:
        self._folder, self._name = folder, name
        self._file: int | None = None
        self._waiting: list[bytes] = []

    def append(self, record: bytes) -> None:
        """Add a record, which holds no line feed."""
        line = b"%s %s\n" % (xxhash.xxh3_64_hexdigest(record).encode(), record)
        if not storage.is_local(self._folder):
            self._waiting.append(line)
            if len(self._waiting) >= LINES:
                self._upload()
            return
        if self._file is None:
            self._file = self._open()
        while line:
            line = line[os.write(self._file, line) :]

    def _open(self) -> int:
        storage.make_folder(self._folder)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC
        for number in self._numbers():
            with contextlib.suppress(FileExistsError):
                return os.open(storage.local_path(self._path(number)), flags, 0o666)
        raise AssertionError("numbers do not end")

    def _numbers(self) -> Iterator[int]:
        """Yield the numbers from the first one that no file of this name has."""
        have = storage.names(self._folder)
        number = sum(name.startswith(f"{self._name}.") for name in have)
        while True:
            yield number
            number += 1

    def _path(self, number: int) -> str:
        return storage.join(self._folder, f"{self._name}.{number}{SUFFIX}")

    def _upload(self) -> None:
        if self._waiting:
            data = b"".join(self._waiting)
            next(n for n in self._numbers() if storage.create(self._path(n), data))
            self._waiting = []

    def close(self) -> None:
        """Bring what was appended to the disk or the store."""
        self._upload()
        if self._file is not None:
            storage.sync_file(self._file)
            os.close(self._file)
            self._file = None

    def __enter__(self) -> AppendLog:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def logs(folder: str) -> dict[str, list[str]]:
    """Return the paths of a folder's log files in the order of their numbers, by name."""
    found: dict[str, list[tuple[int, str]]] = {}
    for file in storage.names(folder):
        name, _, number = file.removesuffix(SUFFIX).rpartition(".")
        if file.endswith(SUFFIX) and number.isdigit():
            found.setdefault(name, []).append((int(number), storage.join(folder, file)))
    return {name: [path for _, path in sorted(files)] for name, files in sorted(found.items())}


def records(path: str) -> Iterator[bytes | None]:
    """Return the records of one file; None in the place of a line that is not as it was written."""
    return map(_record, open_lines(path))


def damaged_lines(path: str, is_whole: Callable[[bytes], bool]) -> int:
    """Return how many lines of a file are not as they were written; a last one without an end was never finished.

    is_whole : tells whether a record, whose checksum fits, says what its writer can have written.
    """
    found = 0
    for line in open_lines(path):
        record = _record(line)
        found += line.endswith(b"\n") and (record is None or not is_whole(record))
    return found


def open_lines(path: str) -> Iterator[bytes]:
    """Yield the lines of a file, one at a time where it is local."""
    if storage.is_local(path):
        with open(storage.local_path(path), "rb") as file:
            yield from file
    else:
        yield from storage.read_bytes(path).splitlines(keepends=True)


def _record(line: bytes) -> bytes | None:
    record = line[MARK + 1 : -1]
    whole = line.endswith(b"\n") and xxhash.xxh3_64_hexdigest(record).encode() == line[:MARK]
    return record if whole else None
