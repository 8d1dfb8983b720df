"""Values arrive exactly where files differ in types and columns, in whatever order the files come."""

from __future__ import annotations

import itertools
import json
import random
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.commands.dedup import dedup
from pipelines.recipe.recipe import load_data
from pipelines.run import runner
from stages.inputs.fit import is_json
from tests.support.value_runs import (
    ledger,
    recipe_of,
    run_to_mix,
    texts,
    write_lines,
    write_table,
)

# --- types that differ between files ---------------------------------------------------------------------


def _types(value: Any) -> str:
    """Name a case by the types of its files."""
    arrays = isinstance(value, list) and value and isinstance(value[0], pa.Array)
    return "-".join(str(v.type) for v in value) if arrays else "wanted"


@pytest.mark.parametrize(
    ("files", "kind", "values"),
    [
        ([pa.array([1, 2]), pa.array([0.5, 2.5])], pa.float64(), [1.0, 2.0, 0.5, 2.5]),
        ([pa.array([0.5]), pa.array([2**53])], pa.float64(), [0.5, 2.0**53]),
        ([pa.array([1], pa.int8()), pa.array([300], pa.uint16())], pa.int32(), [1, 300]),
        ([pa.array([-1]), pa.array([2**64 - 1], pa.uint64())], pa.decimal128(20, 0), [Decimal(-1), Decimal(2**64 - 1)]),
        ([pa.nulls(1), pa.array(["x"])], pa.string(), [None, "x"]),
        (
            [pa.array([Decimal("1.10")]), pa.array([Decimal("12345")])],
            pa.decimal128(7, 2),
            [Decimal("1.10"), Decimal(12345)],
        ),
        ([pa.array([[1]]), pa.array([[0.5], None])], pa.list_(pa.float64()), [[1.0], [0.5], None]),
        (
            [pa.array([{"a": 1}]), pa.array([{"a": 2, "b": "x"}])],
            pa.struct([("a", pa.int64()), ("b", pa.string())]),
            [{"a": 1, "b": None}, {"a": 2, "b": "x"}],
        ),
    ],
    ids=_types,
)
@pytest.mark.parametrize("backwards", [False, True])
def test_types_are_widened_over_all_files(
    tmp_path: Path, files: list[pa.Array], kind: pa.DataType, values: list[Any], backwards: bool
) -> None:
    order = list(reversed(files)) if backwards else files
    at = 0
    for number, column in enumerate(order):
        write_table(tmp_path / "in" / f"{number}.parquet", text=texts(len(column), at), v=column)
        at += len(column)
    found = run_to_mix(recipe_of(tmp_path / "in", ("v",), mapped={}), tmp_path / "run")
    assert found.schema.field("v").type == kind
    wanted = [v for column in order for v in values[_start(files, column) : _start(files, column) + len(column)]]
    assert found.column("v").to_pylist() == wanted


def _start(files: list[pa.Array], column: pa.Array) -> int:
    return sum(len(f) for f in itertools.takewhile(lambda f: f is not column, files))


@pytest.mark.parametrize(
    ("files", "wanted"),
    [
        ([pa.array([2**53 + 1]), pa.array([0.5])], ["9007199254740993", "0.5"]),
        ([pa.array([1]), pa.array(["n/a", None])], ["1", '"n/a"', None]),
        ([pa.array([True]), pa.array([1.0])], ["true", "1.0"]),
        ([pa.array([{"a": 1}]), pa.array([[1, 2]])], ['{"a":1}', "[1,2]"]),
        ([pa.array([Decimal("1.10")]), pa.array([0.1])], ["1.10", "0.1"]),
        ([pa.array([2**60], pa.timestamp("ms")), pa.array([1], pa.timestamp("ns"))], None),
    ],
    ids=_types,
)
def test_kinds_that_do_not_mix_arrive_as_json_text(
    tmp_path: Path, files: list[pa.Array], wanted: list[str | None] | None
) -> None:
    at = 0
    for number, column in enumerate(files):
        write_table(tmp_path / "in" / f"{number}.parquet", text=texts(len(column), at), v=column)
        at += len(column)
    found = run_to_mix(recipe_of(tmp_path / "in", ("v",), mapped={}), tmp_path / "run")
    assert is_json(found.schema.field("v"))
    if wanted is not None:
        assert found.column("v").to_pylist() == wanted
    assert found.column("v").null_count == sum(c.null_count for c in files)


@pytest.mark.parametrize("suffix", ["jsonl", "jsonl.gz"])
def test_a_key_whose_kind_changes_late_keeps_all_its_values(tmp_path: Path, suffix: str) -> None:
    values = [*range(3000), *(f"s{i}" for i in range(50)), None, 2**70, {"a": [1.0]}]
    made = zip(texts(len(values)), values, strict=True)
    lines = [json.dumps({"text": t, "id": i, "m": v}) for i, (t, v) in enumerate(made)]
    write_lines(tmp_path / "in" / f"f.{suffix}", lines)
    found = run_to_mix(recipe_of(tmp_path / "in", ("m",)), tmp_path / "run").column("m").to_pylist()
    assert [None if v is None else json.loads(v) for v in found] == values


def test_json_lines_and_parquet_agree_on_a_type(tmp_path: Path) -> None:
    write_lines(tmp_path / "in" / "a.jsonl", [json.dumps({"text": t, "v": 1, "w": "x"}) for t in texts(2)])
    write_table(tmp_path / "in" / "b.parquet", text=texts(2, 2), v=[0.5, None], w=[1, 2])
    found = run_to_mix(recipe_of(tmp_path / "in", ("v", "w"), mapped={}), tmp_path / "run")
    assert found.column("v").to_pylist() == [1.0, 1.0, 0.5, None]
    assert found.column("w").to_pylist() == ['"x"', '"x"', "1", "2"]


