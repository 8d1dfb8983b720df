"""Every value arrives exactly in ledger and mix, or the run stops and names file and column."""

from __future__ import annotations

import gzip
import itertools
import json
import random
from decimal import Decimal
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from classifiers.labelled import read_texts
from cluster.errors import RecipeError, ShardError
from pipelines.commands import minhash
from pipelines.commands.check import check_recipe
from pipelines.commands.dedup import dedup
from pipelines.explain.find import find_documents as find
from pipelines.mix.json_rows import MALFORMED, NOT_FINITE
from pipelines.plan.plan import plan
from pipelines.recipe.recipe import Recipe, load_data
from pipelines.run import runner
from pipelines.runfolder import open_run
from stages.inputs.fit import is_json
from stages.inputs.ids import scalar_texts
from tests.support.arrow_types import IN_PARQUET

Lines = list[str]


def texts(count: int, start: int = 0) -> list[str]:
    return [f"Document {i} about the word{i} and the thing{i} of place{i}." for i in range(start, start + count)]


def write_lines(path: Path, lines: Lines) -> None:
    data = "".join(f"{line}\n" for line in lines).encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(data, 1, mtime=0) if path.suffix == ".gz" else data)


def write_table(path: Path, **columns: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), path)


def recipe(
    paths: Path, columns: tuple[str, ...] = (), stages: list[dict[str, Any]] | None = None, **more: Any
) -> Recipe:
    mapped = more.pop("mapped", {"id": "id"})
    return load_data(
        {
            "datasets": {"d": {"paths": str(paths), "columns": mapped}},
            "stages": stages or [{"use": "exact_dedup"}],
            "output": {"columns": list(columns), "shuffle": "none", **more.pop("output", {})},
            "cluster": {"kind": "inline"},
            **more,
        },
        "test",
    )


def run(made: Recipe, root: Path, **more: Any) -> pa.Table:
    runner.run(made, str(root), with_report=False, **more)
    files = sorted((root / "mix" / "d").glob("part-*.parquet"))
    return pa.concat_tables([pq.read_table(f) for f in files])


def unpacked(path: Path) -> list[bytes]:
    return zstandard.ZstdDecompressor().decompressobj().decompress(path.read_bytes()).splitlines()


def problems(root: Path) -> list[dict[str, Any]]:
    files = (root / "quarantine").iterdir()
    return [json.loads(line) for file in files for line in file.read_text().splitlines()]


def ledger(root: Path) -> list[dict[str, Any]]:
    return [row for file in sorted((root / "ledger").glob("*.parquet")) for row in pq.read_table(file).to_pylist()]


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
        run(recipe(folder), tmp_path / "run")
    with pytest.raises(ShardError, match=wanted):
        dedup([str(folder)], str(tmp_path / "out"))
    (report,) = check_recipe(recipe(folder))
    assert not report.ok
    assert any(name in problem and "'text'" in problem for problem in report.problems)
    with pytest.raises((RecipeError, ShardError), match=wanted):
        list(read_texts(folder))
    with pytest.raises(ShardError, match=wanted):
        plan(recipe(folder))
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
    made = recipe(tmp_path / "f.parquet", columns, mapped=mapped)
    with pytest.raises(ShardError, match=rf"f\.parquet.*{named!r}"):
        run(made, tmp_path / "run")
    assert not check_recipe(made)[0].ok
    with pytest.raises(ShardError, match=rf"f\.parquet.*{named!r}"):
        plan(made)


def test_a_filter_column_that_stands_twice_is_an_error(tmp_path: Path) -> None:
    pq.write_table(pa.table([texts(2), [1, 2], [3, 4]], names=["text", "s", "s"]), tmp_path / "f.parquet")
    stages = [{"use": "quality", "model": "column:s", "min_score": 1}]
    with pytest.raises(ShardError, match=r"f\.parquet.*'s'"):
        run(recipe(tmp_path / "f.parquet", stages=stages, mapped={}), tmp_path / "run")


