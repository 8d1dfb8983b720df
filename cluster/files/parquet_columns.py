"""A Parquet file with some of its columns replaced: the others are copied as they are, compressed.

Guarantees: where the columns come from a writer with the settings of the file's, the bytes are those that this writer
would have written of all columns. Memory: `COPIED` bytes, the footers.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from cluster.files.digesting import Writable
from cluster.files.thrift import I64, STRUCT, Struct, read_struct, read_struct_at, write_struct

Values: TypeAlias = npt.NDArray[Any]

MAGIC = b"PAR1"
END = struct.Struct("<i4s")  # length of the footer, and the word
COPIED = 1 << 20
# Numbers of fields in parquet.thrift
GROUPS = 4  # of FileMetaData
COLUMNS, BYTES, ROWS, OFFSET, COMPRESSED = 1, 2, 3, 5, 6  # of RowGroup
CHUNK_OFFSET, METADATA, INDEXES = 2, 3, (4, 6)  # of ColumnChunk
PATH, CODEC, UNCOMPRESSED_SIZE, SIZE, DATA, INDEX, DICTIONARY, BLOOM = 3, 4, 6, 7, 9, 10, 11, 14  # of ColumnMetaData

PAGE_TYPE, UNCOMPRESSED_PAGE, COMPRESSED_PAGE, CRC, DATA_HEADER = 1, 2, 3, 4, 5  # of PageHeader
VALUES, ENCODING, STATISTICS = 1, 2, 5  # of DataPageHeader
NULLS = 3  # of Statistics
DATA_PAGE, PLAIN, UNCOMPRESSED, ZSTD = 0, 0, 0, 6
LEVEL = 1  # of zstd, as the files of winnow have


class NoParquet(ValueError):
    """A file is not one whose columns can be replaced, or does not fit the columns."""


def replace_columns(old: BinaryIO, columns: BinaryIO, out: Writable) -> None:
    """Write the Parquet file `old` with the columns that `columns` has, in the same row groups.

    Raises NoParquet where the files do not fit each other.
    """
    footer, others = _footer(old), _footer(columns)
    groups, replaced = footer[GROUPS][1][1], others[GROUPS][1][1]
    if [g[ROWS] for g in groups] != [g[ROWS] for g in replaced]:
        raise NoParquet("the row groups are others")
    new = [{_path(chunk): chunk for chunk in group[COLUMNS][1][1]} for group in replaced]
    for group, mine in zip(groups, new, strict=True):
        if not mine.keys() <= {_path(chunk) for chunk in group[COLUMNS][1][1]}:
            raise NoParquet("a column is not in the file")

    def take(group: int, chunk: Struct) -> tuple[Struct, Iterator[Any]]:
        mine = new[group].get(_path(chunk))
        return (chunk, _copy(old, chunk)) if mine is None else (mine, _copy(columns, mine))

    _write(footer, take, out)


def replace_values(old: BinaryIO, name: str, kind: str, new: Callable[[int, Values], Values], out: Writable) -> None:
    """Write the Parquet file `old` with other values in a column of fixed width that has no nulls.

    kind : numpy type of the values. new : returns the values of a row group, given its number and the values so far.
    Pages end where they did, wherever the batches of their writer ended. Memory: the column in one row group. Raises
    NoParquet where the column is not written plainly, page by page.
    """

    def take(group: int, chunk: Struct) -> tuple[Struct, Iterator[Any]]:
        if _path(chunk) != (name.encode(),):
            return chunk, _copy(old, chunk)
        pages = list(_pages(b"".join(_copy(old, chunk)), kind, _codec(chunk)))
        before = np.concatenate([np.empty(0, kind), *(page.values for page in pages)])
        after = new(group, before)
        if len(after) != len(before):
            raise NoParquet(f"{len(after)} values for a row group of {len(before)}")
        data: list[bytes] = []
        at = headers = 0
        for page in pages:
            header, body = page.with_values(after[at : at + len(page.values)].astype(kind, copy=False), _codec(chunk))
            data += header, body
            at += len(page.values)
            headers += len(header) - page.header_size
        metadata = dict(_metadata(chunk))
        metadata[SIZE] = I64, sum(map(len, data))
        metadata[UNCOMPRESSED_SIZE] = I64, metadata[UNCOMPRESSED_SIZE][1] + headers  # headers count as they are
        return {**chunk, METADATA: (chunk[METADATA][0], metadata)}, iter(data)

    _write(_footer(old), take, out)


def _write(footer: Struct, take: Callable[[int, Struct], tuple[Struct, Iterator[Any]]], out: Writable) -> None:
    """Write a file. take: returns a column chunk of a row group as it was where it lay, and its bytes."""
    out.write(MAGIC)
    at = len(MAGIC)
    for number, group in enumerate(footer[GROUPS][1][1]):
        kind, chunks = group[COLUMNS][1]
        merged: list[Struct] = []
        for chunk in chunks:
            mine, pieces = take(number, chunk)
            merged.append(_moved(mine, at - _span(mine)[0]))
            for piece in pieces:
                out.write(piece)
                at += len(piece)
        group[COLUMNS] = group[COLUMNS][0], (kind, merged)
        group[OFFSET] = I64, _span(merged[0])[0] if merged else 0
        group[BYTES] = I64, sum(_number(chunk, UNCOMPRESSED_SIZE) for chunk in merged)
        group[COMPRESSED] = I64, sum(_number(chunk, SIZE) for chunk in merged)
    data = write_struct(footer)
    out.write(data + END.pack(len(data), MAGIC))


def _footer(file: BinaryIO) -> Struct:
    size = file.seek(0, 2)
    file.seek(max(0, size - END.size))
    end = file.read(END.size)
    length, word = END.unpack(end) if len(end) == END.size else (0, b"")
    if word != MAGIC or not 0 < length <= size - END.size:
        raise NoParquet("its end is no footer")
    file.seek(size - END.size - length)
    try:
        footer = read_struct(file.read(length))
    except ValueError as error:
        raise NoParquet(f"its footer is {error}") from None
    if GROUPS not in footer:
        raise NoParquet("its footer has no row groups")
    return footer


def _metadata(chunk: Struct) -> Struct:
    if METADATA not in chunk or any(number in chunk for number in INDEXES):
        raise NoParquet("a column has no metadata, or an index beside its pages")
    metadata: Struct = chunk[METADATA][1]
    if INDEX in metadata or BLOOM in metadata:
        raise NoParquet("a column has an index or a filter beside its pages")
    return metadata


def _path(chunk: Struct) -> tuple[bytes, ...]:
    return tuple(_metadata(chunk)[PATH][1][1])


def _number(chunk: Struct, field: int) -> int:
    return int(_metadata(chunk)[field][1])


def _span(chunk: Struct) -> tuple[int, int]:
    """Return where the pages of a column chunk begin, and their bytes."""
    metadata = _metadata(chunk)
    starts = [metadata[field][1] for field in (DICTIONARY, DATA) if field in metadata and metadata[field][1]]
    size = _number(chunk, SIZE)
    if not starts and size:
        raise NoParquet("a column has bytes, but no page")
    return min(starts, default=0), size


def _moved(chunk: Struct, by: int) -> Struct:
    """Return a column chunk that lies so many bytes further on."""
    metadata = dict(_metadata(chunk))
    for field in (DATA, DICTIONARY):
        if field in metadata and metadata[field][1]:  # 0: there is no such page
            metadata[field] = metadata[field][0], metadata[field][1] + by
    moved = {**chunk, METADATA: (chunk[METADATA][0], metadata)}
    kind, offset = chunk[CHUNK_OFFSET]
    return {**moved, CHUNK_OFFSET: (kind, offset + by if offset else 0)}


def _copy(file: BinaryIO, chunk: Struct) -> Iterator[Any]:
    """Yield the bytes of a column chunk."""
    start, size = _span(chunk)
    file.seek(start)
    while size:
        piece = file.read(min(size, COPIED))
        if not piece:
            raise NoParquet("it is shorter than its footer says")
        yield piece
        size -= len(piece)


# --- pages -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Page:
    """A page of plain values. levels: what stands before the values."""

    header: Struct
    header_size: int
    data: bytes  # header and all, as it was
    levels: bytes
    values: Values

    def with_values(self, values: Values, codec: pa.Codec | None) -> tuple[bytes, bytes]:
        """Return header and body of the page with other values."""
        if np.array_equal(values, self.values):
            return self.data[: self.header_size], self.data[self.header_size :]
        body = self.levels + values.tobytes()
        body = body if codec is None else codec.compress(body, asbytes=True)
        header = {**self.header, COMPRESSED_PAGE: (self.header[COMPRESSED_PAGE][0], len(body))}
        if CRC in header:
            (mark,) = struct.unpack("<i", struct.pack("<I", zlib.crc32(body)))
            header[CRC] = header[CRC][0], mark
        return write_struct(header), body


def _pages(data: bytes, kind: str, codec: pa.Codec | None) -> Iterator[_Page]:
    """Yield the pages of a column chunk."""
    at = 0
    while at < len(data):
        try:
            page = _page(data, at, kind, codec)
        except NoParquet:
            raise
        except (ValueError, LookupError, TypeError, AttributeError, OSError, OverflowError, MemoryError) as error:
            raise NoParquet(
                f"a page cannot be read: {error!r}"
            ) from None  # a header of any bytes, a body that is no zstd
        yield page
        at += len(page.data)


def _page(data: bytes, at: int, kind: str, codec: pa.Codec | None) -> _Page:
    """Return the page that lies at a place in a column chunk."""
    header, start = read_struct_at(data, at)
    if header[PAGE_TYPE][1] != DATA_PAGE or header[DATA_HEADER][1][ENCODING][1] != PLAIN:
        raise NoParquet("a page is not of plain values")
    if header[DATA_HEADER][1].get(STATISTICS, (STRUCT, {}))[1].keys() - {NULLS}:
        raise NoParquet("a page has statistics")
    stop = start + header[COMPRESSED_PAGE][1]
    size = header[UNCOMPRESSED_PAGE][1]
    count = header[DATA_HEADER][1][VALUES][1] * np.dtype(kind).itemsize
    if not (start <= stop <= len(data) and 0 <= count <= size):
        raise NoParquet("a page has too few bytes")
    body = data[start:stop]
    body = body if codec is None else codec.decompress(body, decompressed_size=size, asbytes=True)
    if len(body) < count:
        raise NoParquet("a page has too few bytes")
    split = len(body) - count  # no nulls: all rows have a value
    return _Page(header, start - at, data[at:stop], body[:split], np.frombuffer(body, kind, offset=split))


def _codec(chunk: Struct) -> pa.Codec | None:
    number = _number(chunk, CODEC)
    if number == UNCOMPRESSED:
        return None
    if number != ZSTD:
        raise NoParquet("it is compressed in another way")
    return pa.Codec("zstd", compression_level=LEVEL)
