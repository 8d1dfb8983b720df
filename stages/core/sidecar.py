"""Facts and decisions on disk: row-keyed Arrow files beside the documents, one per bundle.

Addressed by the digest of what made them and by the bundle's content, so a sidecar that is found
fits. A missing one is work for the planner and an error for a reader; a short or foreign one is
always an error, and one that is damaged is found to be before a byte of it is used (`cluster.files.sealed`).
Facts are sparse (column `row` says which rows they cover) and grow by supplements.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from cluster import storage
from cluster.errors import LedgerError
from cluster.files.arrow_files import read_arrow_if_there, write_arrow
from cluster.files.sealed import commit_sealed, damaged
from stages.core.arrays import rows_of
from stages.core.digests import DATA_FORMAT
from stages.core.formats import check_format
from stages.core.shard import Bundle, check_ascending

ROW = pa.field("row", pa.uint32())
JOINED_ROWS = 4096  # of small batches that are written together
_FORMAT = b"winnow.format"
_ROWS = b"winnow.rows"


@dataclass(frozen=True)
class Sidecars:
    """The sidecars of one stage under one digest, one per bundle."""

    folder: str  # RUN/facts/<stage>/<digest> or RUN/decisions/<name>/<digest>

    def path(self, bundle: Bundle, reading: str, supplement: int = 0) -> str:
        name = f"{bundle.number}-{bundle.fingerprint}{reading}"
        return storage.join(self.folder, f"{name}.{supplement}.arrow" if supplement else f"{name}.arrow")

    def parts(self, bundle: Bundle, reading: str) -> list[str]:
        """Return the paths of the parts that exist: the sidecar and its supplements."""
        found: list[str] = []
        while storage.exists(path := self.path(bundle, reading, len(found))):
            found.append(path)
        return found

    @contextlib.contextmanager
    def writer(self, bundle: Bundle, reading: str, schema: pa.Schema) -> Iterator[Writer]:
        """Yield a writer of the bundle's next part; the file is committed when the block ends."""
        path = self.path(bundle, reading, len(self.parts(bundle, reading)))
        schema = pa.schema([ROW, *schema]).with_metadata(_metadata(bundle))
        options = pa.ipc.IpcWriteOptions(compression=None)
        with commit_sealed(path) as file, pa.ipc.new_file(file, schema, options=options) as writer:
            parts = Writer(writer, schema)
            yield parts
            parts.flush()

    def write(self, bundle: Bundle, reading: str, table: pa.Table) -> None:
        """Write a sidecar of decisions atomically; an existing one is replaced by the same content."""
        path = self.path(bundle, reading)
        write_arrow(path, table.replace_schema_metadata(_metadata(bundle)))

    def read(self, bundle: Bundle, reading: str, columns: list[str] | None = None) -> pa.Table:
        """Return all parts as one table sorted by `row`. Raises LedgerError if it does not fit the bundle."""
        table = self.read_if_there(bundle, reading, columns)
        if table is None:
            raise LedgerError(f"sidecar {self.path(bundle, reading)} is missing; `winnow run` again makes it.")
        return table

    def read_if_there(self, bundle: Bundle, reading: str, columns: list[str] | None = None) -> pa.Table | None:
        """Return what `read` does, None where there is no part: a request for each, and one that finds no more."""
        tables: list[pa.Table] = []
        while (table := read_arrow_if_there(self.path(bundle, reading, len(tables)))) is not None:
            tables.append(self._checked(table, self.path(bundle, reading, len(tables)), bundle, columns))
        if len(tables) < 2:
            return tables[0] if tables else None
        table = pa.concat_tables(tables)
        return table.take(pa.array(np.argsort(table.column("row").to_numpy(), kind="stable")))

    def _checked(self, table: pa.Table, path: str, bundle: Bundle, columns: list[str] | None) -> pa.Table:
        metadata = table.schema.metadata or {}
        check_format(metadata.get(_FORMAT), f"sidecar {path}")
        if int(metadata.get(_ROWS, b"-1")) != bundle.rows:
            raise damaged(path, f"it is for {metadata.get(_ROWS)!r} rows, the manifest says {bundle.rows}")
        check_ascending(table.column("row").to_numpy(), f"rows of sidecar {path}")
        return table if columns is None else table.select(["row", *columns])


class Writer:
    """Writer of one part; facts of tiny shards are joined into few record batches."""

    def __init__(self, file: pa.ipc.RecordBatchFileWriter, schema: pa.Schema) -> None:
        self._file = file
        self._schema = schema
        self._held: list[pa.Table] = []
        self._rows = 0

    def append(self, rows: npt.NDArray[np.integer], facts: pa.Table) -> None:
        """Add facts of these rows, (rows,), in the schema's order of columns."""
        if not len(rows):
            return
        columns = [pa.array(rows.astype(np.uint32)), *facts.columns]
        self._held.append(pa.table(columns, schema=self._schema))
        self._rows += len(rows)
        if self._rows >= JOINED_ROWS:
            self.flush()

    def flush(self) -> None:
        """Write the rows that are buffered."""
        if self._held:
            self._file.write_table(pa.concat_tables(self._held).combine_chunks())
        self._held, self._rows = [], 0


def _metadata(bundle: Bundle) -> dict[bytes, bytes]:
    return {_FORMAT: str(DATA_FORMAT).encode(), _ROWS: str(bundle.rows).encode()}


def expand(rows: npt.NDArray[np.uint32], values: pa.Table, wanted: npt.NDArray[np.int64], what: str) -> pa.Table:
    """Return `values` of the `wanted` bundle rows. Raises LedgerError if one is missing or they do not ascend."""
    check_ascending(wanted, f"rows wanted of {what}")
    position = np.searchsorted(rows, wanted)
    if len(wanted) and (position[-1] >= len(rows) or not np.array_equal(rows[position], wanted)):
        raise LedgerError(f"facts of {what} do not cover every row they are asked for; run again.")
    return rows_of(values, position)
