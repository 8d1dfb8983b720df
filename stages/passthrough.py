"""Which input columns go into the mix, and with which types.

Guarantees: every file of a dataset gets the same schema; a column that the dataset lacks is left out.
"""

from __future__ import annotations

import pyarrow as pa
import pyarrow.parquet as pq

from cluster import storage
from stages.shard import Dataset


def passthrough_schema(dataset: Dataset, paths: list[str], columns: list[str]) -> pa.Schema:
    """Return a field for each of `columns` that the dataset has.

    paths : Parquet files of the dataset (a staged copy for compressed input); their first decides. Columns of
    JSON lines are text. A dotted name descends into structs; inside a JSON string it is text.
    """
    if not paths or not columns:
        return pa.schema([])
    if not paths[0].endswith((".parquet", ".parq", ".pq")):
        return pa.schema([(name, pa.large_string()) for name in columns])
    with storage.open_read(paths[0]) as file:
        schema = pq.read_schema(file)
    found = ((name, _type(schema, name)) for name in columns)
    return pa.schema([(name, kind) for name, kind in found if kind is not None])


def _type(schema: pa.Schema, name: str) -> pa.DataType | None:
    """Return the type behind a possibly dotted name, None where there is no such column."""
    if name in schema.names:
        return _plain(schema.field(name).type)
    first, _, rest = name.partition(".")
    if not rest or first not in schema.names:
        return None
    kind = schema.field(first).type
    if pa.types.is_struct(kind):
        return _type(pa.schema(list(kind)), rest)
    return pa.large_string() if pa.types.is_string(kind) or pa.types.is_large_string(kind) else None


def _plain(kind: pa.DataType) -> pa.DataType:
    return kind.value_type if pa.types.is_dictionary(kind) else kind
