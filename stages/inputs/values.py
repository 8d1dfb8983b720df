"""JSON values as Arrow arrays: texts, ids, and input columns of the type that a whole dataset agrees on.

Guarantees: no value is rounded or lost. What a typed column cannot hold was found out before it got its type
(`Kinds`), and a column whose values are of several kinds holds the JSON text of each.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import orjson
import pyarrow as pa

from stages.inputs import exact
from stages.inputs.batches import U8, ReadStatus
from stages.inputs.fit import fit, is_json
from stages.inputs.kinds import WIDE, Kinds
from stages.inputs.paths import split_path

TEXT = pa.large_string()
Values = Sequence[Any]


def kinds_of(values: Values, lines: Sequence[bytes], path: str) -> Kinds:
    """Return the kinds of what lies at `path` in these lines."""
    found = Kinds.NONE
    types = set(map(type, values))
    for kind in types:
        if kind is str:
            found |= Kinds.TEXT
        elif kind is bool:
            found |= Kinds.BOOL
        elif kind is int:
            found |= _ints([v for v in values if type(v) is int])
        elif kind is float:
            found |= _floats(values, lines, path)
        elif kind is not type(None):
            found |= Kinds.OTHER
    return found | Kinds.OTHER if found & Kinds.TEXT and not _all_sound(values) else found


def _ints(values: list[int]) -> Kinds:
    low, high = min(values), max(values)
    found = Kinds.INT | (Kinds.NEGATIVE if low < 0 else Kinds.NONE)
    if low < -WIDE or high > WIDE:
        found |= Kinds.WIDE
    return found | Kinds.UNSIGNED if high >= 2**63 else found


def _floats(values: Values, lines: Sequence[bytes], path: str) -> Kinds:
    for value, line in zip(values, lines, strict=True):
        finite = type(value) is float and value - value == 0  # NaN and infinities are doubles
        if finite and not exact.is_exact(exact.number_at(line, path, value), value):
            return Kinds.FLOAT | Kinds.OTHER
    return Kinds.FLOAT


def _all_sound(values: Values) -> bool:
    try:
        "".join(v for v in values if type(v) is str).encode()
    except UnicodeEncodeError:
        return False
    return True


# --- values at a path ------------------------------------------------------------------------------------


def loads(text: bytes) -> Any:
    """Return the value of a JSON text, None where it is none."""
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        pass
    try:
        return exact.loads_lenient(text)
    except (ValueError, RecursionError):
        return None


def lookup(value: Any, path: str) -> Any:
    """Return what lies at a dotted path in a JSON value; None where there is nothing.

    >>> lookup({"a": {"b.c": 1}, "d": '{"e": 2}'}, "a.b.c"), lookup({"d": '{"e": 2}'}, "d.e")
    (1, 2)
    """
    while True:
        if isinstance(value, str):
            value = loads(value.encode("utf-8", "surrogatepass"))
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


# --- columns ---------------------------------------------------------------------------------------------


def texts_of(values: Values) -> tuple[pa.Array, U8]:
    """Return JSON values as texts and what is wrong with some: large_string with nulls, (rows,) uint8."""
    status = np.zeros(len(values), np.uint8)
    if not set(map(type, values)) <= {str, type(None)}:
        for row, value in enumerate(values):
            if value is not None and not isinstance(value, str):
                status[row] = ReadStatus.WRONG_TYPE
        values = [value if isinstance(value, str) else None for value in values]
    return sound_texts(values, status), status


def sound_texts(values: Values, status: U8) -> pa.Array:
    """Return strings as large_string; one with half a surrogate becomes null and is INVALID_UTF8 in `status`."""
    try:
        return pa.array(values, TEXT)
    except UnicodeEncodeError:
        sound = [value is None or exact.is_sound(value) for value in values]
        status[~np.array(sound)] = ReadStatus.INVALID_UTF8
        return pa.array([value if ok else None for value, ok in zip(values, sound, strict=True)], TEXT)


def ids_of(values: Values, lines: Sequence[bytes], path: str) -> tuple[pa.Array, U8]:
    """Return JSON values as ids, numbers as they are written, objects as JSON text; and which are malformed."""
    status = np.zeros(len(values), np.uint8)
    if not set(map(type, values)) <= {str, type(None)}:
        values = [v if v is None or isinstance(v, str) else _id(v, lines[i], path) for i, v in enumerate(values)]
    return sound_texts(values, status), status


def _id(value: Any, line: bytes, path: str) -> str:
    if value is True or value is False:
        return "true" if value else "false"
    if type(value) is int and value:
        return str(value)
    if type(value) is float and value - value == 0:
        return exact.number_at(line, path, value)
    raw = exact.raw_at(exact.text_of(line), path) or ""
    return exact.compact(raw) if isinstance(value, dict | list) else raw


def json_texts_of(values: Values, lines: Sequence[bytes], path: str) -> pa.Array:
    """Return JSON values as JSON text, strings in quotes; null stays null."""
    return pa.array([None if v is None else _json_text(v, lines[i], path) for i, v in enumerate(values)], TEXT)


def _json_text(value: Any, line: bytes, path: str) -> str:
    if isinstance(value, str):
        return exact.quoted(value)
    if isinstance(value, bool | int):
        return orjson.dumps(value).decode()
    if type(value) is float and value - value == 0:
        return exact.number(exact.number_at(line, path, value))
    return exact.compact(exact.raw_at(exact.text_of(line), path) or "null")


def plain_texts_of(values: Values, lines: Sequence[bytes], path: str) -> pa.Array:
    """Return JSON values as text: strings as they are, anything else as JSON text."""
    texts = [v if v is None or isinstance(v, str) else _json_text(v, lines[i], path) for i, v in enumerate(values)]
    try:
        return pa.array(texts, TEXT)
    except UnicodeEncodeError:
        return pa.array([t if t is None or exact.is_sound(t) else exact.quoted(t) for t in texts], TEXT)


def from_json(values: Values, lines: Sequence[bytes], path: str) -> pa.Array:
    """Return JSON values as an array of the type that they themselves ask for, see `Kinds.type`.

    Objects, lists and mixtures become text (strings stay as they are); only nulls give type null.
    """
    kind = kinds_of(values, lines, path).type
    return plain_texts_of(values, lines, path) if kind is None else typed(values, kind)


def typed(values: Values, kind: pa.DataType) -> pa.Array:
    """Return values of the kinds that a type stands for. Raises ArrowInvalid where one does not fit."""
    if pa.types.is_floating(kind):
        return pa.array([None if v is None else float(v) for v in values], kind)
    if pa.types.is_decimal(kind):
        whole = pa.array([None if v is None else str(v) for v in values], pa.string())
        return whole.cast(kind)
    return pa.array(values, kind)


def column_of(values: Values, lines: Sequence[bytes], path: str, field: pa.Field | None) -> pa.Array:
    """Return the input column that lies at `path` in these lines, of the type of `field`; None: of its own."""
    if field is None:
        return from_json(values, lines, path)
    if is_json(field):
        return plain_texts_of(values, lines, path)
    own = from_json(values, lines, path)
    return own if own.type == field.type else fit(own, field)
