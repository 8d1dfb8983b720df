"""Dropped documents as files: the reasons of the ledger, texts as they would be written, nothing stale."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow.dataset as pads
import pytest

from cluster.errors import RecipeError
from pipelines.commands.clean import clean_run
from pipelines.commands.verify import verify
from tests.support import small_runs

STAGES: list[dict[str, Any]] = [
    {"use": "heuristics", "presets": [], "limits": ["num_words>=3"]},
    {"use": "exact_dedup"},
    {"use": "pii"},
    {"use": "quality", "model": "column:score", "min_score": 0.5},
]


def write(folder: Path) -> dict[str, str]:
    folder.mkdir(parents=True)
    rows = [
        {"id": "short", "text": "a@example.com here", "score": 1.0},
        {"id": "good", "text": "a document of words that stays", "score": 1.0},
        {"id": "copy", "text": "a document of words that stays", "score": 1.0},
        {"id": "low", "text": "write to b@example.com for more", "score": 0.1},
        {"id": "empty", "text": " ", "score": 0.1},
    ]
    for n, row in enumerate(rows):
        (folder / f"{n}.jsonl").write_text(json.dumps({"url": f"http://x.org/{n}", **row}) + "\n")
    return {"web": str(folder)}


def dropped(root: Path) -> dict[str, dict[str, Any]]:
    files = sorted(map(str, root.glob("dropped/*/part-*")))
    return {row["id"]: row for row in pads.dataset(files).to_table().to_pylist()} if files else {}


def test_dropped_documents_are_written_as_the_ledger_says(tmp_path: Path) -> None:
    paths, root = write(tmp_path / "in"), tmp_path / "run"
    ledger = {row["id"]: row for row in small_runs.run(root, paths, STAGES, output={"dropped": True}).to_pylist()}
    found = dropped(root)
    assert set(found) == {"short", "low", *({"good", "copy"} & {k for k, row in ledger.items() if not row["kept"]})}
    for name, row in found.items():
        for column in ("doc_id", "stage", "reason", "value", "threshold"):
            assert row[column] == ledger[name][column]
    assert found["short"]["text"] == "<EMAIL> here"
    assert found["low"]["text"] == "write to <EMAIL> for more"
    assert (found["low"]["source"], found["low"]["url"]) == ("web", "http://x.org/3")
    assert verify(str(root))["faults"] == []


def test_only_the_named_stages_are_written_and_the_same_bytes_again(tmp_path: Path) -> None:
    paths, root = write(tmp_path / "in"), tmp_path / "run"
    small_runs.run(root, paths, STAGES, output={"dropped": ["quality"]})
    assert set(dropped(root)) == {"low"}
    before = {p: (p.read_bytes(), p.stat().st_mtime_ns) for p in root.glob("dropped/**/*") if p.is_file()}
    small_runs.run(root, paths, STAGES, output={"dropped": ["quality"]})
    assert before == {p: (p.read_bytes(), p.stat().st_mtime_ns) for p in root.glob("dropped/**/*") if p.is_file()}
    part = next(root.glob("dropped/web/part-*"))
    part.unlink()
    assert [fault["path"] for fault in verify(str(root))["faults"]] == [f"dropped/web/{part.name}"]
    small_runs.run(root, paths, STAGES, output={"dropped": ["quality"]})
    assert {p: p.read_bytes() for p in before} == {p: data for p, (data, _) in before.items()}


def test_what_is_no_longer_wanted_goes(tmp_path: Path) -> None:
    paths, root = write(tmp_path / "in"), tmp_path / "run"
    mix = small_runs.run(root, paths, STAGES, output={"dropped": True})
    small_runs.run(root, paths, [*STAGES[:3], {**STAGES[3], "min_score": 0.05}], output={"dropped": True})
    assert "low" not in dropped(root)
    assert small_runs.run(root, paths, STAGES).equals(mix)
    assert not (root / "dropped").exists()
    assert clean_run(str(root), dry_run=True) is not None


def test_jsonl_and_wrong_names(tmp_path: Path) -> None:
    paths = write(tmp_path / "in")
    small_runs.run(tmp_path / "run", paths, STAGES, output={"dropped": True, "format": "jsonl.zst"})
    assert list((tmp_path / "run").glob("dropped/web/part-*.jsonl.zst"))
    with pytest.raises(RecipeError, match=r"output\.dropped must name stages of the recipe .*got 'hq'"):
        small_runs.run(tmp_path / "other", paths, STAGES, output={"dropped": ["hq"]})
