"""One type for each input column of a dataset: what all of its files hold, widened until nothing is lost.

Guarantees: the schema depends on the set of types in the files, not on their order; a type that one of them has alone
stays as it is; kinds that do not mix become the JSON text of each value (metadata `winnow.json`). Some widenings
(64-bit integers to doubles, times to a finer unit) are exact for most values only: those columns are `doubtful`
until their values were looked at (collect.py). Memory: the columns of a dataset.
"""

from __future__ import annotations

import base64
import functools
import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pyarrow as pa

from stages.inputs.fit import JSON, TEXT, is_list
from stages.inputs.kinds import Kinds

EVERY = "*"  # in place of column names: all of the top level
DIGITS = {8: 3, 16: 5, 32: 10, 64: 20}  # of integers by bits
UNITS = ("s", "ms", "us", "ns")
Types = frozenset[pa.DataType]


@dataclass(frozen=True)
class Column:
    """What a column holds: types in columnar files, kinds of JSON values. inexact: the widest type fits not all."""

    types: Types = frozenset()
    kinds: Kinds = Kinds.NONE
    inexact: bool = False

    def __or__(self, other: Column) -> Column:
        return Column(self.types | other.types, self.kinds | other.kinds, self.inexact or other.inexact)


@dataclass(frozen=True)
class Columns:
    """What is known of the columns of some files. order: pairs of names that stood side by side."""

    columns: Mapping[str, Column] = field(default_factory=dict)
    order: frozenset[tuple[str, str]] = frozenset()

    def __or__(self, other: Columns) -> Columns:
        """Join the columns of two sets of files; associative and commutative."""
        joined = dict(self.columns)
        for name, column in other.columns.items():
            joined[name] = joined[name] | column if name in joined else column
        return Columns(joined, self.order | other.order)

    def mark(self, names: Iterable[str]) -> Columns:
        """Return the same, with these columns as inexact."""
        changed = {name: replace(self.columns[name], inexact=True) for name in names}
        return Columns({**self.columns, **changed}, self.order)

    def schema(self) -> pa.Schema:
        """Return a field for each column, in the files' order where they agree."""
        return pa.schema([_field(name, self.columns[name]) for name in in_order(self.columns, self.order)])

    def doubtful(self) -> list[str]:
        """Return the columns whose widest type may not hold each of their values."""
        return [name for name, column in self.columns.items() if not column.inexact and _widen(name, column)[1]]

    def to_json(self) -> dict[str, Any]:
        """Return plain values; `from_json` reads them."""
        types = sorted({t for c in self.columns.values() for t in c.types}, key=str)
        stored = pa.schema([(str(i), t) for i, t in enumerate(types)]).serialize().to_pybytes()
        number = {t: i for i, t in enumerate(types)}
        return {
            "types": base64.b64encode(stored).decode(),
            "columns": {
                name: [sorted(number[t] for t in c.types), int(c.kinds), c.inexact]
                for name, c in sorted(self.columns.items())
            },
            "order": sorted(self.order),
        }


def from_json(data: Mapping[str, Any]) -> Columns:
    """Read what `Columns.to_json` wrote."""
    types = pa.ipc.read_schema(pa.py_buffer(base64.b64decode(data["types"]))).types
    columns = {
        name: Column(frozenset(types[i] for i in numbers), Kinds(kinds), inexact)
        for name, (numbers, kinds, inexact) in data["columns"].items()
    }
    return Columns(columns, frozenset((a, b) for a, b in data["order"]))


def pairs(names: Sequence[str]) -> frozenset[tuple[str, str]]:
    """Return the names that stand side by side."""
    return frozenset(itertools.pairwise(names))


