"""Texts out of JSON lines and Parquet files, for training, evaluation and scoring.

Guarantees: files in sorted order, rows in file order, one batch of rows in memory. Rows without text are
passed over; a line that is no JSON object is an error that names it.
"""

from __future__ import annotations

import contextlib
import gzip
import io
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, cast

import pyarrow as pa

from cluster import storage
from cluster.errors import RecipeError, ShardError

ENDINGS = (".parquet", ".jsonl", ".json", ".ndjson", ".jsonl.gz", ".json.gz", ".jsonl.zst", ".json.zst")
BATCH = 4096

Paths = str | Path | Iterable[str | Path]


@dataclass(frozen=True, eq=False)
class TextBatch:
    """Texts of consecutive rows of one file. `rows` are their physical row numbers."""

    path: str
    rows: list[int]
    texts: pa.Array  # large_string without nulls


def find_files(paths: Paths) -> list[str]:
    """Return the data files that paths, folders and globs name, sorted.

    Raises
    ------
    RecipeError
        when a path names no data file.
    """
    found: list[str] = []
    for path in [paths] if isinstance(paths, str | Path) else paths:
        files = _expand(str(path))
        if not files:
            raise RecipeError(
                f"{path} names no data file. Give {', '.join(ENDINGS)} files, a folder of them or a glob."
            )
        found.extend(files)
    return sorted(set(found))


def _expand(path: str) -> list[str]:
    fs, inner = storage.filesystem(path)
    prefix = "" if storage.is_local(path) else path[: path.index("://") + 3]
    if any(mark in path for mark in "*?["):
        return [prefix + name for name in fs.glob(inner) if name.endswith(ENDINGS)]
    if fs.isdir(inner):
        return [prefix + name for name in fs.find(inner) if name.endswith(ENDINGS)]
    return [path] if fs.exists(inner) else []


def read_texts(paths: Paths, column: str = "text") -> Iterator[TextBatch]:
    """Yield the texts of all files in batches of at most 4,096 rows.

    Raises
    ------
    RecipeError
        when a file has no such column.
    ShardError
        when a file cannot be read.
    """
    for path in find_files(paths):
        yield from _parquet(path, column) if path.endswith(".parquet") else _json_lines(path, column)


def _parquet(path: str, column: str) -> Iterator[TextBatch]:
    import pyarrow.parquet as pq

    with storage.open_read(path) as file:
        try:
            data = pq.ParquetFile(file)
        except pa.ArrowInvalid as error:
            raise ShardError(f"{path} is not a Parquet file ({error}). Repair or remove it.") from error
        if column not in data.schema_arrow.names:
            raise _no_column(path, column, data.schema_arrow.names)
        if data.schema_arrow.names.count(column) > 1:
            raise RecipeError(f"{path} has several columns called {column!r}. Rename all but one of them.")
        start = 0
        for batch in data.iter_batches(BATCH, columns=[column]):
            values = batch.column(0).to_pylist()
            yield _batch(path, start, values)
            start += len(values)


def _json_lines(path: str, column: str) -> Iterator[TextBatch]:
    import orjson

    values: list[object] = []
    number = 0
    seen = False
    key = json.dumps(column).encode()
    with _open_lines(path) as lines:
        for number, line in enumerate(lines, 1):
            try:
                row = orjson.loads(line) if line.strip() else {}
            except orjson.JSONDecodeError as error:
                raise ShardError(f"{path}, line {number} is not JSON ({error}). Repair or remove it.") from error
            if not isinstance(row, dict):
                raise ShardError(f"{path}, line {number} must be a JSON object, got {type(row).__name__}.")
            if (line.count(key) > 1 or b"\\u00" in line) and _repeats(line, column):
                raise ShardError(f"{path}, line {number} has the key {column!r} several times. Repair or remove it.")
            seen |= column in row
            values.append(row.get(column))
            if len(values) == BATCH:
                yield _batch(path, number - BATCH, values)
                values = []
    if number and not seen:
        raise _no_column(path, column, list(row))
    yield _batch(path, number - len(values), values)


def _repeats(line: bytes, column: str) -> bool:
    """Tell whether a key stands several times in the object on a line."""
    pairs = json.loads(line, object_pairs_hook=list)
    return [name for name, _ in pairs].count(column) > 1


@contextlib.contextmanager
def _open_lines(path: str) -> Iterator[IO[bytes]]:
    """Open a file of lines, unpacked; closing closes what lies below as well."""
    with storage.open_read(path) as file:
        if path.endswith(".gz"):
            with gzip.open(file) as unpacked:
                yield cast("IO[bytes]", unpacked)
        elif path.endswith(".zst"):
            import zstandard

            with io.BufferedReader(zstandard.ZstdDecompressor().stream_reader(file, read_across_frames=True)) as lines:
                yield lines
        else:
            yield file


def _batch(path: str, start: int, values: list[object]) -> TextBatch:
    kept = [(start + i, v) for i, v in enumerate(values) if isinstance(v, str) and v]
    return TextBatch(path, [row for row, _ in kept], pa.array([v for _, v in kept], pa.large_string()))


def _no_column(path: str, column: str, names: list[str]) -> RecipeError:
    return RecipeError(f"{path} has no column {column!r}; it has {', '.join(names[:20])}. Name the text column.")
