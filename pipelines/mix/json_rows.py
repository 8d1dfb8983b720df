"""Documents as lines of JSON, and a count of what JSON cannot hold.

Guarantees: numbers keep their digits, bytes are hexadecimal, durations and times ISO 8601. NaN and infinities become
null, bytes of a string that are no UTF-8 become \\xNN; both are counted by column. Memory: one batch.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.compute as pc

from stages.inputs.fit import is_list, jsonable
from stages.inputs.ids import sound
from stages.kernels.text.validity import invalid_utf8

NOT_FINITE = "NaN or infinite, written as null"
MALFORMED = "not valid UTF-8, written with \\x.."
Losses = Counter[tuple[str, str]]  # (column, what became of a value) -> values


def json_lines(batch: pa.RecordBatch, losses: Losses) -> bytes:
    """Return the rows as JSON lines; what is lost is added to `losses`."""
    columns = [_values(name, column, losses) for name, column in zip(batch.schema.names, batch.columns, strict=True)]
    rows = zip(*columns, strict=True)
    return b"".join(orjson.dumps(dict(zip(batch.schema.names, row, strict=True)), default=str) + b"\n" for row in rows)


def _values(name: str, column: pa.Array, losses: Losses) -> list[Any]:
    """Return what orjson writes for each value."""
    lost = _not_finite(column)
    if lost:
        losses[name, NOT_FINITE] += lost
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        return _strings(name, column, losses)
    with contextlib.suppress(ValueError, OverflowError):  # a date that Python has no name for, a malformed string
        if _known(column.type):
            return list(column.to_pylist())
    return jsonable(column, special=None)


def _strings(name: str, column: pa.Array, losses: Losses) -> list[Any]:
    try:
        return list(column.to_pylist())
    except UnicodeDecodeError:
        losses[name, MALFORMED] += int(invalid_utf8(column.cast(pa.large_binary()).view(pa.large_string())).sum())
        return list(sound(column.cast(pa.large_binary()).view(pa.large_string())).to_pylist())


def _not_finite(column: pa.Array) -> int:
    """Count the values, nested ones too, that are NaN or infinite."""
    kind = column.type
    if pa.types.is_floating(kind):
        return int(pc.sum(pc.invert(pc.is_finite(column.cast(pa.float64())))).as_py() or 0)
    if pa.types.is_struct(kind):
        return sum(_not_finite(pc.struct_field(column, i)) for i in range(kind.num_fields))
    if is_list(kind):
        return _not_finite(pc.list_flatten(column))
    return _not_finite(column.items) if pa.types.is_map(kind) else 0


def _known(kind: pa.DataType) -> bool:
    """Tell whether orjson writes the Python values of a type as they are."""
    if isinstance(kind, pa.BaseExtensionType):
        return True
    if pa.types.is_timestamp(kind) or pa.types.is_time(kind):
        return bool(kind.unit != "ns")
    octets = pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_fixed_size_binary(kind)
    return not (octets or pa.types.is_duration(kind)) and all(
        _known(kind.field(i).type) for i in range(kind.num_fields)
    )