def in_order(names: Iterable[str], order: Iterable[tuple[str, str]]) -> list[str]:
    """Sort names so that each pair of `order` keeps its order, others by name; a circle is cut at its first name.

    >>> in_order({"a", "id", "text"}, [("id", "text"), ("id", "a")])
    ['id', 'a', 'text']
    """
    left = set(names)
    before: dict[str, set[str]] = {name: set() for name in left}
    for first, second in order:
        if first in left and second in left and first != second:
            before[second].add(first)
    found: list[str] = []
    while left:
        free = [name for name in left if not before[name] & left]
        name = min(free or left)
        found.append(name)
        left.remove(name)
    return found


def _field(name: str, column: Column) -> pa.Field:
    return _widen(name, column)[0].with_name(name)


@functools.lru_cache(maxsize=1024)
def _widen(name: str, column: Column) -> tuple[pa.Field, bool]:
    """Return the widest type of a column, and whether it may be too narrow for some value."""
    own = column.kinds.type
    if own is None:
        return _json(), False
    types = column.types | ({own} if column.kinds else set())
    widener = _Widener(column.inexact, bool(column.kinds & Kinds.WIDE))
    found = widener.widest(types)
    if pa.types.is_null(found.type):
        found = found.with_type(TEXT)
    return found, widener.doubtful


def _json() -> pa.Field:
    return pa.field("", TEXT, metadata=JSON)


class _Widener:
    """Finds the narrowest type that holds all values of some types.

    careful: where that depends on the values, they are taken not to fit. wide: JSON integers beyond 2^53 are there.
    """

    def __init__(self, careful: bool, wide: bool) -> None:
        self.careful = careful
        self.wide = wide
        self.doubtful = False

    def widest(self, types: Iterable[pa.DataType]) -> pa.Field:
        found = [t for t in set(types) if not pa.types.is_null(t)]
        if not found:
            return pa.field("", pa.null())
        if len(found) == 1 and _storable(found[0]):
            return pa.field("", found[0])
        for test, join in (
            (pa.types.is_struct, self._structs),
            (is_list, self._lists),
            (pa.types.is_map, self._maps),
            (_is_number, self._numbers),
            (_is_text, self._texts),
            (pa.types.is_time, self._times),
            (pa.types.is_date, lambda _: pa.date64()),
            (pa.types.is_timestamp, self._timestamps),
            (pa.types.is_duration, self._durations),
        ):
            if all(test(t) for t in found):
                joined = join(found)
                return joined if isinstance(joined, pa.Field) else _json() if joined is None else pa.field("", joined)
        return _json()

    def _unless_careful(self, kind: pa.DataType) -> pa.DataType | None:
        self.doubtful = True
        return None if self.careful else kind

    def _numbers(self, types: list[pa.DataType]) -> pa.DataType | None:
        ints = [t for t in types if pa.types.is_integer(t)]
        floats = [t for t in types if pa.types.is_floating(t)]
        decimals = [t for t in types if pa.types.is_decimal(t)]
        if decimals:
            return None if floats else _decimal(ints, decimals)
        if not floats:
            return _integer(ints)
        if any(t.bit_width == 64 for t in ints):
            return None if self.wide else self._unless_careful(pa.float64())
        return pa.float64() if ints else max(floats, key=lambda t: int(t.bit_width))

    def _texts(self, types: list[pa.DataType]) -> pa.DataType:
        strings = all(pa.types.is_string(t) or pa.types.is_large_string(t) for t in types)
        return TEXT if strings else pa.large_binary()

    def _times(self, types: list[pa.DataType]) -> pa.DataType:
        unit = max((t.unit for t in types), key=UNITS.index)
        return pa.time64(unit) if unit in ("us", "ns") else pa.time32(unit)

    def _timestamps(self, types: list[pa.DataType]) -> pa.DataType | None:
        zones = {t.tz for t in types}
        if None in zones and len(zones) > 1:
            return None
        return self._finest(types, lambda unit: pa.timestamp(unit, zones.pop() if len(zones) == 1 else "UTC"))

    def _durations(self, types: list[pa.DataType]) -> pa.DataType | None:
        return self._finest(types, pa.duration)

    def _finest(self, types: list[pa.DataType], make: Any) -> pa.DataType | None:
        units = {t.unit for t in types}
        kind = make(max(units, key=UNITS.index))
        return kind if len(units) == 1 else self._unless_careful(kind)

    def _structs(self, types: list[pa.DataType]) -> pa.Field:
        fields: dict[str, set[pa.DataType]] = {}
        order: set[tuple[str, str]] = set()
        for kind in types:
            names = [kind.field(i).name for i in range(kind.num_fields)]
            order |= pairs(names)
            for i, name in enumerate(names):
                fields.setdefault(name, set()).add(kind.field(i).type)
        if not fields:
            return _json()
        return pa.field("", pa.struct([self._below(name, fields[name]) for name in in_order(fields, order)]))

    def _below(self, name: str, types: Iterable[pa.DataType]) -> pa.Field:
        """Return a field inside a nested type; one that says nothing is text."""
        found = self.widest(types).with_name(name)
        return found.with_type(TEXT) if pa.types.is_null(found.type) else found

    def _lists(self, types: list[pa.DataType]) -> pa.DataType:
        names = {t.value_field.name for t in types}
        item = self._below(names.pop() if len(names) == 1 else "item", [t.value_type for t in types])
        sizes = {t.list_size if pa.types.is_fixed_size_list(t) else None for t in types}
        if len(sizes) == 1 and None not in sizes:
            return pa.list_(item, sizes.pop())
        return pa.large_list(item) if any(pa.types.is_large_list(t) for t in types) else pa.list_(item)

    def _maps(self, types: list[pa.DataType]) -> pa.Field | pa.DataType:
        key = self._below("key", [t.key_type for t in types]).with_nullable(False)
        return pa.map_(key, self._below("value", [t.item_type for t in types]))


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind))


