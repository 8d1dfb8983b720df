"""Input columns by which a mix chooses documents: read once, with the text, and kept as facts.

Guarantees: a value counts as all that it is: a number, a text, a time (a date that is written as text is text and
time, a number written as text is both); nested values are missing. Memory: the columns of one batch.
"""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from stages.core.arrays import whole
from stages.core.stage import ShardStage, param
from stages.inputs.ids import NUMBERS, decoded, numbers_in, scalar_texts

VALUE = pa.struct([("number", pa.float64()), ("text", pa.large_string()), ("time", pa.float64())])
_TIMES = (pa.types.is_timestamp, pa.types.is_date)


@dataclass(frozen=True, kw_only=True)
class MixColumns(ShardStage):
    """Reads the input columns that a mix asks for / Writes their values / Drops nothing."""

    wanted: tuple[str, ...] = param((), "input columns", fact=True)

    use: ClassVar[str] = "mix_columns"
    hidden: ClassVar[bool] = True
    schema: ClassVar[pa.Schema] = pa.schema([("values", pa.list_(VALUE))])  # one for each of `wanted`

    def columns(self) -> tuple[str, ...]:
        return tuple(f"column:{name}" for name in self.wanted)

    def annotate(self, documents: pa.Table) -> pa.Table:
        rows, width = documents.num_rows, len(self.wanted)
        columns = [values(whole(documents.column(name))) for name in self.columns()]
        order = np.arange(width * rows).reshape(width, rows).T.reshape(-1)  # row by row, not column by column
        flat = pa.concat_arrays([pa.array([], VALUE), *columns]).take(pa.array(order))
        lists = pa.ListArray.from_arrays(pa.array(np.arange(rows + 1, dtype=np.int32) * width), flat)
        return pa.table([lists], schema=self.schema)

    def values_of(self, facts: pa.Table, name: str) -> pa.StructArray:
        """Return the values of one column from the facts of some rows, (rows,)."""
        flat = pc.list_flatten(whole(facts.column("values")))
        places = np.arange(facts.num_rows) * len(self.wanted) + self.wanted.index(name)
        return flat.take(pa.array(places))


def values(column: pa.Array) -> pa.StructArray:
    """Return what each value of a column is as number, text and time, (rows,)."""
    column = decoded(column)
    kind, rows = column.type, len(column)
    nothing = pa.nulls(rows, pa.float64())
    if any(test(kind) for test in NUMBERS):
        number = column.cast(pa.float64(), safe=False)
        return pa.StructArray.from_arrays([number, pa.nulls(rows, pa.large_string()), nothing], fields=list(VALUE))
    text = scalar_texts(column)
    if any(test(kind) for test in _TIMES):
        return pa.StructArray.from_arrays([nothing, text, _seconds(column)], fields=list(VALUE))
    return pa.StructArray.from_arrays([numbers_in(text), text, _times(text)], fields=list(VALUE))


def _seconds(column: pa.Array) -> pa.Array:
    stamp = column.cast(pa.timestamp("us", tz=getattr(column.type, "tz", None)), safe=False)
    return pc.divide(stamp.cast(pa.int64()).cast(pa.float64(), safe=False), 1e6)


def _times(text: pa.Array) -> pa.Array:
    found = pc.dictionary_encode(text)
    each = pa.array([iso_seconds(value) for value in found.dictionary.to_pylist()], pa.float64())
    return each.take(found.indices)


def iso_seconds(text: str) -> float | None:
    """Return a date or time in ISO 8601 as seconds since 1970, in UTC where it names no zone; None for other text.

    >>> iso_seconds("1970-01-02"), iso_seconds("2013-05-18T05:48:54Z"), iso_seconds("CC-MAIN-2013-20")
    (86400.0, 1368856134.0, None)
    """
    try:
        found = datetime.datetime.fromisoformat(text.strip())
    except ValueError:
        return None
    zone = found.tzinfo or datetime.UTC
    return found.replace(tzinfo=zone).timestamp()
