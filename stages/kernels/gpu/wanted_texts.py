"""Texts of some rows of a Parquet file, read and gathered on the device: only they are copied to the host.

Guarantees: the bytes that the host would read. Memory, on the device: one chunk of text, the masks that tell whether
it is UTF-8, the texts that are wanted of it, and what libcudf holds for the chunks to come.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from stages.kernels.dispatch.resident import I64, bring
from stages.kernels.gpu import array_kernels, rapids_kernels


def read(path: str, column: str, groups: Sequence[int], limit: int, rows: I64, end: int) -> pa.Array | None:
    """Return the texts of rows of these row groups, large_string on the host; None where a chunk is not UTF-8.

    Parameters
    ----------
    limit : bytes of a chunk, about.
    rows : among those of all the row groups, ascending, (rows,) int64.
    end : how many rows the row groups hold; None is returned where the device finds others.
    """
    found, start = list[pa.Array](), 0
    for raw in rapids_kernels.parquet_chunks(path, column, groups, limit):
        stop = start + len(raw.column)
        first, last = np.searchsorted(rows, [start, stop])
        if first < last:
            begins = raw.offsets[:-1]
            if not array_kernels.well_formed(rapids_kernels.space(), raw.data, begins[begins < raw.data.shape[0]]):
                return None
            found.append(bring(raw.column.take(rows[first:last] - start)))
        start = stop
    if start != end:
        return None
    return found[0] if len(found) == 1 else pa.concat_arrays([pa.array([], pa.large_string()), *found])