def test_columns_of_one_name_that_nothing_reads_are_no_matter(tmp_path: Path) -> None:
    pq.write_table(pa.table([texts(2), [1, 2], [3, 4]], names=["text", "s", "s"]), tmp_path / "f.parquet")
    assert run(recipe(tmp_path / "f.parquet", mapped={}), tmp_path / "run").num_rows == 2


@pytest.mark.parametrize("suffix", ["jsonl", "jsonl.gz"])
def test_a_key_that_stands_twice_costs_its_line_in_quarantine(tmp_path: Path, suffix: str) -> None:
    lines = ['{"text": "a", "id": 1, "m": {"x": 1}}', '{"text": "b", "id": 2, "m": {"x": 1, "x": 2}}']
    write_lines(tmp_path / "in" / f"f.{suffix}", lines)
    found = run(recipe(tmp_path / "in", ("m.x",), on_error="quarantine"), tmp_path / "run")
    assert found.select(["id", "m.x"]).to_pylist() == [{"id": "1", "m.x": 1}]
    assert [(r["id"], r["reason"]) for r in ledger(tmp_path / "run") if not r["kept"]] == [(None, "invalid_json")]
    (report,) = [
        json.loads(line) for f in (tmp_path / "run" / "quarantine").iterdir() for line in f.read_text().splitlines()
    ]
    assert "'x'" in report["error"]
    assert report["row"] == 1


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
    found = run(recipe(tmp_path / "in", ("v",), mapped={}), tmp_path / "run")
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
    found = run(recipe(tmp_path / "in", ("v",), mapped={}), tmp_path / "run")
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
    found = run(recipe(tmp_path / "in", ("m",)), tmp_path / "run").column("m").to_pylist()
    assert [None if v is None else json.loads(v) for v in found] == values


def test_json_lines_and_parquet_agree_on_a_type(tmp_path: Path) -> None:
    write_lines(tmp_path / "in" / "a.jsonl", [json.dumps({"text": t, "v": 1, "w": "x"}) for t in texts(2)])
    write_table(tmp_path / "in" / "b.parquet", text=texts(2, 2), v=[0.5, None], w=[1, 2])
    found = run(recipe(tmp_path / "in", ("v", "w"), mapped={}), tmp_path / "run")
    assert found.column("v").to_pylist() == [1.0, 1.0, 0.5, None]
    assert found.column("w").to_pylist() == ['"x"', '"x"', "1", "2"]


def test_a_file_that_comes_later_widens_the_type_like_one_that_was_there(tmp_path: Path) -> None:
    write_table(tmp_path / "in" / "a.parquet", text=texts(2), v=[1, 2])
    stages = [{"use": "quality", "model": "column:v", "min_score": 2}]
    made = recipe(tmp_path / "in", ("v",), stages, mapped={})
    assert run(made, tmp_path / "run").column("v").to_pylist() == [2]
    write_table(tmp_path / "in" / "b.parquet", text=texts(2, 2), v=["7", "x"])
    grown, fresh = run(made, tmp_path / "run"), run(made, tmp_path / "fresh")
    assert grown.equals(fresh)
    assert fresh.column("v").to_pylist() == ["2", '"7"']
    assert [r["value"] for r in ledger(tmp_path / "run")] == [r["value"] for r in ledger(tmp_path / "fresh")]


def test_other_columns_asked_for_later_are_found(tmp_path: Path) -> None:
    write_table(tmp_path / "in" / "a.parquet", text=texts(2), v=[1, 2], w=["x", None])
    write_lines(tmp_path / "in" / "b.jsonl.gz", [json.dumps({"text": t, "w": 3}) for t in texts(1, 5)])
    assert "w" not in run(recipe(tmp_path / "in", ("v",), mapped={}), tmp_path / "run").schema.names
    found = run(recipe(tmp_path / "in", ("w", "v"), mapped={}), tmp_path / "run")
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
        made = recipe(folder, ("v", "w"), output={"shuffle": "global"})
        found = run(made, tmp_path / f"run{number}").drop_columns(["doc_id"])
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
        data = recipe(tmp_path, ("v", "c2", "c0"), mapped={}).to_data()
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


