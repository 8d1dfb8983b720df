"""A look at a Parquet footer before Arrow's: what its column chunks say must fit the schema.

Arrow 26 ends the process where the metadata of a column chunk contradict the schema (its Python binding lets a C++
exception through), so that one damaged byte in a footer would kill a worker. Guarantees: after `check_chunks`, asking
Arrow for any column chunk of the file is safe. The footer is parsed as Thrift's compact protocol says; fields that say
nothing about this are passed over. Memory: the footer.
"""

from __future__ import annotations

import contextlib
from collections import OrderedDict
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import xxhash

STOP, TRUE, FALSE, BYTE, DOUBLE, BINARY, LIST, SET, MAP, STRUCT = 0, 1, 2, 3, 7, 8, 9, 10, 11, 12
REMEMBERED = 1 << 14  # footers that a process knows to be sound: one of 12,000 column chunks takes 0.25 s
DEEPEST = 64  # structs and lists inside each other
# Numbers of fields in parquet.thrift
SCHEMA, GROUPS = 2, 4  # of FileMetaData
TYPE, REPETITION, CHILDREN = 1, 3, 5  # of SchemaElement
COLUMNS = 1  # of RowGroup
METADATA, CRYPTO = 3, 8  # of ColumnChunk
SIZES = 16  # of ColumnMetaData
UNENCODED, REPETITIONS, DEFINITIONS = 1, 2, 3  # of SizeStatistics
OPTIONAL, REPEATED, BYTE_ARRAY = 1, 2, 6

_sound: OrderedDict[int, None] = OrderedDict()

Fields = dict[int, Any]
# What is kept of each struct: field -> what is kept of the struct below it; None: the plain value, or a list's length
KEPT_SIZES: Fields = {UNENCODED: None, REPETITIONS: None, DEFINITIONS: None}
KEPT_CHUNK: Fields = {METADATA: {SIZES: KEPT_SIZES}, CRYPTO: {}}
KEPT: Fields = {
    SCHEMA: {TYPE: None, REPETITION: None, CHILDREN: None},
    GROUPS: {COLUMNS: KEPT_CHUNK},
}


def check_chunks(metadata: pq.FileMetaData) -> None:
    """Raise ArrowInvalid where the metadata of a column chunk do not fit the schema."""
    sink = pa.BufferOutputStream()
    metadata.write_metadata_file(sink)
    data = memoryview(sink.getvalue()).cast("B")[4:-8]
    mark = xxhash.xxh3_128_intdigest(data)
    if mark in _sound:
        return
    _check(data)
    _sound[mark] = None
    while len(_sound) > REMEMBERED:
        with contextlib.suppress(KeyError):  # another thread was first
            _sound.popitem(last=False)


def _check(footer: memoryview) -> None:
    try:
        found = _Reader(footer).struct(KEPT, 0)
    except (IndexError, RecursionError) as error:
        raise pa.ArrowInvalid("the footer is cut or too deep") from error
    leaves = _leaves(found.get(SCHEMA, []))
    for group in found.get(GROUPS, []):
        chunks = group.get(COLUMNS, [])
        if len(chunks) != len(leaves):
            raise pa.ArrowInvalid(f"a row group has {len(chunks)} columns, the schema {len(leaves)}")
        for chunk, leaf in zip(chunks, leaves, strict=True):
            _check_chunk(chunk, *leaf)


def _check_chunk(chunk: Fields, kind: int, repetition: int, definition: int) -> None:
    if METADATA not in chunk or CRYPTO in chunk:
        raise pa.ArrowInvalid("a column is encrypted, or its metadata are missing")
    sizes = chunk[METADATA].get(SIZES, {})
    for field, level in ((REPETITIONS, repetition), (DEFINITIONS, definition)):
        if sizes.get(field) not in (None, 0, level + 1):
            raise pa.ArrowInvalid(f"statistics of sizes have {sizes[field]} levels, the column {level + 1}")
    if UNENCODED in sizes and kind != BYTE_ARRAY:
        raise pa.ArrowInvalid("statistics of sizes count bytes of a column that has none")


