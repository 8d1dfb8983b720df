"""What may happen to a run folder and its inputs between two runs: limits lifted, datasets gone, sidecars deleted."""

from __future__ import annotations

import errno
import json
import os
import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.errors import RecipeError, ShardError
from pipelines.cli import main
from pipelines.commands.clean import clean_run
from pipelines.mix.job import even_groups
from pipelines.run import runner
from pipelines.run_state import only_one
from stages.core import manifest
from stages.passes import annotate, freeze, lost_shards
from tests.support import corpora
from tests.support.small_runs import mix, read_ledger, recipe_of, run


def write(folder: Path, seed: int, formats: tuple[str, ...] = ("parquet",)) -> dict[str, str]:
    return corpora.write(folder, corpora.corpus(seed, 150), 3, formats)


def limited(root: Path, paths: dict[str, str], limit: int | None, **more: Any) -> pa.Table:
    runner.run(recipe_of(paths), str(root), limit=limit, with_report=False, **more)
    return read_ledger(root)


@pytest.mark.parametrize("formats", [("parquet",), ("jsonl", "jsonl.gz", "jsonl.zst")], ids=str)
def test_lifting_the_limit_equals_a_run_without_one(tmp_path: Path, formats: tuple[str, ...]) -> None:
    paths = write(tmp_path / "in", 21, formats)
    trial = limited(tmp_path / "run", paths, 20)
    assert {name: trial["dataset"].to_pylist().count(name) for name in "abc"} == {"a": 20, "b": 20, "c": 20}
    whole = limited(tmp_path / "run", paths, None)
    assert whole.num_rows == 150
    limited(tmp_path / "new", paths, None)
    assert mix(tmp_path / "run") == mix(tmp_path / "new")


def test_lifting_the_limit_keeps_the_facts_of_whole_files(tmp_path: Path) -> None:
    paths = write(tmp_path / "in", 22)
    limited(tmp_path / "run", paths, 10_000)
    before = manifest.read_manifest(str(tmp_path / "run"))
    limited(tmp_path / "run", paths, None)
    assert manifest.read_manifest(str(tmp_path / "run")) == before


def test_another_limit_is_refused_with_what_to_do(tmp_path: Path) -> None:
    paths = write(tmp_path / "in", 23)
    limited(tmp_path / "run", paths, 20)
    with pytest.raises(RecipeError, match=r"made with --limit 20, now it is 30\. Use another --run-dir; leave"):
        limited(tmp_path / "run", paths, 30)


def test_a_dataset_added_to_a_limited_run_is_taken_in_up_to_the_limit(tmp_path: Path) -> None:
    paths = write(tmp_path / "in", 24)
    limited(tmp_path / "run", {k: v for k, v in paths.items() if k != "b"}, 20)
    ledger = limited(tmp_path / "run", paths, 20)
    assert {name: ledger["dataset"].to_pylist().count(name) for name in "abc"} == {"a": 20, "b": 20, "c": 20}


def test_a_dataset_taken_out_of_the_recipe_is_named(tmp_path: Path) -> None:
    paths = write(tmp_path / "in", 25)
    run(tmp_path / "run", paths)
    fewer = {k: v for k, v in paths.items() if k != "b"}
    with pytest.raises(ShardError, match="dataset b is in the manifest but not in the recipe"):
        run(tmp_path / "run", fewer)
    runner.run(recipe_of(fewer), str(tmp_path / "run"), refresh=True, with_report=False)
    run(tmp_path / "new", fewer)
    assert mix(tmp_path / "run") == mix(tmp_path / "new")