# --- every Arrow type in every position ------------------------------------------------------------------


def two_files(folder: Path) -> None:
    for number in range(2):
        write_table(folder / f"{number}.parquet", text=texts(4, 4 * number), **IN_PARQUET)


def stored(folder: Path, name: str) -> pa.ChunkedArray:
    """Return a column as pyarrow reads it."""
    return pa.chunked_array([c for f in sorted(folder.iterdir()) for c in pq.read_table(f).column(name).chunks])


def test_every_type_is_passed_through(tmp_path: Path) -> None:
    two_files(tmp_path / "in")
    names = tuple(IN_PARQUET)
    found = run(recipe(tmp_path / "in", names, mapped={}), tmp_path / "run")
    dedup([str(tmp_path / "in")], str(tmp_path / "out"))
    deduplicated = pa.concat_tables([pq.read_table(f) for f in sorted((tmp_path / "out").glob("part-*.parquet"))])
    for name in names:
        values = stored(tmp_path / "in", name).to_pylist()
        assert found.column(name).to_pylist() == values, name
        assert deduplicated.column(name).to_pylist() == values, name


def test_every_type_is_passed_through_to_json_lines(tmp_path: Path) -> None:
    two_files(tmp_path / "in")
    made = recipe(tmp_path / "in", tuple(IN_PARQUET), mapped={}, output={"format": "jsonl.zst"})
    result = runner.run(made, str(tmp_path / "run"))
    (file,) = (tmp_path / "run" / "mix" / "d").iterdir()
    lines = unpacked(file)
    rows = [json.loads(line) for line in lines]
    for name in ("int64", "uint64", "double", "bool", "string_view", "list", "dictionary_int", "deep"):
        assert [row[name] for row in rows] == 2 * IN_PARQUET[name].to_pylist()
    for name in ("binary_view", "uuid", "timestamp_ns", "duration_us", "fixed_binary"):
        assert [row[name] for row in rows] == 2 * scalar_texts(IN_PARQUET[name]).to_pylist()
    assert not [text for text in result.warnings if "lost" in text]


SCALARS = [n for n, c in IN_PARQUET.items() if not pa.types.is_nested(getattr(c.type, "storage_type", c.type))]


def test_every_scalar_type_is_an_id_and_a_url(tmp_path: Path) -> None:
    two_files(tmp_path / "in")
    for name in SCALARS:
        root = tmp_path / name
        found = run(recipe(tmp_path / "in", mapped={"id": name, "url": name}), root)
        values = [v for c in stored(tmp_path / "in", name).chunks for v in scalar_texts(c).to_pylist()]
        assert found.column("id").to_pylist() == values, name
        octets = pa.types.is_binary(IN_PARQUET[name].type) or "binary" in name or name == "opaque"
        assert octets or found.column("url").to_pylist() == values, name
        opened = open_run(str(root))
        for value in {v for v in values if v}:
            docs = find(opened, "id", value).docs
            assert docs == [d for d, v in zip(found.column("doc_id").to_pylist(), values, strict=True) if v == value]


@pytest.mark.parametrize("name", [n for n, c in IN_PARQUET.items() if pa.types.is_nested(c.type)])
def test_a_nested_type_as_an_id_is_an_error(tmp_path: Path, name: str) -> None:
    write_table(tmp_path / "f.parquet", text=texts(4), x=IN_PARQUET[name])
    with pytest.raises(ShardError, match=r"f\.parquet.*'x'"):
        run(recipe(tmp_path / "f.parquet", mapped={"id": "x"}), tmp_path / "run")


