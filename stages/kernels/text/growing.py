"""Tables of kernels that grow, compiled by numba.

Copied number by number: an assignment of one array to a part of another compiles a sentence about shapes that do not
fit, and with it two seconds of text handling into each kernel.
"""

from __future__ import annotations

import numba
import numpy as np


@numba.njit(cache=True, nogil=True)
def grown(rows, used):  # type: ignore[no-untyped-def]
    """Return a table twice as long, (2 * rows, columns), that begins with the first `used` rows."""
    more = np.empty((2 * len(rows), rows.shape[1]), rows.dtype)
    for i in range(used):
        for j in range(rows.shape[1]):
            more[i, j] = rows[i, j]
    return more


@numba.njit(cache=True, nogil=True)
def grown_row(row, used):  # type: ignore[no-untyped-def]
    """Return an array twice as long, (2 * numbers,), that begins with the first `used` numbers."""
    more = np.empty(2 * len(row), row.dtype)
    for i in range(used):
        more[i] = row[i]
    return more
