"""Attribute files: scores and spans that another tool wrote about documents, keyed by the documents' ids.

Layouts: a row per document with its id, and values by name: numbers (datatrove's metadata, any table), or Dolma's lists
of [start, end, score], spans in characters. Guarantees: a file that is damaged or has a value of another kind is an
error that names it. Memory: one batch of rows.
"""

from __future__ import annotations

import functools
import hashlib
import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from cluster.errors import ShardError
from stages.inputs import side_files
from stages.inputs.files.file_versions import stat_token
from stages.inputs.values import lookup

BATCH = 5_000
SPAN = pa.struct([("field", pa.int32()), ("start", pa.int64()), ("stop", pa.int64()), ("score", pa.float64())])


@dataclass(frozen=True, kw_only=True)
class Field:
    """An attribute: its name, and the dotted path to it in a row."""

    name: str
    path: str


@dataclass(frozen=True, kw_only=True)
class Attributes:
    """What a row says of one document. spans: (field, start, stop, score), in characters."""

    id: str
    values: list[float | None]
    spans: list[tuple[int, int, int, float]]


@functools.lru_cache(maxsize=16)
def digest_of(paths: tuple[str, ...]) -> str:
    """Return the digest of attribute files, by path, size and time, once per process: nothing of them is read.

    Raises RecipeError where there are none.
    """
    found = (f"{file.path} {file.bytes} {stat_token(file.path)}" for file in side_files.find(paths, "id"))
    return hashlib.blake2b("\n".join(found).encode(), digest_size=8).hexdigest()


def files_of(paths: tuple[str, ...]) -> list[str]:
    """Return the attribute files that paths, folders and globs name, sorted."""
    return [file.path for file in side_files.find(paths, "id")]


def batches(path: str, id_path: str, fields: tuple[Field, ...]) -> Iterator[list[Attributes]]:
    """Yield the rows of a file in order. Raises ShardError where one has no id, or a value of another kind."""
    rows = enumerate(side_files.rows(path), 1)
    while some := list(itertools.islice(rows, BATCH)):
        yield [_read(path, number, row, id_path, fields) for number, row in some]


def _read(path: str, number: int, row: dict[str, Any], id_path: str, fields: tuple[Field, ...]) -> Attributes:
    name = lookup(row, id_path)
    if not isinstance(name, str | int):
        raise ShardError(f"{path}, row {number}: there is no id under {id_path!r}. Name the field: id.")
    found = Attributes(id=str(name), values=[], spans=[])
    for at, field in enumerate(fields):
        value = lookup(row, field.path)
        try:
            spans = _spans(value) if isinstance(value, list | tuple) else None
            number_ = max((span[2] for span in spans), default=None) if spans is not None else _number(value)
        except (TypeError, ValueError):
            raise ShardError(
                f"{path}, row {number}: {field.path} is {value!r}, a number or a list of [start, end, score] was "
                f"expected. Name another field for {field.name}."
            ) from None
        found.values.append(number_)
        found.spans.extend((at, *span) for span in spans or ())
    return found


def _number(value: Any) -> float | None:
    if value is None:
        return None
    if isinstance(value, str):
        raise ValueError(value)
    found = float(value)
    return None if math.isnan(found) else found


def _spans(value: Any) -> list[tuple[int, int, float]]:
    """Return Dolma's spans; a score of null counts as 0."""
    return [(int(start), int(stop), float(score or 0)) for start, stop, score in value]
