"""Columns of Arrow tables as arrays, and the types of arrays that stages share."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from stages.kernels.dispatch.resident import Resident

BoolArray = npt.NDArray[np.bool_]  # a mask
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


def places_in(ascending: npt.NDArray[Any], values: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    """Return the place of each value in an ascending array, -1 where it is not there, (values,).

    Examples
    --------
    >>> places_in(np.array([3, 5, 8]), np.array([8, 4, 3, 9])).tolist()
    [2, -1, 0, -1]
    """
    if not len(ascending):
        return np.full(len(values), -1, np.int64)
    at = np.minimum(np.searchsorted(ascending, values), len(ascending) - 1)
    return np.where(ascending[at] == values, at, -1)


def list_column(rows: int, place: npt.NDArray[np.int64], values: pa.Array) -> pa.Array:
    """Return lists of values, one list per row; `place` is each value's row, ascending."""
    offsets = np.zeros(rows + 1, np.int32)
    np.cumsum(np.bincount(place, minlength=rows), out=offsets[1:])
    return pa.ListArray.from_arrays(pa.array(offsets), values)
