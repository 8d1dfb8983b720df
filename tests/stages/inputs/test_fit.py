"""Columns of every Arrow type: plain, widened and as JSON text, with the values that pyarrow gives."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest

from stages.inputs.fit import fit, is_json, json_texts, plain, plain_type
from stages.inputs.schema import Column, Columns
from tests.support.arrow_types import EVERYWHERE


@pytest.mark.parametrize("name", EVERYWHERE)
@pytest.mark.parametrize("cut", [(0, 4), (1, 2), (2, 0), (3, 1)])
def test_a_plain_column_has_the_values_of_its_encoded_one(name: str, cut: tuple[int, int]) -> None:
    column = EVERYWHERE[name].slice(*cut)
    found = plain(column)
    found.validate(full=True)
    assert found.to_pylist() == column.to_pylist()
    assert plain_type(found.type) == found.type


@pytest.mark.parametrize("name", EVERYWHERE)
@pytest.mark.parametrize("cut", [(0, 4), (1, 2), (2, 0)])
def test_json_text_of_a_column_tells_its_values_apart(name: str, cut: tuple[int, int]) -> None:
    column = EVERYWHERE[name].slice(*cut)
    texts = json_texts(column).to_pylist()
    values = column.to_pylist()
    assert [t is None for t in texts] == [v is None for v in values]
    parsed = [None if t is None else json.loads(t, parse_float=Decimal) for t in texts]
    for text, value in zip(parsed, values, strict=True):
        if isinstance(value, bool | int | str | type(None)):
            assert text == value
        if isinstance(value, float | Decimal):
            assert float(text) == float(value)
    assert len({repr(v) for v in values}) <= len({str(t) for t in texts})  # Python's times lack nanoseconds


@pytest.mark.parametrize("name", EVERYWHERE)
def test_a_type_alone_stays_or_becomes_json_text(name: str) -> None:
    column = EVERYWHERE[name]
    field = Columns({name: Column(frozenset([plain_type(column.type)]))}).schema().field(name)
    found = fit(column, field)
    found.validate(full=True)
    assert found.type == field.type
    if is_json(field):
        assert found.to_pylist() == json_texts(column).to_pylist()
    elif "i: large_string" not in str(field.type):
        assert found.to_pylist() == column.to_pylist()


def marked(kind: pa.DataType, values: list[Any], target: pa.Field) -> list[Any]:
    return list(fit(pa.array(values, kind), target).to_pylist())


def test_values_that_do_not_fit_are_errors() -> None:
    with pytest.raises(pa.ArrowInvalid):
        fit(pa.array([2**53 + 1]), pa.field("x", pa.float64()))
    with pytest.raises(pa.ArrowInvalid):
        fit(pa.array([2**62], pa.timestamp("s")), pa.field("x", pa.timestamp("ns")))
    with pytest.raises(pa.ArrowInvalid):
        fit(pa.array([[2**60 + 1]]), pa.field("x", pa.list_(pa.float64())))


def test_structs_are_filled_by_name() -> None:
    target = pa.field("s", pa.struct([("b", pa.float64()), ("c", pa.list_(pa.large_string())), ("a", pa.int64())]))
    column = pa.array([{"a": 1, "b": 2}, None, {"a": None, "b": 0}], pa.struct([("a", pa.int8()), ("b", pa.int32())]))
    assert fit(column, target).to_pylist() == [
        {"b": 2.0, "c": None, "a": 1},
        None,
        {"b": 0.0, "c": None, "a": None},
    ]
