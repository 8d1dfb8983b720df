"""Read Parquet shards by row group, with only the columns asked for.

Guarantees: every physical row of the piece comes exactly once and in order, unreadable ones too. Memory:
one batch of decoded text (`batch_bytes`, or the largest document) and a few pages.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from cluster import storage
from cluster.errors import ShardError
from stages.core.shard import Dataset, Piece
from stages.inputs.batches import (
    BATCH_ROWS,
    I64,
    U8,
    Batch,
    Layout,
    Problem,
    ReadStatus,
    mark_text_status,
    split,
    unreadable_batches,
)
from stages.inputs.columns import (
    COLUMN,
    TEXT,
    Place,
    as_text,
    at_place,
    from_json,
    holds_scalar,
    holds_text,
    identifiers,
    ids_of,
    json_at,
    place,
    source_path,
    texts_of,
)

BUFFER = 4 << 20  # bytes buffered per column chunk, instead of the whole chunk
MALFORMED = "the text is not valid UTF-8"


class Corrupt(Exception):
    """The bytes of a file are not what its format promises; the message says why."""


@contextlib.contextmanager
def opened(path: str) -> Iterator[pq.ParquetFile]:
    """Yield the open Parquet file. Raises Corrupt (no usable footer) or ShardError (cannot be reached)."""
    file = storage.local_path(path) if storage.is_local(path) else _remote(path)
    try:
        with corruption(path):
            parquet = pq.ParquetFile(file, buffer_size=BUFFER, page_checksum_verification=True)
            _check_footer(parquet)
        with parquet:
            yield parquet
    finally:
        if not isinstance(file, str):
            file.close()


def _check_footer(file: pq.ParquetFile) -> None:
    """Raise ArrowInvalid where the footer contradicts itself, UnicodeDecodeError where names are damaged."""
    list(file.schema_arrow.names)  # decodes them
    rows = [file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)]
    if min(rows, default=0) < 0 or sum(rows) != file.metadata.num_rows:
        raise pa.ArrowInvalid(f"the footer names {file.metadata.num_rows} rows, its row groups hold {sum(rows)}")


def _remote(path: str) -> BinaryIO:
    try:
        return storage.open_read(path)
    except OSError as error:
        raise unreachable(path, error) from error


@contextlib.contextmanager
def corruption(path: str) -> Iterator[None]:
    """Turn Arrow's complaints about bytes into Corrupt, and failures of the storage into ShardError."""
    try:
        yield
    except (OSError, pa.ArrowException, UnicodeDecodeError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise unreachable(path, error) from error
        raise Corrupt(" ".join(str(error).split())) from error


def unreachable(path: str, error: OSError) -> ShardError:
    """Build the error of a file that cannot be opened or read now, though it may be whole."""
    return ShardError(
        f"{path} cannot be read: {error.strerror or error}. Check that it is there and that every worker may read it."
    )


# --- layout ----------------------------------------------------------------------------------------------


def layout(dataset: Dataset, path: str) -> Layout:
    """Return rows and row groups from the footer, and what is wrong with the mapped columns."""
    try:
        with opened(path) as file, corruption(path):
            groups = [_group_size(file, i, dataset) for i in range(file.num_row_groups)]
            problem = check_columns(dataset, file.schema_arrow)
            return Layout(file.metadata.num_rows, groups, problem)
    except Corrupt as error:
        return Layout(0, None, f"no readable Parquet footer, the file is truncated or corrupt ({error})")


def _group_size(file: pq.ParquetFile, number: int, dataset: Dataset) -> tuple[int, int]:
    group = file.metadata.row_group(number)
    where = place(file.schema_arrow, dataset.columns.text)
    return group.num_rows, _bytes_of(group, [where.leaf] if where else [])


def _bytes_of(group: pq.RowGroupMetaData, leaves: list[str]) -> int:
    """Return the decoded size of these columns, as far as the footer tells."""
    columns = [group.column(i) for i in range(group.num_columns)]
    mine = [c for c in columns if any(f"{c.path_in_schema}.".startswith(f"{leaf}.") for leaf in leaves)]
    return sum(int(c.total_uncompressed_size) for c in mine)


def check_columns(dataset: Dataset, schema: pa.Schema) -> str | None:
    """Return the sentence on the first mapped column that is missing or of an unusable type."""
    for role in ("text", "id", "url"):
        path = source_path(role, dataset.columns)
        if path is None:
            continue
        where = place(schema, path)
        if where is None:
            return missing(role, path, schema.names, dataset.name)
        usable = where.json or pa.types.is_null(where.type)
        if not usable and not (holds_text if role == "text" else holds_scalar)(where.type):
            right = "a string" if role == "text" else "a string or a number"
            return (
                f"column {path!r}, mapped to {role}, has type {where.type}, {right} is needed; "
                f"name another one under datasets.{dataset.name}.columns.{role} in the recipe"
            )
    return None


def missing(role: str, path: str, names: Sequence[str], dataset: str) -> str:
    """Return the sentence on a column that a file does not have."""
    shown = ", ".join(names[:40]) + (" …" if len(names) > 40 else "")
    remedy = f"set datasets.{dataset}.columns.{role} in the recipe" if role in ("text", "id", "url") else ""
    remedy = remedy or "name one of these where the recipe names it"
    wanted = f"column {path!r}" + (f" (mapped to {role})" if role != path and not role.startswith(COLUMN) else "")
    return f"{wanted} does not exist; the file has {shown or 'no columns'}; {remedy}"


# --- rows ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Request:
    """What is read of one piece."""

    dataset: Dataset
    piece: Piece
    path: str
    columns: tuple[str, ...]
    batch_bytes: int
    rows: I64 | None

    @property
    def ordinal(self) -> int:
        return self.piece.shard.ordinal

    def wanted(self, start: int, stop: int) -> I64 | range:
        """Return which rows of [start, stop) are asked for; a range where it is all of them."""
        start, stop = max(start, self.piece.start), min(stop, self.piece.stop)
        if self.rows is None:
            return range(start, max(start, stop))
        first, last = np.searchsorted(self.rows, [start, max(start, stop)])
        return self.rows[first:last]


@dataclass(frozen=True)
class _Span:
    """Rows [start, stop) of a shard as stored, or the reason why they cannot be read."""

    start: int
    stop: int
    record: pa.RecordBatch | None
    error: str = ""


def read(request: Request) -> Iterator[Batch]:
    """Yield the piece's batches; see `reading.read_piece`."""
    try:
        with opened(request.path) as file:
            view = _View(request, file.schema_arrow)
            for span in _spans(request, file, view):
                yield from _batches(request, view, span)
            end = file.metadata.num_rows
            error = f"the file has {end:,} rows, the manifest says {request.piece.shard.rows:,}"
            yield from lost(request, max(end, request.piece.start), request.piece.stop, view.empty, error)
    except Corrupt as error:
        empty = pa.schema([(n, TEXT if not n.startswith(COLUMN) else pa.null()) for n in request.columns])
        yield from lost(request, request.piece.start, request.piece.stop, empty, str(error))


def lost(request: Request, start: int, stop: int, empty: pa.Schema, error: str) -> Iterator[Batch]:
    """Yield rows [start, stop) as unreadable, with one problem."""
    rows = request.wanted(start, stop)
    if len(rows):
        problem = Problem(request.path, None, None, f"rows {start} to {stop - 1} are unreadable: {error}")
        yield from unreadable_batches(request.ordinal, rows, empty, ReadStatus.UNREADABLE, problem)


class _View:
    """Where the requested columns lie in one file, and what is wrong with them."""

    def __init__(self, request: Request, schema: pa.Schema) -> None:
        self.places: dict[str, Place | None] = {}
        self.problems: list[Problem] = []
        self.text_status = ReadStatus.OK
        for name in request.columns:
            path = source_path(name, request.dataset.columns)
            self.places[name] = place(schema, path) if path is not None else None
            if path is not None and self.places[name] is None:
                error = missing(name, path, schema.names, request.dataset.name)
                self.problems.append(Problem(request.path, None, None, error))
        self._check_text(request, schema)
        found = [p for p in self.places.values() if p is not None]
        self.leaves = sorted({p.leaf for p in found})
        self.empty = pa.schema([(name, self._type(name)) for name in request.columns])

    def _check_text(self, request: Request, schema: pa.Schema) -> None:
        if "text" not in self.places:
            return
        where = self.places["text"]
        if where is None:
            self.text_status = ReadStatus.MISSING_COLUMN
        elif not (where.json or holds_text(where.type) or pa.types.is_null(where.type)):
            self.text_status = ReadStatus.WRONG_TYPE
            error = check_columns(request.dataset, schema) or f"the text has type {where.type}"
            self.problems.append(Problem(request.path, None, None, error))
            self.places["text"] = None

    def _type(self, name: str) -> pa.DataType:
        where = self.places[name]
        if not name.startswith(COLUMN):
            return TEXT
        return pa.null() if where is None or where.json else where.type

    def column(self, name: str, record: pa.RecordBatch) -> tuple[pa.Array, U8 | None]:
        """Return one requested column of a record batch, and a status where the text is at fault."""
        where = self.places[name]
        if where is None:
            return pa.nulls(record.num_rows, self.empty.field(name).type), None
        stored = at_place(record, where)
        values = json_at(stored, where.inside) if where.json else None
        if name == "text":
            return texts_of(values) if values is not None else (as_text(stored), None)
        if name.startswith(COLUMN):
            return (stored if values is None else from_json(values)), None
        return (identifiers(stored) if values is None else ids_of(values)), None


def _spans(request: Request, file: pq.ParquetFile, view: _View) -> Iterator[_Span]:
    """Yield what is stored, one row group after another; skips those of which no row is wanted."""
    start = 0
    for number in range(file.num_row_groups):
        stop = start + file.metadata.row_group(number).num_rows
        wanted = request.wanted(start, stop)
        if len(wanted):
            yield from _group(request, file, number, start, stop, int(wanted[-1]), view.leaves)
        start = stop


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
        with corruption(request.path):
            records = file.iter_batches(rows, row_groups=[number], columns=leaves, use_threads=False)
        while at <= last:
            with corruption(request.path):
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


def _batches(request: Request, view: _View, span: _Span) -> Iterator[Batch]:
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
        record = record.take(pa.array(rows - span.start))
    batch = _batch(request, view, record, rows)
    view.problems.clear()
    yield from split(batch, request.batch_bytes)


def _batch(request: Request, view: _View, record: pa.RecordBatch, rows: I64 | range) -> Batch:
    columns, status = [], np.zeros(len(rows), np.uint8)
    for name in request.columns:
        column, found = view.column(name, record)
        if name == "text":
            known = found if found is not None else np.full(len(rows), view.text_status, np.uint8)
            column, status = mark_text_status(column, known, trusted=found is not None)
        columns.append(column)
    malformed = np.flatnonzero(status == ReadStatus.INVALID_UTF8)
    problems = [Problem(request.path, int(rows[int(i)]), None, MALFORMED) for i in malformed]
    picked = None if isinstance(rows, range) else rows
    table = pa.table(columns, names=list(request.columns))
    return Batch(request.ordinal, int(rows[0]), table, status, (*view.problems, *problems), picked)


# --- schema ----------------------------------------------------------------------------------------------


def schema(path: str) -> pa.Schema:
    """Return the schema of a Parquet file. Raises Corrupt or ShardError."""
    with opened(path) as file:
        return file.schema_arrow


def chosen(path: str, names: Sequence[str] | None) -> pa.Schema:
    """Return name and type of these input columns (None: all) as they are passed through; no dictionaries."""
    known = schema(path)
    fields = []
    for name in known.names if names is None else names:
        where = place(known, name)
        if where is not None:
            fields.append(pa.field(name, _json_type(path, where) if where.json else where.type))
    return pa.schema(fields)


def _json_type(path: str, where: Place) -> pa.DataType:
    with opened(path) as file:
        batch = next(file.iter_batches(1000, columns=[where.leaf]), None)
    return from_json(json_at(at_place(batch, where), where.inside)).type if batch is not None else pa.null()
