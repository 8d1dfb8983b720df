"""A binary file that counts and digests what is written through it, so that its SHA-256 costs no second read."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any, Protocol

from cluster import storage

BLOCK = 1 << 20
RANGE = 8 << 20  # of a file in a store that one request asks for


class Writable(Protocol):
    """Anything that bytes can be written to."""

    def write(self, data: Any, /) -> int: ...

    def flush(self) -> None: ...


class WriteOnly:
    """A binary file that a writer of Arrow or Parquet takes: it is written from its begin to its end."""

    def flush(self) -> None:
        """Nothing is written early."""

    def writable(self) -> bool:
        return True

    def readable(self) -> bool:
        return False

    def seekable(self) -> bool:
        return False


class Digesting(WriteOnly):
    """A binary file for a writer; `size` and `digest` are those of all that went through it."""

    def __init__(self, file: Writable) -> None:
        self._file = file
        self.digest = hashlib.sha256()
        self.size = 0
        self.closed = False

    def write(self, data: Any) -> int:
        view = memoryview(data)
        self.digest.update(view)
        self.size += view.nbytes
        self._file.write(view)
        return view.nbytes

    def flush(self) -> None:
        self._file.flush()

    def tell(self) -> int:
        return self.size

    def close(self) -> None:
        self.closed = True


def is_that(path: str, size: int, sha256: str) -> bool:
    """Tell whether a file has these bytes; a store is not asked for its size. Raises FileNotFoundError.

    Memory: a block.
    """
    if storage.is_local(path):
        return sha256_of(path) == (size, sha256)
    digest, found = hashlib.sha256(), 0
    for start in range(0, size + 1, RANGE):  # a byte more than it has: a longer file is another
        data = storage.read_range(path, start, min(start + RANGE, size + 1))
        digest.update(data)
        found += len(data)
    return (found, digest.hexdigest()) == (size, sha256)


def sha256_of(path: str) -> tuple[int, str]:
    """Return size and SHA-256 of a file. Memory: a block. Raises FileNotFoundError."""
    digest, size = hashlib.sha256(), 0
    with storage.open_read(path) as file:
        for block in blocks_of(file, BLOCK):
            digest.update(block)
            size += len(block)
    return size, digest.hexdigest()


def blocks_of(file: Any, size: int) -> Iterator[memoryview]:
    """Yield a file from where it stands, block by block, each in the memory of the one before."""
    held = memoryview(bytearray(size))
    while count := file.readinto(held):
        yield held[:count]
