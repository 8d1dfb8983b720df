"""Ledger files as they lie there, of which nothing but groups changes: which rows live is read, not decided again.

Memory: a column in the row groups of one piece.
"""

from __future__ import annotations

import bisect
import contextlib
import itertools

import numpy as np
import pyarrow.parquet as pq

from cluster import storage
from cluster.files.parquet_columns import NoParquet
from cluster.files.sealed import open_parquet
from stages.core.arrays import BoolArray, array
from stages.core.shard import Bundle, Piece


class OldLedger:
    """The files of a ledger; one is open at a time."""

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._open = contextlib.ExitStack()
        self._ordinal = -1
        self._file: pq.ParquetFile | None = None
        self._ends: list[int] = []

    def close(self) -> None:
        self._open.close()

    def kept(self, bundle: Bundle) -> BoolArray:
        """Return which rows of a bundle live, (rows,). Raises NoParquet where a file has fewer rows, DamagedError."""
        return np.concatenate([self._of(piece) for piece in bundle.pieces])

    def _of(self, piece: Piece) -> BoolArray:
        if self._file is None or self._ordinal != piece.shard.ordinal:
            self._open.close()
            path = storage.join(self._folder, f"{piece.shard.ordinal}.parquet")
            self._file, self._ordinal = self._open.enter_context(open_parquet(path)), piece.shard.ordinal
            sizes = [self._file.metadata.row_group(n).num_rows for n in range(self._file.num_row_groups)]
            self._ends = list(itertools.accumulate(sizes, initial=0))
        first = bisect.bisect_right(self._ends, piece.start) - 1
        last = bisect.bisect_left(self._ends, piece.stop)
        if last >= len(self._ends):
            raise NoParquet(f"it has {self._ends[-1]} rows, of {piece.stop}")
        groups = list(range(first, last))
        kept = array(self._file.read_row_groups(groups, ["kept"]), "kept").astype(np.bool_, copy=False)
        return kept[piece.start - self._ends[first] :][: piece.rows]
