"""Find an input column by a dotted path, and turn what lies there into Arrow arrays.

A path names a column, a field of a struct, or a key of an object in a column that holds JSON text. A name
that itself contains dots wins over a path: the longest name that exists is taken at every level.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from stages.core.shard import Columns
from stages.inputs.batches import U8, ReadStatus
from stages.kernels.text.validity import replace_invalid

COLUMN = "column:"
RAW = "json:"  # an input column as JSON text: how staged copies hold it
TEXT = pa.large_string()


def source_path(name: str, columns: Columns) -> str | None:
    """Return the input path of an output column ("text", "id", "url", "column:NAME"); None if unmapped."""
    for prefix in (COLUMN, RAW):
        if name.startswith(prefix):
            return name[len(prefix) :]
    path: str | None = getattr(columns, name)
    return path


def split_path(names: Collection[str], path: str) -> tuple[str, str] | None:
    """Return (longest of `names` that begins the path, the rest of the path); None if there is none.

    >>> split_path(["a", "a.b"], "a.b.c")
    ('a.b', 'c')
    """
    if path in names:
        return path, ""
    end = path.rfind(".")
    while end > 0:
        if path[:end] in names:
            return path[:end], path[end + 1 :]
        end = path.rfind(".", 0, end)
    return None


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
    """Return where `path` lies in a schema; None where no such column exists."""
    names: list[str] = []
    fields: Iterable[pa.Field] = schema
    rest = path
    while True:
        known = {field.name: field.type for field in fields}
        found = split_path(known, rest)
        if found is None:
            return None
        name, rest = found
        names.append(name)
        kind = plain_type(known[name])
        if not rest:
            return Place(tuple(names), "", kind)
        if not pa.types.is_struct(kind):
            return Place(tuple(names), rest, kind) if holds_text(kind) else None
        fields = [kind.field(i) for i in range(kind.num_fields)]


def plain_type(kind: pa.DataType) -> pa.DataType:
    """Look through dictionaries and extension types."""
    if isinstance(kind, pa.BaseExtensionType):
        return plain_type(kind.storage_type)
    return plain_type(kind.value_type) if pa.types.is_dictionary(kind) else kind


def holds_text(kind: pa.DataType) -> bool:
    """Tell whether values of this type are bytes or strings of any width."""
    kind = plain_type(kind)
    tests = (
        pa.types.is_string,
        pa.types.is_large_string,
        pa.types.is_string_view,
        pa.types.is_binary,
        pa.types.is_large_binary,
        pa.types.is_binary_view,
        pa.types.is_fixed_size_binary,
    )
    return any(test(kind) for test in tests)


def holds_scalar(kind: pa.DataType) -> bool:
    """Tell whether a value of this type can be written as one string (an id)."""
    return holds_text(kind) or not pa.types.is_nested(plain_type(kind))


def plain(column: pa.Array) -> pa.Array:
    """Return the array without dictionary encoding and extension type."""
    if isinstance(column.type, pa.BaseExtensionType):
        return plain(column.storage)
    if pa.types.is_dictionary(column.type):
        return plain(column.dictionary_decode())
    return column


def as_text(column: pa.Array) -> pa.Array:
    """Return text or bytes as large_string, nulls kept, bytes not validated."""
    column = plain(column)
    kind = column.type
    if pa.types.is_null(kind):
        return pa.nulls(len(column), TEXT)
    if pa.types.is_large_string(kind):
        return column
    if pa.types.is_string(kind):
        return column.cast(TEXT)
    return column.cast(pa.large_binary()).view(TEXT)


def at_place(batch: pa.RecordBatch, where: Place) -> pa.Array:
    """Follow the names of a place through a record batch."""
    column = batch.column(batch.schema.get_field_index(where.names[0]))
    for name in where.names[1:]:
        column = pc.struct_field(plain(column), name)
    return column


def parse_json(column: pa.Array | pa.ChunkedArray) -> list[Any]:
    """Return the value of each JSON text; None where it is null or no JSON."""
    chunks = column.chunks if isinstance(column, pa.ChunkedArray) else [column]
    texts = (text for chunk in chunks for text in as_text(chunk).cast(pa.large_binary()).to_pylist())
    return [None if text is None else _loads(text) for text in texts]


def json_at(column: pa.Array, path: str) -> list[Any]:
    """Return what lies at `path` in each JSON text; None where it is absent or the text is no JSON."""
    return [None if value is None else lookup(value, path) for value in parse_json(column)]


def _loads(text: bytes) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return None


def identifiers(column: pa.Array) -> pa.Array:
    """Return any scalar column as large_string (ids and URLs); malformed bytes become U+FFFD."""
    column = plain(column)
    if holds_text(column.type) or pa.types.is_null(column.type):
        return replace_invalid(as_text(column))
    if pa.types.is_nested(column.type):
        return pa.nulls(len(column), TEXT)
    return column.cast(TEXT)


# --- JSON values -----------------------------------------------------------------------------------------


def lookup(value: Any, path: str) -> Any:
    """Return what lies at a dotted path in a JSON value; None where there is nothing.

    >>> lookup({"a": {"b.c": 1}, "d": '{"e": 2}'}, "a.b.c"), lookup({"d": '{"e": 2}'}, "d.e")
    (1, 2)
    """
    while True:
        if isinstance(value, str):
            value = _loads(value.encode())
        if not isinstance(value, dict):
            return None
        if path in value:
            return value[path]
        found = split_path(value, path)
        if found is None:
            return None
        value, path = value[found[0]], found[1]


def getter(path: str) -> Callable[[dict[str, Any]], Any]:
    """Return the function that fetches `path` from an object."""
    if "." not in path:
        return lambda value: value.get(path)
    return lambda value: lookup(value, path)


def json_text(value: Any) -> str | None:
    """Return a string as it is, None as None, anything else as JSON."""
    return value if value is None or isinstance(value, str) else orjson.dumps(value).decode()


def raw_of(values: list[Any]) -> pa.Array:
    """Return JSON values as JSON text, strings in quotes; null stays null."""
    return pa.array([None if value is None else orjson.dumps(value).decode() for value in values], TEXT)


def texts_of(values: list[Any]) -> tuple[pa.Array, U8]:
    """Return JSON values as texts and which are of the wrong type: large_string with nulls, (rows,) uint8."""
    status = np.zeros(len(values), np.uint8)
    if not set(map(type, values)) <= {str, type(None)}:
        for row, value in enumerate(values):
            if value is not None and not isinstance(value, str):
                status[row] = ReadStatus.WRONG_TYPE
        values = [value if isinstance(value, str) else None for value in values]
    return pa.array(values, TEXT), status


def ids_of(values: list[Any]) -> pa.Array:
    """Return JSON values as ids: numbers and objects as their JSON, large_string with nulls."""
    if not set(map(type, values)) <= {str, type(None)}:
        values = [json_text(value) for value in values]
    return pa.array(values, TEXT)


def from_json(values: list[Any]) -> pa.Array:
    """Return JSON values as an array: bool, int64, float64 or large_string.

    Objects, lists and mixtures become JSON text (strings stay as they are); only nulls give type null.
    """
    kinds = set(map(type, values)) - {type(None)}
    if not kinds:
        return pa.nulls(len(values))
    if kinds == {str}:
        return pa.array(values, TEXT)
    if kinds == {bool}:
        return pa.array(values, pa.bool_())
    if kinds == {int} and all(value is None or -(2**63) <= value < 2**63 for value in values):
        return pa.array(values, pa.int64())
    if kinds <= {int, float}:
        return pa.array([None if value is None else float(value) for value in values], pa.float64())
    return pa.array([json_text(value) for value in values], TEXT)


def conform(column: pa.ChunkedArray | pa.Array, kind: pa.DataType) -> pa.ChunkedArray | pa.Array:
    """Cast a column to the type its file of output has; what does not fit becomes null.

    JSON lines have no fixed types: a column that was a number in the first lines may be a string later.
    """
    if column.type.equals(kind):
        return column
    try:
        return column.cast(kind)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, pa.ArrowTypeError):
        return pa.array([_fitting(value, kind) for value in column.to_pylist()], kind)


def _fitting(value: Any, kind: pa.DataType) -> Any:
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return json_text(value)
    try:
        return pa.scalar(value).cast(kind).as_py()
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, pa.ArrowTypeError):
        return None
