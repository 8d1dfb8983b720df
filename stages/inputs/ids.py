"""Scalars of any Arrow type as text, as they are written: what ids and URLs become.

Guarantees: two different values of one type never give one text. Integers and decimals have all their digits, UUIDs
their canonical form, other bytes are hexadecimal, dates and times ISO 8601.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from stages.kernels.text.validity import is_valid_utf8

TEXT = pa.large_string()
PER_SECOND = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
STRINGS = (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view)
BYTES = (pa.types.is_binary, pa.types.is_large_binary, pa.types.is_binary_view, pa.types.is_fixed_size_binary)
NUMBERS = (pa.types.is_boolean, pa.types.is_integer, pa.types.is_floating, pa.types.is_decimal)
NUMERIC = r"^\s*[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?\s*$"  # a text that is a number
TIMES = (pa.types.is_timestamp, pa.types.is_date, pa.types.is_time)


def is_uuid(kind: pa.DataType) -> bool:
    """Tell whether a type is Arrow's UUID."""
    return isinstance(kind, pa.UuidType)


def decoded(column: pa.Array) -> pa.Array:
    """Return a column without dictionary, run ends, view and extension type (but UUID) at its top level."""
    kind = column.type
    if is_uuid(kind):
        return column
    if isinstance(kind, pa.BaseExtensionType):
        return column.storage.cast(pa.bool_()) if isinstance(kind, pa.Bool8Type) else decoded(column.storage)
    if pa.types.is_dictionary(kind):
        return decoded(column.dictionary_decode())
    if pa.types.is_run_end_encoded(kind):
        return decoded(pc.run_end_decode(column))
    if pa.types.is_string_view(kind) or pa.types.is_binary_view(kind):
        return column.cast(TEXT if pa.types.is_string_view(kind) else pa.large_binary())
    return column


def scalar_texts(column: pa.Array) -> pa.Array:
    """Return scalars as large_string, nulls kept; nested values become null."""
    column = decoded(column)
    kind = column.type
    if pa.types.is_null(kind) or pa.types.is_nested(kind):
        return pa.nulls(len(column), TEXT)
    if any(test(kind) for test in STRINGS):
        return sound(column.cast(TEXT))
    if is_uuid(kind):
        return _each(column.storage, lambda value: str(uuid.UUID(bytes=value)))
    if any(test(kind) for test in BYTES):
        return _each(column, bytes.hex)
    if any(test(kind) for test in TIMES):
        return pc.replace_substring(_shown(column).cast(TEXT), " ", "T")
    if pa.types.is_duration(kind):
        return _durations(column)
    if pa.types.is_interval(kind):
        return _each(column, lambda v: f"P{v.months}M{v.days}DT{_seconds(v.nanoseconds, 10**9)}S")
    if pa.types.is_decimal(kind):
        return _each(column, lambda value: format(value, "f"))
    return (column.cast(pa.float32()) if pa.types.is_float16(kind) else column).cast(TEXT)


def _shown(column: pa.Array) -> pa.Array:
    """Return times in UTC where they have a time zone: the zone of a file is a matter of display."""
    kind = column.type
    return column.cast(pa.timestamp(kind.unit, "UTC")) if pa.types.is_timestamp(kind) and kind.tz else column


def _each(column: pa.Array, text: Callable[..., str]) -> pa.Array:
    return pa.array([None if value is None else text(value) for value in column.to_pylist()], TEXT)


def _durations(column: pa.Array) -> pa.Array:
    per_second = PER_SECOND[column.type.unit]
    return _each(column.cast(pa.int64()), lambda value: f"PT{_seconds(value, per_second)}S")


def _seconds(value: int, per_second: int) -> str:
    """Return so many parts of a second as seconds.

    >>> _seconds(-1500, 1000), _seconds(3, 10**9), _seconds(2, 1)
    ('-1.5', '0.000000003', '2')
    """
    whole, part = divmod(abs(value), per_second)
    digits = f"{part:0{len(str(per_second)) - 1}d}".rstrip("0") if part else ""
    return f"{'-' if value < 0 else ''}{whole}{'.' if digits else ''}{digits}"


def sound(texts: pa.Array) -> pa.Array:
    r"""Return texts as valid UTF-8: a malformed byte becomes \xNN.

    >>> sound(pa.array([b"caf\xe9"], pa.large_binary()).view(pa.large_string())).to_pylist()
    ['caf\\xe9']
    """
    if is_valid_utf8(texts):
        return texts
    values = texts.cast(pa.large_binary()).to_pylist()
    return pa.array([None if v is None else v.decode("utf-8", "backslashreplace") for v in values], TEXT)


def numbers_in(texts: pa.Array | pa.ChunkedArray) -> pa.Array | pa.ChunkedArray:
    """Return the numbers that texts are, as double; null where a text is none.

    >>> numbers_in(pa.array([" 3.5", "1e2", "3 apples"])).to_pylist()
    [3.5, 100.0, None]
    """
    plain = pc.if_else(pc.match_substring_regex(texts, NUMERIC), texts, pa.scalar(None, texts.type))
    return pc.utf8_trim_whitespace(plain).cast(pa.float64())


def spellings(wanted: str) -> list[str]:
    """Return how an id may be written in a ledger: as it is given, and a UUID or hexadecimal in its usual form.

    >>> spellings("{0000000C-9F2C-9CD0-4674-EDEA40003039}")[2]
    '0000000c-9f2c-9cd0-4674-edea40003039'
    """
    found = {wanted: None, wanted.lower(): None}
    try:
        found[str(uuid.UUID(wanted))] = None
        found[uuid.UUID(wanted).hex] = None
    except ValueError:
        pass
    return list(found)


def content_ids(h1: np.ndarray, h2: np.ndarray, usable: np.ndarray) -> pa.Array:
    """Return the content hash of each text as 32 hexadecimal digits, null where there is no text."""
    values = [f"{a:016x}{b:016x}" if ok else None for a, b, ok in zip(h1.tolist(), h2.tolist(), usable, strict=True)]
    return pa.array(values, TEXT)
