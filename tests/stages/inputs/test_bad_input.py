"""Bad files among good ones: a clear error with on_error: stop, a counted quarantine otherwise, nothing else lost."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cluster.errors import ShardError
from pipelines.recipe.recipe import load_data
from pipelines.run import runner

GOOD = [{"text": f"good document number {i} with some words", "id": f"g{i}"} for i in range(20)]


def write_good(folder: Path) -> None:
    folder.mkdir()
    pq.write_table(pa.Table.from_pylist(GOOD), folder / "good.parquet")


def truncated(folder: Path) -> None:
    whole = folder / "bad.parquet"
    pq.write_table(pa.Table.from_pylist(GOOD), whole)
    whole.write_bytes(whole.read_bytes()[:-50])


def wrong_column(folder: Path) -> None:
    pq.write_table(pa.table({"body": ["text under another name"], "id": ["b"]}), folder / "bad.parquet")


def wrong_type(folder: Path) -> None:
    pq.write_table(pa.table({"text": [1, 2, 3], "id": ["b1", "b2", "b3"]}), folder / "bad.parquet")


def bad_lines(folder: Path) -> None:
    lines = [json.dumps({"text": "a line that is fine", "id": "l0"}), "{not json", json.dumps({"text": 5, "id": "l2"})]
    (folder / "bad.jsonl").write_text("\n".join(lines) + "\n")


def cut_gzip(folder: Path) -> None:
    import gzip

    data = gzip.compress("".join(json.dumps(row) + "\n" for row in GOOD * 50).encode())
    (folder / "bad.jsonl.gz").write_bytes(data[: len(data) // 2])


def invalid_utf8(folder: Path) -> None:
    (folder / "bad.jsonl").write_bytes(b'{"text": "caf\xe9 in latin-1", "id": "u0"}\n')


BAD = {f.__name__: f for f in (truncated, wrong_column, wrong_type, bad_lines, cut_gzip, invalid_utf8)}


def run(folder: Path, root: Path, on_error: str) -> list[dict[str, Any]]:
    data = {
        "datasets": {"d": {"paths": str(folder), "columns": {"id": "id"}}},
        "stages": [{"use": "minhash"}, {"use": "near_dedup", "jaccard_threshold": 0.99}],
        "on_error": on_error,
        "max_quarantined": 0.6,  # the bad file is half of the data
        "cluster": {"kind": "inline"},
    }
    runner.run(load_data(data, "test"), str(root), with_report=False)
    rows: list[dict[str, Any]] = []
    for file in sorted((root / "ledger").glob("*.parquet")):
        rows += pq.read_table(file).to_pylist()
    return rows


@pytest.mark.parametrize("bad", BAD.values(), ids=BAD)
def test_a_bad_file_stops_the_run_and_is_named(tmp_path: Path, bad: Any) -> None:
    write_good(tmp_path / "in")
    bad(tmp_path / "in")
    with pytest.raises(ShardError, match=r"bad\.") as error:
        run(tmp_path / "in", tmp_path / "run", "stop")
    assert "quarantine" in str(error.value)


@pytest.mark.parametrize("bad", BAD.values(), ids=BAD)
def test_a_bad_file_is_quarantined_and_costs_nothing_else(tmp_path: Path, bad: Any) -> None:
    write_good(tmp_path / "in")
    bad(tmp_path / "in")
    rows = run(tmp_path / "in", tmp_path / "run", "quarantine")
    kept = {row["id"] for row in rows if row["kept"]}
    assert {g["id"] for g in GOOD} <= kept
    lost = [r for r in rows if not r["kept"]]
    assert all(r["stage"] == "read" for r in lost if r["id"] not in {g["id"] for g in GOOD})
    files = (tmp_path / "run" / "quarantine").iterdir()
    reports = [json.loads(line) for file in files for line in file.read_text().splitlines()]
    assert reports
    assert all("bad." in report["path"] and report["error"] for report in reports)


def test_nulls_blanks_empty_files_and_a_huge_document_are_counted(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    write_good(folder)
    texts = [None, "", " \n\t ", "x" * 5_000_000, "an ordinary text"]
    pq.write_table(pa.table({"text": texts, "id": [f"n{i}" for i in range(5)]}), folder / "odd.parquet")
    pq.write_table(
        pa.table({"text": pa.array([], pa.string()), "id": pa.array([], pa.string())}), folder / "none.parquet"
    )
    (folder / "empty.jsonl").write_bytes(b"")
    rows = {row["id"]: row for row in run(folder, tmp_path / "run", "stop")}
    assert [rows[f"n{i}"]["reason"] for i in range(5)] == ["null_text", "empty", "white_space", None, None]
    assert sum(row["kept"] for row in rows.values()) == len(GOOD) + 2
    mix = pq.read_table(next((tmp_path / "run" / "mix" / "d").glob("part-*.parquet")))
    assert max(map(len, mix.column("text").to_pylist())) == 5_000_000
