"""Bring a column to the type that its whole dataset agrees on (schema.py), exactly or not at all.

Guarantees: `fit` raises where a value would change; a column marked as JSON holds the JSON text of each value.
Memory: the column, once more.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from stages.inputs.ids import decoded, is_uuid, scalar_texts

TEXT = pa.large_string()
JSON = {b"winnow.json": b"1"}  # metadata of a field of which each value is JSON text
LISTS = (pa.types.is_list, pa.types.is_large_list, pa.types.is_list_view, pa.types.is_large_list_view)
_AS_THEY_ARE = (pa.types.is_boolean, pa.types.is_integer, pa.types.is_null)


def is_json(field: pa.Field) -> bool:
    """Tell whether the values of a field are written as JSON text."""
    return bool(field.metadata) and JSON.items() <= field.metadata.items()


def is_list(kind: pa.DataType) -> bool:
    """Tell whether a type is a list of any width, views and fixed sizes included."""
    return any(test(kind) for test in LISTS) or pa.types.is_fixed_size_list(kind)


def plain_type(kind: pa.DataType) -> pa.DataType:
    """Return a type without dictionaries, run ends, views and extension types (but UUID), nested ones included.

    >>> str(plain_type(pa.list_(pa.dictionary(pa.int8(), pa.string_view()))))
    'list<item: large_string>'
    """
    if is_uuid(kind):
        return kind
    if isinstance(kind, pa.BaseExtensionType):
        return pa.bool_() if isinstance(kind, pa.Bool8Type) else plain_type(kind.storage_type)
    if pa.types.is_dictionary(kind) or pa.types.is_run_end_encoded(kind):
        return plain_type(kind.value_type)
    if pa.types.is_string_view(kind) or pa.types.is_binary_view(kind):
        return TEXT if pa.types.is_string_view(kind) else pa.large_binary()
    if pa.types.is_struct(kind):
        fields = [kind.field(i) for i in range(kind.num_fields)]
        inner = [plain_type(f.type) for f in fields]
        same = all(a is f.type for a, f in zip(inner, fields, strict=True))
        return kind if same else pa.struct([f.with_type(t) for f, t in zip(fields, inner, strict=True)])
    if pa.types.is_map(kind):
        key, item = plain_type(kind.key_type), plain_type(kind.item_type)
        same = key is kind.key_type and item is kind.item_type
        return kind if same else pa.map_(kind.key_field.with_type(key), kind.item_field.with_type(item))
    return _plain_list(kind) if is_list(kind) else kind


def has_views(kind: pa.DataType) -> bool:
    """Tell whether a type is, or holds, a view or run ends: few of Arrow's functions know them."""
    if isinstance(kind, pa.BaseExtensionType):
        return has_views(kind.storage_type)
    views = (pa.types.is_string_view, pa.types.is_binary_view, pa.types.is_list_view, pa.types.is_large_list_view)
    if pa.types.is_run_end_encoded(kind) or any(test(kind) for test in views):
        return True
    return any(has_views(kind.field(i).type) for i in range(kind.num_fields))


def _plain_list(kind: pa.DataType) -> pa.DataType:
    item = plain_type(kind.value_type)
    views = pa.types.is_list_view(kind) or pa.types.is_large_list_view(kind)
    if item is kind.value_type and not views:
        return kind
    field = kind.value_field.with_type(item)
    if pa.types.is_fixed_size_list(kind):
        return pa.list_(field, kind.list_size)
    return pa.list_(field) if pa.types.is_list(kind) else pa.large_list(field)


def plain(column: pa.Array) -> pa.Array:
    """Return a column as values of its `plain_type`."""
    kind = plain_type(column.type)
    return column if column.type == kind else fit(column, pa.field("", kind))


def fit(column: pa.Array, field: pa.Field) -> pa.Array:
    """Return the column as the type of `field`. Raises ArrowInvalid where a value does not fit exactly."""
    if is_json(field):
        return json_texts(column)
    kind = field.type
    if column.type == kind and not (pa.types.is_nested(kind) and _marked(field)):
        return column
    if pa.types.is_null(column.type):
        return pa.nulls(len(column), kind)
    column = decoded(column)
    if pa.types.is_struct(kind):
        return _struct(column, kind)
    if is_list(kind):
        return _list(column, kind)
    if pa.types.is_map(kind):
        return _map(column, kind)
    if is_uuid(kind):
        return pa.ExtensionArray.from_storage(kind, column.storage if is_uuid(column.type) else column)
    return column.cast(kind)


def _marked(field: pa.Field) -> bool:
    """Tell whether a field below this one is marked as JSON."""
    kind = field.type
    if pa.types.is_struct(kind):
        below = [kind.field(i) for i in range(kind.num_fields)]
    elif pa.types.is_map(kind):
        below = [kind.key_field, kind.item_field]
    else:
        below = [kind.value_field] if is_list(kind) else []
    return any(is_json(f) or _marked(f) for f in below)


def _struct(column: pa.Array, kind: pa.DataType) -> pa.Array:
    names = [column.type.field(i).name for i in range(column.type.num_fields)]
    children = []
    for i in range(kind.num_fields):
        field = kind.field(i)
        known = field.name in names
        children.append(
            fit(pc.struct_field(column, names.index(field.name)), field) if known else pa.nulls(len(column), field.type)
        )
    fields = [kind.field(i).with_nullable(True) for i in range(kind.num_fields)]
    made = pa.StructArray.from_arrays(children, fields=fields, mask=column.is_null())
    return made if made.type == kind else made.cast(kind)


