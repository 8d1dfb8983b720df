"""The contract check: finds what would stop a run, on a few shards, without an exception."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from stages.core.shard import Columns, Dataset
from stages.inputs import check as contract
from stages.inputs import jsonl
from stages.inputs.check import check_dataset
from stages.inputs.check_report import DatasetCheck

COLUMNS = Columns(text="text", id="id", url="meta.url")


def documents(count: int = 40) -> list[dict[str, Any]]:
    return [{"text": "x" * (i + 1), "id": f"d{i}", "meta": {"url": f"u{i}"}} for i in range(count)]


def parquet(folder: Path, name: str, rows: list[dict[str, Any]]) -> None:
    pq.write_table(pa.Table.from_pylist(rows), folder / name, row_group_size=10)


def lines(folder: Path, name: str, rows: list[Any]) -> None:
    data = b"".join(json.dumps(row).encode() + b"\n" for row in rows)
    (folder / name).write_bytes(gzip.compress(data, mtime=0) if name.endswith(".gz") else data)


def check(folder: Path, columns: Columns = COLUMNS, **more: Any) -> DatasetCheck:
    report = check_dataset(Dataset(name="d", paths=(str(folder),), columns=columns), **more)
    json.dumps(report.to_json())
    return report


@pytest.mark.parametrize("name", ["a.parquet", "a.jsonl", "a.json.gz"])
def test_good_data_have_a_profile_and_no_findings(tmp_path: Path, name: str) -> None:
    (parquet if name.endswith("parquet") else lines)(tmp_path, name, documents())
    report = check(tmp_path, sample_rows=40, identify=lambda texts: ["en"] * len(texts))
    assert report.ok
    assert report.warnings == []
    assert (report.shards, report.looked_at) == (1, [name])
    assert report.statuses == {"ok": 1.0}
    assert report.ids_sampled == report.sampled_rows > 0
    assert (report.ids_repeated, report.ids_null) == (0, 0)
    assert report.languages == {"en": 1.0}
    assert report.lengths["p0"] <= report.lengths["p50"] <= report.lengths["p100"] <= 40
    assert {m.role: m.path for m in report.mapped} == {"text": "text", "id": "id", "url": "meta.url"}
    assert all(m.type for m in report.mapped)
    assert {"text", "id", "meta"} <= set(report.columns)


def test_rows_are_estimated_from_the_footers(tmp_path: Path) -> None:
    for number in range(3):
        parquet(tmp_path, f"{number}.parquet", documents())
    assert check(tmp_path).rows_estimate == 120


def test_first_and_last_shard_are_always_looked_at_and_the_seed_decides_the_rest(tmp_path: Path) -> None:
    for number in range(12):
        lines(tmp_path, f"{number:02}.jsonl", documents(2))
    first, again, other = (check(tmp_path, max_shards=4, seed=seed) for seed in (1, 1, 2))
    assert first.to_json() == again.to_json()
    assert len(first.looked_at) == 4
    for report in (first, other):
        assert {"00.jsonl", "11.jsonl"} <= set(report.looked_at)


@pytest.mark.parametrize("name", ["a.parquet", "a.jsonl", "a.json.gz"])
def test_a_wrong_column_is_a_problem_that_names_those_that_exist(tmp_path: Path, name: str) -> None:
    (parquet if name.endswith("parquet") else lines)(tmp_path, name, documents())
    report = check(tmp_path, Columns(text="body"))
    assert not report.ok
    assert any("'body'" in p and "text" in p and "datasets.d.columns.text" in p for p in report.problems)


def test_bad_shards_are_problems_that_name_them(tmp_path: Path) -> None:
    parquet(tmp_path, "a.parquet", documents())
    data = (tmp_path / "a.parquet").read_bytes()
    (tmp_path / "b.parquet").write_bytes(data[: len(data) // 2])
    (tmp_path / "c.jsonl").write_bytes(b'{"text": "good"}\n{"text": "cut\n{"text": 3}\n')
    (tmp_path / "d.json.gz").write_bytes(gzip.compress(b'{"text": "good"}\n' * 1000)[:-12])
    report = check(tmp_path)
    for name, why in (("b.parquet", "footer"), ("c.jsonl, row 1", "JSON"), ("c.jsonl, row 2", "string")):
        assert any(name in p and why in p for p in report.problems), (name, report.problems)
    assert report.statuses["invalid_json"] > 0


def test_a_truncated_stream_is_a_problem_where_the_sample_reaches_its_end(tmp_path: Path) -> None:
    (tmp_path / "d.json.gz").write_bytes(gzip.compress(b'{"text": "good"}\n' * 1000)[:-12])
    report = check(tmp_path, Columns())
    assert any("truncated" in p for p in report.problems)


def test_missing_texts_repeated_ids_and_differing_columns_are_warnings(tmp_path: Path) -> None:
    rows = documents(20)
    for row in rows[:8]:
        row["text"] = None
    rows[10]["id"] = rows[11]["id"]
    rows[12]["id"] = None
    parquet(tmp_path, "a.parquet", rows)
    parquet(tmp_path, "b.parquet", [{"text": "t", "id": 7, "meta": {"url": "u"}, "more": 1}])
    lines(tmp_path, "c.jsonl", [])
    report = check(tmp_path, sample_rows=300, seed=3)
    assert report.ok
    text = " ".join(report.warnings)
    assert "c.jsonl" in text
    assert "'id' is int64" in text


def test_null_texts_and_id_faults_are_counted(tmp_path: Path) -> None:
    rows = documents(20)
    for row in rows[:8]:
        row["text"] = None
    rows[10]["id"] = rows[11]["id"]
    rows[12]["id"] = None
    lines(tmp_path, "a.jsonl", rows)
    report = check(tmp_path, sample_rows=100)
    assert report.ok
    assert report.statuses["null_text"] == pytest.approx(0.4)
    assert (report.ids_sampled, report.ids_repeated, report.ids_null) == (19, 1, 1)
    assert len(report.warnings) == 3


def test_a_long_file_of_lines_is_sampled_in_two_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jsonl, "PARSE_BYTES", 2000)
    lines(tmp_path, "a.jsonl", documents(500))
    report = check(tmp_path, sample_rows=20)
    assert report.ok
    assert 10 < report.sampled_rows <= 20
    assert report.lengths["p100"] > 20


def test_a_path_that_matches_nothing_is_a_problem(tmp_path: Path) -> None:
    report = check(tmp_path / "nowhere")
    assert not report.ok
    assert "nowhere" in report.problems[0]


def test_choose_keeps_all_of_a_few(tmp_path: Path) -> None:
    assert contract.choose([], 8, 0) == []
