"""Read any shard as batches of documents: Parquet, JSON lines and arrays, CSV, TSV, Arrow IPC, WARC.

Guarantees: `read_piece` yields every physical row of a piece exactly once and in order, unreadable rows
under a status that says why; the same documents give the same batches in every format. Texts are valid
UTF-8, "" where the status is not OK. Memory: about twice `batch_bytes`, or three times the longest line.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from cluster.errors import ShardError
from stages.core.shard import Dataset, Piece, check_ascending
from stages.inputs import compressed, jsonl, tables
from stages.inputs.arrow import arrow_ipc, parquet
from stages.inputs.batches import Batch, Layout, Problem, ReadStatus
from stages.inputs.columns import COLUMN, as_text, holds_text
from stages.inputs.delimited import Delimited
from stages.inputs.files import formats
from stages.inputs.files.discover import actual
from stages.inputs.ids import scalar_texts
from stages.inputs.paths import split_path
from stages.inputs.request import Gather, Request
from stages.inputs.schema import EVERY, Columns
from stages.inputs.tables import Table
from stages.inputs.warc import Archive

__all__ = [
    "BATCH_BYTES",
    "Batch",
    "Layout",
    "Problem",
    "ReadStatus",
    "count_and_layout",
    "file_columns",
    "first_columns",
    "has_column",
    "passthrough_schema",
    "raw_texts",
    "read_piece",
    "stage_compressed",
]

BATCH_BYTES = 32 << 20
All = Literal["all"]


def read_piece(
    dataset: Dataset,
    piece: Piece,
    columns: Sequence[str] | All,
    *,
    path: str | None = None,
    batch_bytes: int = BATCH_BYTES,
    rows: npt.NDArray[np.int64] | None = None,
    gather: Gather | None = None,
    compared: bool = False,
) -> Iterator[Batch]:
    """Yield the rows of a piece as batches of about `batch_bytes` of text.

    Parameters
    ----------
    dataset
        Format and column mapping.
    piece
        Rows [start, stop) of a shard.
    columns
        "text" (large_string, no nulls), "id" and "url" (large_string, nullable), "column:NAME" (an input
        column; a dotted path descends into structs and JSON text), "json:NAME" (the same as JSON text); "all" for
        text, id, url and every input column. A column that the file lacks is null and a problem of the first batch;
        in JSON lines an absent key is null. A column has its type in `dataset.types`, where values of a column
        marked as JSON are text (strings as they are); without `types` it has that of the file, or of the batch.
    path
        Parquet copy made by `stage_compressed`, to be read instead.
    rows
        Shard rows, ascending, each once; only these are returned, and row groups or lines far from them are skipped.
    gather
        Reads the texts of `rows` of Parquet files in place of the host, the same batches as the host's.
    compared
        The rows are known to have usable texts, and the caller compares these with content hashes before it uses them:
        they need not be valid UTF-8, or no white space alone, and statuses may be OK where they would not be.

    Raises
    ------
    ShardError
        The file cannot be reached (it may be retried). What is wrong inside a file is a status and a problem.
    LedgerError
        `rows` do not ascend.
    """
    if rows is not None:
        check_ascending(rows, f"rows to be read of {piece.shard.path}")
    where = path or piece.shard.path
    kind = "staged" if path else piece.shard.format or format_of(dataset, where)
    if columns == "all":
        schema = passthrough_schema(dataset, [where], "all")
        columns = ["text", "id", "url", *(COLUMN + name for name in schema.names)]
    request = Request(dataset, piece, where, tuple(columns), batch_bytes, rows, gather=gather, compared=compared)
    return _read_staged(request) if kind == "staged" else read_format(request, kind)


def read_format(request: Request, kind: str) -> Iterator[Batch]:
    """Yield a piece's batches from a file of this format."""
    if kind in DIRECTLY:
        return DIRECTLY[kind](request)
    table = table_of(request.dataset, request.path, kind)
    return compressed.read_stream(request, kind) if table is None else tables.read(request, table)


TABLES = (*Delimited.delimiters, "warc")
DIRECTLY = {"parquet": parquet.read, "jsonl": jsonl.read, "arrow": arrow_ipc.read}


def _read_staged(request: Request) -> Iterator[Batch]:
    kind = formats.kind_of(request.piece.shard.format)
    try:
        is_table = kind in TABLES if kind else tables.is_staged(parquet.schema(request.path))
    except parquet.Corrupt:
        is_table = False  # the reader says so better
    return tables.read_staged(request) if is_table else compressed.read_staged(request)


def table_of(dataset: Dataset, path: str, kind: str) -> Table | None:
    """Return the reader of a file that is read as a table from start to end; None for JSON."""
    if formats.kind_of(kind) in Delimited.delimiters:
        return Delimited(path, kind)
    return Archive(path, kind, dataset.extract) if formats.kind_of(kind) == "warc" else None


