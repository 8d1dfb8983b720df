"""Vectors as columns: read from inputs, stored as facts in half precision, taken out as matrices."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from cluster.errors import ShardError
from stages.core.arrays import whole
from stages.inputs.columns import holds_text, parse_json
from stages.kernels.similarity import cosine

VECTOR = pa.list_(pa.float16())


def column_vectors(values: pa.ChunkedArray, what: str) -> npt.NDArray[np.float64]:
    """Return an input column of lists of numbers, or of JSON texts of such, as (docs, dimensions), 0 for null.

    Raises
    ------
    ShardError
        The column holds something else, or vectors of different lengths.
    """
    try:
        if holds_text(values.type):
            lists = pa.array(parse_json(values), pa.list_(pa.float64()))
        else:
            lists = whole(values).cast(pa.list_(pa.float64()))
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, pa.ArrowTypeError) as error:
        raise ShardError(f"{what} holds {values.type}, lists of numbers were expected ({error}).") from error
    size = np.asarray(lists.value_lengths().fill_null(0))
    dimensions = sorted(set(size[size > 0].tolist()))
    if len(dimensions) > 1:
        raise ShardError(
            f"{what} holds vectors of different lengths ({dimensions[0]} and {dimensions[-1]}). Embed every document "
            "with the same model."
        )
    found = np.zeros((len(lists), dimensions[0] if dimensions else 0))
    if dimensions:
        flat = lists.flatten().to_numpy(zero_copy_only=False)  # of lists that are not null; a null inside is NaN
        found[size > 0] = flat.reshape(-1, dimensions[0])
    return found


def to_column(vectors: cosine.F16, good: cosine.BoolArray) -> pa.Array:
    """Return vectors as a list column, null where there is no direction."""
    offsets = np.arange(len(vectors) + 1, dtype=np.int32) * np.int32(vectors.shape[1])
    values = pa.array(np.ascontiguousarray(vectors).reshape(-1), pa.float16())
    return pa.ListArray.from_arrays(pa.array(offsets), values, mask=pa.array(~good))


def to_matrix(column: pa.ChunkedArray) -> cosine.F16:
    """Return a list column without nulls, of lists of one length, as (docs, dimensions) float16."""
    lists = whole(column)
    values: cosine.F16 = lists.flatten().to_numpy(zero_copy_only=False)
    return values.reshape(len(lists), -1) if len(lists) else np.empty((0, 0), np.float16)


def to_lists(vectors: cosine.F16) -> pa.Array:
    """Return vectors as a list column without nulls."""
    return to_column(vectors, np.ones(len(vectors), np.bool_))
