"""Structs of Thrift's compact protocol, read whole and written again: what the footer of a Parquet file is.

Guarantees: bytes that a usual writer wrote (fields in order of their numbers, short forms where there are any) are
read and written to the same bytes. Memory: the struct.
"""

from __future__ import annotations

from typing import Any, TypeAlias

STOP, TRUE, FALSE, BYTE, I16, I32, I64, DOUBLE, BINARY, LIST, SET, MAP, STRUCT = range(13)
BOOLS = (TRUE, FALSE)
INTEGERS = (I16, I32, I64)
Value: TypeAlias = Any  # int, bytes, Struct, or for a list (kind of its items, items)
Struct: TypeAlias = "dict[int, tuple[int, Value]]"  # number of a field -> (kind, value)


def read_struct(data: bytes | memoryview) -> Struct:
    """Return the struct that bytes begin with. Raises ValueError where they hold none."""
    return read_struct_at(data, 0)[0]


def read_struct_at(data: bytes | memoryview, start: int) -> tuple[Struct, int]:
    """Return the struct that lies at a place in bytes, and where it ends. Raises ValueError where there is none."""
    try:
        reader = _Reader(memoryview(data), start)
        return reader.struct(), reader.at
    except (IndexError, RecursionError, OverflowError) as error:
        raise ValueError("no struct of Thrift's compact protocol") from error


def write_struct(struct: Struct) -> bytes:
    """Return the bytes of a struct, its fields in order of their numbers."""
    out = bytearray()
    _write_struct(out, struct)
    return bytes(out)


class _Reader:
    def __init__(self, data: memoryview, start: int) -> None:
        self._data = data
        self.at = start

    def struct(self) -> Struct:
        found: Struct = {}
        number = 0
        while head := self._byte():
            kind = head & 15
            number = number + (head >> 4) if head >> 4 else _signed(self._varint())
            found[number] = kind, kind if kind in BOOLS else self._value(kind)
        return found

    def _value(self, kind: int) -> Value:
        if kind in INTEGERS:
            return _signed(self._varint())
        if kind in (BYTE, TRUE, FALSE):  # these two stand in lists
            return self._byte()
        if kind == BINARY:
            return self._bytes(self._varint())
        if kind == STRUCT:
            return self.struct()
        if kind in (LIST, SET):
            head = self._byte()
            size = self._varint() if head >> 4 == 15 else head >> 4
            if size > len(self._data) - self.at:
                raise IndexError
            return head & 15, [self._value(head & 15) for _ in range(size)]
        if kind == DOUBLE:
            return self._bytes(8)
        raise ValueError(f"no struct that is known: a field of kind {kind}")  # MAP: Parquet has none

    def _bytes(self, size: int) -> bytes:
        self.at += size
        if self.at > len(self._data):
            raise IndexError
        return bytes(self._data[self.at - size : self.at])

    def _byte(self) -> int:
        self.at += 1
        return self._data[self.at - 1]

    def _varint(self) -> int:
        value, shift = 0, 0
        while (byte := self._byte()) & 128:
            value |= (byte & 127) << shift
            shift += 7
        return value | byte << shift


def _signed(value: int) -> int:
    return (value >> 1) ^ -(value & 1)


def _write_struct(out: bytearray, struct: Struct) -> None:
    before = 0
    for number, (kind, value) in sorted(struct.items()):
        if 0 < number - before <= 15:
            out.append((number - before) << 4 | kind)
        else:
            out.append(kind)
            _write_varint(out, _unsigned(number))
        before = number
        if kind not in BOOLS:
            _write_value(out, kind, value)
    out.append(STOP)


def _write_value(out: bytearray, kind: int, value: Value) -> None:
    if kind in INTEGERS:
        _write_varint(out, _unsigned(value))
    elif kind in (BYTE, TRUE, FALSE):
        out.append(value)
    elif kind == BINARY:
        _write_varint(out, len(value))
        out += value
    elif kind == STRUCT:
        _write_struct(out, value)
    elif kind == DOUBLE:
        out += value
    else:
        item, values = value
        if len(values) < 15:
            out.append(len(values) << 4 | item)
        else:
            out.append(0xF0 | item)
            _write_varint(out, len(values))
        for each in values:
            _write_value(out, item, each)


def _unsigned(value: int) -> int:
    return value << 1 if value >= 0 else (-value << 1) - 1


def _write_varint(out: bytearray, value: int) -> None:
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
