"""One type for all files: the table of widenings, and that no order of files changes it."""

from __future__ import annotations

import functools
import itertools
import operator

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.inputs.fit import fit, is_json, plain_type
from stages.inputs.kinds import Kinds
from stages.inputs.schema import Column, Columns, from_json, in_order, pairs
from tests.support.arrow_types import EVERYWHERE

U, I, F = pa.uint64(), pa.int64(), pa.float64()  # noqa: E741
NS, MS = pa.timestamp("ns", "UTC"), pa.timestamp("ms", "Europe/Berlin")
STRUCT = pa.struct([("a", pa.int8()), ("b", pa.string())])


def widest(*types: pa.DataType, inexact: bool = False) -> pa.Field:
    return Columns({"x": Column(frozenset(types), inexact=inexact)}).schema().field("x")


@pytest.mark.parametrize(
    ("types", "wanted"),
    [
        ((I, pa.null()), I),
        ((pa.null(),), pa.large_string()),
        ((pa.int8(), I), I),
        ((pa.int8(), pa.uint8()), pa.int16()),
        ((pa.int16(), pa.uint32()), I),
        ((pa.uint8(), pa.uint16()), pa.uint16()),
        ((I, U), pa.decimal128(20, 0)),
        ((pa.int8(), U), pa.decimal128(20, 0)),
        ((I, F), F),
        ((pa.int8(), pa.float16()), F),
        ((pa.float16(), pa.float32()), pa.float32()),
        ((pa.float32(), F), F),
        ((pa.decimal128(5, 2), pa.decimal128(6, 0)), pa.decimal128(8, 2)),
        ((pa.decimal128(38, 0), pa.decimal128(38, 30)), pa.decimal256(68, 30)),
        ((pa.decimal128(5, 2), I), pa.decimal128(22, 2)),
        ((pa.decimal32(5, 2), pa.decimal256(40, 1)), pa.decimal256(41, 2)),
        ((pa.string(), pa.large_string()), pa.large_string()),
        ((pa.binary(), pa.binary(4)), pa.large_binary()),
        ((pa.string(), pa.binary()), pa.large_binary()),
        ((pa.date32(), pa.date64()), pa.date64()),
        ((pa.time32("s"), pa.time64("us")), pa.time64("us")),
        ((NS, MS), NS),
        ((pa.timestamp("s"), pa.timestamp("us")), pa.timestamp("us")),
        ((pa.duration("s"), pa.duration("ns")), pa.duration("ns")),
        ((pa.list_(pa.int8()), pa.large_list(F)), pa.large_list(F)),
        ((pa.list_(pa.int8(), 2), pa.list_(pa.int8(), 3)), pa.list_(pa.int8())),
        ((pa.list_(pa.int8(), 2), pa.list_(pa.int16(), 2)), pa.list_(pa.int16(), 2)),
        ((STRUCT, pa.struct([("c", I), ("a", I)])), pa.struct([("b", pa.string()), ("c", I), ("a", I)])),
        ((pa.map_(pa.string(), pa.int8()), pa.map_(pa.string(), F)), pa.map_(pa.string(), F)),
    ],
    ids=lambda value: str(value)[:60],
)
def test_types_are_widened(types: tuple[pa.DataType, ...], wanted: pa.DataType) -> None:
    found = widest(*types)
    if pa.types.is_struct(wanted):  # the order is checked apart
        assert sorted((f.name, str(f.type)) for f in found.type) == sorted((f.name, str(f.type)) for f in wanted)
    else:
        assert found.type == wanted
    assert not is_json(found)


@pytest.mark.parametrize(
    "types",
    [
        (I, pa.string()),
        (pa.bool_(), I),
        (pa.decimal128(5, 2), F),
        (pa.decimal256(76, 0), pa.decimal256(76, 76)),
        (pa.timestamp("us"), pa.timestamp("us", "UTC")),
        (pa.date32(), pa.timestamp("us")),
        (pa.list_(I), STRUCT),
        (pa.list_(I), I),
        (pa.uuid(), pa.string()),
    ],
    ids=str,
)
def test_kinds_that_do_not_mix_become_json_text(types: tuple[pa.DataType, ...]) -> None:
    found = widest(*types)
    assert is_json(found)
    assert found.type == pa.large_string()


