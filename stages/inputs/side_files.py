"""Files beside the datasets, read once from start to end: benchmarks, labelled text, lists of entries.

Guarantees: every format and codec that datasets may have; a file that is cut short, corrupt or no such file raises an
error that names it, and is never read in part. Memory: one batch of rows.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from cluster import storage
from cluster.errors import RecipeError, ShardError
from cluster.files import compression
from stages.core.shard import Columns, Dataset, Piece, Shard
from stages.inputs import compressed, jsonl, tables
from stages.inputs.arrow import parquet
from stages.inputs.batches import Batch, ReadStatus
from stages.inputs.compressed import Stream
from stages.inputs.files import formats
from stages.inputs.files.discover import Found, discover
from stages.inputs.reader import count_and_layout, format_of, read_piece, records, table_of

Paths = str | Path | Iterable[str | Path]
BATCH_BYTES = 8 << 20
READABLE = "JSONL, JSON, CSV, TSV, Parquet, Arrow or WARC, as they are or as .gz, .bz2, .xz, .lz4, .zst"
FIELDS = ("domain", "domains", "host", "hostname", "url", "urls", "word", "words", "entry", "text")


@dataclass(frozen=True, eq=False)
class TextBatch:
    """Texts of rows of one file that have one. `rows` are their physical row numbers."""

    path: str
    rows: list[int]
    texts: pa.Array  # large_string without nulls


def damaged(path: str, why: object) -> ShardError:
    """Build the error of a side file that cannot be read to its end."""
    return ShardError(f"{path} cannot be read: {why}. Repair or replace it.")


# --- labelled text ---------------------------------------------------------------------------------------


def find(paths: Paths, column: str = "text") -> list[Found]:
    """Return the data files that paths, folders and globs name, by path. Raises RecipeError where one names none."""
    every = (str(paths),) if isinstance(paths, str | Path) else tuple(map(str, paths))
    dataset = Dataset(name="files", paths=every, columns=Columns(text=column))
    try:
        return sorted(discover(dataset).files, key=lambda file: file.path)
    except RecipeError as error:
        raise RecipeError(str(error).replace(f"dataset {dataset.name}:", "no data file:", 1)) from None


def texts(paths: Paths, column: str = "text") -> Iterator[TextBatch]:
    """Yield the texts of all files; rows without one (null, empty or white space) are passed over.

    Raises
    ------
    RecipeError
        A file has no such column.
    ShardError
        A file, or a row of it, cannot be read.
    """
    for file in find(paths, column):
        yield from _texts_of(file.path, column)


def labelled(paths: Paths, column: str, label: str) -> Iterator[tuple[list[str], pa.Array]]:
    """Yield (labels, texts) of the rows of all files that have both; numbers as they are written.

    Raises as `texts` does, RecipeError too where no row of a file has a label.
    """
    for file in find(paths, column):
        dataset, found = Dataset(name="files", paths=(file.path,), columns=Columns(text=column, id=label)), 0
        for batch in _usable(dataset, file.path, ("text", "id")):
            values = batch.table.column("id").combine_chunks()
            named = pc.greater(pc.utf8_length(pc.fill_null(values, "")), 0)
            usable = pc.and_(pa.array(batch.status == ReadStatus.OK), named)
            labels = values.filter(usable).to_pylist()
            found += len(labels)
            yield labels, batch.table.column("text").combine_chunks().filter(usable)
        if not found:
            raise RecipeError(f"{file.path}: no row has {label!r}. Name the column of the label.")


def _usable(dataset: Dataset, path: str, columns: tuple[str, ...] = ("text",)) -> Iterator[Batch]:
    for batch in _whole(dataset, path, format_of(dataset, path), columns):
        for problem in batch.problems:
            at = "" if problem.row is None else f", row {problem.row}"
            raise damaged(f"{path}{at}", problem.error)
        yield batch


def _texts_of(path: str, column: str) -> Iterator[TextBatch]:
    dataset = Dataset(name="files", paths=(path,), columns=Columns(text=column))
    for batch in _usable(dataset, path):
        usable = batch.status == ReadStatus.OK
        found = batch.table.column("text").combine_chunks().filter(pa.array(usable))
        yield TextBatch(path, batch.rows[np.flatnonzero(usable)].tolist(), found)


def _whole(dataset: Dataset, path: str, kind: str, columns: tuple[str, ...] = ("text",)) -> Iterator[Batch]:
    """Yield columns of a whole file. Raises RecipeError where it lacks the text's, ShardError where it is damaged."""
    table = table_of(dataset, path, kind)
    if table is not None:
        try:
            _check(dataset, path, parquet.check_columns(dataset, table.schema()))
        except parquet.Corrupt as error:
            raise damaged(path, error) from error
        yield from tables.read(compressed.whole(dataset, path, columns), table)
        ended = table.error
    elif formats.is_staged(kind):
        _check(dataset, path, jsonl.text_missing(dataset, Stream(path, kind).lines()))
        stream = Stream(path, kind)
        yield from compressed.batches_of(compressed.whole(dataset, path, columns), stream)
        ended = stream.error
    else:
        layout = count_and_layout(dataset, path, kind=kind)
        if layout.row_groups is None:
            raise damaged(path, layout.problem)
        _check(dataset, path, layout.problem)
        shard = Shard(
            ordinal=0,
            dataset=dataset.name,
            path=path,
            relative_path=path,
            rows=layout.rows,
            bytes=0,
            fingerprint="",
            format=kind,
        )
        piece = Piece(shard=shard, start=0, stop=layout.rows)
        yield from read_piece(dataset, piece, columns, batch_bytes=BATCH_BYTES)
        ended = None
    if ended:
        raise damaged(path, ended)


