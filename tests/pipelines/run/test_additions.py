"""Datasets and shards added to a run folder: the bytes of a new folder, from what is new and what it touches."""

from __future__ import annotations

import random
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st

from pipelines.run import runner
from stages.dedup import kept
from tests.pipelines.run.test_histories import killed_at, written
from tests.support import corpora
from tests.support.small_runs import recipe_of

NAMES = ("0.jsonl", "1.parquet", "2.jsonl.zst", "3.parquet")
KEYS = tuple((dataset, name) for dataset in ("a", "b", "c") for name in NAMES)
NEAR: dict[str, Any] = {"use": "near_dedup", "jaccard_threshold": 0.6, "bands": 64, "rows_per_band": 2}
SIGNED: dict[str, Any] = {"use": "minhash", "shingle_width": 8}
SCORE: dict[str, Any] = {"use": "quality", "model": "column:score", "min_score": 0.3}
RECIPES: dict[str, list[dict[str, Any]]] = {
    "plain": [{"use": "exact_dedup"}, SIGNED, NEAR],
    "promoted": [{"use": "exact_dedup"}, SIGNED, NEAR, SCORE],
    "components": [{"use": "exact_dedup", "orphans": "allow"}, SIGNED, {**NEAR, "mode": "component"}, SCORE],
    "filtered": [SCORE, SIGNED, {**NEAR, "within_dataset": "keep_all", "protect": ["b"]}],
    "twice": [
        {"use": "exact_dedup"},
        {"use": "exact_dedup", "name": "cases", "normalise": "nfc_lower_space"},
        SIGNED,
        NEAR,
        {**NEAR, "name": "nearer", "jaccard_threshold": 0.4, "verify": "every"},
    ],
}
EXAMPLES = 15 if settings().max_examples <= 100 else 200


def rows_of(key: tuple[str, str]) -> list[corpora.Document]:
    """Return a file's documents: copies and near copies of a few texts, and some that are like no other."""
    edits, rows = random.Random(str(key)), []
    for row in range(14):
        base = random.Random(edits.randrange(9) if row % 3 else f"{key}{row}")
        body = corpora.edited(edits, corpora.text(base, 30), edits.choice([0, 0, 1, 3, 6]))
        text = body.upper() if edits.random() < 0.1 else body
        rows.append({"text": text, "id": f"{key}-{row}", "url": None, "score": edits.random()})
    return rows


class Inputs:
    """Files of datasets, to which others are added."""

    def __init__(self, base: Path, stages: list[dict[str, Any]], **more: Any) -> None:
        self.base, self.stages, self.more = base, stages, more

    def add(self, key: tuple[str, str]) -> None:
        folder = self.base / "in" / key[0]
        folder.mkdir(parents=True, exist_ok=True)
        corpora.write_file(folder / key[1], rows_of(key))

    def run(self, name: str) -> dict[str, bytes]:
        """Run in a folder; return the bytes of ledger and mix."""
        paths = {path.name: str(path) for path in (self.base / "in").iterdir()}
        runner.run(recipe_of(paths, self.stages, **self.more), str(self.base / name), with_report=False)
        return written(self.base / name)

    def anew(self) -> dict[str, bytes]:
        shutil.rmtree(self.base / "new", ignore_errors=True)
        return self.run("new")


@contextmanager
def found() -> Iterator[list[bool]]:
    """Note of every dedup stage that is resolved whether it went on from what was kept."""
    noted: list[bool] = []
    real = kept.find

    def find(*arguments: Any) -> Any:
        answer = real(*arguments)
        noted.append(answer is not None)
        return answer

    patch = pytest.MonkeyPatch()
    try:
        patch.setattr(kept, "find", find)
        yield noted
    finally:
        patch.undo()


STEPS = st.lists(
    st.tuples(st.sets(st.sampled_from(KEYS), max_size=2), st.one_of(st.none(), st.integers(0, 120))),
    min_size=1,
    max_size=4,
)


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    how=st.sampled_from(sorted(RECIPES)),
    prefer=st.sampled_from([[], ["longest"]]),
    first=st.sets(st.sampled_from(KEYS), min_size=3, max_size=8),
    steps=STEPS,
)
def test_additions_end_where_a_new_folder_does(
    tmp_path_factory: pytest.TempPathFactory,
    how: str,
    prefer: list[str],
    first: set[tuple[str, str]],
    steps: list[tuple[set[tuple[str, str]], int | None]],
) -> None:
    inputs = Inputs(tmp_path_factory.mktemp("added"), RECIPES[how], prefer=prefer)
    for key in {("b", NAMES[1]), *first}:  # protected in one of the recipes
        inputs.add(key)
    inputs.run("run")
    for keys, kill in steps:
        note(f"{sorted(keys)}, killed at {kill}")
        for key in keys:
            inputs.add(key)
        if kill is not None:
            with killed_at(kill):
                inputs.run("run")
        ours, theirs = inputs.run("run"), inputs.anew()
        assert sorted(ours) == sorted(theirs)
        assert [name for name in ours if ours[name] != theirs[name]] == []
    shutil.rmtree(inputs.base)


@pytest.mark.parametrize("how", sorted(RECIPES))
def test_what_is_kept_is_used_again_and_again(tmp_path: Path, how: str) -> None:
    inputs = Inputs(tmp_path, RECIPES[how])
    for key in KEYS[:2] + KEYS[4:6]:
        inputs.add(key)
    stages = sum("dedup" in stage["use"] for stage in RECIPES[how])
    with found() as noted:
        inputs.run("run")
    assert noted == [False] * stages
    for key in (KEYS[3], KEYS[8]):  # a shard in the middle, a dataset at the end
        inputs.add(key)
        with found() as noted:
            ours = inputs.run("run")
        assert noted == [True] * stages
        assert ours == inputs.anew()
