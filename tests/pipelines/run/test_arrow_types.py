"""Every Arrow type in every position: passed through, as id, URL, text and filter; what a format cannot hold."""

from __future__ import annotations

import json
from pathlib import Path

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cluster.errors import ShardError
from pipelines.commands.dedup import dedup
from pipelines.explain.find import find_documents as find
from pipelines.mix.json_rows import MALFORMED, NOT_FINITE
from pipelines.run import runner
from pipelines.runfolder import open_run
from stages.inputs.fit import is_json, json_texts
from stages.inputs.ids import scalar_texts
from tests.support.arrow_types import EVERYWHERE, IN_PARQUET
from tests.support.value_runs import (
    SCALARS,
    recipe_of,
    run_to_mix,
    stored,
    texts,
    two_files,
    unpacked,
    write_lines,
    write_table,
)

# --- every Arrow type in every position ------------------------------------------------------------------


def test_every_type_is_passed_through(tmp_path: Path) -> None:
    two_files(tmp_path / "in")
    names = tuple(IN_PARQUET)
    found = run_to_mix(recipe_of(tmp_path / "in", names, mapped={}), tmp_path / "run")
    dedup([str(tmp_path / "in")], str(tmp_path / "out"))
    deduplicated = pa.concat_tables([pq.read_table(f) for f in sorted((tmp_path / "out").glob("part-*.parquet"))])
    for name in names:
        values = stored(tmp_path / "in", name).to_pylist()
        assert found.column(name).to_pylist() == values, name
        assert deduplicated.column(name).to_pylist() == values, name


def test_types_that_only_arrow_files_hold_arrive_as_they_are_or_as_json_text(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for number in range(2):
        table = pa.table({"text": texts(4, 4 * number), **EVERYWHERE})
        with pa.ipc.new_file(tmp_path / "in" / f"{number}.arrow", table.schema) as file:
            file.write_table(table)
    found = run_to_mix(recipe_of(tmp_path / "in", tuple(EVERYWHERE), mapped={}), tmp_path / "run")
    for name, column in EVERYWHERE.items():
        if name == "struct_of_intervals":  # its field is JSON text, it is not
            assert found.column(name).to_pylist()[0] == {"i": '"P1M-2DT0.000000003S"'}
        elif is_json(found.schema.field(name)):
            assert name in ("interval", "no_fields", "sparse_union")
            assert found.column(name).to_pylist() == 2 * json_texts(column).to_pylist()
        else:
            assert found.column(name).to_pylist() == 2 * column.to_pylist(), name


def test_every_type_is_passed_through_to_json_lines(tmp_path: Path) -> None:
    two_files(tmp_path / "in")
    made = recipe_of(tmp_path / "in", tuple(IN_PARQUET), mapped={}, output={"format": "jsonl.zst"})
    result = runner.run(made, str(tmp_path / "run"))
    (file,) = (tmp_path / "run" / "mix" / "d").iterdir()
    lines = unpacked(file)
    rows = [json.loads(line) for line in lines]
    for name in ("int64", "uint64", "double", "bool", "string_view", "list", "dictionary_int", "deep"):
        assert [row[name] for row in rows] == 2 * IN_PARQUET[name].to_pylist()
    for name in ("binary_view", "uuid", "timestamp_ns", "duration_us", "fixed_binary"):
        assert [row[name] for row in rows] == 2 * scalar_texts(IN_PARQUET[name]).to_pylist()
    assert not [text for text in result.warnings if "lost" in text]


def test_every_scalar_type_is_an_id_and_a_url(tmp_path: Path) -> None:
    two_files(tmp_path / "in")
    for name in SCALARS:
        root = tmp_path / name
        found = run_to_mix(recipe_of(tmp_path / "in", mapped={"id": name, "url": name}), root)
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
        run_to_mix(recipe_of(tmp_path / "f.parquet", mapped={"id": "x"}), tmp_path / "run")


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
    found = run_to_mix(
        recipe_of(tmp_path / "f.parquet", mapped={"text": "body.t" if nested else "body"}), tmp_path / "run"
    )
    assert found.column("text").to_pylist() == wanted


NUMBERS = [n for n in IN_PARQUET if n.startswith(("int", "uint", "half", "float", "double", "decimal"))]
NUMBERS += ["dictionary_int"]


def test_numbers_of_every_type_are_filter_columns(tmp_path: Path) -> None:
    two_files(tmp_path / "in")
    for name in NUMBERS:
        stages = [{"use": "quality", "model": f"column:{name}", "min_score": 0.1}]
        found = run_to_mix(recipe_of(tmp_path / "in", (name,), stages, mapped={}), tmp_path / name)
        kept = 2 * [v for v in IN_PARQUET[name].to_pylist() if v is not None and v >= 0.1]
        assert found.column(name).to_pylist() == kept, name


def test_scalars_of_every_other_type_are_labels(tmp_path: Path) -> None:
    two_files(tmp_path / "in")
    for name in [n for n in SCALARS if n not in NUMBERS and n not in ("null", "bool", "bool8")]:
        column = stored(tmp_path / "in", name)
        labels = [label for chunk in column.chunks for label in scalar_texts(chunk).to_pylist()]
        stages = [{"use": "quality", "model": f"column:{name}", "keep_labels": [labels[0]]}]
        found = run_to_mix(recipe_of(tmp_path / "in", (name,), stages, mapped={}), tmp_path / name)
        kept = [v for v, label in zip(column.to_pylist(), labels, strict=True) if label == labels[0]]
        assert found.column(name).to_pylist() == kept, name


# --- what a format cannot hold ---------------------------------------------------------------------------


def test_what_json_lines_cannot_hold_is_counted(tmp_path: Path) -> None:
    malformed = pa.array([b"fine", b"caf\xe9", None], pa.binary()).view(pa.string())
    numbers = [float("nan"), float("inf"), 1.0]
    nested = pa.array([[1.0, float("nan")], None, []], pa.list_(pa.float32()))
    write_table(tmp_path / "in" / "f.parquet", text=texts(3), n=numbers, s=malformed, l=nested)
    made = recipe_of(tmp_path / "in", ("n", "s", "l"), mapped={}, output={"format": "jsonl.zst"})
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
    runner.run(recipe_of(tmp_path / "in", ("m",), mapped={}), str(tmp_path / "run"))
    assert "JSON text of each value for d" in (tmp_path / "run" / "mix" / "README.md").read_text()