def test_a_file_that_comes_later_widens_the_type_like_one_that_was_there(tmp_path: Path) -> None:
    write_table(tmp_path / "in" / "a.parquet", text=texts(2), v=[1, 2])
    stages = [{"use": "quality", "model": "column:v", "min_score": 2}]
    made = recipe_of(tmp_path / "in", ("v",), stages, mapped={})
    assert run_to_mix(made, tmp_path / "run").column("v").to_pylist() == [2]
    write_table(tmp_path / "in" / "b.parquet", text=texts(2, 2), v=["7", "x"])
    grown, fresh = run_to_mix(made, tmp_path / "run"), run_to_mix(made, tmp_path / "fresh")
    assert grown.equals(fresh)
    assert fresh.column("v").to_pylist() == ["2", '"7"']
    assert [r["value"] for r in ledger(tmp_path / "run")] == [r["value"] for r in ledger(tmp_path / "fresh")]


def test_other_columns_asked_for_later_are_found(tmp_path: Path) -> None:
    write_table(tmp_path / "in" / "a.parquet", text=texts(2), v=[1, 2], w=["x", None])
    write_lines(tmp_path / "in" / "b.jsonl.gz", [json.dumps({"text": t, "w": 3}) for t in texts(1, 5)])
    assert "w" not in run_to_mix(recipe_of(tmp_path / "in", ("v",), mapped={}), tmp_path / "run").schema.names
    found = run_to_mix(recipe_of(tmp_path / "in", ("w", "v"), mapped={}), tmp_path / "run")
    assert found.select(["w", "v"]).to_pylist() == [
        {"w": '"x"', "v": 1},
        {"w": None, "v": 2},
        {"w": "3", "v": None},
    ]


def test_the_order_of_files_and_rows_changes_no_value(tmp_path: Path) -> None:
    parts = [
        {"v": [1, 2], "w": [{"a": 1}, None]},
        {"v": [0.5, None], "w": [{"b": "x"}, {"b": None}]},
        {"v": [2**53, 3], "w": [{"a": 2**40, "c": [1]}, None]},
    ]
    tables = [pa.table({"text": texts(2, 2 * i), "id": [2 * i, 2 * i + 1], **p}) for i, p in enumerate(parts)]
    seen = []
    for number, order in enumerate(itertools.permutations(tables)):
        folder = tmp_path / f"in{number}"
        folder.mkdir()
        for name, table in zip("abc", order, strict=True):
            pq.write_table(table, folder / f"{name}.parquet")
        made = recipe_of(folder, ("v", "w"), output={"shuffle": "global"})
        found = run_to_mix(made, tmp_path / f"run{number}").drop_columns(["doc_id"])
        seen.append(found)
    assert all(found.schema.equals(seen[0].schema, check_metadata=True) for found in seen)
    assert all(found.equals(seen[0]) for found in seen)


def test_the_order_of_paths_changes_no_byte(tmp_path: Path) -> None:
    names = []
    for i, values in enumerate(([1, 2], [0.5, None], ["x", "y"])):
        write_table(tmp_path / "in" / f"{i}.parquet", text=texts(2, 2 * i), v=values, **{f"c{i}": [i, i]})
        names.append(str(tmp_path / "in" / f"{i}.parquet"))
    made = []
    for seed in range(4):
        paths = random.Random(seed).sample(names, 3)
        data = recipe_of(tmp_path, ("v", "c2", "c0"), mapped={}).to_data()
        data["datasets"]["d"]["paths"] = paths
        runner.run(load_data(data, "test"), str(tmp_path / f"run{seed}"), with_report=False, workers=1 + seed % 2)
        made.append(next((tmp_path / f"run{seed}" / "mix" / "d").glob("*.parquet")).read_bytes())
    assert len(set(made)) == 1


# --- winnow dedup and output.columns ---------------------------------------------------------------------


def as_rows(columns: dict[str, list[Any]]) -> list[dict[str, Any]]:
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


@pytest.mark.parametrize("suffix", ["parquet", "jsonl", "jsonl.gz"])
def test_dedup_keeps_the_union_of_columns(tmp_path: Path, suffix: str) -> None:
    parts: list[dict[str, list[Any]]] = [
        {"text": texts(2)},
        {"text": texts(2, 2), "id": ["a", "b"], "licence": ["x", None]},
        {"url": ["u", "v"], "text": texts(2, 4), "n": [1, 2]},
    ]
    for number, columns in enumerate(parts):
        path = tmp_path / "in" / f"{number}.{suffix}"
        if suffix == "parquet":
            write_table(path, **columns)
        else:
            write_lines(
                path, [json.dumps(dict(zip(columns, row, strict=True))) for row in zip(*columns.values(), strict=True)]
            )
    assert dedup([str(tmp_path / "in")], str(tmp_path / "out")) == {"rows": 6, "kept": 6, "dropped": 0}
    files = sorted((tmp_path / "out").glob("part-*.parquet"))
    table = pa.concat_tables([pq.read_table(f) for f in files])
    assert table.schema.names == ["url", "text", "id", "licence", "n"]
    names = set(table.schema.names)
    wanted = [
        dict.fromkeys(names) | dict(zip(p, row, strict=True)) for p in parts for row in zip(*p.values(), strict=True)
    ]
    assert table.to_pylist() == wanted
    assert [row["id"] for row in _rows(tmp_path / "out" / "ledger")] == [None, None, "a", "b", None, None]


def _rows(folder: Path) -> list[dict[str, Any]]:
    return [row for file in sorted(folder.glob("*.parquet")) for row in pq.read_table(file).to_pylist()]
