"""Files of an object store that are opened without asking the store for their size."""

from __future__ import annotations

from typing import Any, BinaryIO, cast

from fsspec.spec import AbstractBufferedFile


class _Ranges(AbstractBufferedFile):  # type: ignore[misc]
    """A file that is read by requests for ranges, in blocks as the file system reads its own."""

    def _fetch_range(self, start: int, end: int) -> bytes:
        return bytes(self.fs.cat_file(self.path, start=start, end=end))


def open_sized(fs: Any, path: str, size: int) -> BinaryIO:
    """Open a file of so many bytes for reading, by fsspec's file system and the path in it."""
    block = getattr(fs, "default_block_size", None)
    return cast(BinaryIO, _Ranges(fs, path, "rb", block_size=block or "default", size=size))
