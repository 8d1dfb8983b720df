"""The API to read a run folder: complete, ordered, bounded, and loud about what is missing."""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from cluster.errors import LedgerError, RecipeError
from pipelines import run_tables
from pipelines.runfolder import open_run
from tests.support import run_folders


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run_folders.make(tmp_path_factory.mktemp("runfolder"), output={"holdout": 0.1})


def test_the_ledger_comes_in_order_and_whole(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_tables, "BATCH_ROWS", 7)
    tables = list(open_run(str(run)).ledger())
    assert max(t.num_rows for t in tables) <= 7
    rows = [row for t in tables for row in t.to_pylist()]
    assert [r["doc_id"] for r in rows] == [r["doc_id"] for r in run_folders.ledger(run)]
    assert all(len(set(t.column("dataset").to_pylist())) == 1 for t in tables)


def test_one_dataset_and_some_columns_can_be_asked_for(run: Path) -> None:
    tables = list(open_run(str(run)).ledger("b", ["doc_id", "reason"]))
    assert {name for t in tables for name in t.schema.names} == {"doc_id", "reason"}
    expected = [r["doc_id"] for r in run_folders.ledger(run) if r["dataset"] == "b"]
    assert [d for t in tables for d in t.column("doc_id").to_pylist()] == expected
    with pytest.raises(RecipeError, match=r"no dataset is called 'z'.*a, b, c"):
        list(open_run(str(run)).ledger("z"))


def test_a_missing_or_short_ledger_file_is_an_error(run: Path, tmp_path: Path) -> None:
    gone = run_folders.copy(run, tmp_path / "gone")
    (gone / "ledger" / "1.parquet").unlink()
    with pytest.raises(LedgerError, match=r"1\.parquet is missing"):
        list(open_run(str(gone)).ledger())
    short = run_folders.copy(run, tmp_path / "short")
    path = short / "ledger" / "0.parquet"
    pq.write_table(pq.read_table(path).slice(1), path)
    with pytest.raises(LedgerError, match="the manifest says"):
        list(open_run(str(short)).ledger())


def test_counts_are_those_of_the_ledger(run: Path) -> None:
    rows = run_folders.ledger(run)
    for name, counts in open_run(str(run)).counts.items():
        mine = [r for r in rows if r["dataset"] == name]
        assert counts.rows == len(mine)
        assert counts.kept == sum(r["kept"] for r in mine)
        assert counts.in_mix == sum(r["copies"] > 0 for r in mine)
        assert counts.copies == sum(r["copies"] for r in mine)
        assert counts.dropped == Counter((r["stage"], r["reason"]) for r in mine if not r["kept"])


@pytest.mark.parametrize("format", ["parquet", "jsonl.zst"])
def test_the_mix_is_what_the_ledger_kept_without_what_is_held_out(tmp_path: Path, format: str) -> None:
    folder = run_folders.make(tmp_path, output={"holdout": 0.2, "format": format})
    opened = open_run(str(folder))
    got = {row["doc_id"]: row["copies"] for t in opened.mix(columns=["doc_id", "copies"]) for row in t.to_pylist()}
    assert got == {r["doc_id"]: r["copies"] for r in run_folders.ledger(folder) if r["copies"]}
    assert list((folder / "mix").glob("*/holdout-*"))
    (table, *_) = opened.mix("a", ["text", "source"])
    assert set(table.column("source").to_pylist()) == {"a"}


def test_rows_are_found_by_doc_id_and_unknown_ones_left_out(run: Path) -> None:
    rows = {r["doc_id"]: r for r in run_folders.ledger(run)}
    wanted = [*list(rows)[::17], 999, 5 << 40]
    assert open_run(str(run)).rows(wanted) == {d: rows[d] for d in wanted if d in rows}


def test_texts_come_from_the_input_and_else_from_the_mix(tmp_path: Path) -> None:
    run = run_folders.make(tmp_path)
    rows = run_folders.ledger(run)
    docs = [r["doc_id"] for r in rows[::5]]
    found = open_run(str(run)).texts(docs)
    assert list(found) == sorted(docs)
    assert {d: found[d].id for d in docs} == {r["doc_id"]: r["id"] for r in rows[::5]}
    in_mix = [r["doc_id"] for r in rows[::5] if r["copies"]]
    shutil.rmtree(tmp_path / "in")
    again = open_run(str(run)).texts(docs)
    assert sorted(again) == sorted(in_mix)
    assert all(again[d] == found[d] for d in in_mix)


def test_published_files_are_enough_to_read_a_run(run: Path, tmp_path: Path) -> None:
    bare = open_run(str(run_folders.copy(run, tmp_path / "bare", without=("facts", "decisions"))))
    assert bare.counts == open_run(str(run)).counts
    assert [s.name for s in bare.stages] == ["read", "exact_dedup", "minhash", "near_dedup", "quality"]
    assert bare.licence("a") == "odc-by"
    assert bare.manifest.num_rows == 6


def test_a_folder_that_is_no_run_is_named(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"is not a run folder: it has no recipe\.lock\.yaml"):
        open_run(str(tmp_path))


def test_ledger_tables_are_joined_a_bounded_number_at_a_time(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = open_run(str(run))
    whole = pa.concat_tables(opened.ledger("a"))
    monkeypatch.setattr(run_tables, "BATCH_FILES", 1)
    tables = list(opened.ledger("a"))
    assert len(tables) == pc.sum(pc.equal(opened.manifest["dataset"], "a")).as_py() > 1
    assert pa.concat_tables(tables).equals(whole)
