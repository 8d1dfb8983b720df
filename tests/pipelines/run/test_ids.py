"""Ids as they are written, digests for null ones, and half surrogates where they matter."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cluster.errors import RecipeError, ShardError
from pipelines.commands.check import check_recipe
from pipelines.explain.find import find_documents as find
from pipelines.recipe.recipe import load_data
from pipelines.runfolder import open_run
from stages.inputs.ids import scalar_texts
from tests.support.arrow_types import IN_PARQUET
from tests.support.value_runs import (
    recipe_of,
    run_to_mix,
    texts,
    write_lines,
    write_table,
)

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
    found = run_to_mix(recipe_of(tmp_path / "in", mapped={"id": path}), tmp_path / "run")
    assert found.column("id").to_pylist() == [*IDS, "1e400", "true", "a é", '{"a":100.0}', None]
    assert find(open_run(str(tmp_path / "run")), "id", IDS[0]).docs == [0]


def test_an_id_is_found_by_another_spelling_of_its_uuid(tmp_path: Path) -> None:
    write_table(tmp_path / "f.parquet", text=texts(3), id=IN_PARQUET["uuid"].slice(0, 3))
    run_to_mix(recipe_of(tmp_path / "f.parquet"), tmp_path / "run")
    opened = open_run(str(tmp_path / "run"))
    for spelling in ("00000010-0000-0000-0000-000000000007", "{00000010-0000-0000-0000-000000000007}", "1" + "0" * 25):
        assert find(opened, "id", spelling).docs == ([1] if "-" in spelling else [])


def test_uuids_of_other_writers_are_known(tmp_path: Path) -> None:
    table = pa.table({"text": texts(3), "id": IN_PARQUET["uuid"].slice(0, 3)})
    pq.write_table(table, tmp_path / "f.parquet", store_schema=False)
    found = run_to_mix(recipe_of(tmp_path / "f.parquet"), tmp_path / "run")
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
        name: run_to_mix(recipe_of(tmp_path / "in", mapped={"id": form}), tmp_path / name).column("id").to_pylist()
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
        run_to_mix(recipe_of(tmp_path / "in", mapped={"id": "content"}), tmp_path / "run")
    assert not check_recipe(recipe_of(tmp_path / "in", mapped={"id": "content"}))[0].ok
    column = run_to_mix(recipe_of(tmp_path / "in", mapped={"id": {"column": "content"}}), tmp_path / "column")
    assert column.column("id").to_pylist()[1] == "y"
    digest = run_to_mix(recipe_of(tmp_path / "in", mapped={"id": {"if_null": "content"}}), tmp_path / "digest")
    assert all(len(i) == 32 for i in digest.column("id").to_pylist())


@pytest.mark.parametrize("form", ["content", {"column": "content"}, {"if_null": "content"}, "id", {"column": "id"}])
def test_forms_of_ids_survive_the_lock_file(tmp_path: Path, form: Any) -> None:
    made = recipe_of(tmp_path, mapped={"id": form})
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
        run_to_mix(recipe_of(tmp_path / "in"), tmp_path / "stopped")
    found = run_to_mix(recipe_of(tmp_path / "in", ("title",), on_error="quarantine"), tmp_path / "run")
    assert found.column("id").to_pylist() == ["0", "3"]
    first, second = found.column("title").to_pylist()
    assert shown in first
    assert json.loads(first).startswith(("half", "caf"))
    assert second == '"t"'
    errors = [
        json.loads(line) for f in (tmp_path / "run" / "quarantine").iterdir() for line in f.read_text().splitlines()
    ]
    assert [(e["row"], e["error"].split("'")[1]) for e in errors] == [(1, "text"), (2, "id")]
