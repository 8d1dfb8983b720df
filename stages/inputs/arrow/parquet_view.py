"""Where the requested columns lie in one Parquet file, and what its record batches hold of them.

Guarantees: a column has the type that its whole dataset agrees on, where that is known; a path that names one of
several columns is a problem of the file.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from cluster.errors import ShardError
from stages.core.shard import Dataset
from stages.inputs.batches import U8, Problem, ReadStatus
from stages.inputs.collect import Collector
from stages.inputs.columns import (
    COLUMN,
    RAW,
    TEXT,
    Ambiguous,
    Place,
    addresses,
    as_text,
    at_place,
    holds_scalar,
    holds_text,
    identifiers,
    json_lines,
    place,
    source_path,
)
from stages.inputs.exact import KeyWatch
from stages.inputs.fit import fit, is_json, json_texts, plain, plain_texts
from stages.inputs.request import Request, half, missing, twofold
from stages.inputs.schema import EVERY, Column, Columns, pairs
from stages.inputs.values import column_of, ids_of, json_texts_of, loads, lookup, texts_of


def check_columns(dataset: Dataset, schema: pa.Schema, names: Sequence[str] = ()) -> str | None:
    """Return the sentence on the first column that is named and missing, twofold or of an unusable type."""
    for role in ("text", "id", "url"):
        path = source_path(role, dataset.columns)
        problem = None if path is None else _check_role(dataset, schema, role, path)
        if problem:
            return problem
    for path in every(schema, names):
        try:
            place(schema, path)
        except Ambiguous as error:
            return twofold(path, error)
    return None


def _check_role(dataset: Dataset, schema: pa.Schema, role: str, path: str) -> str | None:
    try:
        where = place(schema, path)
    except Ambiguous as error:
        return twofold(path, error, role)
    if where is None:
        return None if role in dataset.optional else missing(role, path, schema.names, dataset.name)
    usable = where.json or pa.types.is_null(where.type)
    if usable or (holds_text if role == "text" else holds_scalar)(where.type):
        return None
    right = "a string" if role == "text" else "a string or a number"
    return (
        f"column {path!r}, mapped to {role}, has type {where.type}, {right} is needed; "
        f"name another one under datasets.{dataset.name}.columns.{role} in the recipe"
    )


def every(schema: pa.Schema, names: Sequence[str]) -> list[str]:
    """Return the paths that are meant: those given, and every column where EVERY is among them."""
    return list(dict.fromkeys([*(n for n in names if n != EVERY), *(schema.names if EVERY in names else ())]))


def check_once(path: str, schema: pa.Schema, names: Sequence[str]) -> None:
    """Raise ShardError where one of these names is that of several columns of a file."""
    for name in every(schema, names):
        try:
            place(schema, name)
        except Ambiguous as error:
            raise ShardError(f"{path}: {twofold(name, error)}.") from error


def is_text(kind: pa.DataType) -> bool:
    """Tell whether a stored type is that of strings, of one layout or the other."""
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


class Finder:
    """Finds out what columns hold: types by the schema, and inside JSON text the kinds of every value in `add`.

    leaves: the columns that record batches must have. Names that are those of several columns are passed over.
    """

    def __init__(self, schema: pa.Schema, names: Sequence[str]) -> None:
        self._found: dict[str, Column] = {}
        self._inside: dict[str, tuple[Place, Collector]] = {}
        self._order = pairs(schema.names) if EVERY in names else frozenset()
        for path in every(schema, names):
            try:
                where = place(schema, path)
            except Ambiguous:
                continue
            if where is not None and where.json:
                self._inside[path] = (where, Collector([where.inside]))
            elif where is not None:
                self._found[path] = Column(frozenset([where.type]))
        self.leaves = sorted({where.leaf for where, _ in self._inside.values()})
        self.tops = sorted({where.names[0] for where, _ in self._inside.values()})

    def add(self, record: pa.RecordBatch) -> None:
        """Look at every value of a record batch."""
        for where, collector in self._inside.values():
            lines = json_lines(at_place(record, where))
            objects = [loads(line) if line else None for line in lines]
            collector.add([value if isinstance(value, dict) else {} for value in objects], lines)

    def columns(self) -> Columns:
        """Return what was found."""
        inside = {path: c.columns().columns.get(where.inside) or Column() for path, (where, c) in self._inside.items()}
        return Columns({**self._found, **inside}, self._order)


class View:
    """Where the requested columns lie in one file, and what is wrong with them."""

    def __init__(self, request: Request, schema: pa.Schema) -> None:
        self.request = request
        self.places: dict[str, Place | None] = {}
        self.problems: list[Problem] = []
        self.text_status = ReadStatus.OK
        for name in request.columns:
            path = source_path(name, request.dataset.columns)
            self.places[name] = self._place(schema, name, path) if path is not None else None
        self._check_text(request, schema)
        found = [p for p in self.places.values() if p is not None]
        self.leaves = sorted({p.leaf for p in found})
        self.text_leaf, self.text_type = self._plain_text(schema)
        self.empty = pa.schema([(name, self._type(name)) for name in request.columns])

    def _place(self, schema: pa.Schema, name: str, path: str) -> Place | None:
        try:
            where = place(schema, path)
        except Ambiguous as error:
            self._note(twofold(path, error, "" if name.startswith((COLUMN, RAW)) else name))
            return None
        if where is None and name not in self.request.dataset.optional:
            self._note(missing(name, path, schema.names, self.request.dataset.name))
        return where

    def _note(self, error: str) -> None:
        self.problems.append(Problem(self.request.path, None, None, error))

    def _check_text(self, request: Request, schema: pa.Schema) -> None:
        if "text" not in self.places:
            return
        where = self.places["text"]
        if where is None:
            self.text_status = ReadStatus.MISSING_COLUMN
        elif not (where.json or holds_text(where.type) or pa.types.is_null(where.type)):
            self.text_status = ReadStatus.WRONG_TYPE
            self._note(check_columns(request.dataset, schema) or f"the text has type {where.type}")
            self.places["text"] = None

    def _plain_text(self, schema: pa.Schema) -> tuple[str, pa.DataType]:
        """Return the column that the texts are as they are stored, and its type; "" where they lie inside another."""
        where = self.places.get("text")
        if where is None or where.json or len(where.names) > 1 or "." in where.leaf:  # a point is libcudf's way inside
            return "", TEXT
        if not is_text(schema.field(where.leaf).type):
            return "", TEXT
        return where.leaf, schema.field(where.leaf).type

    def _type(self, name: str) -> pa.DataType:
        where = self.places[name]
        if not name.startswith(COLUMN):
            return TEXT
        known = self.request.field(name)
        if known is not None:
            return known.type
        return pa.null() if where is None or where.json else where.type

    def column(self, name: str, record: pa.RecordBatch) -> tuple[pa.Array, U8 | None, dict[int, str]]:
        """Return one requested column of a record batch, a status where a value is at fault, and errors by row."""
        where = self.places[name]
        if where is None:
            return pa.nulls(record.num_rows, self.empty.field(name).type), None, {}
        stored = at_place(record, where)
        if where.json:
            return self._inside(name, where, stored)
        if name == "text":
            return as_text(stored), None, {}
        if name.startswith(RAW):
            return json_texts(stored), None, {}
        if name.startswith(COLUMN):
            return self._typed(name, stored), None, {}
        return (addresses if name == "url" else identifiers)(stored), None, {}

    def _typed(self, name: str, stored: pa.Array) -> pa.Array:
        known = self.request.field(name)
        if known is None:
            return plain(stored)
        if is_json(known):
            return plain_texts(stored)
        try:
            return fit(stored, known)
        except pa.ArrowInvalid as error:
            raise self.request.misfit(name, known, error) from error

    def _inside(self, name: str, where: Place, stored: pa.Array) -> tuple[pa.Array, U8 | None, dict[int, str]]:
        """Return what lies at a path inside JSON text."""
        lines = json_lines(stored)
        objects = [loads(line) if line else None for line in lines]
        known = [value if isinstance(value, dict) else {} for value in objects]
        errors = {row: str(error) for row, error in KeyWatch([where.inside], None).find(lines, known)}
        values = [None if row in errors else lookup(value, where.inside) for row, value in enumerate(objects)]
        status = np.zeros(len(values), np.uint8)
        if name == "text":
            column, status = texts_of(values)
        elif name.startswith(RAW):
            column = json_texts_of(values, lines, where.inside)
        elif name.startswith(COLUMN):
            column = column_of(values, lines, where.inside, self.request.field(name))
        else:
            column, status = ids_of(values, lines, where.inside)
        status[list(errors)] = ReadStatus.INVALID_JSON
        for row in np.flatnonzero(status == ReadStatus.INVALID_UTF8).tolist():
            errors[row] = half(str(source_path(name, self.request.dataset.columns)), name)
        return column, status, errors
