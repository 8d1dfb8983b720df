"""Columns of Arrow tables as arrays, and the types of arrays that stages share."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from stages.kernels.dispatch.resident import Resident

BoolArray = npt.NDArray[np.bool_]  # a mask
GOLDEN = np.uint64(0x9E3779B97F4A7C15)
MANY = 8  # values for each one among which they are searched, from which on most are told not to be there first
SPARSE = 8  # places of a table for each value
FEW = 8  # one row in so many: fewer rows are taken by themselves
FloatArray = npt.NDArray[np.float64]  # scores, values, thresholds


def whole(column: pa.ChunkedArray) -> pa.Array:
    """Return a column as one contiguous array, copied only if it has several chunks; a device column as it is."""
    if isinstance(column, Resident):
        return column
    if column.num_chunks == 1:
        return column.chunk(0)
    return pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], column.type)


def array(table: pa.Table, name: str) -> npt.NDArray[Any]:
    """Return a column without nulls as a numpy array, (rows,)."""
    return np.asarray(whole(table.column(name)).to_numpy(zero_copy_only=False))


def rows_of(table: pa.Table, rows: npt.NDArray[np.int64]) -> pa.Table:
    """Return rows of a table, which ascend; few of them are taken batch by batch, as Arrow would join batches first.

    Examples
    --------
    >>> table = pa.Table.from_batches([pa.record_batch({"a": [n, n + 1]}) for n in range(0, 64, 2)])
    >>> rows_of(table, np.array([0, 3, 63])).column("a").to_pylist()
    [0, 3, 63]
    """
    if len(rows) == table.num_rows:
        return table
    if FEW * len(rows) > table.num_rows:
        return table.take(pa.array(rows))
    found: list[pa.RecordBatch] = []
    start, first = 0, 0
    for batch in table.to_batches():
        start += batch.num_rows
        last = int(np.searchsorted(rows, start))
        if last > first:
            found.append(batch.take(pa.array(rows[first:last] - (start - batch.num_rows))))
        first = last
    return pa.Table.from_batches(found, schema=table.schema)


def places_in(ascending: npt.NDArray[Any], values: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    """Return the place of each value in an ascending array, -1 where it is not there, (values,).

    Examples
    --------
    >>> places_in(np.array([3, 5, 8]), np.array([8, 4, 3, 9])).tolist()
    [2, -1, 0, -1]
    """
    if not len(ascending):
        return np.full(len(values), -1, np.int64)
    if values.dtype.kind in "iu" and ascending.dtype.kind in "iu" and len(values) > MANY * len(ascending):
        found = np.full(len(values), -1, np.int64)
        maybe = np.flatnonzero(_may_be_in(ascending, values))
        found[maybe] = _places(ascending, values[maybe])
        return found
    return _places(ascending, values)


def _may_be_in(ascending: npt.NDArray[Any], values: npt.NDArray[Any]) -> BoolArray:
    """Mark the values that may be in an array, (values,), by a table of bits of their products: most others are not."""
    bits = max(10, int(SPARSE * len(ascending)).bit_length())
    shift = np.uint64(64 - bits)
    marked = np.zeros(1 << bits, np.bool_)
    marked[(ascending.astype(np.uint64) * GOLDEN) >> shift] = True
    found: BoolArray = marked[(values.astype(np.uint64) * GOLDEN) >> shift]
    return found


def _places(ascending: npt.NDArray[Any], values: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    at = np.minimum(np.searchsorted(ascending, values), len(ascending) - 1)
    return np.where(ascending[at] == values, at, -1)


def list_column(rows: int, place: npt.NDArray[np.int64], values: pa.Array) -> pa.Array:
    """Return lists of values, one list per row; `place` is each value's row, ascending."""
    offsets = np.zeros(rows + 1, np.int32)
    np.cumsum(np.bincount(place, minlength=rows), out=offsets[1:])
    return pa.ListArray.from_arrays(pa.array(offsets), values)
