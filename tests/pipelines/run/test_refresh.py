"""A folder refreshed again and again equals a new one, whatever the order its shards were bundled in."""

from __future__ import annotations

import dataclasses
import itertools
import random
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cluster.errors import LedgerError
from pipelines.explain.explain import explain
from pipelines.run import runner
from pipelines.run_state import reopen
from stages.core import manifest
from stages.dedup.near import verify
from stages.near_dedup import NearDedup
from stages.passes.annotate import read_rows
from tests.support import corpora
from tests.support.small_runs import mix, read_ledger, recipe_of

FILES = ("0.jsonl", "1.parquet", "2.jsonl.zst", "3.jsonl")
ORDERS = list(itertools.permutations(range(len(FILES))))[::4]
NEAR: list[dict[str, Any]] = [
    {"use": "minhash", "shingle_width": 8},
    {"use": "near_dedup", "jaccard_threshold": 0.6, "bands": 64, "rows_per_band": 2, "verify": "exact"},
]
PROMOTED: list[dict[str, Any]] = [
    {"use": "exact_dedup"},
    *NEAR,
    {"use": "line_dedup", "max_documents": 5},
    {"use": "quality", "model": "python:tests.support.judges:first", "min_score": 0.4},
]


def rows_of(file: int, changed: bool) -> list[corpora.Document]:
    """Return a file's documents, near copies of those at the same place in the other files; others once it changed."""
    bases, edits = random.Random(1), random.Random(10 * file + changed)
    made = []
    for row in range(12):
        body = corpora.edited(edits, corpora.text(bases, 60), edits.randint(0, 5))
        text = f"{body}\nread more on our site"
        made.append({"text": text, "id": f"{file}-{changed}-{row}", "url": None, "score": 1.0})
    return made


def write(folder: Path, file: int, changed: bool) -> None:
    corpora.write_file(folder / FILES[file], rows_of(file, changed))


def go(root: Path, folder: Path, stages: list[dict[str, Any]], **more: Any) -> list[Any]:
    """Run and return the ledger and the mix, documents called by their ids."""
    runner.run(recipe_of({"a": str(folder)}, stages), str(root), with_report=False, **more)
    ledger = read_ledger(root).drop_columns(["doc_id"]).to_pylist()
    names = dict(zip(read_ledger(root)["doc_id"].to_pylist(), (row["id"] for row in ledger), strict=True))
    for row in ledger:
        row.update({key: names.get(row[key]) for key in ("representative", "survivor")})
    return [sorted(ledger, key=lambda row: row["id"]), mix(root)]


def written(root: Path) -> dict[str, bytes]:
    """Return the bytes of every file of ledger and mix."""
    folders = [root / "ledger", root / "mix" / "a"]
    return {str(path.relative_to(root)): path.read_bytes() for folder in folders for path in folder.iterdir()}


@pytest.mark.parametrize("stages", [NEAR, PROMOTED], ids=["near", "promoted"])
def test_refreshes_in_any_order_equal_a_new_folder(tmp_path: Path, stages: list[dict[str, Any]]) -> None:
    folder, new = tmp_path / "in", dict[frozenset[int], Any]()
    folder.mkdir()
    for number, order in enumerate(ORDERS):
        root = tmp_path / f"run-{number}"
        for file in range(len(FILES)):
            write(folder, file, False)
        go(root, folder, stages)
        for turn, file in enumerate(order):
            write(folder, file, True)
            changed = frozenset(order[: turn + 1])
            if changed not in new:
                new[changed] = go(tmp_path / "new", folder, stages), written(tmp_path / "new")
                shutil.rmtree(tmp_path / "new")
            assert (go(root, folder, stages, refresh=True), written(root)) == new[changed], (order, turn)