def test_a_changed_file_is_noticed_after_a_crash_in_the_middle_of_a_refresh(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = write(tmp_path / "in", 26)
    run(tmp_path / "run", paths)
    changed = sorted((tmp_path / "in" / "a").iterdir())[0]
    corpora.write_file(changed, [{"text": "something else entirely", "id": "new", "url": None, "score": 1.0}])
    written = []

    def crash(*_: object) -> None:
        written.append(1)
        raise KeyboardInterrupt

    for name in ("write_manifest", "_write_tokens"):
        with monkeypatch.context() as patch:
            patch.setattr(manifest if name == "write_manifest" else freeze, name, crash)
            with pytest.raises(KeyboardInterrupt):
                runner.run(recipe_of(paths), str(tmp_path / "run"), refresh=True, with_report=False)
    assert len(written) == 2
    runner.run(recipe_of(paths), str(tmp_path / "run"), refresh=True, with_report=False)
    run(tmp_path / "new", paths)
    assert mix(tmp_path / "run") == mix(tmp_path / "new")


@pytest.mark.parametrize(
    "gone",
    [
        "decisions/exact_dedup/*/0-*.arrow",
        "decisions/near_dedup/*/1-*.arrow",
        "decisions/lineage/*/home/out-0.arrow",
        "decisions/lineage/*/groups/0.arrow",
        "decisions/lineage/*/home",
        "facts/*/*/0-*.arrow",
    ],
)
def test_what_was_deleted_is_made_again(tmp_path: Path, gone: str) -> None:
    paths = write(tmp_path / "in", 27)
    before = run(tmp_path / "run", paths)
    found = list((tmp_path / "run").glob(gone))
    assert found
    for path in found:
        (shutil.rmtree if path.is_dir() else Path.unlink)(path)
    shutil.rmtree(tmp_path / "run" / "ledger")
    assert run(tmp_path / "run", paths).equals(before)


def test_a_dataset_without_a_single_row_runs(tmp_path: Path) -> None:
    (tmp_path / "none").mkdir()
    columns = [("text", pa.string()), ("id", pa.string()), ("url", pa.string()), ("score", pa.float64())]
    pq.write_table(pa.schema(columns).empty_table(), tmp_path / "none" / "part.parquet")
    (tmp_path / "none" / "empty.jsonl").touch()
    paths = {**write(tmp_path / "in", 28), "none": str(tmp_path / "none")}
    ledger = run(tmp_path / "run", paths)
    assert ledger.num_rows == 150
    run(tmp_path / "alone", {"none": str(tmp_path / "none")})
    written = json.loads((tmp_path / "alone" / "mix" / "manifest.json").read_text())
    assert written["datasets"]["none"]["documents"] == 0


@pytest.mark.parametrize("shuffle", ["none", "shard", "global"])
def test_files_of_the_mix_have_about_the_size_asked_for(tmp_path: Path, shuffle: str) -> None:
    paths = write(tmp_path / "in", 29)
    run(tmp_path / "one", paths, output={"shuffle": shuffle})
    run(tmp_path / "many", paths, output={"shuffle": shuffle, "shard_bytes": 2000})
    assert mix(tmp_path / "many") == mix(tmp_path / "one")
    assert len(list(tmp_path.glob("one/mix/a/*.parquet"))) == 1
    assert len(list(tmp_path.glob("many/mix/a/*.parquet"))) > 2
    assert max(pq.read_table(f).nbytes for f in tmp_path.glob("many/mix/a/*.parquet")) < 20_000


@pytest.mark.parametrize("root", ["", "in/a/part-000.parquet"])
def test_a_run_folder_that_cannot_be_is_refused(tmp_path: Path, root: str) -> None:
    paths = write(tmp_path / "in", 30)
    with pytest.raises(RecipeError, match=r"run folder '.*' cannot be written .*another --run-dir"):
        runner.run(recipe_of(paths), root and str(tmp_path / root), with_report=False)


def test_nothing_is_cleaned_under_a_running_winnow(tmp_path: Path) -> None:
    paths = write(tmp_path / "in", 31)
    run(tmp_path / "run", paths)
    root = str(tmp_path / "run")
    with only_one(root):
        assert clean_run(root, dry_run=True) == [f"{root}/exchange"]
        with pytest.raises(RecipeError, match="in use by another winnow"):
            clean_run(root)
    assert clean_run(root) == [f"{root}/exchange"]
    assert clean_run(root) == []


@pytest.mark.parametrize("formats", [("parquet",), ("jsonl",)], ids=str)
def test_a_file_cut_short_after_the_freeze_is_no_unreadable_input(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, formats: tuple[str, ...]
) -> None:
    paths = write(tmp_path / "in", 32, formats)
    file = sorted((tmp_path / "in" / "a").iterdir())[0]
    whole = file.read_bytes()

    def cut_then_annotate(*given: Any, **more: Any) -> dict[str, int]:
        file.write_bytes(whole[: len(whole) // 2])
        return annotate.annotate(*given, **more)

    with monkeypatch.context() as patch:
        patch.setattr(lost_shards, "annotate", cut_then_annotate)
        with pytest.raises(ShardError, match=r"changed during the run: it had .* run again with --refresh"):
            run(tmp_path / "run", paths, on_error="quarantine")
    file.write_bytes(whole)
    after = run(tmp_path / "run", paths, on_error="quarantine")
    assert after.equals(run(tmp_path / "new", paths, on_error="quarantine"))


@pytest.mark.parametrize("kind", ["parquet", "jsonl", "jsonl.zst"])
def test_a_column_that_the_first_file_lacks_is_passed_through(tmp_path: Path, kind: str) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    rows: list[dict[str, Any]] = [{"text": "first"}, {"text": "second", "date": "2020"}, {"text": "third", "more": 7}]
    for n, row in enumerate(rows):
        if kind == "parquet":
            pq.write_table(pa.Table.from_pylist([row]), folder / f"{n}.parquet")
        else:
            corpora.write_file(folder / f"{n}.{kind}", [row])
    data = {"d": {"paths": str(folder)}}
    run(tmp_path / "run", {}, [], datasets=data, output={"columns": ["more", "date"]})
    found = pq.read_table(tmp_path / "run" / "mix" / "d").select(["text", "more", "date"]).to_pylist()
    assert sorted(map(tuple, (row.values() for row in found)), key=str) == [
        ("first", None, None),
        ("second", None, "2020"),
        ("third", 7, None),
    ]


def test_a_column_that_no_dataset_has_stops_the_run_at_once(tmp_path: Path) -> None:
    paths = write(tmp_path / "in", 33)
    with pytest.raises(RecipeError, match=r"output\.columns: no dataset has scroe "):
        run(tmp_path / "run", paths, output={"columns": ["score", "scroe"]})
    assert not list((tmp_path / "run" / "facts").glob("read"))


def test_a_full_disk_is_told_with_what_to_do_and_the_run_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = write(tmp_path / "in", 34)
    (tmp_path / "r.yaml").write_text(recipe_of(paths).to_yaml())
    command = ["run", str(tmp_path / "r.yaml"), "-r", str(tmp_path / "run"), "--quiet"]

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(manifest, "write_manifest", full)
        assert main.main(command) == 1
    assert "make room; what is finished stays" in capsys.readouterr().err
    assert main.main(command) == 0


@given(st.lists(st.integers(1, 1000), min_size=1, max_size=60), st.integers(1, 20_000))
def test_files_of_a_mix_share_its_bundles_evenly_and_in_order(weights: list[int], limit: int) -> None:
    groups = even_groups(weights, limit)
    assert [position for group in groups for position in group] == list(range(len(weights)))
    total, count = sum(weights), -(-sum(weights) // limit)
    assert len(groups) <= count
    for group in groups:
        assert abs(sum(weights[i] for i in group) - total / count) <= max(weights)
