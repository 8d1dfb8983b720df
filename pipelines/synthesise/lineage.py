"""Where a synthetic document comes from: read from its row. Memory: one row group of one file, without texts."""

from __future__ import annotations

from typing import Any

import pyarrow.parquet as pq

from cluster import storage
from pipelines.synthesise.synthesise import LINEAGE


def lineage_of(path: str, row: int) -> dict[str, Any] | None:
    """Return the lineage in a row of a synthetic dataset's file; None where the file has no such columns."""
    try:
        with storage.open_read(path) as file, pq.ParquetFile(file) as parquet:
            if not set(LINEAGE) <= set(parquet.schema_arrow.names):
                return None
            for group in range(parquet.num_row_groups):
                rows = parquet.metadata.row_group(group).num_rows
                if row < rows:
                    table = parquet.read_row_group(group, columns=list(LINEAGE))
                    found: dict[str, Any] = table.slice(row, 1).to_pylist()[0]
                    return found
                row -= rows
    except OSError:
        return None
    return None
