"""Rows of fixed width as bytes, one row after the other: what a hop writes where no column needs more.

Rows carry no header, and the rows of several slices in a row are the rows of one. A column that holds a null, or
values of any length, is not packed; such tables are written as Arrow messages (slices.py).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa


def row_type(schema: pa.Schema) -> np.dtype[Any] | None:
    """Return the type of one row, little-endian without gaps; None where a column has no fixed width.

    Examples
    --------
    >>> row_type(pa.schema([("key", pa.uint64()), ("held", pa.bool_()), ("slots", pa.binary(3))])).itemsize
    12
    >>> row_type(pa.schema([("text", pa.string())])) is None
    True
    """
    fields = [_format(kind) for kind in schema.types]
    if not fields or None in fields:
        return None
    return np.dtype([(str(place), form) for place, form in enumerate(fields)])


def _format(kind: pa.DataType) -> str | None:
    """Return the numpy format of the values of one column."""
    if pa.types.is_boolean(kind):
        return "u1"
    if pa.types.is_integer(kind) or pa.types.is_floating(kind):
        return str(np.dtype(kind.to_pandas_dtype()).newbyteorder("<").str)
    if pa.types.is_fixed_size_binary(kind) and kind.byte_width:
        return f"V{kind.byte_width}"
    return None


def pack(table: pa.Table, kind: np.dtype[Any], order: npt.NDArray[np.int64] | None = None) -> bytes | None:
    """Return the rows of a table as bytes, in this order; None where a value is null.

    Memory: the packed rows twice.
    """
    if any(column.null_count for column in table.columns):
        return None
    rows = np.empty(table.num_rows, kind)
    for name, column in zip(kind.names or (), table.columns, strict=True):
        values = _values(column.combine_chunks(), kind[name])
        rows[name] = values if order is None else values[order]
    return rows.tobytes()


def _values(column: pa.Array | pa.ChunkedArray, kind: np.dtype[Any]) -> npt.NDArray[Any]:
    """Return the values of a column without nulls, (rows,)."""
    if isinstance(column, pa.ChunkedArray):
        column = column.chunk(0) if column.num_chunks else pa.array([], column.type)
    if kind.kind != "V":
        found: npt.NDArray[Any] = column.to_numpy(zero_copy_only=False)
        return found
    if not len(column):
        return np.empty(0, kind)
    return np.frombuffer(column.buffers()[1], kind, len(column), column.offset * kind.itemsize)


def unpack(data: bytes | memoryview | pa.Buffer, schema: pa.Schema, kind: np.dtype[Any]) -> pa.RecordBatch:
    """Return packed rows as a record batch of this schema. Raises ValueError where they are no whole rows."""
    rows = np.frombuffer(data, kind)
    columns = [
        _column(np.ascontiguousarray(rows[name]), field.type)
        for name, field in zip(kind.names or (), schema, strict=True)
    ]
    return pa.record_batch(columns, schema=schema)


def _column(values: npt.NDArray[Any], kind: pa.DataType) -> pa.Array:
    if pa.types.is_boolean(kind):
        return pa.array(values.astype(np.bool_))
    if values.dtype.kind != "V":
        return pa.array(values, kind)
    return pa.FixedSizeBinaryArray.from_buffers(kind, len(values), [None, pa.py_buffer(values)])