STRINGS = ["string", "large_string", "string_view", "binary", "large_binary", "binary_view", "fixed", "dictionary"]


@pytest.mark.parametrize("kind", [*STRINGS, "json", "uuid"])
@pytest.mark.parametrize("nested", [False, True])
def test_every_string_type_is_a_text(tmp_path: Path, kind: str, nested: bool) -> None:
    plain = pa.array(["a text here", "b text here", "ä text her"])
    types = {n: getattr(pa, n)() for n in STRINGS if hasattr(pa, n) and n not in ("fixed", "dictionary")}
    octets = plain.cast(pa.binary())
    column = {
        "dictionary": lambda: plain.dictionary_encode(),
        "json": lambda: pa.ExtensionArray.from_storage(pa.json_(), plain),
        "fixed": lambda: octets.cast(pa.binary(11)),
        "uuid": lambda: IN_PARQUET["uuid"].slice(0, 3),
    }.get(kind, lambda: (octets if "binary" in kind else plain).cast(types[kind]))()
    wanted = scalar_texts(column).to_pylist() if kind == "uuid" else plain.to_pylist()
    column = pa.StructArray.from_arrays([column], ["t"]) if nested else column
    write_table(tmp_path / "f.parquet", body=column)
    found = run(recipe(tmp_path / "f.parquet", mapped={"text": "body.t" if nested else "body"}), tmp_path / "run")
    assert found.column("text").to_pylist() == wanted


NUMBERS = [n for n in IN_PARQUET if n.startswith(("int", "uint", "half", "float", "double", "decimal"))]
NUMBERS += ["dictionary_int"]


def test_numbers_of_every_type_are_filter_columns(tmp_path: Path) -> None:
    two_files(tmp_path / "in")
    for name in NUMBERS:
        stages = [{"use": "quality", "model": f"column:{name}", "min_score": 0.1}]
        found = run(recipe(tmp_path / "in", (name,), stages, mapped={}), tmp_path / name)
        kept = 2 * [v for v in IN_PARQUET[name].to_pylist() if v is not None and v >= 0.1]
        assert found.column(name).to_pylist() == kept, name


def test_scalars_of_every_other_type_are_labels(tmp_path: Path) -> None:
    two_files(tmp_path / "in")
    for name in [n for n in SCALARS if n not in NUMBERS and n not in ("null", "bool", "bool8")]:
        column = stored(tmp_path / "in", name)
        labels = [label for chunk in column.chunks for label in scalar_texts(chunk).to_pylist()]
        stages = [{"use": "quality", "model": f"column:{name}", "keep_labels": [labels[0]]}]
        found = run(recipe(tmp_path / "in", (name,), stages, mapped={}), tmp_path / name)
        kept = [v for v, label in zip(column.to_pylist(), labels, strict=True) if label == labels[0]]
        assert found.column(name).to_pylist() == kept, name


# --- ids -------------------------------------------------------------------------------------------------

IDS = ["170141183460469231731687303715884105729", "-1", "0", "-0", "1.0", "1e3", "1.10", "9007199254740993"]


@pytest.mark.parametrize("suffix", ["jsonl", "jsonl.gz"])
@pytest.mark.parametrize("path", ["id", "meta.id"])
def test_json_ids_are_as_written(tmp_path: Path, suffix: str, path: str) -> None:
    values = [*IDS, "1e400", "true", '"a \\u00e9"', '{"a": 1e2}', "null"]
    lines = [
        f'{{"id":{v if path == "id" else 0}, "meta": {{"id" : {v}}}, "text": "{t}"}}'
        for v, t in zip(values, texts(len(values)), strict=True)
    ]
    write_lines(tmp_path / "in" / f"f.{suffix}", lines)
    found = run(recipe(tmp_path / "in", mapped={"id": path}), tmp_path / "run")
    assert found.column("id").to_pylist() == [*IDS, "1e400", "true", "a é", '{"a":100.0}', None]
    assert find(open_run(str(tmp_path / "run")), "id", IDS[0]).docs == [0]


