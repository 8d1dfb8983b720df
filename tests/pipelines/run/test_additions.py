"""Datasets and shards added to a run folder: the bytes of a new folder, from what is new and what it touches."""

from __future__ import annotations

import os
import random
import shutil
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st

from cluster.files.arrow_files import read_arrow, write_arrow
from pipelines.mix import group_sizes
from pipelines.run import runner
from stages.dedup import kept
from stages.dedup.near import again, buckets, components
from stages.dedup.near.components import LABELS
from stages.outcome import ledger
from tests.pipelines.run.test_histories import killed_at, written
from tests.support import corpora
from tests.support.small_runs import read_ledger, recipe_of

NAMES = ("0.jsonl", "1.parquet", "2.jsonl.zst", "3.parquet")
KEYS = tuple((dataset, name) for dataset in ("a", "b", "c") for name in NAMES)
NEAR: dict[str, Any] = {"use": "near_dedup", "jaccard_threshold": 0.6, "bands": 32, "rows_per_band": 3}
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
    "semantic": [
        {"use": "exact_dedup"},
        SIGNED,
        NEAR,
        {"use": "semantic_dedup", "model": "column:vector", "cosine_threshold": 0.8, "protect": ["b"]},
    ],
}
WORDS = [
    f"{first}{last}"
    for first in ("ma", "ro", "ti", "lu", "ke")
    for last in ("den", "lis", "par", "qua", "zor", "vin", "gu", "ta")
]
SHUFFLES = ("shard", "global", "none")
BRIEF = settings().max_examples <= 100
EXAMPLES = 2 if BRIEF else 12  # of each pair; the first is the simplest
PAIRS = [(how, SHUFFLES[(n + m) % 3]) for n, how in enumerate(sorted(RECIPES)) for m in range(2 if BRIEF else 3)]


def rows_of(key: tuple[str, str]) -> list[corpora.Document]:
    """Return a file's documents: copies and near copies of a few texts, and some that are like no other."""
    edits, rows = random.Random(str(key)), []
    for row in range(14):
        base = random.Random(edits.randrange(9) if row % 3 else f"{key}{row}")
        body = corpora.edited(edits, corpora.text(base, 30), edits.choice([0, 0, 1, 3, 6]))
        text = body.upper() if edits.random() < 0.25 else body
        rows.append({"text": text, "id": f"{key}-{row}", "url": None, "score": edits.random(), "vector": vector(body)})
    return rows


def vector(text: str) -> list[float]:
    """Return a vector that texts of nearly the same words nearly share."""
    found = [0.0] * 12
    for word in text.split():
        draw = random.Random(word)
        found[draw.randrange(12)] += draw.choice([-1.0, 1.0])
    return found


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


@pytest.mark.parametrize(("how", "shuffle"), PAIRS)
@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    prefer=st.sampled_from([[], ["longest"]]),
    first=st.sets(st.sampled_from(KEYS), min_size=3, max_size=8),
    steps=STEPS,
)
def test_additions_end_where_a_new_folder_does(
    tmp_path_factory: pytest.TempPathFactory,
    how: str,
    shuffle: str,
    prefer: list[str],
    first: set[tuple[str, str]],
    steps: list[tuple[set[tuple[str, str]], int | None]],
) -> None:
    inputs = Inputs(tmp_path_factory.mktemp("added"), RECIPES[how], prefer=prefer, output={"shuffle": shuffle})
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


def test_every_recipe_and_every_shuffle_is_tried_twice() -> None:
    for number, of in zip((Counter(names) for names in zip(*PAIRS, strict=True)), (RECIPES, SHUFFLES), strict=True):
        assert set(number) == set(of)
        assert min(number.values()) >= 2