@pytest.fixture(scope="module")
def disordered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a run folder whose one bundle holds its shards in another order than that of their ordinals.

    So earlier versions bundled what they refreshed.
    """
    base = tmp_path_factory.mktemp("disordered")
    (base / "in").mkdir()
    for file in range(len(FILES)):
        write(base / "in", file, False)
    go(base / "run", base / "in", NEAR)
    found = manifest.read_manifest(str(base / "run"))
    assert found is not None
    [bundle] = found.bundles
    other = dataclasses.replace(bundle, number=2, pieces=(*bundle.pieces[1:], bundle.pieces[0]))
    manifest.write_manifest(str(base / "run"), dataclasses.replace(found, bundles=(other,), bundle_bytes=None))
    manifest._load.cache_clear()  # shards are the same, and so is the digest
    for name in ("facts", "decisions", "ledger", "mix"):
        shutil.rmtree(base / "run" / name)
    go(base / "run", base / "in", NEAR)
    return base / "run"


def test_rows_of_a_bundle_are_read_in_row_order_or_not_at_all(disordered: Path) -> None:
    job = reopen(str(disordered)).run
    [bundle] = job.manifest.bundles
    _, by_doc_id = job.manifest.locate(np.sort(bundle.doc_ids()))
    with pytest.raises(LedgerError, match="rows to be read of bundle 2 of a must ascend, each one once; got 0 after"):
        list(read_rows(job, bundle, by_doc_id, ["text"]))
    batches = [batch.table for batch, _ in read_rows(job, bundle, np.sort(by_doc_id), ["text"])]
    assert pa.concat_tables(batches)["text"].to_pylist() == [
        row["text"] for file in (1, 2, 3, 0) for row in rows_of(file, False)
    ]


def test_a_pair_without_its_text_is_an_error() -> None:
    texts = pa.table({"doc": [7, 3], "text": ["seven", "three"]})
    assert verify._rows_of(texts, pa.chunked_array([[3, 7, 3]]), "x").tolist() == [1, 0, 1]
    with pytest.raises(LedgerError, match=r"1 texts of the pairs in x did not come \(first: doc_id 5\)"):
        verify._rows_of(texts, pa.chunked_array([[3, 5]]), "x")


def test_pairs_that_version_1_compared_are_compared_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "in").mkdir()
    for file in range(len(FILES)):
        write(tmp_path / "in", file, False)
    with monkeypatch.context() as patch:
        patch.setattr(NearDedup, "version", 1)
        patch.setattr(verify, "_similarities", lambda how, text, left, right: np.ones(len(left)))
        wrong = go(tmp_path / "run", tmp_path / "in", NEAR)
    right = go(tmp_path / "new", tmp_path / "in", NEAR)
    assert go(tmp_path / "run", tmp_path / "in", NEAR) == right != wrong


def test_every_document_is_explained_by_its_own_text(disordered: Path) -> None:
    texts = {row["id"]: row["text"] for file in range(4) for row in rows_of(file, False)}
    for row in read_ledger(disordered).to_pylist():
        [found] = explain(str(disordered), doc_id=row["doc_id"])["documents"]
        assert (found["id"], found["text"]) == (row["id"], texts[row["id"]][: len(found["text"])])
        assert found["facts"]["read"]["num_bytes"] == len(texts[row["id"]].encode())


def test_columns_of_a_refreshed_mix_have_the_types_of_a_new_one(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for name, value in (("0", 1), ("1", 2.5)):
        pq.write_table(pa.table({"text": [f"text {name}"], "n": [value]}), tmp_path / "in" / f"{name}.parquet")
    more: dict[str, Any] = {"datasets": {"d": {"paths": str(tmp_path / "in")}}, "output": {"columns": ["n"]}}
    runner.run(recipe_of({}, [], **more), str(tmp_path / "run"), with_report=False)
    pq.write_table(pa.table({"text": ["another text"], "n": [3]}), tmp_path / "in" / "0.parquet")
    runner.run(recipe_of({}, [], **more), str(tmp_path / "run"), refresh=True, with_report=False)
    runner.run(recipe_of({}, [], **more), str(tmp_path / "new"), with_report=False)
    old, new = (pq.read_table(tmp_path / root / "mix" / "d").select(["text", "n"]) for root in ("run", "new"))
    assert old.schema.equals(new.schema)
    assert old.sort_by("text").to_pylist() == new.sort_by("text").to_pylist()