def test_an_id_is_found_by_another_spelling_of_its_uuid(tmp_path: Path) -> None:
    write_table(tmp_path / "f.parquet", text=texts(3), id=IN_PARQUET["uuid"].slice(0, 3))
    run(recipe(tmp_path / "f.parquet"), tmp_path / "run")
    opened = open_run(str(tmp_path / "run"))
    for spelling in ("00000010-0000-0000-0000-000000000007", "{00000010-0000-0000-0000-000000000007}", "1" + "0" * 25):
        assert find(opened, "id", spelling).docs == ([1] if "-" in spelling else [])


def test_uuids_of_other_writers_are_known(tmp_path: Path) -> None:
    table = pa.table({"text": texts(3), "id": IN_PARQUET["uuid"].slice(0, 3)})
    pq.write_table(table, tmp_path / "f.parquet", store_schema=False)
    found = run(recipe(tmp_path / "f.parquet"), tmp_path / "run")
    assert found.column("id").to_pylist() == scalar_texts(IN_PARQUET["uuid"]).to_pylist()[:3]


@pytest.mark.parametrize("suffix", ["parquet", "jsonl", "jsonl.gz"])
def test_a_null_id_becomes_the_digest_of_the_text_where_that_is_asked_for(tmp_path: Path, suffix: str) -> None:
    ids = ["a", None, None]
    if suffix == "parquet":
        write_table(tmp_path / "in" / "f.parquet", text=texts(3), id=ids)
    else:
        lines = [json.dumps({"text": t, "id": i}) for t, i in zip(texts(3), ids, strict=True)]
        write_lines(tmp_path / "in" / f"f.{suffix}", lines)
    forms: dict[str, Any] = {"digest": "content", "both": {"column": "id", "if_null": "content"}, "column": "id"}
    found = {
        name: run(recipe(tmp_path / "in", mapped={"id": form}), tmp_path / name).column("id").to_pylist()
        for name, form in forms.items()
    }
    assert found["column"] == ids
    assert found["both"] == ["a", *found["digest"][1:]]
    assert all(len(i) == 32 and int(i, 16) >= 0 for i in found["digest"])
    assert len(set(found["digest"])) == 3
    assert find(open_run(str(tmp_path / "both")), "id", found["both"][2]).docs == [2]


@pytest.mark.parametrize("suffix", ["parquet", "jsonl", "jsonl.gz"])
def test_id_content_asks_which_where_a_column_is_called_so(tmp_path: Path, suffix: str) -> None:
    if suffix == "parquet":
        write_table(tmp_path / "in" / "f.parquet", text=texts(2), content=["x", "y"])
    else:
        lines = [json.dumps({"text": texts(1)[0]}), json.dumps({"text": texts(1, 1)[0], "content": "y"})]
        write_lines(tmp_path / "in" / f"f.{suffix}", lines)
    with pytest.raises(RecipeError, match="if_null: content"):
        run(recipe(tmp_path / "in", mapped={"id": "content"}), tmp_path / "run")
    assert not check_recipe(recipe(tmp_path / "in", mapped={"id": "content"}))[0].ok
    column = run(recipe(tmp_path / "in", mapped={"id": {"column": "content"}}), tmp_path / "column")
    assert column.column("id").to_pylist()[1] == "y"
    digest = run(recipe(tmp_path / "in", mapped={"id": {"if_null": "content"}}), tmp_path / "digest")
    assert all(len(i) == 32 for i in digest.column("id").to_pylist())


@pytest.mark.parametrize("form", ["content", {"column": "content"}, {"if_null": "content"}, "id", {"column": "id"}])
def test_forms_of_ids_survive_the_lock_file(tmp_path: Path, form: Any) -> None:
    made = recipe(tmp_path, mapped={"id": form})
    again = load_data(made.to_data(), "again")
    assert again.datasets_resolved() == made.datasets_resolved()
    assert again.digest() == made.digest()


