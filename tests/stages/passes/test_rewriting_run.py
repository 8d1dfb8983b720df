"""A run whose stages rewrite texts: what is written, what is counted, what may be asked afterwards."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pyarrow.dataset as pads
import pyarrow.parquet as pq
import pytest

from cluster.errors import RecipeError
from pipelines.commands import clean, facts, status
from pipelines.explain.explain import explain
from pipelines.recipe.recipe import load_data
from pipelines.run import runner
from tests.support import corpora

FOOTER = "Subscribe to our weekly newsletter today"
STAGES: list[dict[str, Any]] = [
    {"use": "pii", "ip": "hash"},
    {"use": "line_dedup", "max_documents": 20, "min_words": 3},
    {"use": "exact_dedup"},
    {"use": "minhash", "shingle_width": 8},
    {"use": "near_dedup", "jaccard_threshold": 0.7},
    {"use": "line_rules", "rules": ["javascript"]},
    {"use": "quality", "model": "column:score", "min_score": 0.2},
    {"use": "score_cut", "min_quantile": 0.1},
]


def documents(seed: int) -> list[corpora.Document]:
    random_ = random.Random(seed)
    made = corpora.corpus(seed, 200)
    for n, d in enumerate(made):
        if d["text"] and d["text"].strip():
            parts = [d["text"], f"write to user{n}@example.com", FOOTER, "please enable JavaScript"]
            d["text"] = "\n".join(parts[: random_.randint(1, 4)])
    made.append({"dataset": "a", "text": FOOTER + "\n", "id": "only", "url": None, "score": 0.9})
    return made


def run(folder: Path, paths: dict[str, str], stages: list[dict[str, Any]] = STAGES, **more: Any) -> dict[str, Any]:
    columns = {"text": "text", "id": "id", "url": "url"}
    datasets = {name: {"paths": path, "columns": columns} for name, path in sorted(paths.items())}
    data = {"seed": 5, "datasets": datasets, "stages": stages, "cluster": {"kind": "inline"}, **more}
    runner.run(load_data(data, "test"), str(folder))
    rows = [r for f in (folder / "ledger").glob("*.parquet") for r in pq.read_table(f).to_pylist()]
    return {row["id"]: row for row in rows}


def mix(folder: Path) -> dict[str, dict[str, Any]]:
    files = sorted(map(str, folder.glob("mix/*/part-*.parquet")))
    return {row["id"]: row for row in pads.dataset(files).to_table().to_pylist()}


def test_all_edits_are_written_for_any_partitioning_shuffle_and_format(tmp_path: Path) -> None:
    made = documents(1)
    seen = []
    for turn, (files, formats, shuffle) in enumerate(
        [(1, ("parquet",), "global"), (4, ("jsonl.zst", "jsonl"), "shard"), (3, ("jsonl.gz",), "none")]
    ):
        random.Random(turn).shuffle(made)
        paths = corpora.write(tmp_path / f"in-{turn}", made, files, formats)
        ledger = run(tmp_path / f"run-{turn}", paths, output={"shuffle": shuffle, "shard_bytes": 20_000})
        written = mix(tmp_path / f"run-{turn}")
        seen.append({key: (row["text"], row["num_tokens"]) for key, row in written.items()})
        original = {d["id"]: d["text"] for d in made}
        for key, row in written.items():
            lines = [line for line in original[key].split("\n") if "JavaScript" not in line and line != FOOTER]
            want = ["write to <EMAIL>" if line.startswith("write to") else line for line in lines]
            assert row["text"].rstrip("\n") == "\n".join(want).rstrip("\n")
            assert row["num_tokens"] == ledger[key]["num_tokens"] == -(-len(row["text"].encode()) // 4)
        assert (ledger["only"]["stage"], ledger["only"]["reason"]) == ("rewrite", "nothing_left")
    assert seen[0] == seen[1] == seen[2]


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("rewriting")
    run(folder / "run", corpora.write(folder / "in", documents(2), 2))
    return folder / "run"


def test_the_report_status_and_explanation_know_the_last_stage(done: Path) -> None:
    told = explain(str(done), id="only")["documents"][0]
    assert told["verdict"].startswith("dropped by rewrite: nothing_left")
    assert [d["verdict"] for d in told["decisions"] if d["stage"] == "rewrite"] == ["dropped"]
    assert (done / "report.html").exists()
    stages = {s["stage"]: (s["done"], s["of"]) for s in status.status_of_run(str(done))["stages"]}
    assert "rewrite" not in stages
    assert all(a == b for a, b in stages.values())


def test_clean_removes_nothing_that_a_run_uses(done: Path) -> None:
    assert [p for p in clean.clean_run(str(done), dry_run=True) if not p.endswith("/exchange")] == []


def test_facts_of_lines_can_be_exported_and_what_keeps_none_says_so(done: Path, tmp_path: Path) -> None:
    assert facts.export_facts(str(done), "line_dedup", str(tmp_path / "lines.parquet")) > 20
    assert "spans" in pq.read_schema(tmp_path / "lines.parquet").names
    with pytest.raises(RecipeError, match="keeps no facts"):
        facts.export_facts(str(done), "score_cut", str(tmp_path / "cut.parquet"))


def test_workers_write_the_same(done: Path, tmp_path: Path) -> None:
    paths = corpora.write(tmp_path / "in", documents(2), 3)
    run(tmp_path / "run", paths, cluster={"kind": "local", "workers": 2})
    texts = {key: row["text"] for key, row in mix(tmp_path / "run").items()}
    assert texts == {key: row["text"] for key, row in mix(done).items()}