def test_who_lost_to_a_document_that_went_is_kept_again(tmp_path: Path) -> None:
    """A copy in capitals takes the place of a text, and shares no shingles with what had lost to it."""
    text = " ".join(random.Random(1).sample(WORDS, 40))
    near = corpora.edited(random.Random(2), text, 2)
    stages = [{"use": "exact_dedup", "normalise": "nfc_lower_space"}, SIGNED, NEAR]
    inputs = Inputs(tmp_path, stages)
    for dataset in "ab":
        (tmp_path / "in" / dataset).mkdir(parents=True)
    for name, each in (("text", text), ("near", near)):
        rows: list[corpora.Document] = [{"text": each, "id": name, "url": None, "score": 1.0}]
        corpora.write_file(tmp_path / "in" / "b" / f"{name}.jsonl", rows)
    corpora.write_file(tmp_path / "in" / "a" / "0.jsonl", [{**rows[0], "id": "other", "text": "something else"}])
    inputs.run("run")
    before = fates(tmp_path / "run")
    assert before == {"other": None, "text": None, "near": "near_dedup"}
    corpora.write_file(tmp_path / "in" / "a" / "1.jsonl", [{**rows[0], "id": "capitals", "text": text.upper()}])
    with found() as noted:
        ours = inputs.run("run")
    assert noted == [True, True]
    assert fates(tmp_path / "run") == {"other": None, "capitals": None, "text": "exact_dedup", "near": None}
    assert ours == inputs.anew()


def fates(root: Path) -> dict[str, str | None]:
    """Return the stage that dropped each document, by its id."""
    table = read_ledger(root)
    return dict(zip(table["id"].to_pylist(), table["stage"].to_pylist(), strict=True))


def test_components_are_decided_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    labels = pa.table([[1, 2, 3, 5, 6, 8, 9], [1, 1, 1, 5, 5, 8, 8]], schema=LABELS)
    write_arrow(str(tmp_path / "labels.arrow"), labels)
    for name, docs in (("found", [2, 4, 20]), ("changed", [9])):
        write_arrow(str(tmp_path / f"{name}.arrow"), pa.table({"doc": pa.array(docs, pa.int64())}))
    monkeypatch.setattr(again, "translated", lambda run, numbering, doc: doc)
    old = SimpleNamespace(numbering="", more={"labels": "labels.arrow"})
    run, path = SimpleNamespace(root=str(tmp_path)), str(tmp_path / "again.arrow")
    files = [str(tmp_path / "found.arrow")], [str(tmp_path / "changed.arrow")]
    assert again._close(run, old, *files, path) == 7  # type: ignore[arg-type]
    assert read_arrow(path)["doc"].to_pylist() == [1, 2, 3, 4, 8, 9, 20]


def test_files_of_which_no_row_changes_stay(tmp_path: Path) -> None:
    inputs = Inputs(tmp_path, RECIPES["promoted"])
    for dataset in "ab":
        for name in "01":
            write(inputs, dataset, name, [f"{dataset}{name}{n // 2}" for n in range(8)])
    inputs.run("run")
    before = marks(tmp_path / "run")
    write(inputs, "c", "0", ["like no other"])
    assert inputs.run("run") == inputs.anew()
    after = marks(tmp_path / "run")
    assert len(before) == 6
    assert {name: after[name] for name in before} == before
    write(inputs, "c", "1", ["a00"])
    assert inputs.run("run") == inputs.anew()
    last = marks(tmp_path / "run")
    changed = {name for name in before if last[name] != after[name]}  # a survivor of `a` has a larger group now
    assert changed == {"ledger/0.parquet", "ledger/1.parquet", "mix/a/part-00000.parquet"}  # one task wrote both


def grown_by_copies(tmp_path: Path, shuffle: str) -> tuple[Inputs, dict[str, bytes]]:
    """Return inputs of which `run` is finished and a copy has come since, and the bytes of a run from scratch."""
    inputs = Inputs(tmp_path, RECIPES["promoted"], output={"shuffle": shuffle, "shard_bytes": "64KB"})
    for name in "01":
        write(inputs, "a", name, [f"a{name}{n // 2}" for n in range(12)])
    inputs.run("run")
    write(inputs, "c", "0", ["a00", "a13", "like no other"])
    return inputs, inputs.anew()


@pytest.mark.parametrize("shuffle", ["global", "shard", "none"])
def test_columns_of_groups_are_written_and_the_others_copied(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shuffle: str
) -> None:
    inputs, expected = grown_by_copies(tmp_path, shuffle)
    written: list[str] = []
    for module, name in ((ledger, "replace_columns"), (group_sizes, "replace_values")):
        real = getattr(module, name)
        monkeypatch.setattr(module, name, lambda *a, name=name, real=real: (written.append(name), real(*a)))
    assert inputs.run("run") == expected
    assert written == ["replace_columns", "replace_columns", "replace_values"]
    assert not list((tmp_path / "run" / "decisions").glob("*/*before*"))
    assert not list((tmp_path / "run" / "decisions").glob("*/*/*before*"))


