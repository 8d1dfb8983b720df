"""Read Parquet shards by row group, with only the columns asked for.

Guarantees: every physical row of the piece comes exactly once and in order, unreadable ones too. Memory:
one batch of decoded text (`batch_bytes`, or the largest document) and a few pages.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from cluster import storage
from cluster.device import kernel_times
from cluster.files.expansion import allows, too_many_rows
from stages.core.shard import Dataset
from stages.inputs.arrow import parquet_texts
from stages.inputs.arrow.parquet_footer import check_chunks
from stages.inputs.arrow.parquet_texts import bytes_of
from stages.inputs.arrow.parquet_view import Finder, View, check_columns, check_once
from stages.inputs.arrow.swollen import swollen
from stages.inputs.batches import (
    BATCH_ROWS,
    I64,
    Batch,
    Layout,
    Problem,
    ReadStatus,
    mark_text_status,
    split,
    without_nulls,
)
from stages.inputs.columns import Ambiguous, place
from stages.inputs.files.file_versions import size_of
from stages.inputs.fit import has_views, plain
from stages.inputs.request import MALFORMED, Request, lost, missing, nothing_read, unreachable
from stages.inputs.schema import Columns

__all__ = [
    "MALFORMED",
    "Corrupt",
    "Request",
    "check_columns",
    "check_once_in",
    "columns_of",
    "corruption",
    "layout",
    "lost",
    "missing",
    "opened",
    "read",
    "read_records",
    "schema",
    "unreachable",
]

BUFFER = 4 << 20  # bytes buffered per column chunk, instead of the whole chunk


class Corrupt(Exception):
    """The bytes of a file are not what its format promises; the message says why."""


@contextlib.contextmanager
def opened(path: str, size: int | None = None) -> Iterator[pq.ParquetFile]:
    """Yield the open Parquet file. Raises Corrupt (no usable footer) or ShardError (cannot be reached).

    size : in bytes, where it is known.
    """
    file = storage.local_path(path) if storage.is_local(path) else _remote(path, size)
    try:
        with corruption(path):
            parquet = pq.ParquetFile(
                file, buffer_size=BUFFER, page_checksum_verification=True, arrow_extensions_enabled=True
            )
            _check_footer(parquet)
        with parquet:
            yield parquet
    finally:
        if not isinstance(file, str):
            file.close()


def _check_footer(file: pq.ParquetFile) -> None:
    """Raise ArrowInvalid where the footer contradicts itself, UnicodeDecodeError where names are damaged."""
    list(file.schema_arrow.names)  # decodes them
    check_chunks(file.metadata)
    rows = [file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)]
    if min(rows, default=0) < 0 or sum(rows) != file.metadata.num_rows:
        raise pa.ArrowInvalid(f"the footer names {file.metadata.num_rows} rows, its row groups hold {sum(rows)}")


def _crowded(path: str, file: pq.ParquetFile) -> str:
    """Return what is wrong with the number of rows of an input; empty where nothing is."""
    return "" if allows(file.metadata.num_rows, 0) or allows(file.metadata.num_rows, size_of(path)) else too_many_rows()


def _remote(path: str, size: int | None) -> BinaryIO:
    try:
        return storage.open_read(path, size=size)
    except OSError as error:
        raise unreachable(path, error) from error


@contextlib.contextmanager
def corruption(path: str) -> Iterator[None]:
    """Turn Arrow's complaints about bytes into Corrupt, and failures of the storage into ShardError."""
    try:
        with storage.failures_named():
            yield
    except (OSError, pa.ArrowException, UnicodeDecodeError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise unreachable(path, error) from error
        raise Corrupt(" ".join(str(error).split())) from error


# --- layout ----------------------------------------------------------------------------------------------


def layout(dataset: Dataset, path: str, names: Sequence[str] = (), size: int | None = None) -> Layout:
    """Return rows and row groups from the footer, what is wrong with the columns, and the types of those in `names`."""
    try:
        with opened(path, size) as file, corruption(path):
            if wrong := _crowded(path, file):
                return Layout(0, None, wrong)
            problem = check_columns(dataset, file.schema_arrow, names)
            text = _text_leaf(dataset, file.schema_arrow)
            groups = [_group_size(file, i, text) for i in range(file.num_row_groups)]
            swelling = filter(None, (swollen(file.metadata.row_group(i)) for i in range(file.num_row_groups)))
            problem = problem or next(swelling, None)
            return Layout(file.metadata.num_rows, groups, problem, _columns(file, names))
    except Corrupt as error:
        return Layout(0, None, f"no readable Parquet footer, the file is truncated or corrupt ({error})")


def _text_leaf(dataset: Dataset, schema: pa.Schema) -> list[str]:
    try:
        where = place(schema, dataset.columns.text)
    except Ambiguous:
        return []
    return [where.leaf] if where else []


def _group_size(file: pq.ParquetFile, number: int, leaves: list[str]) -> tuple[int, int]:
    group = file.metadata.row_group(number)
    return group.num_rows, bytes_of(group, leaves)


def _columns(file: pq.ParquetFile, names: Sequence[str]) -> Columns:
    """Return the types of these columns; of one inside JSON text, the kinds of its values."""
    finder = Finder(file.schema_arrow, names)
    if finder.leaves:
        for record in file.iter_batches(BATCH_ROWS, columns=finder.leaves, use_threads=False):
            finder.add(record)
    return finder.columns()


# --- rows ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Span:
    """Rows [start, stop) of a shard as stored, or the reason why they cannot be read.

    texts : of those rows that are wanted, where they were read elsewhere: the column that `record` lacks.
    """

    start: int
    stop: int
    record: pa.RecordBatch | None
    error: str = ""
    texts: pa.Array | None = None


def read(request: Request) -> Iterator[Batch]:
    """Yield the piece's batches; see `reader.read_piece`."""
    try:
        with opened(request.path, request.size) as file:
            if request.path == request.piece.shard.path and (wrong := _crowded(request.path, file)):  # no staged copy
                raise Corrupt(wrong)
            view = View(request, file.schema_arrow)
            for span in _spans(request, file, view):
                yield from _batches(request, view, span)
            end = file.metadata.num_rows
            error = f"the file has {end:,} rows, the manifest says {request.piece.shard.rows:,}"
            yield from lost(request, max(end, request.piece.start), request.piece.stop, view.empty, error)
    except Corrupt as error:
        yield from lost(request, request.piece.start, request.piece.stop, nothing_read(request), str(error))


def _spans(request: Request, file: pq.ParquetFile, view: View) -> Iterator[_Span]:
    """Yield what is stored, one row group after another; skips those of which no row is wanted."""
    bounds = np.cumsum([0, *(file.metadata.row_group(i).num_rows for i in range(file.num_row_groups))]).tolist()
    groups = [i for i in range(file.num_row_groups) if len(request.wanted(bounds[i], bounds[i + 1]))]
    for number, texts in zip(groups, parquet_texts.gathered(request, file, view, groups, bounds), strict=True):
        start, stop = bounds[number], bounds[number + 1]
        wanted = request.wanted(start, stop)
        leaves = view.leaves if texts is None else [leaf for leaf in view.leaves if leaf != view.text_leaf]
        for span in _group(request, file, number, start, stop, int(wanted[-1]), leaves):
            if texts is not None:
                span = replace(span, texts=parquet_texts.part(texts, wanted, span.start, span.stop))
            yield span


def _group(
    request: Request,
    file: pq.ParquetFile,
    number: int,
    start: int,
    stop: int,
    last: int,
    leaves: list[str],
) -> Iterator[_Span]:
    """Yield a row group's batches up to row `last`; what follows a corrupt page is one span, unreadable."""
    rows = _batch_rows(request, file.metadata.row_group(number))
    if not leaves:
        for first in range(start, min(stop, last + 1), rows):
            end = min(first + rows, stop)
            yield _Span(first, end, pa.record_batch({"": pa.nulls(end - first)}))
        return
    at = start
    try:
        if wrong := swollen(file.metadata.row_group(number)):
            raise Corrupt(wrong)
        with corruption(request.path):
            records = file.iter_batches(rows, row_groups=[number], columns=leaves, use_threads=False)
        while at <= last:
            with corruption(request.path), kernel_times.timed("read_parquet"):
                record = next(records, None)
            if record is None:
                raise Corrupt(f"row group {number} ends after {at - start} of {stop - start} rows")
            if record.num_rows:
                yield _Span(at, at + record.num_rows, record)
            at += record.num_rows
    except Corrupt as error:
        yield _Span(at, stop, None, f"row group {number} is corrupt: {error}")


def _batch_rows(request: Request, group: pq.RowGroupMetaData) -> int:
    """Return rows per batch by the size of all columns: where a corrupt page is met, every reader loses the
    same rows, whatever columns it asks for."""
    average = max(1, group.total_byte_size // max(1, group.num_rows))
    return int(max(1, min(BATCH_ROWS, request.batch_bytes // average)))


def _batches(request: Request, view: View, span: _Span) -> Iterator[Batch]:
    if span.record is None:
        yield from lost(request, span.start, min(span.stop, request.piece.stop), view.empty, span.error)
        return
    rows = request.wanted(span.start, span.stop)
    if not len(rows):
        return
    record = span.record
    if isinstance(rows, range):
        record = record.slice(rows.start - span.start, len(rows))
    else:
        with kernel_times.timed("gather_texts"):
            record = _plain(record).take(pa.array(rows - span.start))
    if span.texts is not None:
        record = record.append_column(view.text_leaf, parquet_texts.as_taken(span.texts, view.text_type))
    batch = _batch(request, view, record, rows, trusted=span.texts is not None)
    view.problems.clear()
    yield from split(batch, request.batch_bytes)


def _plain(record: pa.RecordBatch) -> pa.RecordBatch:
    """Return a record batch whose columns Arrow can take rows of."""
    if not any(has_views(kind) for kind in record.schema.types):
        return record
    columns = [plain(c) if has_views(c.type) else c for c in record.columns]
    return pa.record_batch(columns, names=record.schema.names)


def read_records(request: Request, view: View, records: Iterator[tuple[int, pa.RecordBatch]]) -> Iterator[Batch]:
    """Yield the piece's batches out of (first row, record batch) of a table that lies elsewhere than in Parquet."""
    for start, record in records:
        yield from _batches(request, view, _Span(start, start + record.num_rows, record))


def _batch(request: Request, view: View, record: pa.RecordBatch, rows: I64 | range, *, trusted: bool = False) -> Batch:
    columns: dict[str, pa.Array] = {}
    status = np.zeros(len(rows), np.uint8)
    errors: dict[int, str] = {}
    for name in request.columns:
        columns[name], found, wrong = view.column(name, record)
        if found is not None:
            status = np.maximum(status, found)
        errors |= wrong
    if "text" not in columns:
        status = np.zeros(len(rows), np.uint8)
    else:
        where = view.places["text"]
        status = np.maximum(status, np.uint8(view.text_status))
        trusted |= where is not None and where.json
        with kernel_times.timed("judge_texts"):
            if request.compared and not status.any():
                columns["text"] = without_nulls(columns["text"])
            else:
                columns["text"], status = mark_text_status(columns["text"], status, trusted=trusted)
    for row in np.flatnonzero(status == ReadStatus.INVALID_UTF8).tolist():
        errors.setdefault(row, MALFORMED)
    problems = [Problem(request.path, int(rows[row]), None, error) for row, error in sorted(errors.items())]
    picked = None if isinstance(rows, range) else rows
    table = pa.table([columns[name] for name in request.columns], names=list(request.columns))
    return Batch(request.ordinal, int(rows[0]), table, status, (*view.problems, *problems), picked)


# --- schema ----------------------------------------------------------------------------------------------


def schema(path: str) -> pa.Schema:
    """Return the schema of a Parquet file. Raises Corrupt or ShardError."""
    with opened(path) as file:
        return file.schema_arrow


def columns_of(path: str, names: Sequence[str]) -> Columns:
    """Return the types of these input columns in one file. Raises Corrupt, or ShardError (also on twofold columns)."""
    with opened(path) as file, corruption(path):
        check_once(path, file.schema_arrow, names)
        if wrong := _crowded(path, file):
            raise Corrupt(wrong)
        return _columns(file, names)


def check_once_in(path: str, names: Sequence[str]) -> None:
    """Raise ShardError where one of these paths names several columns of a file; what else is wrong says nothing."""
    with contextlib.suppress(Corrupt), opened(path) as file, corruption(path):
        check_once(path, file.schema_arrow, names)
