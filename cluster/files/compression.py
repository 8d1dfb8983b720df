"""Compressed files: which codec by name and by magic bytes, and their bytes as a stream.

Guarantees: files of several members (gzip, bzip2, xz, zstd and lz4 frames) are read to their end; what is cut short
or corrupt raises `Damaged` after the bytes that could be read, never an end of file. Memory: one piece, of at
most 64 MB whatever the compressed bytes stand for (bounds.py).
"""

from __future__ import annotations

import bz2
import contextlib
import io
import lzma
import zlib
from collections.abc import Callable, Generator, Iterator
from typing import Any, BinaryIO, cast

import zstandard

from cluster import storage
from cluster.bounds import LARGEST_SIDE_FILE, PIECE, ZSTD_STEP
from cluster.files.expansion import Counted, Expansion, too_many_bytes

SUFFIXES = {
    ".gz": "gz",
    ".gzip": "gz",
    ".bz2": "bz2",
    ".xz": "xz",
    ".lzma": "xz",
    ".lz4": "lz4",
    ".zst": "zst",
    ".zstd": "zst",
}
CODECS = ("gz", "bz2", "xz", "lz4", "zst")
MAGIC = (
    (b"\x1f\x8b", "gz"),
    *((b"BZh%d" % level, "bz2") for level in range(1, 10)),
    (b"\xfd7zXZ\x00", "xz"),
    (b"\x5d\x00\x00", "xz"),  # the older .lzma
    (b"\x04\x22\x4d\x18", "lz4"),
    (b"\x28\xb5\x2f\xfd", "zst"),
)
SKIPPABLE = b"\x2a\x4d\x18"  # after a byte of 0x50 to 0x5f: a frame of zstd or lz4 without data
READ_BYTES = 64 << 10  # compressed bytes at a time
MAX_WINDOW = 1 << 31  # files made with zstd --long=31


class Damaged(Exception):
    """Compressed bytes end early or are corrupt; the message says which, without the file's name."""


def by_name(name: str) -> tuple[str, str]:
    """Return (name without the codec's ending, codec); the codec is "" where the name tells none.

    >>> by_name("a.jsonl.gz"), by_name("a.parquet")
    (('a.jsonl', 'gz'), ('a.parquet', ''))
    """
    for suffix, codec in SUFFIXES.items():
        if name.lower().endswith(suffix):
            return name[: -len(suffix)], codec
    return name, ""


def by_magic(head: bytes, named: str = "") -> str:
    """Return the codec that the first bytes of a file tell, "" if none; `named` decides on frames without data."""
    while head[1:4] == SKIPPABLE and 0x50 <= head[0] <= 0x5F:
        end = 8 + int.from_bytes(head[4:8], "little")
        if end >= len(head):
            return named if named in ("zst", "lz4") else "zst"
        head = head[end:]
    return next((codec for magic, codec in MAGIC if head.startswith(magic)), "")


def peek(file: BinaryIO, codec: str, size: int = READ_BYTES) -> bytes:
    """Return up to `size` bytes of what an open file decompresses to; fewer where it is damaged."""
    found, have = [], 0
    with contextlib.suppress(Damaged):
        for piece in pieces(file, codec):
            found.append(piece)
            have += len(piece)
            if have >= size:
                break
    return b"".join(found)[:size]


def pieces_within(file: BinaryIO, expansion: Expansion) -> Iterator[bytes]:
    """Yield as `pieces` does, with the codec of `expansion`, as far as that allows. Raises Damaged where it ends."""
    for piece in pieces(cast(BinaryIO, Counted(file, expansion)), expansion.codec):
        allowed = expansion.take(len(piece))
        if allowed < len(piece):
            yield piece[:allowed]
            raise Damaged(too_many_bytes())
        yield piece


def pieces(file: BinaryIO, codec: str) -> Iterator[bytes]:
    """Yield the decompressed bytes of an open file piece by piece; a codec of "" stands for none.

    Raises
    ------
    Damaged
        The data end early or are corrupt; all that could be read has been yielded.
    OSError
        The storage failed.
    """
    if not codec:
        yield from iter(lambda: file.read(READ_BYTES), b"")
    elif codec == "lz4":
        yield from _lz4(file)
    else:
        yield from _members(file, codec)


def _members(file: BinaryIO, codec: str) -> Iterator[bytes]:
    member = None
    while data := file.read(READ_BYTES):
        while data := data if member or codec == "zst" else data.lstrip(b"\0"):  # padding between members
            member = member or _MEMBERS[codec]()
            data = yield from _INFLATE[codec](member, data)
            if member.eof:
                member = None
    if member is not None:
        raise Damaged("the compressed file is truncated")


@contextlib.contextmanager
def _corrupt() -> Iterator[None]:
    """Turn what the codecs say of bytes that they cannot read into Damaged."""
    try:
        yield
    except (zlib.error, zstandard.ZstdError, lzma.LZMAError, OSError, EOFError, ValueError) as error:
        raise Damaged(f"the compressed data are corrupt ({error})") from error


