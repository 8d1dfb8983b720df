"""Find an input column by a dotted path, and turn what lies there into Arrow arrays.

A path names a column, a field of a struct, or a key of an object in a column that holds JSON text. A name
that itself contains dots wins over a path: the longest name that exists is taken at every level. A name that
several columns (or fields of a struct) have is an error, never one of them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from stages.core.shard import Columns
from stages.inputs.fit import is_list, plain, plain_type
from stages.inputs.ids import decoded, is_uuid, scalar_texts, sound
from stages.inputs.paths import split_path
from stages.inputs.values import loads

COLUMN = "column:"
RAW = "json:"  # an input column as JSON text: how staged copies hold it
TEXT = pa.large_string()


class Ambiguous(Exception):
    """A path names one of several columns; the message says which."""


def source_path(name: str, columns: Columns) -> str | None:
    """Return the input path of an output column ("text", "id", "url", "column:NAME"); None if unmapped."""
    for prefix in (COLUMN, RAW):
        if name.startswith(prefix):
            return name[len(prefix) :]
    path: str | None = getattr(columns, name)
    return path


# --- Arrow columns ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Place:
    """Where a value lies: names to follow through structs, the rest of the path inside JSON text."""

    names: tuple[str, ...]
    inside: str
    type: pa.DataType

    @property
    def leaf(self) -> str:
        """Name that selects it in a Parquet file."""
        return ".".join(self.names)

    @property
    def json(self) -> bool:
        return bool(self.inside)


def place(schema: pa.Schema, path: str) -> Place | None:
    """Return where `path` lies in a schema; None where no such column exists. Raises Ambiguous."""
    names: list[str] = []
    fields: list[pa.Field] = list(schema)
    rest = path
    while True:
        known = {field.name: field.type for field in fields}
        found = split_path(known, rest)
        if found is None:
            return None
        name, rest = found
        check_once(name, (field.name for field in fields), names)
        names.append(name)
        kind = plain_type(known[name])
        if not rest:
            check_nested(kind, names)
            return Place(tuple(names), "", kind)
        if not pa.types.is_struct(kind):
            return Place(tuple(names), rest, kind) if holds_text(kind) else None
        fields = [kind.field(i) for i in range(kind.num_fields)]


def check_once(name: str, names: Iterable[str], above: list[str]) -> None:
    """Raise Ambiguous where a name stands several times among those of its level."""
    count = sum(other == name for other in names)
    if count > 1:
        what = f"fields of {'.'.join(above)!r}" if above else "columns"
        raise Ambiguous(f"{count} {what} are called {name!r}, so that nothing tells which is meant")


def check_nested(kind: pa.DataType, above: list[str]) -> None:
    """Raise Ambiguous where a struct inside a type has two fields of one name."""
    if pa.types.is_struct(kind):
        names = [kind.field(i).name for i in range(kind.num_fields)]
        for i, name in enumerate(names):
            check_once(name, names, above)
            check_nested(kind.field(i).type, [*above, name])
    elif pa.types.is_map(kind):
        check_nested(kind.item_type, above)
    elif is_list(kind):
        check_nested(kind.value_type, above)


def holds_text(kind: pa.DataType) -> bool:
    """Tell whether values of this type are bytes or strings of any width, or UUIDs."""
    kind = plain_type(kind)
    tests = (
        pa.types.is_string,
        pa.types.is_large_string,
        pa.types.is_binary,
        pa.types.is_large_binary,
        pa.types.is_fixed_size_binary,
        is_uuid,
    )
    return any(test(kind) for test in tests)


def holds_scalar(kind: pa.DataType) -> bool:
    """Tell whether a value of this type can be written as one string (an id)."""
    return holds_text(kind) or not pa.types.is_nested(plain_type(kind))


def as_text(column: pa.Array) -> pa.Array:
    """Return text or bytes as large_string, nulls kept, bytes not validated."""
    column = decoded(column)
    kind = column.type
    if pa.types.is_null(kind):
        return pa.nulls(len(column), TEXT)
    if pa.types.is_large_string(kind):
        return column
    if pa.types.is_string(kind):
        return column.cast(TEXT)
    if is_uuid(kind):
        return scalar_texts(column)
    return column.cast(pa.large_binary()).view(TEXT)


def at_place(batch: pa.RecordBatch, where: Place) -> pa.Array:
    """Follow the names of a place through a record batch."""
    column = batch.column(batch.schema.get_field_index(where.names[0]))
    for name in where.names[1:]:
        column = pc.struct_field(plain(column), name)
    return column


def json_lines(column: pa.Array | pa.ChunkedArray) -> list[bytes]:
    """Return JSON texts as bytes; a null is an empty one."""
    chunks = column.chunks if isinstance(column, pa.ChunkedArray) else [column]
    return [text or b"" for chunk in chunks for text in as_text(chunk).cast(pa.large_binary()).to_pylist()]


def parse_json(column: pa.Array | pa.ChunkedArray) -> list[Any]:
    """Return the value of each JSON text; None where it is null or no JSON."""
    return [loads(text) if text else None for text in json_lines(column)]


def identifiers(column: pa.Array) -> pa.Array:
    """Return any scalar column as large_string, as ids are written: see `ids.scalar_texts`."""
    return scalar_texts(column)


def addresses(column: pa.Array) -> pa.Array:
    """Return any scalar column as large_string, bytes as the text they are (URLs)."""
    return sound(as_text(column)) if holds_text(column.type) else scalar_texts(column)