def _is_text(kind: pa.DataType) -> bool:
    tests = (pa.types.is_string, pa.types.is_large_string, pa.types.is_binary, pa.types.is_large_binary)
    return any(test(kind) for test in tests) or bool(pa.types.is_fixed_size_binary(kind))


def _integer(types: list[pa.DataType]) -> pa.DataType:
    signed = max((t.bit_width for t in types if pa.types.is_signed_integer(t)), default=0)
    unsigned = max((t.bit_width for t in types if pa.types.is_unsigned_integer(t)), default=0)
    if not signed or not unsigned:
        return max(types, key=lambda t: int(t.bit_width))
    bits = max(signed, 2 * unsigned)
    return pa.decimal128(20, 0) if bits > 64 else {16: pa.int16(), 32: pa.int32(), 64: pa.int64()}[bits]


def _decimal(ints: list[pa.DataType], decimals: list[pa.DataType]) -> pa.DataType | None:
    scale = max(0, *(t.scale for t in decimals)) if len(decimals) > 1 else max(0, decimals[0].scale)
    whole = max([t.precision - t.scale for t in decimals] + [DIGITS[t.bit_width] for t in ints])
    precision = max(1, whole + scale)
    if precision <= 38:
        return pa.decimal128(precision, scale)
    return pa.decimal256(precision, scale) if precision <= 76 else None


def _storable(kind: pa.DataType) -> bool:
    """Tell whether Parquet has a type for it; what it lacks is written as JSON text, or as a wider type."""
    if pa.types.is_struct(kind):
        return kind.num_fields > 0 and all(_storable(kind.field(i).type) for i in range(kind.num_fields))
    if pa.types.is_map(kind):
        return _storable(kind.key_type) and _storable(kind.item_type)
    if is_list(kind):
        return _storable(kind.value_type)
    if pa.types.is_decimal(kind):
        return bool(kind.scale >= 0 and kind.precision >= kind.scale)
    return not (pa.types.is_interval(kind) or pa.types.is_union(kind))
