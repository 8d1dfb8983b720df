"""The way from tokens of an export to the documents they come from: one row for each piece of a document.

`trace/part-N.parquet` beside the files: the piece's place in the part's tokens (`start`, `length`), its document and
copy, and which of the document's tokens it holds (`first` of `document_tokens`), so that cuts show. Guarantees: rows
ascend by `start`; tokens that no row covers fill a window. Memory: one row group.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from cluster import storage
from cluster.files.digesting import Digesting
from cluster.files.sealed import Sealing, damaged, open_parquet, reading
from stages.core.digests import DATA_FORMAT

GROUP_ROWS = 1 << 16
SCHEMA = pa.schema(
    [
        ("start", pa.int64()),
        ("length", pa.int32()),
        ("doc_id", pa.int64()),
        ("copy", pa.int32()),
        ("first", pa.int64()),
        ("document_tokens", pa.int64()),
    ],
    metadata={"winnow.format": str(DATA_FORMAT)},
)
I64 = npt.NDArray[np.int64]


class SidecarWriter:
    """Writes the pieces of one part; `close` before the file is committed."""

    def __init__(self, file: Any) -> None:
        self.out = Digesting(file)
        self._sealing = Sealing(self.out)
        self._writer = pq.ParquetWriter(
            self._sealing, SCHEMA, compression="zstd", write_statistics=["start"], write_page_checksum=True
        )

    def write(self, columns: dict[str, I64]) -> None:
        """Append pieces, given as columns of `SCHEMA`."""
        table = pa.table([pa.array(columns[f.name], f.type) for f in SCHEMA], schema=SCHEMA)
        self._writer.write_table(table, row_group_size=GROUP_ROWS)

    def close(self) -> None:
        self._writer.close()
        self._sealing.finish()


def sidecar_path(root: str, part: int) -> str:
    """Return where the sidecar of a part lies."""
    return storage.join(root, "trace", f"part-{part:05d}.parquet")


def pieces_between(path: str, start: int, stop: int) -> pa.Table:
    """Return the pieces that hold any of the tokens [start, stop) of a part. Raises DamagedError, FileNotFoundError."""
    found = []
    with open_parquet(path) as file:
        if file.schema_arrow.types != SCHEMA.types or file.schema_arrow.names != SCHEMA.names:
            raise damaged(path, "it holds no pieces")
        metadata = file.metadata
        firsts = [metadata.row_group(g).column(0).statistics.min for g in range(metadata.num_row_groups)]
        for group in range(metadata.num_row_groups):
            last = group + 1 == len(firsts)
            if firsts[group] < stop and (last or firsts[group + 1] >= start):
                with reading(path):
                    table = file.read_row_group(group)
                begin = table.column("start").to_numpy()
                end = begin + table.column("length").to_numpy()
                found.append(table.filter(pa.array((begin < stop) & (end > start))))
    return pa.concat_tables(found) if found else SCHEMA.empty_table()
