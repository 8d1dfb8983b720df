"""Commands that look at a run folder: status, facts, explain, report."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow.parquet as pq

from tests.support.command_line import Winnow
from tests.support.small_runs import read_ledger


def test_status_tells_what_is_done(winnow: Winnow, made: Path) -> None:
    code, out, _ = winnow("status", str(made / "run"), "--json")
    found = json.loads(out)
    assert code == 0
    assert found["documents"] == 150
    assert all(entry["done"] == entry["of"] for entry in found["stages"])
    assert "near_dedup" in winnow("status", str(made / "run"))[1]


def test_facts_are_exported_with_doc_ids(winnow: Winnow, made: Path, tmp_path: Path) -> None:
    out = tmp_path / "q.parquet"
    code, said, _ = winnow("facts", str(made / "run"), "quality", "-o", str(out))
    table = pq.read_table(out)
    assert code == 0
    assert said.startswith(f"{table.num_rows:,} rows")
    assert table.column_names[:3] == ["doc_id", "row", "quality_score"]


def test_explain_names_stage_and_winner_of_a_dropped_document(winnow: Winnow, made: Path) -> None:
    lost = next(row for row in read_ledger(made / "run").to_pylist() if row["stage"] == "near_dedup")
    code, out, _ = winnow("explain", str(made / "run"), "--id", lost["id"], "--json")
    assert code == 0
    [found] = [d for d in json.loads(out)["documents"] if d["doc_id"] == lost["doc_id"]]
    assert "near_dedup" in found["verdict"]
    assert str(lost["representative"]) in found["verdict"]
    assert "near_dedup" in winnow("explain", str(made / "run"), "--doc-id", str(lost["doc_id"]))[1]


def test_report_is_written_anew(winnow: Winnow, made: Path) -> None:
    path = made / "run" / "report.html"
    path.unlink()
    assert winnow("report", str(made / "run")) == (0, f"{path}\n", "")
    assert path.exists()
