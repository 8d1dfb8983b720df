"""How much a stored byte of an input may stand for, so that a small hostile file takes little time as well as memory.

33 kB of zstd can stand for a billion empty lines. Guarantees: any stretch of a file that stands for more than
FREE_BYTES bytes and EXPANSION times its own, or for more than FREE_ROWS rows and ROWS_PER_BYTE rows a byte, is refused
where it is met, wherever in the file it begins; the same file is refused at the same place every time.
"""

from __future__ import annotations

from typing import Any, BinaryIO

from cluster.bounds import EXPANSION, FREE_BYTES, FREE_ROWS, ROWS_PER_BYTE


class Expansion:
    """What the stored bytes of one file that were read so far may still stand for; of a plain file (codec "") all."""

    def __init__(self, codec: str) -> None:
        self.codec = codec
        self._bytes, self._rows = FREE_BYTES, FREE_ROWS

    def stored(self, size: int) -> None:
        """Count stored bytes."""
        self._bytes = min(FREE_BYTES, self._bytes + EXPANSION * size)
        self._rows = min(FREE_ROWS, self._rows + ROWS_PER_BYTE * size)

    def take(self, size: int) -> int:
        """Count decompressed bytes; return how many of them are allowed."""
        allowed = min(size, max(0, self._bytes)) if self.codec else size
        self._bytes -= size
        return allowed

    def part(self, stored: int, size: int) -> str:
        """Count a part that is decompressed at once; return what is wrong with its size, empty where nothing is."""
        allowed = self._bytes + EXPANSION * stored
        self._bytes = min(FREE_BYTES, allowed - size)
        return too_many_bytes() if size > allowed else ""

    def crowds(self, rows: int) -> str:
        """Count rows; return what is wrong with them, empty where nothing is."""
        self._rows -= rows
        return too_many_rows() if self.codec and self._rows < 0 else ""


def too_many_bytes() -> str:
    """Return the sentence on compressed bytes that stand for too many."""
    more = f"{FREE_BYTES:,} bytes and {EXPANSION:,} times as many as are stored"
    return f"the compressed data stand for more than {more}, which is no text; decompress the file if it is"


def too_many_rows() -> str:
    """Return the sentence on stored bytes that stand for too many rows."""
    return (
        f"the stored data stand for more than {FREE_ROWS:,} rows and {ROWS_PER_BYTE} for each byte, which are no texts"
    )


def allows(rows: int, stored: int) -> bool:
    """Tell whether a whole file of so many bytes may have so many rows.

    >>> allows(1_000_000, 100), allows(2_000_000_000, 100)
    (True, False)
    """
    return rows <= FREE_ROWS + ROWS_PER_BYTE * stored


class Counted:
    """An open file whose bytes are counted as they are read."""

    closed = False

    def __init__(self, file: BinaryIO, expansion: Expansion) -> None:
        self._file, self._expansion = file, expansion

    def read(self, size: int = -1) -> bytes:
        data = self._file.read(size)
        self._expansion.stored(len(data))
        return data

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)