@pytest.mark.parametrize("shuffle", ["global", "shard"])
def test_a_kill_amid_columns_of_groups_leaves_nothing_half_done(tmp_path: Path, shuffle: str) -> None:
    inputs, expected = grown_by_copies(tmp_path, shuffle)
    shutil.copytree(tmp_path / "run", tmp_path / "finished")
    calls = 0
    real = os.replace

    def count(*arguments: Any, **more: Any) -> None:
        nonlocal calls
        calls += 1
        real(*arguments, **more)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "replace", count)
        assert inputs.run("run") == expected
    for kill in range(calls // 2, 2 * calls, 13 if BRIEF else 1):  # ledger and mix come last
        shutil.rmtree(tmp_path / "run")
        shutil.copytree(tmp_path / "finished", tmp_path / "run")
        with killed_at(kill):
            assert inputs.run("run") == expected
            break
        assert inputs.run("run") == expected
        assert len(list((tmp_path / "run" / "decisions" / "ledger").iterdir())) == 1
    else:
        pytest.fail("every run was killed")


def write(inputs: Inputs, dataset: str, name: str, seeds: list[str]) -> None:
    """Write a file of documents, of which those of equal seeds are copies."""
    folder = inputs.base / "in" / dataset
    folder.mkdir(parents=True, exist_ok=True)
    texts = [corpora.text(random.Random(seed), 30) for seed in seeds]
    rows: list[corpora.Document] = [
        {"text": text, "id": f"{dataset}{name}{n}", "url": None, "score": 1.0} for n, text in enumerate(texts)
    ]
    corpora.write_file(folder / f"{name}.jsonl", rows)


def marks(root: Path) -> dict[str, tuple[int, int]]:
    """Return inode and time of every file of ledger and mix."""
    paths = [*(root / "ledger").iterdir(), *root.glob("mix/*/part-*")]
    return {str(p.relative_to(root)): (p.stat().st_ino, p.stat().st_mtime_ns) for p in paths}


@pytest.mark.parametrize("how", sorted(RECIPES))
def test_what_is_kept_is_used_again_and_again(tmp_path: Path, how: str) -> None:
    inputs = Inputs(tmp_path, RECIPES[how])
    for key in KEYS[:2] + KEYS[4:6]:
        inputs.add(key)
    stages = sum(stage["use"] in ("exact_dedup", "near_dedup") for stage in RECIPES[how])  # which keep keys
    with found() as noted:
        inputs.run("run")
    assert noted == [False] * stages
    for key in (KEYS[3], KEYS[8]):  # a shard in the middle, a dataset at the end
        inputs.add(key)
        with found() as noted:
            ours = inputs.run("run")
        assert noted == [True] * stages
        assert ours == inputs.anew()


def test_keys_of_runs_that_may_be_large_are_kept_later_and_are_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inputs = Inputs(tmp_path, RECIPES["plain"])
    for key in KEYS[:5]:
        inputs.add(key)

    def keys_of(name: str) -> dict[str, bytes]:
        inputs.run(name)
        kept_files = (tmp_path / name / "exchange").glob("kept-near_dedup/*/*/keys-*.slices")
        return {path.relative_to(tmp_path / name).as_posix(): path.read_bytes() for path in kept_files}

    at_once = keys_of("at-once")
    assert at_once
    monkeypatch.setattr(again, "all_fit_one_task", lambda run: False)
    later: list[int] = []
    real = buckets.keep_all_keys
    monkeypatch.setattr(buckets, "keep_all_keys", lambda *given: (later.append(1), real(*given)))
    assert keys_of("later") == at_once
    assert later == [1]
    inputs.add(KEYS[5])
    with found() as went_on:
        assert inputs.run("later") == inputs.anew()
    assert went_on[:2] == [True, True]
    monkeypatch.setattr(components, "AT_ONCE", 0)
    later.clear()
    assert keys_of("in-rounds") == {}
    assert later == []