def records(dataset: Dataset, path: str, kind: str) -> Iterator[pa.RecordBatch]:
    """Yield a CSV, TSV, Arrow or WARC file as record batches, rows that cannot be read as nulls.

    Raises parquet.Corrupt where it ends early, after what could be read.
    """
    table = table_of(dataset, path, kind)
    if table is None:
        with arrow_ipc.opened(path) as file:
            yield from file.batches
        return
    for part in table.rows():
        yield part.record
    if table.error:
        raise parquet.Corrupt(table.error)


def format_of(dataset: Dataset, path: str) -> str:
    """Return the format of a file (see files/formats.py). Raises ShardError where nothing tells."""
    kind = actual(dataset, path)
    if kind is None:
        raise ShardError(
            f"{path} (dataset {dataset.name}): neither its name, nor its first bytes, nor the recipe tells the format. "
            f"Set `format:` for the dataset ({', '.join(formats.DECLARED[1:])})."
        )
    return kind


def stage_compressed(
    dataset: Dataset,
    path: str,
    destination: str,
    extra_columns: tuple[str, ...] | list[str] = (),
    *,
    kind: str | None = None,
) -> Layout:
    """Write the Parquet copy of a file whose rows cannot be reached without reading from the start; return its layout.

    kind : the file's format, where it is known already.
    """
    kind = kind or format_of(dataset, path)
    table = table_of(dataset, path, kind)
    if table is None:
        return compressed.stage_lines(dataset, path, kind, destination, extra_columns)
    return tables.stage(dataset, table, destination, extra_columns)


def count_and_layout(
    dataset: Dataset, path: str, names: Sequence[str] = (), *, kind: str | None = None, size: int | None = None
) -> Layout:
    """Return rows, where the file may be cut, what is wrong with it as a whole, and what the columns `names` hold.

    Parquet: from the footer, with a check of the columns. Arrow: from the record batches. JSON lines: newlines are
    counted, and lines parsed where `names` are given. Others: the stream is read to its end (`stage_compressed` gives
    the same answer). size: of the file in bytes, where it is known.
    """
    kind = kind or format_of(dataset, path)
    direct = {"parquet": parquet.layout, "jsonl": jsonl.layout, "arrow": arrow_ipc.layout}
    if kind in direct:
        return direct[kind](dataset, path, names, size)
    table = table_of(dataset, path, kind)
    if table is None:
        return compressed.stream_layout(dataset, path, kind, names)
    return tables.layout(dataset, table, names)


def file_columns(dataset: Dataset, path: str, names: Sequence[str]) -> Columns:
    """Return what the input columns `names` (paths, or EVERY) hold in one file; nothing where it cannot be read.

    Raises ShardError where the file cannot be reached, or a name is that of several columns.
    """
    kind = format_of(replace(dataset, format="auto") if path.endswith(".parquet") else dataset, path)
    if kind == "jsonl":
        with jsonl.open_file(path) as file:
            return jsonl.collect(jsonl.line_blocks(file, 0, jsonl.PARSE_BYTES), names)
    try:
        if kind == "arrow":
            return arrow_ipc.columns_of(path, names)
        if kind != "parquet":
            table = table_of(dataset, path, kind)
            if table is not None:
                return tables.columns_of(table, names)
            return compressed.stream_layout(dataset, path, kind, names).columns
        stored = parquet.schema(path)
        if compressed.is_staged(stored):
            return compressed.staged_columns(path)
        return tables.staged_columns(path, names) if tables.is_staged(stored) else parquet.columns_of(path, names)
    except parquet.Corrupt:
        return Columns()


def passthrough_schema(dataset: Dataset, paths: Iterable[str], columns: Sequence[str] | All) -> pa.Schema:
    """Return name and widest type of input columns over all these files; text where none tells.

    `columns` are paths without the prefix "column:" (it is stripped), or "all" for every top-level column; those that
    no file has are left out. Every line of JSON lines is looked at.
    """
    names = [EVERY] if columns == "all" else [name.removeprefix(COLUMN) for name in columns]
    found = Columns()
    for path in paths:
        found |= file_columns(dataset, path, names)
    schema = found.schema()
    return schema if columns == "all" else pa.schema([schema.field(n) for n in names if n in found.columns])


def raw_texts(column: pa.Array) -> pa.Array:
    """Return a column as large_string, strings and bytes as they are, not validated."""
    return as_text(column) if holds_text(column.type) else scalar_texts(column)


def first_columns(dataset: Dataset, path: str) -> list[str]:
    """Return the names of a file's top-level columns: of a footer, or of the first lines; none where it is damaged."""
    kind = format_of(dataset, path)
    table = table_of(dataset, path, kind)
    try:
        if table is not None:
            return list(table.schema().names)
        if kind in ("parquet", "arrow"):
            return list((parquet if kind == "parquet" else arrow_ipc).schema(path).names)
    except parquet.Corrupt:
        return []
    lines = compressed.Stream(path, kind).lines() if kind != "jsonl" else jsonl.first_lines(path)
    return list(jsonl.collect(itertools.islice(lines, 1), [EVERY]).schema().names)


def has_column(names: Sequence[str], path: str) -> bool:
    """Tell whether a dotted path may lead through one of these columns."""
    return split_path(names, path) is not None
