"""Every kind of run gets a report, a page and a card."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pipelines.recipe.recipe import load_data
from pipelines.run import runner
from tests.support import corpora, run_folders


def test_a_run_without_similarities_is_reported(tmp_path: Path) -> None:
    near = {"use": "near_dedup", "verify": "none", "mode": "component", "bands": 32, "rows_per_band": 4}
    stages = [{"use": "minhash", "shingle_width": 8}, near]
    folder = run_folders.make(tmp_path, stages=stages, mix={})
    found = json.loads((folder / "report.json").read_text())
    (entry,) = found["dedup"]
    dropped = sum(r["stage"] == "near_dedup" for r in run_folders.ledger(folder))
    assert sum(entry["dropped"]) + entry["without_similarity"] == dropped > 0


@pytest.mark.parametrize(
    "more",
    [
        {"output": {"repeat": True, "holdout": 0.1}},
        {"output": {"format": "jsonl.zst", "shuffle": "shard"}},
        {"mix": {"mode": "all_with_weights"}},
        {"stages": []},
        {"stages": [{"use": "quality", "model": "column:score"}]},
        {"stages": [{"use": "quality", "name": "x", "model": "column:score", "max_score": 0.5, "datasets": ["b"]}]},
    ],
    ids=str,
)
def test_every_kind_of_run_gets_a_page_and_a_card(tmp_path: Path, more: dict[str, Any]) -> None:
    folder = run_folders.make(tmp_path, **more)
    found = json.loads((folder / "report.json").read_text())
    rows = run_folders.ledger(folder)
    assert found["total"]["kept"] == run_folders.amount([r for r in rows if r["kept"]])
    assert found["mix"]["tokens"] == sum(r["copies"] * r["num_tokens"] for r in rows)
    assert "</html>" in (folder / "report.html").read_text()
    assert "## Counts" in (folder / "mix" / "README.md").read_text()


def test_reference_data_and_empty_datasets_are_shown(tmp_path: Path) -> None:
    columns = {"text": "text", "id": "id", "url": "url"}
    datasets: dict[str, Any] = {}
    for name, count in (("a", 40), ("b", 1), ("ref", 20)):
        rows = [
            {"text": f"text {i} {name if i % 2 else ''}", "id": str(i), "url": None, "score": 1.0} for i in range(count)
        ]
        rows = rows if name != "b" else [{"text": None, "id": None, "url": None, "score": None}]
        (tmp_path / name).mkdir()
        corpora.write_file(tmp_path / name / "x.parquet", rows)
        datasets[name] = {"paths": str(tmp_path / name), "columns": columns}
    datasets["ref"]["role"] = "reference"
    data = {"name": "t", "datasets": datasets, "stages": [{"use": "exact_dedup"}], "cluster": {"kind": "inline"}}
    runner.run(load_data(data, "test"), str(tmp_path / "run"))
    found = json.loads((tmp_path / "run" / "report.json").read_text())
    assert found["funnel"]["b"]["kept"] == {"documents": 0, "tokens": 0}
    assert found["funnel"]["ref"]["mix"]["documents"] == 0
    assert found["overlap"]["all"]["documents"][0][2] == 10
    head = (tmp_path / "run" / "mix" / "README.md").read_text()
    assert "config_name: ref" not in head
    assert "compared against, not included" in head
