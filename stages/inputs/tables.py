"""Tables that are read from their start to their end (CSV, WARC): as a stream, and staged once as Parquet.

Guarantees: the staged copy holds every column of the file under its own name and type, so columns are found in it as
in any Parquet file; a row that cannot be read stands in its place, null and with the reason. Memory: one row group.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from cluster.errors import ShardError
from cluster.files.sealed import commit_sealed
from stages.core.shard import Dataset
from stages.inputs.arrow import parquet
from stages.inputs.arrow.parquet_view import Finder, View, check_columns, check_once
from stages.inputs.batches import EVERY_LINE, Batch, Layout, Problem, ReadStatus
from stages.inputs.columns import COLUMN
from stages.inputs.compressed import GROUP_BYTES
from stages.inputs.request import Request, lost, nothing_read
from stages.inputs.schema import Columns

ERROR = "winnow:error"  # column of a staged copy: why the row cannot be read
MARK = {b"winnow.table": b"1"}


@dataclass(frozen=True, eq=False)
class Rows:
    """Consecutive rows of a file, and what is wrong with those that cannot be read, by position; these are null."""

    record: pa.RecordBatch
    errors: dict[int, str] = field(default_factory=dict)


class Table(Protocol):
    """A file read in order. `error` says, once `rows` has ended, why it ended early."""

    path: str
    error: str | None

    def schema(self) -> pa.Schema:
        """Return names and types. Raises parquet.Corrupt where the file does not get so far."""

    def rows(self) -> Iterator[Rows]:
        """Yield all rows in order."""


def read(request: Request, table: Table) -> Iterator[Batch]:
    """Yield the piece's batches from the file itself; see `reader.read_piece`."""
    stop = request.piece.stop
    try:
        view = View(request, table.schema())
    except parquet.Corrupt as error:
        yield from lost(request, request.piece.start, stop, nothing_read(request), str(error))
        return
    errors: dict[int, str] = {}  # by row, of the part in hand
    row = 0

    def records() -> Iterator[tuple[int, pa.RecordBatch]]:
        nonlocal row
        for part in table.rows():
            errors.clear()
            errors.update({row + at: error for at, error in part.errors.items()})
            first, row = row, row + part.record.num_rows
            yield first, part.record
            if row >= stop:
                return

    for batch in parquet.read_records(request, view, records()):
        found = {at: errors[number] for at, number in enumerate(batch.rows.tolist()) if number in errors}
        yield _marked(request, batch, found)
    if stop < EVERY_LINE:
        yield from lost(request, row, stop, view.empty, table.error or "the file is shorter")
    elif table.error and not row:
        raise ShardError(f"{request.path}: {table.error}. Repair or remove it.")


def _marked(request: Request, batch: Batch, errors: dict[int, str]) -> Batch:
    """Mark the rows that cannot be read, by position in the batch; problems name the input, not its copy."""
    path, rows = request.piece.shard.path, batch.rows
    problems = [replace(problem, path=path) for problem in batch.problems]
    problems += [Problem(path, int(rows[at]), None, error) for at, error in errors.items()]
    status = batch.status.copy()
    status[list(errors)] = ReadStatus.UNREADABLE
    return replace(batch, status=status, problems=tuple(problems))


def layout(dataset: Dataset, table: Table, names: Sequence[str] = ()) -> Layout:
    """Count the rows of a file by reading it to its end, and find out what the columns in `names` hold."""
    return _layout(dataset, table, names, lambda part: None)


