"""The work of planning grows with the files, not with their square."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cluster import counting_store
from cluster.counting_store import SCHEME, CountingStore
from cluster.requests import LISTED
from pipelines.plan import inputs
from pipelines.plan.extent import Scale, bundles_of, sizes
from pipelines.plan.inputs import Drawn, draw, survey
from pipelines.plan.plan import plan
from pipelines.recipe.recipe import load_data
from stages.core.shard import Dataset
from tests.support.counted_operations import operations
from tests.support.plans import recipe_data
from tests.support.wind_tunnel import exponent

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


def looks_at(dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> int:
    """Return how often a survey asks the file system about a file."""
    asked = []
    with monkeypatch.context() as patched:
        for name in ("stat", "lstat"):
            ask = getattr(os, name)
            patched.setattr(os, name, lambda *path, ask=ask, **options: asked.append(path) or ask(*path, **options))
        survey(dataset)
    return len(asked)


def test_a_local_file_is_looked_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It took eight looks: half a million files so took most of the time of a plan."""
    monkeypatch.setattr(inputs, "FOOTERS", 1)
    first, second, third = (looks_at(linked(tmp_path / str(n), n), monkeypatch) for n in SIZES)
    assert (second - first, third - second) == (150, 300)


def test_files_in_a_store_are_found_by_pages_of_listings() -> None:
    counting_store.use()
    try:
        for number in range(4000):
            counting_store.CountingStore().pipe_file(f"in/{number:04d}.jsonl", b'{"text": "a"}\n')
            if number + 1 in (1000, 2000, 4000):
                CountingStore.watch()
                assert len(survey(Dataset(name="d", paths=(f"{SCHEME}://in",))).files) == number + 1
                asked = CountingStore.total().by_kind()
                assert asked.pop("list") <= 3 + 2 * number // LISTED
                assert sum(asked.values()) <= 2
    finally:
        CountingStore.empty()


@pytest.mark.nightly
def test_the_work_of_a_whole_plan_is_linear_in_files(tmp_path: Path) -> None:
    counts = []
    for files in (2000, 4000, 8000):
        place = tmp_path / str(files)
        datasets = {"d": {"paths": list(linked(place, files).paths)}}
        recipe = load_data(recipe_data(datasets, stages=[{"use": "exact_dedup"}]), "test")
        counts.append(operations(lambda r=recipe, p=place: plan(r, str(p / "run"), workers=1)))  # type: ignore[misc]
    assert exponent([{"work": count} for count in counts], "work") < 1.1


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
