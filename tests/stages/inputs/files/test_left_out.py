"""Folders that other tools and winnow itself wrote read as their data files; the rest is listed with a reason."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import fsspec
import pytest

from cluster.errors import RecipeError
from pipelines.commands.dedup import dedup
from pipelines.recipe.recipe import load_data
from pipelines.run import runner
from stages.core.shard import Columns, Dataset
from stages.inputs.files.discover import discover
from tests.support import archives

ROWS = [{"text": f"text {n} of a page", "id": str(n)} for n in range(40)]


def put(folder: Path | str, files: dict[str, bytes]) -> None:
    for name, data in files.items():
        with fsspec.open(f"{folder}/{name}", "wb", auto_mkdir=True) as file:
            file.write(data)


def found(path: object, **more: Any) -> tuple[list[str], dict[str, int]]:
    """Return names of the data files, and how many files are left out for each reason."""
    seen = discover(Dataset(name="d", paths=(str(path),), **more))
    return [f.relative_path for f in seen.files], {item.reason: item.count for item in seen.passed_over}


def recipe(paths: object, **more: Any) -> Any:
    data = {"datasets": {"d": {"paths": str(paths)}}, "cluster": {"kind": "inline"}, **more}
    return load_data({"stages": [{"use": "exact_dedup"}], **data}, "test")


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """Return a run folder with a hold-out."""
    put(tmp_path / "in", {"a.jsonl": archives.made(ROWS, "jsonl")})
    runner.run(recipe(tmp_path / "in", output={"holdout": 0.3}), str(tmp_path / "run"))
    return tmp_path / "run"


def test_what_dedup_wrote_is_its_parts(tmp_path: Path) -> None:
    put(tmp_path / "in", {"a.jsonl": archives.made(ROWS, "jsonl"), "bad.jsonl": b'{"text": "x"}\n'})
    dedup([str(tmp_path / "in")], str(tmp_path / "out"), workers=1)
    assert found(tmp_path / "out") == (
        ["part-00000.parquet"],
        {"ledger of winnow dedup": 2, "a side file of winnow dedup": 1},
    )
    assert found(f"{tmp_path}/out/**")[0] == ["part-00000.parquet"]
    again = dedup([str(tmp_path / "out")], str(tmp_path / "again"), workers=1)
    assert (again["rows"], again["kept"]) == (41, 41)


@pytest.mark.parametrize("path", ["", "/", "/mix", "/mix/d", "/mix/*/*.parquet", "/**/*.parquet", "/mix/**"])
def test_a_run_folder_is_the_parts_of_its_mix(run: Path, path: str) -> None:
    names, left = found(f"{run}{path}")
    assert [name.rsplit("/", 1)[-1] for name in names] == ["part-00000.parquet"]
    assert left["the hold-out of a mix"] == 1


def test_a_hold_out_that_is_named_is_read(run: Path) -> None:
    for path in (f"{run}/mix/d/holdout-*.parquet", f"{run}/mix/d/holdout-00000.parquet"):
        assert found(path) == (["holdout-00000.parquet"], {})


def test_a_run_folder_inside_a_dataset_is_left_out(run: Path) -> None:
    data = run.parent / "in"
    run.rename(data / "old run")
    names, left = found(data)
    assert names == ["a.jsonl"]
    assert left["in a run folder of winnow (old run)"] > 5
    assert found(f"{data}/**/*")[0] == ["a.jsonl"]
    own = data / "deeper" / "this run"  # the very run, from its first moment on
    for _ in range(2):
        result = runner.run(recipe(data), str(own))
        assert result.tallies["d"]["rows"] == len(ROWS)
        assert {item.reason for item in result.passed_over["d"]} >= {"in a run folder of winnow (this run)"}


def test_a_folder_called_mix_is_no_run_folder(tmp_path: Path) -> None:
    put(tmp_path, {"mix/a.jsonl": b'{"text": "x"}\n', "ledger/b.jsonl": b'{"text": "y"}\n'})
    assert found(tmp_path) == (["ledger/b.jsonl", "mix/a.jsonl"], {})


SNAPSHOT = {
    "README.md": b"# card",
    ".gitattributes": b"*.parquet filter=lfs",
    ".cache/huggingface/download/data/a.parquet.metadata": b"x",
    ".cache/huggingface/x.json": b'{"text": 1}',
    "dataset_infos.json": json.dumps({"default": {"description": "text"}}, indent=2).encode(),
    "config.json": b'{"splits": ["train"]}',
    "urls.json": b'["https://a.example"]',
    "stats/0.json": json.dumps([{"rows": 5}], indent=1).encode(),
    "labels.csv": b"id,label\n1,x\n",
    "cache-0123456789abcdef.arrow": archives.made(ROWS, "arrows"),
}


@pytest.mark.parametrize("store", ["local", "memory"])
@pytest.mark.parametrize("format", ["parquet", "jsonl.gz", "arrow"])
def test_a_hub_snapshot_is_its_data(tmp_path: Path, store: str, format: str) -> None:
    folder = str(tmp_path / "hub") if store == "local" else f"memory://{tmp_path.name}/hub"
    put(folder, {**SNAPSHOT, f"data/train-00000-of-00001.{format}": archives.made(ROWS, format)})
    names, left = found(folder)
    assert names == [f"data/train-00000-of-00001.{format}"]
    assert left == {
        "hidden or unfinished": 3,
        "one JSON value without the column 'text'": 3,
        "a side file of a dataset hub": 1,
        "a cache of the datasets library": 1,
        "csv without the column 'text', beside other data": 1,
        "no format that is read (.md)": 1,
    }


def test_a_hub_cache_is_read_through_its_snapshots(tmp_path: Path) -> None:
    put(tmp_path, {"blobs/0a1b": archives.made(ROWS, "parquet"), "refs/main": b"abc"})
    (tmp_path / "snapshots" / "abc").mkdir(parents=True)
    (tmp_path / "snapshots" / "abc" / "a.parquet").symlink_to(tmp_path / "blobs" / "0a1b")
    assert found(tmp_path)[0] == ["snapshots/abc/a.parquet"]


def test_saved_by_the_datasets_library(tmp_path: Path) -> None:
    put(
        tmp_path,
        {
            "dataset_dict.json": b'{"splits": ["train"]}',
            "train/data-00000-of-00001.arrow": archives.made(ROWS, "arrows"),
            "train/dataset_info.json": b'{"features": {"text": {}}, "text": ""}',
            "train/state.json": b'{"_fingerprint": "x"}',
        },
    )
    assert found(tmp_path)[0] == ["train/data-00000-of-00001.arrow"]


def test_spark_dask_datatrove_and_dolma(tmp_path: Path) -> None:
    put(
        tmp_path / "spark",
        {"_SUCCESS": b"", "_metadata": b"PAR1", "_common_metadata": b"PAR1", ".part-0.snappy.parquet.crc": b"crc"}
        | {"part-0.snappy.parquet": archives.made(ROWS, "parquet"), "_committed_1": b"{}"},
    )
    assert found(tmp_path / "spark") == (["part-0.snappy.parquet"], {"hidden or unfinished": 5})
    put(
        tmp_path / "datatrove",
        {"output/00000.jsonl.gz": archives.made(ROWS, "jsonl.gz"), "logs/task_00000.log": b"x"}
        | {"executor.json": b'{"pipeline": []}', "stats.json": b'[{"name": "x"}]', "completions/00000": b""}
        | {"stats/00000.json": json.dumps([{"name": "x"}], indent=4).encode()},
    )
    assert found(tmp_path / "datatrove")[0] == ["output/00000.jsonl.gz"]
    put(
        tmp_path / "dolma",
        {"documents/0.json.gz": archives.made(ROWS, "jsonl.gz"), "attributes/x/0.json.gz": b"", "x.done.txt": b""},
    )
    assert found(tmp_path / "dolma")[1] == {
        "attributes beside documents (Dolma)": 1,
        "no format that is read (.txt)": 1,
    }


def test_one_document_a_file_is_data(tmp_path: Path) -> None:
    files = {f"{n}.json": json.dumps(row, indent=n % 3 or None).encode() for n, row in enumerate(ROWS[:6])}
    put(tmp_path, files)
    assert found(tmp_path) == (sorted(files), {})
    nested = Dataset(name="d", paths=(str(tmp_path),), columns=Columns(text="body.text"))
    with pytest.raises(RecipeError, match=r"one JSON value without the column 'body.text'.*0.json"):
        discover(nested)


def test_tables_that_are_the_data_stay_even_if_one_lacks_the_text(tmp_path: Path) -> None:
    put(tmp_path, {"a.csv": b"text,id\nx,1\n", "b.csv": b"id\n1\n", "c.jsonl": b'{"text": "x"}\n'})
    assert found(tmp_path)[0] == ["a.csv", "b.csv", "c.jsonl"]  # b.csv is an error when it is read


def test_format_filters_and_says_so(tmp_path: Path) -> None:
    put(tmp_path, {"a.parquet": archives.made(ROWS, "parquet"), "b.jsonl": b'{"text": "x"}\n', "c.csv": b"text\nx\n"})
    assert found(tmp_path, format="parquet") == (
        ["a.parquet"],
        {"format is csv, the recipe reads parquet": 1, "format is jsonl, the recipe reads parquet": 1},
    )
    with pytest.raises(RecipeError, match=r"no data file of format warc: 1 passed over: format is csv"):
        found(tmp_path, format="warc")