def test_a_field_inside_a_struct_becomes_json_text_alone() -> None:
    found = widest(STRUCT, pa.struct([("a", pa.string()), ("b", pa.string())]))
    assert {f.name: is_json(f) for f in found.type} == {"a": True, "b": False}
    column = pa.array([{"a": 1, "b": "x"}, None], STRUCT)
    assert fit(column, found).to_pylist() == [{"a": "1", "b": "x"}, None]
    other = pa.array([{"a": "q", "b": None}], pa.struct([("a", pa.string()), ("b", pa.string())]))
    assert fit(other, found).to_pylist() == [{"a": '"q"', "b": None}]


def test_doubtful_columns_are_named_and_become_json_text_where_a_value_defies_them() -> None:
    columns = Columns({n: Column(frozenset(t)) for n, t in {"a": (I, F), "b": (pa.int32(), F), "c": (I,)}.items()})
    assert columns.doubtful() == ["a"]
    assert is_json(columns.mark(["a"]).schema().field("a"))
    assert columns.mark(["a"]).doubtful() == []
    nested = widest(pa.list_(I), pa.list_(F), inexact=True)
    assert is_json(nested.type.value_field)


@pytest.mark.parametrize(
    ("kinds", "wanted"),
    [
        (Kinds.INT, I),
        (Kinds.INT | Kinds.NEGATIVE | Kinds.WIDE, I),
        (Kinds.INT | Kinds.WIDE | Kinds.UNSIGNED, U),
        (Kinds.INT | Kinds.WIDE | Kinds.UNSIGNED | Kinds.NEGATIVE, pa.decimal128(20, 0)),
        (Kinds.INT | Kinds.FLOAT, F),
        (Kinds.INT | Kinds.FLOAT | Kinds.WIDE, None),
        (Kinds.TEXT, pa.large_string()),
        (Kinds.BOOL, pa.bool_()),
        (Kinds.TEXT | Kinds.INT, None),
        (Kinds.OTHER, None),
        (Kinds.FLOAT | Kinds.OTHER, None),
        (Kinds.NONE, pa.null()),
    ],
)
def test_kinds_of_json_values_have_types(kinds: Kinds, wanted: pa.DataType | None) -> None:
    assert kinds.type == wanted


def test_names_keep_the_order_that_files_agree_on() -> None:
    orders = [("id", "text"), ("id", "text", "licence"), ("id", "url")]
    for some in itertools.permutations(orders):
        order = functools.reduce(operator.or_, map(pairs, some))
        assert in_order({"id", "text", "licence", "url"}, order) == ["id", "text", "licence", "url"]
    assert in_order({"a", "b", "c"}, [("b", "a"), ("a", "b"), ("b", "c")]) == ["a", "b", "c"]


SOME = st.sampled_from(sorted({plain_type(c.type) for c in EVERYWHERE.values()}, key=str))
COLUMN = st.builds(
    Column, st.frozensets(SOME, max_size=3), st.integers(0, 255).map(Kinds), st.booleans()
)  # fmt: skip
COLUMNS = st.builds(lambda c: Columns(c, pairs(list(c))), st.dictionaries(st.sampled_from("abcd"), COLUMN, max_size=4))


@given(st.lists(COLUMNS, min_size=1, max_size=4), st.randoms())
@settings(max_examples=100, deadline=None)
def test_no_order_of_files_changes_the_schema(files: list[Columns], random: object) -> None:
    forward = functools.reduce(operator.or_, files)
    random.shuffle(files)  # type: ignore[attr-defined]
    half = len(files) // 2
    parts = [functools.reduce(operator.or_, part, Columns()) for part in (files[:half], files[half:])]
    backward = parts[1] | parts[0]
    assert forward.schema().equals(backward.schema(), check_metadata=True)
    assert from_json(forward.to_json()).schema().equals(forward.schema(), check_metadata=True)
    assert from_json(forward.to_json()).to_json() == backward.to_json()