# --- half surrogates and malformed bytes -----------------------------------------------------------------

HALVES = [(b'"half \\udcb2 of a pair"', "\\udcb2"), (b'"caf\xe9 in latin-1"', "\\udce9")]


@pytest.mark.parametrize("suffix", ["jsonl", "jsonl.gz"])
@pytest.mark.parametrize(("half", "shown"), HALVES)
def test_half_a_surrogate_costs_only_who_needs_it(tmp_path: Path, suffix: str, half: bytes, shown: str) -> None:
    rows = [b'{"id": "0", "text": "sound", "title": %b}', b'{"id": "1", "text": %b}', b'{"id": %b, "text": "also"}']
    data = b"".join(row % half + b"\n" for row in rows) + b'{"id": "3", "text": "more", "title": "t"}\n'
    (tmp_path / "in").mkdir()
    path = tmp_path / "in" / f"f.{suffix}"
    path.write_bytes(gzip.compress(data) if suffix.endswith("gz") else data)
    with pytest.raises(ShardError, match=r"row 1: 'text' is not valid UTF-8"):
        run(recipe(tmp_path / "in"), tmp_path / "stopped")
    found = run(recipe(tmp_path / "in", ("title",), on_error="quarantine"), tmp_path / "run")
    assert found.column("id").to_pylist() == ["0", "3"]
    first, second = found.column("title").to_pylist()
    assert shown in first
    assert json.loads(first).startswith(("half", "caf"))
    assert second == '"t"'
    errors = [
        json.loads(line) for f in (tmp_path / "run" / "quarantine").iterdir() for line in f.read_text().splitlines()
    ]
    assert [(e["row"], e["error"].split("'")[1]) for e in errors] == [(1, "text"), (2, "id")]


# --- what a format cannot hold ---------------------------------------------------------------------------


def test_what_json_lines_cannot_hold_is_counted(tmp_path: Path) -> None:
    malformed = pa.array([b"fine", b"caf\xe9", None], pa.binary()).view(pa.string())
    numbers = [float("nan"), float("inf"), 1.0]
    nested = pa.array([[1.0, float("nan")], None, []], pa.list_(pa.float32()))
    write_table(tmp_path / "in" / "f.parquet", text=texts(3), n=numbers, s=malformed, l=nested)
    made = recipe(tmp_path / "in", ("n", "s", "l"), mapped={}, output={"format": "jsonl.zst"})
    result = runner.run(made, str(tmp_path / "run"))
    wanted = {f"l: {NOT_FINITE}": 1, f"n: {NOT_FINITE}": 2, f"s: {MALFORMED}": 1}
    sentences = [f"the mix of d lost {count} values of {what}" for what, count in wanted.items()]
    assert [text for text in result.warnings if "lost" in text] == sentences
    assert json.loads((tmp_path / "run" / "mix" / "manifest.json").read_text())["warnings"] == sentences
    for page in ("report.json", "report.html", "mix/README.md"):
        assert "2 values of n: NaN or infinite" in (tmp_path / "run" / page).read_text()
    (file,) = (tmp_path / "run" / "mix" / "d").iterdir()
    lines = unpacked(file)
    rows = [orjson.loads(line) for line in lines]
    assert [row["n"] for row in rows] == [None, None, 1.0]


def test_the_card_says_which_columns_hold_json_text(tmp_path: Path) -> None:
    write_lines(tmp_path / "in" / "a.jsonl", [json.dumps({"text": t, "m": i or "x"}) for i, t in enumerate(texts(3))])
    runner.run(recipe(tmp_path / "in", ("m",), mapped={}), str(tmp_path / "run"))
    assert "JSON text of each value for d" in (tmp_path / "run" / "mix" / "README.md").read_text()
