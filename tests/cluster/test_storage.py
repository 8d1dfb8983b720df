"""Inputs and run folder on a real S3 server on this machine: workers in other processes, listings that change."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from pipelines.run import runner
from tests.support import corpora
from tests.support.s3_server import serving
from tests.support.small_runs import read_ledger, recipe_of, run

s3fs = pytest.importorskip("s3fs", reason="needs the dev extra: pip install -e '.[dev]'")
SECRET = "never-to-be-written-down"


@pytest.fixture
def store() -> Iterator[s3fs.S3FileSystem]:
    with serving(SECRET):
        fs = s3fs.S3FileSystem(use_listings_cache=False)
        fs.mkdir("bucket")
        yield fs


def test_a_run_on_s3_drops_and_keeps_what_a_local_one_does(store: s3fs.S3FileSystem, tmp_path: Path) -> None:
    documents = corpora.corpus(12, 60)
    paths = corpora.write(tmp_path / "in", documents, 1, ("parquet", "jsonl.gz"))
    here = run(tmp_path / "run", paths)
    assert {"exact_dedup", "near_dedup"} <= set(here["stage"].to_pylist())  # an empty listing would drop nothing
    for dataset, folder in paths.items():
        store.put(folder, f"bucket/in/{dataset}", recursive=True)
    there = recipe_of(
        {dataset: f"s3://bucket/in/{dataset}" for dataset in paths}, cluster={"kind": "local", "workers": 1}
    )
    runner.run(there, "s3://bucket/run")
    store.get("bucket/run", str(tmp_path / "copy"), recursive=True)
    columns = [name for name in here.schema.names if name != "path"]
    assert read_ledger(tmp_path / "copy").select(columns).equals(here.select(columns))
    assert store.exists("bucket/run/report.html")
    assert not any(SECRET.encode() in f.read_bytes() for f in (tmp_path / "copy").rglob("*") if f.is_file())
