"""Discovery: the same shards whatever the paths are called, and a fingerprint that notices changes."""

from __future__ import annotations

import os
from pathlib import Path

import fsspec
import pytest

from cluster.errors import RecipeError
from stages.core.shard import Dataset
from stages.inputs.files import file_versions
from stages.inputs.files.discover import find_shards, shard_format
from stages.inputs.files.file_versions import fingerprint, stat_token
from stages.inputs.presets import PRESETS, preset

FILES = (
    "b/x.parquet",
    "a/y.jsonl",
    "a/z.json.gz",
    "w.jsonl.zst",
    "notes.txt",
    "_SUCCESS",
    ".hidden/h.parquet",
)
DATA = ["a/y.jsonl", "a/z.json.gz", "b/x.parquet", "w.jsonl.zst"]


@pytest.fixture(params=["local", "memory"])
def root(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    folder = str(tmp_path / "data") if request.param == "local" else f"memory://{tmp_path.name}/data"
    for name in FILES:
        with fsspec.open(f"{folder}/{name}", "wb", auto_mkdir=True) as file:
            file.write(name.encode())
    return folder


def within(*paths: str, kind: str = "auto") -> list[str]:
    return [f.relative_path for f in find_shards(Dataset(name="d", paths=paths, format=kind))]


def test_a_folder_gives_its_data_files_sorted_and_skips_the_rest(root: str) -> None:
    found = find_shards(Dataset(name="d", paths=(root,)))
    assert [f.relative_path for f in found] == DATA
    assert [f.format for f in found] == ["jsonl", "jsonl.gz", "parquet", "jsonl.zst"]
    assert [f.bytes for f in found] == [len(name) for name in DATA]
    assert [f.staged for f in found] == [False, True, False, True]


def test_a_file_and_a_glob_are_paths_too(root: str) -> None:
    assert within(f"{root}/b/x.parquet") == ["x.parquet"]
    assert within(f"{root}/*/*.parquet") == ["b/x.parquet"]
    assert within(f"{root}/**/*.json*") == ["a/y.jsonl", "a/z.json.gz", "w.jsonl.zst"]


def test_paths_that_overlap_or_come_in_another_order_give_the_same(root: str) -> None:
    paths = (root, f"{root}/a", f"{root}/a/y.jsonl")
    assert within(*paths) == within(*reversed(paths)) == DATA


def test_equal_names_in_two_folders_stay_apart(tmp_path: Path) -> None:
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "x.jsonl").write_text("{}")
    paths = [str(tmp_path / "one"), str(tmp_path / "two")]
    assert within(*paths) == within(*reversed(paths)) == ["one/x.jsonl", "two/x.jsonl"]


def test_moving_the_folder_changes_no_name_within(tmp_path: Path) -> None:
    (tmp_path / "old" / "sub").mkdir(parents=True)
    (tmp_path / "old" / "sub" / "x.jsonl").write_text("{}")
    before = within(str(tmp_path / "old"))
    os.rename(tmp_path / "old", tmp_path / "new")
    assert within(str(tmp_path / "new") + "/") == before == ["sub/x.jsonl"]


def test_a_name_with_brackets_is_no_pattern(tmp_path: Path) -> None:
    (tmp_path / "a[1].jsonl").write_text("{}")
    assert within(str(tmp_path / "a[1].jsonl")) == ["a[1].jsonl"]


def test_the_recipe_may_name_the_format_of_files_with_other_names(tmp_path: Path) -> None:
    (tmp_path / "part-0").write_text("{}")
    (tmp_path / "part-1.gz").write_bytes(b"")
    with pytest.raises(RecipeError, match="no data file"):
        within(f"{tmp_path}/part-*")
    found = find_shards(Dataset(name="d", paths=(f"{tmp_path}/part-*",), format="jsonl"))
    assert [f.format for f in found] == ["jsonl", "jsonl.gz"]


@pytest.mark.parametrize("path", ["nowhere", "none-*.parquet", "empty"])
def test_a_path_without_data_is_an_error_that_names_it(tmp_path: Path, path: str) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(RecipeError, match=r"dataset d.*" + path.replace("*", r"\*")):
        within(f"{tmp_path}/{path}")


def test_an_unknown_format_and_no_paths_are_errors() -> None:
    with pytest.raises(RecipeError, match="'xml'"):
        within("x", kind="xml")
    with pytest.raises(RecipeError, match="no paths"):
        within()


def test_the_format_goes_by_the_name() -> None:
    cases = {"a.PARQUET": "parquet", "a.json.gz": "jsonl.gz", "a.jsonl.zst": "jsonl.zst", "a.txt": None}
    assert {name: shard_format(name) for name in cases} == cases


def test_the_fingerprint_sees_every_byte_of_a_small_file(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"a" * 1000)
    first = fingerprint(str(path), 1000)
    assert len(first) == 32
    assert first == fingerprint(f"file://{path}", 1000)
    path.write_bytes(b"a" * 999 + b"b")
    assert fingerprint(str(path), 1000) != first


def test_the_fingerprint_of_a_large_file_sees_ends_and_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file_versions, "WHOLE_BYTES", 1000)
    monkeypatch.setattr(file_versions, "SAMPLE_BYTES", 10)
    path = tmp_path / "x"
    marks = set()
    for data in (b"a" * 5000, b"a" * 5001, b"b" + b"a" * 4999, b"a" * 4999 + b"b"):
        path.write_bytes(data)
        marks.add(fingerprint(str(path), len(data)))
    assert len(marks) == 4


def test_the_stat_token_changes_when_a_file_is_written_again(root: str, tmp_path: Path) -> None:
    path = f"{root}/a/y.jsonl"
    before = stat_token(path)
    assert stat_token(path) == before
    with fsspec.open(path, "wb") as file:
        file.write(b"another content")
    assert stat_token(path) != before


def test_presets_know_their_files_and_unknown_names_are_errors() -> None:
    assert PRESETS["dclm"].expects("global-shard_01_of_10/local-shard_0_of_10/shard_00000000_processed.jsonl.zst")
    assert PRESETS["fineweb-edu"].expects("data/CC-MAIN-2020-05/train-00000-of-00002.parquet")
    assert PRESETS["dolma"].expects("cc_en_head-0000.json.gz")
    assert PRESETS["zyda1"].expects("data/zyda_no_starcoder/zyda_c4-en/train-00000-of-00001.parquet")
    assert not PRESETS["dolma"].expects("books-0000.json.gz")
    assert preset("zyda1").columns.url == "source_other.url"
    with pytest.raises(RecipeError, match=r"dclm, dolma.*'dlcm'.*web\.yaml"):
        preset("dlcm", "web.yaml")


def test_a_link_back_to_its_own_folder_is_entered_once(tmp_path: Path) -> None:
    (tmp_path / "data" / "a").mkdir(parents=True)
    (tmp_path / "data" / "a" / "x.parquet").write_bytes(b"x")
    (tmp_path / "data" / "a" / "loop").symlink_to(tmp_path / "data")
    (tmp_path / "data" / "again").symlink_to(".")
    assert within(str(tmp_path / "data")) == ["a/x.parquet"]


def test_a_link_to_nothing_is_named(tmp_path: Path) -> None:
    (tmp_path / "x.parquet").write_bytes(b"x")
    (tmp_path / "y.parquet").symlink_to(tmp_path / "gone.parquet")
    (tmp_path / "notes.txt").symlink_to(tmp_path / "gone.txt")
    for path in (str(tmp_path), f"{tmp_path}/*.parquet"):
        with pytest.raises(RecipeError, match=r"y\.parquet is a link to nothing.* remove the link"):
            within(path)
