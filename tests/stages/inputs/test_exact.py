"""JSON texts keep every value: numbers as decimals, half surrogates, keys that stand twice."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stages.core.shard import Dataset, Piece, Shard
from stages.inputs import exact
from stages.inputs.fit import is_json
from stages.inputs.reader import file_columns, read_piece, stage_compressed

NUMBERS = st.from_regex(r"-?(0|[1-9][0-9]{0,24})(\.[0-9]{1,22})?([eE][+-]?[0-9]{1,3})?", fullmatch=True)
NOTABLE = st.sampled_from(
    ["1e400", "-0.0", "-0", "1.10", "9007199254740993", "18446744073709551615", "-9223372036854775809", "1E5", "0.1"]
)
STRINGS = st.one_of(
    st.text(max_size=6).map(json.dumps),
    st.text(max_size=6).map(lambda t: json.dumps(t, ensure_ascii=False)),
    st.sampled_from(['"\\ud800"', '"a\\udc00b"', '"v"', '"\\u0076"', '"\\/"']),
)
SCALARS = st.one_of(NUMBERS, NOTABLE, STRINGS, st.sampled_from(["true", "false", "null"]))
BLANK = st.sampled_from(["", " ", "\t "])


def _nested(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    lists = st.builds(lambda items, b: "[" + f",{b}".join(items) + "]", st.lists(inner, max_size=3), BLANK)
    pairs = st.lists(st.tuples(st.sampled_from(['"v"', '"text"', '"a b"', '"\\u00e9"']), inner), max_size=3)
    return st.one_of(lists, st.builds(lambda kv, b: "{" + ", ".join(f"{k}:{b}{v}" for k, v in kv) + "}", pairs, BLANK))


VALUES = st.one_of(SCALARS, st.recursive(SCALARS, _nested, max_leaves=6))


def exactly(text: str) -> Any:
    """Parse with numbers as decimals and objects as lists of pairs."""
    return json.loads(text, parse_float=Decimal, parse_int=Decimal, object_pairs_hook=list)


def same(found: Any, written: str) -> bool:
    """Tell whether a typed value is the number, string or boolean that is written."""
    wanted = exactly(written)
    if isinstance(wanted, Decimal) and not isinstance(found, bool):
        return Decimal(repr(found) if isinstance(found, float) else str(found)) == wanted
    return type(found) is type(wanted) and found == wanted


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(values=st.one_of(st.lists(VALUES, min_size=1, max_size=6), st.lists(NUMBERS, min_size=1, max_size=4)))
def test_any_json_value_passed_through_comes_back_equal(tmp_path: Path, values: list[str]) -> None:
    import gzip

    lines = "".join(f'{{"text": "document {i}", "v":{v}, "z": "v"}}\n' for i, v in enumerate(values)).encode()
    for suffix, data in (("jsonl", lines), ("jsonl.gz", gzip.compress(lines, 1))):
        path, copy = tmp_path / f"d.{suffix}", None
        path.write_bytes(data)
        dataset = Dataset(name="d", paths=(str(path),))
        if suffix != "jsonl":
            copy = str(tmp_path / "copy.parquet")
            stage_compressed(dataset, str(path), copy, ["v"])
        known = file_columns(dataset, copy or str(path), ["v"]).schema()
        dataset = Dataset(name="d", paths=(str(path),), types=known)
        shard = Shard(
            ordinal=0, dataset="d", path=str(path), relative_path="d", rows=len(values), bytes=1, fingerprint=""
        )
        piece = Piece(shard=shard, start=0, stop=len(values))
        name = f"{'json' if is_json(known.field('v')) else 'column'}:v"
        batches = list(read_piece(dataset, piece, ["text", name], path=copy))
        found = [v for b in batches for v in b.table.column(name).to_pylist()]
        assert [s for b in batches for s in b.status.tolist()] == [0] * len(values)
        for value, written in zip(found, values, strict=True):
            if written == "null":
                assert value is None
            elif name == "json:v":
                assert exactly(value) == exactly(written)
            else:
                assert same(value, written)


@given(VALUES)
@settings(max_examples=200, deadline=None)
def test_compact_text_parses_to_the_same(text: str) -> None:
    assert exactly(exact.compact(text)) == exactly(text)
    assert exact.compact(exact.compact(text)) == exact.compact(text)


@pytest.mark.parametrize(
    ("line", "path"),
    [
        ('{"text": "a", "text": "b"}', "text"),
        ('{"text": "a", "te\\u0078t": "b"}', "text"),
        ('{"m": {"id": 1, "id": 1}}', "m.id"),
        ('{"m": {"x": 2}, "m": {"id": 1}}', "m.id"),
        ('{"m": "{\\"id\\": 1, \\"id\\": 2}"}', "m.id"),
        ('{"a.b": 1, "a.b": 2}', "a.b"),
        ('{"é": 1, "\\u00e9": 2}', "é"),
        ('{"a/b": 1, "a\\/b": 2}', "a/b"),
    ],
)
def test_a_key_that_stands_twice_is_found(line: str, path: str) -> None:
    (row, error) = next(exact.KeyWatch([path], "text").find([line.encode()], [json.loads(line)]))
    assert (row, error.name) == (0, path if path.startswith("a") else error.name)


@pytest.mark.parametrize(
    ("line", "path"),
    [
        ('{"type": "text", "text": "text"}', "text"),
        ('{"text": "the \\"text\\": \\"text\\"", "m": {"text": "x"}}', "text"),
        ('{"m": {"id": 1}, "n": {"id": 2}, "id": 3}', "m.id"),
        ('{"text": "\\u003c", "x": 1, "x": 2}', "text"),
        ("[1]", "text"),
    ],
)
def test_a_key_that_stands_once_in_its_object_is_fine(line: str, path: str) -> None:
    value = json.loads(line)
    assert not list(exact.KeyWatch([path], "text").find([line.encode()], [value if isinstance(value, dict) else {}]))


@given(st.lists(st.tuples(st.sampled_from(["text", "id", "m"]), VALUES), max_size=4))
@settings(max_examples=200, deadline=None)
def test_the_watch_finds_what_a_parser_of_pairs_finds(members: list[tuple[str, str]]) -> None:
    line = "{" + ", ".join(f'"{name}": {value}' for name, value in members) + "}"
    names = [name for name, _ in members]
    value = exact.loads_lenient(line.encode())
    found = list(exact.KeyWatch(["text", "id"], "text").find([line.encode()], [value]))
    assert bool(found) == any(names.count(name) > 1 for name in ("text", "id"))