def _inflate_gzip(member: Any, data: bytes) -> Generator[bytes, None, bytes]:
    """Yield what data decompress to, at most PIECE bytes at a time; return the bytes behind the member."""
    while True:
        with _corrupt():
            out = member.decompress(data, PIECE)
        if out:
            yield out
        data = member.unconsumed_tail
        if member.eof or (not data and len(out) < PIECE):
            return bytes(member.unused_data) if member.eof else b""


def _inflate(member: Any, data: bytes) -> Generator[bytes, None, bytes]:
    """Do as `_inflate_gzip` does, with a decompressor that keeps its input."""
    while True:
        with _corrupt():
            out = member.decompress(data, PIECE)
        if out:
            yield out
        data = b""
        if member.eof or member.needs_input:
            return bytes(member.unused_data) if member.eof else b""


def _inflate_zstd(member: Any, data: bytes) -> Generator[bytes, None, bytes]:
    """Do as `_inflate_gzip` does, with a decompressor that cannot stop: it is given ZSTD_STEP bytes at a time."""
    for start in range(0, len(data), ZSTD_STEP):
        with _corrupt():
            out = member.decompress(data[start : start + ZSTD_STEP])
        if out:
            yield out
        if member.eof:
            return bytes(member.unused_data) + data[start + ZSTD_STEP :]
    return b""


_INFLATE: dict[str, Callable[[Any, bytes], Generator[bytes, None, bytes]]] = {
    "gz": _inflate_gzip,
    "bz2": _inflate,
    "xz": _inflate,
    "zst": _inflate_zstd,
}
_MEMBERS: dict[str, Callable[[], Any]] = {
    "gz": lambda: zlib.decompressobj(wbits=31),
    "bz2": bz2.BZ2Decompressor,
    "xz": lzma.LZMADecompressor,
    "zst": lambda: zstandard.ZstdDecompressor(max_window_size=MAX_WINDOW).decompressobj(),
}


def _lz4(file: BinaryIO) -> Iterator[bytes]:
    """Yield the frames' bytes through Arrow, which reads several frames and says where one is cut."""
    import pyarrow as pa

    if not file.read(1):
        return
    file.seek(0)
    with pa.CompressedInputStream(pa.PythonFile(file, "r"), "lz4") as stream:
        while True:
            try:
                data = stream.read(READ_BYTES)
            except OSError as error:
                if error.errno is not None:
                    raise
                cut = "truncated" in str(error).lower()
                what = "file is truncated" if cut else f"data are corrupt ({error})"
                raise Damaged(f"the compressed {what}") from error
            if not data:
                return
            yield data


class _Reader(io.RawIOBase):
    """Decompressed pieces as a file that is read from its start to its end."""

    def __init__(self, found: Iterator[bytes]) -> None:
        super().__init__()
        self._found = found
        self._rest = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._rest:
            piece = next(self._found, None)
            if piece is None:
                return 0
            self._rest = memoryview(piece)
        size = min(len(buffer), len(self._rest))
        buffer[:size] = self._rest[:size]
        self._rest = self._rest[size:]
        return size


def reader(found: Iterator[bytes]) -> BinaryIO:
    """Return decompressed pieces as a buffered file without seek; what they raise, reading raises."""
    return cast(BinaryIO, io.BufferedReader(_Reader(found), READ_BYTES))


@contextlib.contextmanager
def opened(path: str, codec: str) -> Iterator[BinaryIO]:
    """Yield the decompressed bytes of a file as a buffered file without seek. Reading may raise Damaged."""
    with storage.open_read(path) as file:
        yield reader(pieces(file, codec))


def read_all(path: str) -> bytes:
    """Return the whole content of a file, decompressed where its first bytes name a codec.

    Raises
    ------
    Damaged
        The data end early or are corrupt.
    OSError
        The file cannot be read.
    """
    with storage.open_read(path) as file:
        head = file.read(READ_BYTES)
        codec = by_magic(head, by_name(path)[1])
        file.seek(0)
        return b"".join(bounded(pieces(file, codec), LARGEST_SIDE_FILE))


def bounded(found: Iterator[bytes], most: int) -> Iterator[bytes]:
    """Yield pieces. Raises Damaged where they come to more than `most` bytes."""
    size = 0
    for piece in found:
        size += len(piece)
        if size > most:
            raise Damaged(f"it decompresses to more than {most:,} bytes")
        yield piece


def compress(data: bytes, codec: str) -> bytes:
    """Return `data` as one member of a codec; as it is where the codec is ""."""
    if codec == "lz4":
        import pyarrow as pa

        sink = pa.BufferOutputStream()
        with pa.CompressedOutputStream(sink, "lz4") as stream:
            stream.write(data)
        return cast(bytes, sink.getvalue().to_pybytes())
    return _COMPRESS[codec](data) if codec else data


_COMPRESS: dict[str, Callable[[bytes], bytes]] = {
    "gz": lambda data: zlib_member(data),
    "bz2": bz2.compress,
    "xz": lzma.compress,
    "zst": lambda data: zstandard.compress(data, 3),
}


def zlib_member(data: bytes) -> bytes:
    """Return `data` as a gzip member without a time, at zlib's level 6."""
    packer = zlib.compressobj(6, wbits=31)
    return packer.compress(data) + packer.flush()
