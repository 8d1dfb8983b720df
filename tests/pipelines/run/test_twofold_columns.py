"""A path that names one of several columns, fields or keys is an error of every command."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cluster.errors import RecipeError, ShardError
from pipelines.commands import minhash
from pipelines.commands.check import check_recipe
from pipelines.commands.dedup import dedup
from pipelines.plan.plan import plan
from stages.inputs import side_files
from tests.support.value_runs import (
    ledger,
    recipe_of,
    run_to_mix,
    texts,
    write_lines,
)

# --- columns: one name, several columns ------------------------------------------------------------------


def twofold_top(folder: Path) -> None:
    table = pa.table([texts(3), texts(3, 9), ["a", "b", "c"]], names=["text", "text", "id"])
    pq.write_table(table, folder / "f.parquet")


def twofold_last(folder: Path) -> None:
    table = pa.table([texts(3), ["a", "b", "c"], texts(3, 9)], names=["text", "id", "text"])
    pq.write_table(table, folder / "f.parquet")


def twofold_lines(folder: Path) -> None:
    write_lines(folder / "f.jsonl", ['{"text": "fine", "id": 1}', '{"text": "one", "id": 2, "text": "two"}'])


def twofold_packed_lines(folder: Path) -> None:
    write_lines(folder / "f.jsonl.gz", ['{"text": "fine", "id": 1}', '{"id": 2, "text": "one", "te\\u0078t": "two"}'])


TWOFOLD = [twofold_top, twofold_last, twofold_lines, twofold_packed_lines]


@pytest.mark.parametrize("make", TWOFOLD)
def test_a_text_that_stands_twice_is_an_error_in_every_command(tmp_path: Path, make: Any) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    make(folder)
    name = next(folder.iterdir()).name
    wanted = rf"{name}.*'text'"
    with pytest.raises(ShardError, match=wanted):
        run_to_mix(recipe_of(folder), tmp_path / "run")
    with pytest.raises(ShardError, match=wanted):
        dedup([str(folder)], str(tmp_path / "out"))
    (report,) = check_recipe(recipe_of(folder))
    assert not report.ok
    assert any(name in problem and "'text'" in problem for problem in report.problems)
    with pytest.raises((RecipeError, ShardError), match=wanted):
        list(side_files.texts(str(folder)))
    with pytest.raises(ShardError, match=wanted):
        plan(recipe_of(folder))
    with pytest.raises(RecipeError, match=wanted):
        minhash.minhash(str(folder), str(tmp_path / "signatures"))


def struct(names: list[str], rows: int = 3) -> pa.Array:
    children = [pa.array([f"{name}{i}{row}" for row in range(rows)]) for i, name in enumerate(names)]
    return pa.StructArray.from_arrays(children, names=names)


@pytest.mark.parametrize(
    ("mapped", "columns", "named"),
    [
        ({"id": "meta.id"}, (), "meta.id"),
        ({"url": "meta.id"}, (), "meta.id"),
        ({}, ("meta.id",), "meta.id"),
        ({}, ("meta",), "meta"),
        ({}, ("tag",), "tag"),
        ({}, ("items",), "items"),
        ({"id": "tag"}, (), "tag"),
    ],
)
def test_twofold_names_at_every_level_are_errors(
    tmp_path: Path, mapped: dict[str, str], columns: tuple[str, ...], named: str
) -> None:
    meta = struct(["id", "other", "id"])
    items = pa.ListArray.from_arrays([0, 1, 2, 3], meta)
    tables = [texts(3), meta, ["x", "y", "z"], ["u", "v", "w"], items]
    pq.write_table(pa.table(tables, names=["text", "meta", "tag", "tag", "items"]), tmp_path / "f.parquet")
    made = recipe_of(tmp_path / "f.parquet", columns, mapped=mapped)
    with pytest.raises(ShardError, match=rf"f\.parquet.*{named!r}"):
        run_to_mix(made, tmp_path / "run")
    assert not check_recipe(made)[0].ok
    with pytest.raises(ShardError, match=rf"f\.parquet.*{named!r}"):
        plan(made)


def test_a_filter_column_that_stands_twice_is_an_error(tmp_path: Path) -> None:
    pq.write_table(pa.table([texts(2), [1, 2], [3, 4]], names=["text", "s", "s"]), tmp_path / "f.parquet")
    stages = [{"use": "quality", "model": "column:s", "min_score": 1}]
    with pytest.raises(ShardError, match=r"f\.parquet.*'s'"):
        run_to_mix(recipe_of(tmp_path / "f.parquet", stages=stages, mapped={}), tmp_path / "run")


def test_columns_of_one_name_that_nothing_reads_are_no_matter(tmp_path: Path) -> None:
    pq.write_table(pa.table([texts(2), [1, 2], [3, 4]], names=["text", "s", "s"]), tmp_path / "f.parquet")
    assert run_to_mix(recipe_of(tmp_path / "f.parquet", mapped={}), tmp_path / "run").num_rows == 2


@pytest.mark.parametrize("suffix", ["jsonl", "jsonl.gz"])
def test_a_key_that_stands_twice_costs_its_line_in_quarantine(tmp_path: Path, suffix: str) -> None:
    lines = ['{"text": "a", "id": 1, "m": {"x": 1}}', '{"text": "b", "id": 2, "m": {"x": 1, "x": 2}}']
    write_lines(tmp_path / "in" / f"f.{suffix}", lines)
    found = run_to_mix(recipe_of(tmp_path / "in", ("m.x",), on_error="quarantine"), tmp_path / "run")
    assert found.select(["id", "m.x"]).to_pylist() == [{"id": "1", "m.x": 1}]
    assert [(r["id"], r["reason"]) for r in ledger(tmp_path / "run") if not r["kept"]] == [(None, "invalid_json")]
    (report,) = [
        json.loads(line) for f in (tmp_path / "run" / "quarantine").iterdir() for line in f.read_text().splitlines()
    ]
    assert "'x'" in report["error"]
    assert report["row"] == 1
