"""`winnow dedup` and `winnow minhash`: every column kept, the longer text wins, every format read."""

from __future__ import annotations

import gzip
import json
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cluster.errors import RecipeError
from pipelines.commands.dedup import dedup
from pipelines.commands.minhash import minhash
from stages.dedup import kept, promotion
from stages.minhash import MinHash
from tests.support import oracles
from tests.support.corpora import corpus, edited, text

COLUMNS = ("text", "id", "url", "score")


def documents(count: int = 150) -> list[dict[str, Any]]:
    return [{k: d[k] for k in COLUMNS} for d in corpus(21, count) if d["text"] and d["text"].strip()]


def write_input(folder: Path, rows: list[dict[str, Any]], kind: str) -> str:
    folder.mkdir()
    lines = "".join(json.dumps(row) + "\n" for row in rows).encode()
    if kind == "parquet":
        pq.write_table(pa.Table.from_pylist(rows), folder / "data.parquet")
    else:
        (folder / f"data.{kind}").write_bytes(gzip.compress(lines) if kind.endswith("gz") else lines)
    return str(folder)


def read_parts(out: Path) -> list[dict[str, Any]]:
    return [row for part in sorted(out.glob("part-*.parquet")) for row in pq.read_table(part).to_pylist()]


@pytest.mark.parametrize("kind", ["parquet", "jsonl", "jsonl.gz"])
def test_dedup_keeps_the_longer_text_and_every_column(tmp_path: Path, kind: str) -> None:
    rows = documents()
    found = dedup([write_input(tmp_path / "in", rows, kind)], str(tmp_path / "out"), shingle_width=8, workers=1)
    remaining = read_parts(tmp_path / "out")
    by_id = {row["id"]: row for row in rows}
    assert found == {"rows": len(rows), "kept": len(remaining), "dropped": len(rows) - len(remaining)}
    assert found["dropped"] > 10
    for row in remaining:
        assert {k: row[k] for k in COLUMNS} == by_id[row["id"]]
    ledger = [r for f in (tmp_path / "out" / "ledger").iterdir() for r in pq.read_table(f).to_pylist()]
    ids = {r["doc_id"]: r["id"] for r in ledger}
    for r in ledger:
        if not r["kept"]:
            loser, winner = by_id[r["id"]]["text"], by_id[ids[r["representative"]]]["text"]
            assert len(winner) >= len(loser)
            assert oracles.jaccard(oracles.shingle_set(loser, 8), oracles.shingle_set(winner, 8)) >= 0.75
    assert not (tmp_path / "out" / ".winnow").exists()


def test_dedup_keeps_no_keys_for_additions_that_cannot_come(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*given: object) -> None:
        raise AssertionError("keys are kept in a folder that is removed")

    monkeypatch.setattr(kept, "keep_keys", refused)
    out = tmp_path / "out"
    found = dedup([write_input(tmp_path / "in", documents(), "parquet")], str(out), shingle_width=8, workers=1)
    assert found["dropped"] > 10


def test_dedup_again_changes_nothing_and_another_needs_another_folder(tmp_path: Path) -> None:
    source = write_input(tmp_path / "in", documents(60), "parquet")
    first = dedup([source], str(tmp_path / "out"), workers=1)
    before = {p: p.read_bytes() for p in (tmp_path / "out").rglob("*.parquet")}
    assert dedup([source], str(tmp_path / "out"), workers=1) == first
    assert before == {p: p.read_bytes() for p in (tmp_path / "out").rglob("*.parquet")}
    with pytest.raises(RecipeError, match="another"):
        dedup([source], str(tmp_path / "out"), jaccard_threshold=0.5, workers=1)


def test_dedup_starts_without_packages_it_does_not_need_and_keeps_freed_memory(tmp_path: Path) -> None:
    source = write_input(tmp_path / "in", documents(60), "parquet")
    arguments = ["dedup", source, "-o", str(tmp_path / "out")]
    code = f"""
import os, sys
from cluster import startup as start
from cluster.device import backend
from pipelines.cli import main

backend.probe = None  # asks for no GPU
keep, early = start.keep_freed_memory, []
start.keep_freed_memory = lambda: (early.append("pyarrow" in sys.modules), keep())
code = main.main({arguments!r})
loaded = sorted({{"pandas", "scipy.linalg", "dask"}} & set(sys.modules))
import pandas, scipy.linalg
print(loaded, code, early, os.environ["MIMALLOC_PURGE_DELAY"])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[] 0 [False] -1", done.stderr


def test_a_text_is_read_once_for_all_rounds_of_verification(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    random_ = random.Random(3)
    base = text(random_, 80)
    rows = [{"text": edited(random_, base, random_.randint(2, 8)), "id": str(i)} for i in range(150)]
    wanted: list[list[int]] = []
    receive = promotion.sort_requests

    def noted(group: int, table: pa.Table) -> pa.Table | None:
        wanted.append(table.column("doc").to_pylist())
        return receive(group, table)

    monkeypatch.setattr(promotion, "sort_requests", noted)
    dedup([write_input(tmp_path / "in", rows, "parquet")], str(tmp_path / "out"), shingle_width=8, workers=1)
    asked = [doc for docs in wanted for doc in docs]
    assert len(wanted) > 1  # rounds; there is one group of bundles
    assert len(asked) == len(set(asked)) > 0
    shingles = {row["id"]: oracles.shingle_set(row["text"], 8) for row in rows}
    kept = {row["id"] for row in read_parts(tmp_path / "out")}
    assert len(kept) < len(rows)
    for name in shingles.keys() - kept:
        assert max(oracles.jaccard(shingles[name], shingles[other]) for other in kept) >= 0.8


def test_dedup_names_the_columns_there_are(tmp_path: Path) -> None:
    source = write_input(tmp_path / "in", documents(30), "parquet")
    with pytest.raises(RecipeError, match="no column 'body', it has text, id, url, score"):
        dedup([source], str(tmp_path / "out"), text_column="body")


@pytest.mark.parametrize("kind", ["parquet", "jsonl.gz"])
def test_minhash_files_hold_the_stage_signatures(tmp_path: Path, kind: str) -> None:
    rows = documents(40)
    rows.append({"text": None, "id": "null", "url": None, "score": 0.0})
    rows.append({"text": "", "id": "empty", "url": None, "score": 0.0})
    source = write_input(tmp_path / "in", rows, kind)
    assert minhash(source, str(tmp_path / "out"), shingle_width=5, num_permutations=16) == (len(rows), 1)
    got = read_parts(tmp_path / "out")
    stage = MinHash(shingle_width=5, num_permutations=16)
    want = stage.signatures(pa.array([r["text"] or "" for r in rows], pa.large_string())).tolist()
    assert [g["id"] for g in got] == [r["id"] for r in rows]
    assert [g["signature"] for g in got] == [None if r["text"] is None else w for r, w in zip(rows, want, strict=True)]
    assert got[-1]["signature"] == [0] * 16
