"""Tables of a run folder's files: ledger files joined, files of the mix, rows of the input.

Guarantees: a table at a time, of at most BATCH_ROWS rows where files are read in order.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from cluster import storage
from cluster.errors import LedgerError
from cluster.files.sealed import batches, open_parquet, reading
from pipelines.artefacts import LedgerRow, ShardRow
from pipelines.written_texts import Document

if TYPE_CHECKING:
    from stages.core.run import Run

BATCH_ROWS = 1 << 17
WHOLE_ROWS = 1 << 16
BATCH_FILES = 1 << 12  # tables held until they are joined; each takes some 10 kB beside its rows


class Tables(Iterator[pa.Table]):
    """Tables one after the other, as they are read; or all of them as one table of Arrow, pandas or Polars.

    Examples
    --------
    >>> Tables(iter([pa.table({"n": [1]}), pa.table({"n": [2]})])).arrow().column("n").to_pylist()
    [1, 2]
    """

    def __init__(self, tables: Iterator[pa.Table]) -> None:
        self._tables = tables

    def __iter__(self) -> Iterator[pa.Table]:
        return self

    def __next__(self) -> pa.Table:
        return next(self._tables)

    def reader(self) -> pa.RecordBatchReader:
        """Return a reader of record batches, for what takes Arrow streams: DuckDB, Polars, datasets. Holds one table.

        Where later tables lack a column of the first, or have another type, the reader raises ArrowInvalid.
        """
        first = next(self._tables, None)
        if first is None:
            return pa.RecordBatchReader.from_batches(pa.schema([]), iter(()))
        rest = (table.cast(first.schema) for table in self._tables)
        batches_of_all = (batch for table in itertools.chain([first], rest) for batch in table.to_batches())
        return pa.RecordBatchReader.from_batches(first.schema, batches_of_all)

    def arrow(self) -> pa.Table:
        """Return one Arrow table; a column that some tables lack is null there. Memory: all of it."""
        found = list(self._tables)
        return pa.concat_tables(found, promote_options="default") if found else pa.table({})

    def pandas(self) -> Any:
        """Return a pandas DataFrame. Memory: all of it, twice while it is made."""
        return self.arrow().to_pandas()

    def polars(self) -> Any:
        """Return a Polars DataFrame, on the memory of the Arrow table where types allow it. Memory: all of it."""
        import polars

        return polars.from_arrow(self.arrow())


def ledger_tables(path: str, shard: ShardRow, columns: Sequence[str] | None) -> Iterator[pa.Table]:
    """Yield the ledger file of a shard in tables of at most `BATCH_ROWS` rows. Raises LedgerError.

    Of a store, a file of up to WHOLE_ROWS rows is fetched by one request, and held.
    """

    def check(reader: pq.ParquetFile) -> None:
        check_format_of(reader, path)
        if reader.metadata.num_rows != shard["rows"]:
            raise LedgerError(
                f"{path} has {reader.metadata.num_rows:,} rows, the manifest says {shard['rows']:,} for "
                f"{shard['path']}. Delete it and run again."
            )

    names = None if columns is None else list(columns)
    try:
        yield from batches(path, BATCH_ROWS, names, check, whole=shard["rows"] <= WHOLE_ROWS)
    except FileNotFoundError:
        raise LedgerError(f"{path} is missing (shard {shard['path']}). `winnow run` again makes it.") from None


def ledger_rows(path: str, rows: npt.NDArray[np.int64]) -> Iterator[LedgerRow]:
    """Yield these rows of a ledger file, numbers in the file that ascend, NaN as None. Raises LedgerError.

    Memory: one row group.
    """
    try:
        with open_parquet(path) as reader:
            start = 0
            for group in range(reader.metadata.num_row_groups):
                end = start + reader.metadata.row_group(group).num_rows
                mine = rows[(rows >= start) & (rows < end)] - start
                if len(mine):
                    with reading(path):
                        table = reader.read_row_group(group)
                    for row in table.take(pa.array(mine)).to_pylist():
                        yield cast("LedgerRow", {name: None if v != v else v for name, v in row.items()})
                start = end
    except FileNotFoundError:
        raise LedgerError(f"{path} is missing. `winnow run` again makes it.") from None


def joined(tables: Iterable[pa.Table]) -> Iterator[pa.Table]:
    """Join consecutive tables up to `BATCH_ROWS` rows: a hundred thousand tiny shards are not as many tables."""
    held: list[pa.Table] = []
    rows = 0
    for table in tables:
        if held and (rows + table.num_rows > BATCH_ROWS or len(held) == BATCH_FILES):
            yield pa.concat_tables(held).combine_chunks()
            held, rows = [], 0
        held.append(table)
        rows += table.num_rows
    if held:
        yield pa.concat_tables(held).combine_chunks()


def check_format_of(file: pq.ParquetFile, path: str) -> None:
    """Raise LedgerError where a file is of a data format that this version does not know."""
    from stages.core.formats import check_format

    check_format((file.schema_arrow.metadata or {}).get(b"winnow.format"), path)


def mix_tables(path: str, columns: Sequence[str] | None) -> Iterator[pa.Table]:
    """Yield the documents of one file of the mix."""
    names = None if columns is None else list(columns)
    if path.endswith(".parquet"):
        yield from batches(path, BATCH_ROWS, names, lambda file: check_format_of(file, path))
        return
    import zstandard
    from pyarrow import json as pajson

    from pipelines.recipe.output import MIX_COLUMNS

    options = None  # where input columns are left out: they may be of kinds that Arrow's reader does not mix
    if names is not None and set(names) <= dict(MIX_COLUMNS).keys():
        own = pa.schema([(name, kind) for name, kind in MIX_COLUMNS if name in names])
        options = pajson.ParseOptions(explicit_schema=own, unexpected_field_behavior="ignore")
    with storage.open_read(path) as raw, zstandard.ZstdDecompressor().stream_reader(raw) as lines:
        with reading(path):
            found = pajson.open_json(pa.PythonFile(lines, mode="r"), parse_options=options)
        while True:
            with reading(path):
                batch = next(found, None)
            if batch is None:
                return
            table = pa.Table.from_batches([batch])
            yield table if names is None else table.select(names)


def from_input(run: Run, ordinal: int, rows: list[int]) -> dict[int, Document]:
    """Return documents of one shard; rows are sorted."""
    from pipelines.run_state import shard_at_home
    from stages.core.shard import Piece
    from stages.inputs.reader import read_piece
    from stages.passes.annotate import staged

    shard = shard_at_home(run, ordinal)
    piece = Piece(shard=shard, start=0, stop=shard.rows)
    where = staged(run, shard)
    wanted = np.array(rows, np.int64)
    found: dict[int, Document] = {}
    for batch in read_piece(run.dataset(shard.dataset), piece, ["text", "id", "url"], path=where, rows=wanted):
        for row, values in zip(batch.rows.tolist(), batch.table.to_pylist(), strict=True):
            doc = (ordinal << 32) + row
            found[doc] = Document(doc_id=doc, **values)
    return found


def interleaved_tables(paths: Iterable[str], dataset: str | None, columns: Sequence[str] | None) -> Iterator[pa.Table]:
    """Yield the files of an interleaved mix in tables; of one dataset, or of all."""
    wanted = None if columns is None else list(dict.fromkeys([*columns, "source"]))
    for path in paths:
        for table in mix_tables(path, wanted):
            mine = table if dataset is None else table.filter(pc.equal(table.column("source"), dataset))
            if mine.num_rows or dataset is None:
                yield mine if columns is None else mine.select(list(columns))
