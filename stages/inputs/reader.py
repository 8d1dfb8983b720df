"""Read any shard as batches of documents: Parquet, JSON lines, and compressed JSON lines.

Guarantees: `read_piece` yields every physical row of a piece exactly once and in order, unreadable rows
under a status that says why; the same documents give the same batches in every format. Texts are valid
UTF-8, "" where the status is not OK. Memory: about twice `batch_bytes`, or three times the longest line.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from cluster.errors import ShardError
from stages.core.shard import Dataset, Piece, check_ascending
from stages.inputs import compressed, jsonl, parquet
from stages.inputs.batches import Batch, Layout, Problem, ReadStatus
from stages.inputs.columns import COLUMN, conform
from stages.inputs.compressed import stage_compressed
from stages.inputs.discover import shard_format
from stages.inputs.parquet import Request

__all__ = [
    "BATCH_BYTES",
    "Batch",
    "Layout",
    "Problem",
    "ReadStatus",
    "conform",
    "count_and_layout",
    "passthrough_schema",
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
        column as it is stored; a dotted path descends into structs and JSON text); "all" for text, id, url
        and every input column. A column that the file lacks is null and a problem of the first batch.
        In JSON lines an absent key is null, and a column has the type of the batch's values; see `conform`.
    path
        Parquet copy made by `stage_compressed`, to be read instead.
    rows
        Shard rows, ascending, each once; only these are returned, and row groups or lines far from them are skipped.

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
    kind = "staged" if path else format_of(dataset, where)
    if columns == "all":
        schema = passthrough_schema(dataset, [where], "all")
        columns = ["text", "id", "url", *(COLUMN + name for name in schema.names)]
    request = Request(dataset, piece, where, tuple(columns), batch_bytes, rows)
    if kind == "staged":
        return compressed.read_staged(request)
    if kind == "parquet":
        return parquet.read(request)
    return jsonl.read(request) if kind == "jsonl" else compressed.read_stream(request)


def format_of(dataset: Dataset, path: str) -> str:
    """Return parquet, jsonl, jsonl.gz or jsonl.zst. Raises ShardError where nothing tells."""
    kind = shard_format(path, dataset.format)
    if kind is None:
        raise ShardError(
            f"{path} (dataset {dataset.name}): neither the name nor the recipe tells the format. Set "
            "`format: parquet` or `format: jsonl` for the dataset."
        )
    return kind


def count_and_layout(dataset: Dataset, path: str) -> Layout:
    """Return rows, where the file may be cut, and what is wrong with it as a whole.

    Parquet: from the footer, with a check of the mapped columns. JSON lines: newlines are counted.
    Compressed JSON lines: the stream is read to its end (`stage_compressed` gives the same answer).
    """
    kind = format_of(dataset, path)
    if kind == "parquet":
        return parquet.layout(dataset, path)
    return jsonl.layout(dataset, path) if kind == "jsonl" else compressed.stream_layout(dataset, path)


def passthrough_schema(dataset: Dataset, paths: Iterable[str], columns: Sequence[str] | All) -> pa.Schema:
    """Return name and type of input columns, each as the first file that tells has it; text where none tells.

    `columns` are paths without the prefix "column:" (it is stripped), or "all" for every top-level column of
    the first file; columns that no file has are left out. For JSON lines the first lines tell. No paths give
    no fields. No more paths are looked at than are needed to find every column.
    """
    names = None if columns == "all" else [name.removeprefix(COLUMN) for name in columns]
    fields: dict[str, pa.Field] = {}
    for path in paths:
        found = _schema_of(dataset, path, names)
        for field in found or ():
            if field.name not in fields or pa.types.is_null(fields[field.name].type):
                fields[field.name] = field
        typed = sum(not pa.types.is_null(field.type) for field in fields.values())
        if found is not None and (names is None or typed == len(set(names))):
            break
    chosen = [fields[name] for name in (fields if names is None else names) if name in fields]
    return jsonl.typed(pa.schema(chosen))


def _schema_of(dataset: Dataset, path: str, names: list[str] | None) -> pa.Schema | None:
    kind = format_of(replace(dataset, format="auto") if path.endswith(".parquet") else dataset, path)
    if kind != "parquet":
        return jsonl.json_schema(compressed.first_objects(path, kind), names)
    try:
        if compressed.is_staged(parquet.schema(path)):
            return compressed.staged_schema(path, names)
        return parquet.chosen(path, names)
    except parquet.Corrupt:
        return None
