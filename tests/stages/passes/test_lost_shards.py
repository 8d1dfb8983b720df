"""A shard that no worker survives stops the run or goes to quarantine alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cluster.errors import LostTaskError
from pipelines.recipe.recipe import load_data
from pipelines.run import runner
from tests.support.dask_processes import DaskProcesses


def write(folder: Path) -> None:
    """Write three small files, which one task reads."""
    folder.mkdir()
    texts = {"a": ["one good document"] * 3, "b": ["before", "this one is deadly", "after"], "c": ["a last document"]}
    for name, documents in texts.items():
        lines = [json.dumps({"text": f"{text} {n}", "id": f"{name}{n}"}) for n, text in enumerate(documents)]
        (folder / f"{name}.jsonl").write_text("\n".join(lines) + "\n")


def decide(folder: Path, cluster: dict[str, Any], on_error: str) -> list[dict[str, Any]]:
    data = {
        "datasets": {"d": {"paths": str(folder / "in"), "columns": {"id": "id"}}},
        "stages": [{"use": "quality", "model": "python:tests.support.judges:deadly"}, {"use": "exact_dedup"}],
        "on_error": on_error,
        "cluster": cluster,
    }
    runner.run(load_data(data, "test"), str(folder / "run"), with_report=False)
    files = sorted((folder / "run" / "ledger").glob("*.parquet"))
    rows: list[dict[str, Any]] = pa.concat_tables([pq.read_table(file) for file in files]).to_pylist()
    return rows


def test_only_the_shard_that_no_worker_survives_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES", "0")
    write(tmp_path / "in")
    with DaskProcesses(tmp_path / "dask") as processes:
        cluster = processes.options()
        with pytest.raises(LostTaskError):
            decide(tmp_path, cluster, "stop")
        assert not (tmp_path / "run" / "quarantine").exists()
        rows = decide(tmp_path, cluster, "quarantine")
    assert {row["id"] for row in rows if row["kept"]} == {"a0", "a1", "a2", "c0"}
    lost = [row for row in rows if not row["kept"]]
    assert [(row["stage"], row["reason"], row["row"]) for row in lost] == [("read", "unreadable", n) for n in range(3)]
    assert all(row["path"].endswith("b.jsonl") for row in lost)
    [report] = [json.loads(f.read_text()) for f in (tmp_path / "run" / "quarantine").iterdir()]
    assert report["path"].endswith("b.jsonl")
    assert "rows 0 to 2 are given up" in report["error"]
    again = decide(tmp_path, {"kind": "inline"}, "quarantine")  # which no longer meets it
    assert again == rows