def _layout(dataset: Dataset, table: Table, names: Sequence[str], keep: Callable[[Rows], None]) -> Layout:
    """Hand every part to `keep`; return rows, groups of about GROUP_BYTES, columns, what is wrong with the whole."""
    groups: list[tuple[int, int]] = []
    rows = size = 0
    try:
        schema = table.schema()
    except parquet.Corrupt as error:
        return Layout(0, None, str(error))
    finder = Finder(schema, names)
    for part in table.rows():
        keep(part)
        finder.add(part.record)
        rows, size = rows + part.record.num_rows, size + part.record.nbytes
        if size >= GROUP_BYTES:
            groups.append((rows, size))
            rows = size = 0
    if rows:
        groups.append((rows, size))
    total = sum(count for count, _ in groups)
    problem = f"{table.error}; {total:,} rows could be reached" if table.error else None
    return Layout(total, groups, problem or check_columns(dataset, schema, names), finder.columns())


def columns_of(table: Table, names: Sequence[str]) -> Columns:
    """Return what these columns hold. Raises parquet.Corrupt, or ShardError (also on twofold columns)."""
    schema = table.schema()
    check_once(table.path, schema, names)
    finder = Finder(schema, names)
    if finder.leaves:
        for part in table.rows():
            finder.add(part.record)
    return finder.columns()


def stage(dataset: Dataset, table: Table, destination: str, extra_columns: Sequence[str] = ()) -> Layout:
    """Write the Parquet copy of a table, and return its layout. The copy appears whole or not at all."""
    names = [name.removeprefix(COLUMN) for name in extra_columns]
    try:
        schema = table.schema()
    except parquet.Corrupt:
        schema = pa.schema([])
    schema = pa.schema([*schema, pa.field(ERROR, pa.string())], metadata=MARK)
    with (
        commit_sealed(destination) as file,
        pq.ParquetWriter(
            file,
            schema,
            compression="zstd",
            compression_level=1,
            use_dictionary=False,
            write_statistics=False,
            write_page_checksum=True,
        ) as writer,
    ):
        held = _Held(writer, schema)
        found = _layout(dataset, table, names, held.add)
        held.write()
    return found


@dataclass(eq=False)
class _Held:
    """Rows that wait until they make a row group."""

    writer: pq.ParquetWriter
    schema: pa.Schema
    parts: list[pa.RecordBatch] = field(default_factory=list)
    size: int = 0

    def add(self, part: Rows) -> None:
        errors = [part.errors.get(at) for at in range(part.record.num_rows)] if part.errors else None
        column = pa.array(errors, pa.string()) if errors else pa.nulls(part.record.num_rows, pa.string())
        self.parts.append(pa.RecordBatch.from_arrays([*part.record.columns, column], schema=self.schema))
        self.size += part.record.nbytes
        if self.size >= GROUP_BYTES:
            self.write()

    def write(self) -> None:
        if self.parts:
            table = pa.Table.from_batches(self.parts, self.schema)
            self.writer.write_table(table, row_group_size=max(1, table.num_rows))
            self.parts, self.size = [], 0


def is_staged(schema: pa.Schema) -> bool:
    """Tell whether a Parquet schema is that of a staged table."""
    return MARK.items() <= (schema.metadata or {}).items()


def read_staged(request: Request) -> Iterator[Batch]:
    """Yield the piece's batches from its staged copy; see `reader.read_piece`."""
    inner = replace(request, columns=(*request.columns, COLUMN + ERROR))
    for batch in parquet.read(inner):
        if any(p.row is None and "unreadable" in p.error for p in batch.problems):
            raise ShardError(
                f"{request.path}, the staged copy of {request.piece.shard.path}, cannot be used "
                f"({batch.problems[0].error}). Remove it and run again: it is made anew."
            )
        errors = batch.table.column(COLUMN + ERROR)
        at = np.flatnonzero(errors.is_valid().to_numpy()).tolist()
        found = {place: str(errors[place].as_py()) for place in at}
        yield _marked(request, replace(batch, table=batch.table.select(list(request.columns))), found)


def staged_columns(path: str, names: Sequence[str]) -> Columns:
    """Return what these columns of a staged copy hold."""
    found = parquet.columns_of(path, names)
    columns = {name: column for name, column in found.columns.items() if name != ERROR}
    return Columns(columns, frozenset(pair for pair in found.order if ERROR not in pair))
