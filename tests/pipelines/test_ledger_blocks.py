"""What is counted in ledger files is kept, and counted again only of files that were written again."""

from __future__ import annotations

import json
import random
import shutil
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from cluster.files.sealed import read_json, write_json
from pipelines import ledger_blocks, ledger_records, runfolder
from pipelines.mix.card import write_card
from pipelines.report.ledger_sums import COLUMNS, GROUP_COLUMNS
from pipelines.report.report import write_report
from pipelines.run import runner
from stages.outcome.ledger import LedgerFile
from tests.support import corpora
from tests.support.small_runs import recipe_of

STAGES: list[dict[str, Any]] = [
    {"use": "exact_dedup"},
    {"use": "minhash", "shingle_width": 8},
    {"use": "near_dedup", "jaccard_threshold": 0.6, "bands": 32, "rows_per_band": 3},
]


def add(base: Path, name: str, seed: int, dataset: str = "a") -> None:
    folder = base / "in" / dataset
    folder.mkdir(parents=True, exist_ok=True)
    texts = [corpora.text(random.Random(f"{(seed * row) % 17}"), 30) for row in range(24)]
    rows: list[corpora.Document] = [
        {"text": text, "id": f"{name}-{row}", "url": None, "score": 0.5} for row, text in enumerate(texts)
    ]
    corpora.write_file(folder / name, rows)


@pytest.fixture
def finished(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run of four shards, each a block of its own."""
    monkeypatch.setattr(ledger_blocks, "BATCH_FILES", 1)
    for number in range(4):
        add(tmp_path, f"{number}.parquet", number + 1)
    run(tmp_path, "run")
    return tmp_path


def run(base: Path, name: str) -> None:
    paths = {folder.name: str(folder) for folder in sorted((base / "in").iterdir())}
    runner.run(recipe_of(paths, STAGES), str(base / name))


def opened(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Note the ordinals of the ledger files that are read whole."""
    noted: list[int] = []
    real = runfolder.ledger_tables

    def note(path: str, shard: Any, columns: Any) -> Any:
        noted.append(shard["ordinal"])
        return real(path, shard, columns)

    monkeypatch.setattr(runfolder, "ledger_tables", note)
    return noted


def report_of(root: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((root / "report.json").read_text())
    return {key: value for key, value in found.items() if key not in ("timings", "recipe")}


def test_a_second_report_reads_no_ledger_file_whole(finished: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before, noted = report_of(finished / "run"), opened(monkeypatch)
    write_report(str(finished / "run"))
    write_card(str(finished / "run"))
    assert noted == []
    assert report_of(finished / "run") == before


def told(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Note the names of the ledger files that are read whole to compare them with their list."""
    noted: list[str] = []
    real = ledger_records._is_that

    def note(root: str, file: LedgerFile) -> bool:
        noted.append(file.path)
        return real(root, file)

    monkeypatch.setattr(ledger_records, "_is_that", note)
    return noted


def test_a_ledger_file_is_compared_with_its_list_once_for_all_that_is_counted(
    finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names, noted = sorted(path.name for path in (finished / "run" / "ledger").glob("*.parquet")), told(monkeypatch)
    run(finished, "new")
    assert sorted(noted) == names
    for path in (finished / "new" / ledger_blocks.COUNTS).glob("sums-*"):
        path.unlink()
    (finished / "new" / "ledger" / names[1]).touch()
    write_report(str(finished / "new"))
    assert sorted(noted) == sorted([*names, names[1]])
    assert report_of(finished / "new") == report_of(finished / "run")


def test_an_added_shard_is_counted_and_the_report_is_that_of_a_new_folder(
    finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(finished, "9.parquet", 100)
    root = finished / "run"
    before = {path.name: path.stat().st_mtime_ns for path in (root / "ledger").iterdir()}
    noted = opened(monkeypatch)
    run(finished, "run")
    changed = {p.name for p in (root / "ledger").iterdir() if before.get(p.name) != p.stat().st_mtime_ns}
    assert {f"{ordinal}.parquet" for ordinal in noted} == changed
    run(finished, "new")
    assert report_of(root) == report_of(finished / "new")
    assert (root / "mix" / "README.md").read_bytes() == (finished / "new" / "mix" / "README.md").read_bytes()


def test_a_file_that_was_written_again_is_counted_again(finished: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    noted = opened(monkeypatch)
    path = finished / "run" / "ledger" / "2.parquet"
    path.write_bytes(path.read_bytes())
    write_report(str(finished / "run"))
    assert set(noted) == set()  # its bytes are those that the ledger lists
    pq.write_table(pq.read_table(path), path)
    write_report(str(finished / "run"))
    assert set(noted) == {2}


def test_of_a_file_of_which_only_groups_change_nothing_else_is_read(
    finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A copy of a document of another dataset is dropped: nothing but that document's group is another."""
    add(finished, "0.parquet", 1, "b")
    asked: list[tuple[int, tuple[str, ...]]] = []
    real = runfolder.ledger_tables

    def note(path: str, shard: Any, columns: Any) -> Any:
        asked.append((shard["ordinal"], tuple(columns)))
        return real(path, shard, columns)

    monkeypatch.setattr(runfolder, "ledger_tables", note)
    run(finished, "run")
    columns = {ordinal: {c for o, c in asked if o == ordinal} for ordinal, _ in asked}
    assert {ordinal for ordinal in columns if tuple(COLUMNS) in columns[ordinal]} == {4}
    changed = {ordinal for ordinal in columns if tuple(GROUP_COLUMNS) in columns[ordinal]}
    assert changed > {4}
    members = "doc_id", "survivor", "kept"  # of the largest groups, which are others now
    assert all(columns[ordinal] <= {tuple(GROUP_COLUMNS), members} for ordinal in changed - {4})
    run(finished, "new")
    assert report_of(finished / "run") == report_of(finished / "new")


@pytest.mark.parametrize("how", ["gone", "cut", "of another form", "none may be kept"])
def test_without_what_is_kept_all_is_counted(finished: Path, monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    before, noted = report_of(finished / "run"), opened(monkeypatch)
    folder = finished / "run" / ledger_blocks.COUNTS
    files = sorted(folder.iterdir())
    assert len(files) == 5  # sums, groups, members, documents, and what columns are made from
    if how == "gone":
        shutil.rmtree(folder)
    elif how == "none may be kept":
        shutil.rmtree(finished / "run" / "exchange")
    for path in files if how == "cut" else ():
        path.write_bytes(path.read_bytes()[:-9])
    for path in files if how == "of another form" else ():
        write_json(str(path), {mark: {"datasets": 1, "numbers": [1]} for mark in read_json(str(path))})
    write_report(str(finished / "run"))
    write_card(str(finished / "run"))
    assert set(noted) == {0, 1, 2, 3}
    assert report_of(finished / "run") == before
    assert (finished / "run" / "exchange").exists() == (how != "none may be kept")


def test_sums_that_contradict_themselves_are_not_kept(finished: Path) -> None:
    path = finished / "run" / "ledger" / "1.parquet"
    table = pq.read_table(path)
    wrong = table.set_column(table.schema.get_field_index("kept"), "kept", [[True] * table.num_rows])
    pq.write_table(wrong, path)
    for _ in range(2):
        with pytest.raises(Exception, match="contradicts itself"):
            write_report(str(finished / "run"))