def _leaves(elements: list[Fields]) -> list[tuple[int, int, int]]:
    """Return (type, highest repetition level, highest definition level) of every leaf of the schema, in order."""
    found: list[tuple[int, int, int]] = []
    above = [(elements[0].get(CHILDREN, 0), 0, 0)] if elements else []  # children to come, levels
    for element in elements[1:]:
        while above and above[-1][0] <= 0:
            above.pop()
        if not above:
            raise pa.ArrowInvalid("the schema has more elements than its tree")
        left, repetition, definition = above.pop()
        above.append((left - 1, repetition, definition))
        way = element.get(REPETITION, 0)
        repetition, definition = repetition + (way == REPEATED), definition + (way in (OPTIONAL, REPEATED))
        if element.get(CHILDREN, 0) > 0:
            above.append((element[CHILDREN], repetition, definition))
        else:
            found.append((element.get(TYPE, -1), repetition, definition))
    return found


class _Reader:
    """Reads structs of Thrift's compact protocol. Raises IndexError at the end of the bytes."""

    def __init__(self, data: memoryview) -> None:
        self._data = data
        self._at = 0

    def struct(self, kept: Fields, depth: int) -> Fields:
        """Return the fields of a struct that are asked for."""
        found: Fields = {}
        number = 0
        while (head := self._byte()) & 15 != STOP:
            kind = head & 15
            number = number + (head >> 4) if head >> 4 else self._signed()
            if number in kept:
                found[number] = self._value(kind, kept[number], depth + 1)
            else:
                self._skip(kind, depth + 1)
        return found

    def _value(self, kind: int, kept: Fields | None, depth: int) -> Any:
        """Return a value: a struct or a list of them as far as it is asked for, of another list the length."""
        if kind == STRUCT and kept is not None:
            return self.struct(kept, depth)
        if kind == LIST:
            size, item = self._list_head()
            if item == STRUCT and kept is not None:
                return [self.struct(kept, depth + 1) for _ in range(size)]
            for _ in range(size):
                self._skip(item, depth + 1, inside=True)
            return [] if kept is not None else size
        if kind in (TRUE, FALSE, BYTE, DOUBLE, BINARY, SET, MAP, STRUCT):
            self._skip(kind, depth)
            return {} if kept is not None else None
        return self._signed()

    def _skip(self, kind: int, depth: int, inside: bool = False) -> None:
        if depth > DEEPEST:
            raise RecursionError
        if kind == STRUCT:
            while (head := self._byte()) & 15 != STOP:
                if not head >> 4:
                    self._varint()
                self._skip(head & 15, depth + 1)
        elif kind in (LIST, SET):
            size, item = self._list_head()
            for _ in range(size):
                self._skip(item, depth + 1, inside=True)
        elif kind == MAP:
            size = self._varint()
            kinds = self._byte() if size else 0
            for _ in range(size):
                self._skip(kinds >> 4, depth + 1, inside=True)
                self._skip(kinds & 15, depth + 1, inside=True)
        elif kind == BINARY:
            size = self._varint()
            self._at += size
        elif kind == DOUBLE:
            self._at += 8
        elif kind == BYTE or (inside and kind in (TRUE, FALSE)):
            self._at += 1
        elif kind not in (TRUE, FALSE):
            self._varint()

    def _list_head(self) -> tuple[int, int]:
        head = self._byte()
        size = self._varint() if head >> 4 == 15 else head >> 4
        if size > len(self._data) - self._at:
            raise IndexError  # every item takes a byte at least
        return size, head & 15

    def _byte(self) -> int:
        value = self._data[self._at]
        self._at += 1
        return value

    def _signed(self) -> int:
        value = self._varint()
        return (value >> 1) ^ -(value & 1)

    def _varint(self) -> int:
        data, at = self._data, self._at
        value = data[at]
        at += 1
        if value & 128:
            value &= 127
            shift = 7
            while True:
                more = data[at]
                at += 1
                value |= (more & 127) << shift
                if more < 128:
                    break
                shift += 7
        self._at = at
        return value