def _check(dataset: Dataset, path: str, problem: str | None) -> None:
    """Raise the problem of a file's columns as one of the command line, which knows no datasets."""
    if problem:
        short = problem.split(f"; set datasets.{dataset.name}")[0].split("; name another one")[0]
        raise RecipeError(f"{path}: {short}. Name the column of the text.")


# --- rows of any shape -----------------------------------------------------------------------------------


def rows(path: str) -> Iterator[dict[str, Any]]:
    """Yield every row of a file as a mapping, in order; a JSON value that is no object under the key "text".

    Raises
    ------
    RecipeError
        There is no such file, or it is of no format that is read.
    ShardError
        It is cut short or corrupt.
    """
    dataset = Dataset(name="files", paths=(path,))
    if not storage.exists(path):
        raise RecipeError(f"the file {path} cannot be read: it does not exist. Correct the path.")
    try:
        kind = formats.detect(path)
        if kind is None:
            raise RecipeError(f"the file {path} is none that can be read. Give {READABLE}.")
        if formats.kind_of(kind) in ("jsonl", "json"):
            yield from _json_rows(path, kind)
        elif kind == "parquet":
            yield from _parquet_rows(path)
        else:
            yield from _table_rows(dataset, path, kind)
    except (parquet.Corrupt, compression.Damaged) as error:
        raise damaged(path, error) from error


def _json_rows(path: str, kind: str) -> Iterator[dict[str, Any]]:
    stream = Stream(path, kind)
    number = 0
    for _, lines in stream.lines():
        if stream.error is not None:
            break
        for line in lines:
            number += 1
            line = line.removeprefix(formats.BOM) if number == 1 else line
            if line.strip():
                value = _parsed(path, number, line)
                yield value if isinstance(value, dict) else {"text": value}
    if stream.error is not None:
        raise damaged(path, stream.error)


def _parsed(path: str, number: int, line: bytes) -> Any:
    try:
        return orjson.loads(line)
    except orjson.JSONDecodeError as error:
        try:
            return json.loads(line)  # NaN, numbers of any size, half a surrogate
        except ValueError:
            raise damaged(f"{path}, line {number}", error) from None


def _parquet_rows(path: str) -> Iterator[dict[str, Any]]:
    with parquet.opened(path) as file, parquet.corruption(path):
        for batch in file.iter_batches(1024):
            yield from batch.to_pylist()


def _table_rows(dataset: Dataset, path: str, kind: str) -> Iterator[dict[str, Any]]:
    table = table_of(dataset, path, kind)
    if table is None:
        for record in records(dataset, path, kind):
            yield from record.to_pylist()
        return
    names = table.schema().names
    double = next((name for name in names if names.count(name) > 1), None)
    if double is not None:
        raise damaged(path, f"several columns are called {double!r}")
    number = 0
    for part in table.rows():
        for at, error in part.errors.items():
            raise damaged(f"{path}, row {number + at}", error)
        yield from part.record.to_pylist()
        number += part.record.num_rows
    if table.error:
        raise damaged(path, table.error)


# --- lists -----------------------------------------------------------------------------------------------


def entries(spec: str) -> list[str]:
    """Return the entries of a list: the lines of a text file, or the values of a column of any other.

    `spec` is PATH or PATH#COLUMN; without a column, tables must have one called domain, url, word or the like, or only
    one. A .csv file whose first row names no such column is a text file, an entry a line.

    Raises
    ------
    RecipeError
        There is no such file, or it does not tell which column to take.
    ShardError
        It is cut short or corrupt.
    """
    path, _, column = spec.partition("#") if not storage.exists(spec) else (spec, "", "")
    if not storage.exists(path):
        raise RecipeError(f"the list {path} cannot be read: it does not exist. Name a file with one entry a line.")
    kind = formats.detect(path)
    named = formats.kind_of(kind) if kind else ""
    if named in ("csv", "tsv") and not column:
        names = formats.column_names(path, str(kind)) or []
        named = named if len(names) > 1 or (names and names[0].strip().lower() in FIELDS) else ""
    if named:
        return [str(value) for row in rows(path) if (value := _entry(path, row, column)) is not None]
    try:
        return compression.read_all(path).decode("utf-8-sig", "replace").splitlines()
    except (compression.Damaged, OSError) as error:
        raise damaged(path, error) from error


def _entry(path: str, row: dict[str, Any], column: str) -> Any:
    """Return the entry that a row of a table holds."""
    names = list(row)
    chosen = column or next((n for n in names if n.strip().lower() in FIELDS), names[0] if len(names) == 1 else "")
    if chosen not in row:
        wanted = f"no column {column!r}" if column else f"none of the columns {', '.join(FIELDS)}"
        raise RecipeError(f"the list {path} has {wanted}; it has {', '.join(names)}. Name one: {path}#COLUMN.")
    return row[chosen]