def _lengths(column: pa.Array) -> pa.Array:
    """Return where each list ends, one more than lists, (rows + 1,) int64."""
    sizes = pc.fill_null(pc.list_value_length(column), 0).to_numpy(zero_copy_only=False)
    return np.concatenate([[0], np.cumsum(sizes.astype(np.int64))])


def _list(column: pa.Array, kind: pa.DataType) -> pa.Array:
    if pa.types.is_fixed_size_list(kind):
        size = kind.list_size
        inner = fit(column.values.slice(column.offset * size, len(column) * size), kind.value_field)
        return pa.FixedSizeListArray.from_arrays(inner, type=kind, mask=column.is_null())
    inner = fit(pc.list_flatten(column), kind.value_field)
    large = pa.types.is_large_list(kind)
    offsets = pa.array(_lengths(column), pa.int64() if large else pa.int32())
    make = pa.LargeListArray if large else pa.ListArray
    return make.from_arrays(offsets, inner, type=kind, mask=column.is_null())


def _map(column: pa.Array, kind: pa.DataType) -> pa.Array:
    keys, items, offsets = _entries(column)
    keys, items = fit(keys, kind.key_field), fit(items, kind.item_field)
    mask = column.is_null().to_numpy(zero_copy_only=False)
    made = pa.array(offsets, pa.int32(), mask=np.concatenate([mask, [False]]))
    return pa.MapArray.from_arrays(made, keys, items, type=kind)


def _entries(column: pa.Array) -> tuple[pa.Array, pa.Array, Any]:
    """Return the keys and values of maps, and where each map ends, one more than maps, (rows + 1,) int32."""
    offsets = column.offsets.to_numpy()
    start, count = int(offsets[0]), int(offsets[-1] - offsets[0])
    return column.keys.slice(start, count), column.items.slice(start, count), offsets - offsets[0]


# --- JSON text of Arrow values ---------------------------------------------------------------------------


def json_texts(column: pa.Array) -> pa.Array:
    """Return the JSON text of each value, null stays null: numbers with all digits, bytes as hex, times in ISO 8601."""
    values = jsonable(column)
    return pa.array([None if v is None else dumps(v).decode() for v in values], TEXT)


def plain_texts(column: pa.Array) -> pa.Array:
    """Return each value as text: strings as they are, anything else as JSON text."""
    column = decoded(column)
    strings = pa.types.is_string(column.type) or pa.types.is_large_string(column.type)
    return column.cast(TEXT) if strings else json_texts(column)


def dumps(value: Any) -> bytes:
    """Return JSON; strings that are no UTF-8 were replaced by `jsonable`."""
    return orjson.dumps(value)


def _special(value: float) -> orjson.Fragment:
    name = "NaN" if value != value else "Infinity" if value > 0 else "-Infinity"
    return orjson.Fragment(name.encode())


Special = Callable[[float], Any] | None


def jsonable(column: pa.Array, *, special: Special = _special) -> list[Any]:
    """Return each value as what `dumps` writes exactly. special: what stands for NaN and infinities; None: null."""
    column = decoded(column)
    kind = column.type
    if any(test(kind) for test in _AS_THEY_ARE):
        return list(column.to_pylist())
    if pa.types.is_floating(kind):
        return [v if v is None or v - v == 0 else special and special(v) for v in column.to_pylist()]
    if pa.types.is_decimal(kind):
        return [None if v is None else orjson.Fragment(format(v, "f").encode()) for v in column.to_pylist()]
    if pa.types.is_struct(kind):
        return _jsonable_structs(column, special)
    if is_list(kind):
        return _cut(column, jsonable(pc.list_flatten(column), special=special), _lengths(column))
    if pa.types.is_map(kind):
        return _jsonable_maps(column, special)
    if pa.types.is_union(kind):
        return [
            jsonable(pa.array([v.value.as_py()], v.value.type), special=special)[0] if v.is_valid else None
            for v in column
        ]
    return list(scalar_texts(column).to_pylist())


def _cut(column: pa.Array, values: list[Any], ends: Any) -> list[Any]:
    nulls = column.is_null().to_pylist()
    return [None if nulls[i] else values[ends[i] : ends[i + 1]] for i in range(len(column))]


def _jsonable_structs(column: pa.Array, special: Special) -> list[Any]:
    kind = column.type
    names = [kind.field(i).name for i in range(kind.num_fields)]
    children = [jsonable(pc.struct_field(column, i), special=special) for i in range(kind.num_fields)]
    nulls = column.is_null().to_pylist()
    rows = zip(*children, strict=True) if children else ((),) * len(column)
    return [None if null else dict(zip(names, row, strict=True)) for null, row in zip(nulls, rows, strict=True)]


def _jsonable_maps(column: pa.Array, special: Special) -> list[Any]:
    """Return maps as lists of [key, value]: keys may be of any type, and stand twice."""
    keys, items, ends = _entries(column)
    pairs = [list(pair) for pair in zip(jsonable(keys, special=special), jsonable(items, special=special), strict=True)]
    return _cut(column, pairs, ends)
