"""A Parquet file with some of its columns replaced: the others are copied as they are, compressed.

Guarantees: where the columns come from a writer with the settings of the file's, the bytes are those that this writer
would have written of all columns. Memory: `COPIED` bytes, the footers.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any, BinaryIO

from cluster.files.digesting import Writable
from cluster.files.thrift import I64, Struct, read_struct, write_struct

MAGIC = b"PAR1"
END = struct.Struct("<i4s")  # length of the footer, and the word
COPIED = 1 << 20
# Numbers of fields in parquet.thrift
GROUPS = 4  # of FileMetaData
COLUMNS, BYTES, ROWS, OFFSET, COMPRESSED = 1, 2, 3, 5, 6  # of RowGroup
CHUNK_OFFSET, METADATA, INDEXES = 2, 3, (4, 6)  # of ColumnChunk
PATH, UNCOMPRESSED_SIZE, SIZE, DATA, INDEX, DICTIONARY, BLOOM = 3, 6, 7, 9, 10, 11, 14  # of ColumnMetaData


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
    out.write(MAGIC)
    at = len(MAGIC)
    for group, other in zip(groups, replaced, strict=True):
        new = {_path(chunk): chunk for chunk in other[COLUMNS][1][1]}
        kind, chunks = group[COLUMNS][1]
        if not new.keys() <= {_path(chunk) for chunk in chunks}:
            raise NoParquet("a column is not in the file")
        merged: list[Struct] = []
        for chunk in chunks:
            file, mine = (columns, new[_path(chunk)]) if _path(chunk) in new else (old, chunk)
            start, size = _span(mine)
            _copy(file, start, size, out)
            merged.append(_moved(mine, at - start))
            at += size
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
    footer = read_struct(file.read(length))
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


def _copy(file: BinaryIO, start: int, size: int, out: Writable) -> None:
    file.seek(start)
    for piece in _pieces(file, size):
        out.write(piece)


def _pieces(file: BinaryIO, size: int) -> Iterator[Any]:
    while size:
        piece = file.read(min(size, COPIED))
        if not piece:
            raise NoParquet("it is shorter than its footer says")
        yield piece
        size -= len(piece)
