"""The work of planning grows with the files, not with their square."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.plan import inputs
from pipelines.plan.extent import Scale, bundles_of, sizes
from pipelines.plan.inputs import Drawn, draw, survey
from stages.core.shard import Dataset
from tests.support.counted_operations import operations

SIZES = (150, 300, 600)


def linked(folder: Path, files: int) -> Dataset:
    """Return a dataset of so many files, half of them Parquet: links to two that hold five rows."""
    texts = [f"text number {n} of the file" for n in range(5)]
    (folder / "in").mkdir(parents=True)
    pq.write_table(pa.table({"text": texts}), folder / "a.parquet")
    (folder / "a.jsonl").write_text("".join(json.dumps({"text": t}) + "\n" for t in texts))
    for n in range(files):
        kind = ("parquet", "jsonl")[n % 2]
        os.link(folder / f"a.{kind}", folder / "in" / f"{n:05d}.{kind}")
    return Dataset(name="d", paths=(str(folder / "in"),))


def test_the_work_of_surveying_and_bundling_is_linear_in_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inputs, "FOOTERS", 8)
    monkeypatch.setattr(inputs, "SHARDS", 4)

    def plan_of(dataset: Dataset, out: str) -> None:
        found = survey(dataset)
        drawn = draw(found, 10, 1, out)
        bundles = bundles_of([(found, drawn, sizes(found, drawn, 200))])
        assert sum(len(b.pieces) for b in bundles) == len(found.files)

    counts = []
    for files in SIZES:
        dataset, out = linked(tmp_path / str(files), files), str(tmp_path / f"out-{files}")
        counts.append(operations(lambda d=dataset, o=out: plan_of(d, o)))  # type: ignore[misc]
    first, second = counts[1] - counts[0], counts[2] - counts[1]
    assert second == pytest.approx(2 * first, rel=0.1)


def test_files_without_a_footer_that_was_read_are_like_those_with_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inputs, "FOOTERS", 2)
    found = survey(linked(tmp_path, 10))
    scale = Scale(found, Drawn(dataset=found.dataset, by_kind={"jsonl": [5, 170]}))
    every = [scale.of(file) for file in found.files]
    assert sum(rows for rows, _ in every[::2]) == pytest.approx(25)
    size = found.files[1].bytes
    assert every[1] == (size * 5 / 170, size)
