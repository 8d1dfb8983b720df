"""Random histories of a run folder: whatever happened to it, a run with --refresh writes the bytes of a new folder.

A history changes input files and the recipe, runs with and without limit and --refresh, is killed at a storage call,
runs single stages and writes other mixes, in any order. What a run answers is held to a model of the folder.
"""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st

from pipelines.cli.main import main
from tests.support import corpora

NAMES = tuple((dataset, name) for dataset in ("a", "b") for name in ("0.jsonl", "1.parquet", "2.jsonl.zst"))
NEAR = {"use": "near_dedup", "bands": 64, "rows_per_band": 2, "verify": "exact"}
THRESHOLDS, SCORES = (0.5, 0.7), (0.2, 0.6)
EXAMPLES = 12 if settings().max_examples <= 100 else 150


class Killed(BaseException):
    """The end of the process, as far as one process can play it: no later storage call succeeds either."""


@dataclass
class Folder:
    """A run folder, its inputs, and what the model knows of them."""

    base: Path
    files: dict[tuple[str, str], int] = field(default_factory=dict)  # which text each file holds
    frozen: list[dict[tuple[str, str], int]] = field(default_factory=list)  # inputs that a manifest may stand for
    limits: set[int | None] = field(default_factory=set)  # that it may have been made with
    made: bool = False  # a run ended well: there is a manifest, with one of these limits
    threshold: float = 0.5
    score: float = 0.2
    lines: bool = False
    counter: int = 0

    def write(self, key: tuple[str, str], variant: int) -> None:
        dataset, name = key
        (self.base / "in" / dataset).mkdir(parents=True, exist_ok=True)
        corpora.write_file(self.base / "in" / dataset / name, rows_of(key, variant))
        self.files[key] = variant

    def recipe(self) -> str:
        stages: list[dict[str, Any]] = [{"use": "exact_dedup"}, {"use": "minhash", "shingle_width": 8}]
        stages.append({**NEAR, "jaccard_threshold": self.threshold})
        if self.lines:
            stages.append({"use": "line_dedup", "max_documents": 3})
        stages.append({"use": "quality", "model": "column:score", "min_score": self.score})
        columns = {"text": "text", "id": "id", "url": "url"}
        datasets = {d: {"paths": str(self.base / "in" / d), "columns": columns} for d in ("a", "b")}
        recipe = {"seed": 5, "datasets": datasets, "stages": stages, "cluster": {"kind": "inline"}}
        path = self.base / "recipe.yaml"
        path.write_text(yaml.safe_dump(recipe))
        return str(path)

    def run(self, root: Path, *flags: str) -> int:
        return main(["run", self.recipe(), "--run-dir", str(root), "--quiet", *flags])


def rows_of(key: tuple[str, str], variant: int) -> list[corpora.Document]:
    """Return a file's documents, near copies of those at the same place in other files."""
    bases, edits = random.Random(1), random.Random(f"{key}{variant}")
    rows = []
    for row in range(5):
        body = corpora.edited(edits, corpora.text(bases, 30), edits.randint(0, 4))
        rows.append(
            {"text": f"{body}\nread more", "id": f"{key}-{variant}-{row}", "url": None, "score": edits.random()}
        )
    return rows


def written(root: Path) -> dict[str, bytes]:
    """Return the bytes of every file of ledger and mix that is meant for readers."""
    paths = [path for folder in ("ledger", "mix") for path in (root / folder).rglob("*") if path.is_file()]
    return {str(path.relative_to(root)): path.read_bytes() for path in paths if not path.name.startswith(".")}


@contextmanager
def killed_at(call: int) -> Iterator[None]:
    """Let every rename and removal fail from this one on."""
    made = 0
    real = {name: getattr(os, name) for name in ("replace", "unlink", "rmdir")}

    def mortal(name: str) -> Callable[..., Any]:
        def act(*arguments: Any, **more: Any) -> Any:
            nonlocal made
            made += 1
            if made > call:
                raise Killed
            return real[name](*arguments, **more)

        return act

    patch = pytest.MonkeyPatch()
    try:
        for name in real:
            patch.setattr(os, name, mortal(name))
        yield
    except Killed:
        pass
    finally:
        patch.undo()


def do(folder: Folder, root: Path, step: tuple[Any, ...]) -> None:
    """Take one step of a history and check what the folder answers."""
    what, *how = step
    note(f"{what} {how}")
    if what == "write":
        key = NAMES[how[0]]
        folder.counter += 1
        folder.write(key, folder.counter)
    elif what == "remove":
        key = NAMES[how[0]]
        if key in folder.files and sum(k[0] == key[0] for k in folder.files) > 1:
            (folder.base / "in" / key[0] / key[1]).unlink()
            del folder.files[key]
    elif what == "recipe":
        folder.threshold, folder.score, folder.lines = how
    elif what == "run":
        limit, refresh = how
        check_run(folder, root, limit, refresh)
    elif what == "kill":
        call, limit = how
        with killed_at(call):
            folder.run(root, "--refresh", *limited(limit))
        if (root / "manifest.parquet").exists():  # it may have come to no manifest, or stand by an old one
            folder.frozen.append(dict(folder.files))
            folder.limits.add(limit)
    elif (root / "recipe.lock.yaml").exists():
        command = {
            "stage": ["stage", str(root), "near_dedup", "--jaccard-threshold", "0.6", "--quiet"],
            "materialize": ["materialize", str(root), "--set", "output.shuffle=none", "--quiet"],
            "status": ["status", str(root)],
        }[what]
        assert main(command) in ((0, 1) if (root / "manifest.parquet").exists() else (1, 2))
        if (root / "manifest.parquet").exists() and not folder.frozen:  # `stage` wrote the first
            folder.frozen, folder.limits = [dict(folder.files)], {None}


def limited(limit: int | None) -> list[str]:
    return [] if limit is None else ["--limit", str(limit)]


def check_run(folder: Folder, root: Path, limit: int | None, refresh: bool) -> None:
    """Run, and hold the exit code to what the model knows."""
    flags = ["--refresh"] * refresh + limited(limit)
    code = folder.run(root, *flags)
    other_limit = limit is not None and bool(folder.limits) and folder.limits != {limit}
    changed = bool(folder.frozen) and folder.frozen != [folder.files]
    if code:
        assert other_limit or (changed and not refresh), flags
        return
    assert limit is None or not folder.made or limit in folder.limits
    assert refresh or not folder.frozen or any(set(old.items()) <= set(folder.files.items()) for old in folder.frozen)
    if limit is None or not folder.frozen:
        folder.frozen = [dict(folder.files)]
    folder.limits, folder.made = {limit}, True


STEPS = st.one_of(
    st.tuples(st.just("write"), st.integers(0, len(NAMES) - 1)),
    st.tuples(st.just("remove"), st.integers(0, len(NAMES) - 1)),
    st.tuples(st.just("recipe"), st.sampled_from(THRESHOLDS), st.sampled_from(SCORES), st.booleans()),
    st.tuples(st.just("run"), st.sampled_from([None, None, 6]), st.booleans()),
    st.tuples(st.just("kill"), st.integers(0, 60), st.sampled_from([None, None, 6])),
    st.tuples(st.sampled_from(["stage", "materialize", "status"])),
)


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
@given(steps=st.lists(STEPS, min_size=3, max_size=9), first=st.sets(st.integers(0, len(NAMES) - 1)))
def test_any_history_ends_where_a_new_folder_does(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[Any, ...]], first: set[int]
) -> None:
    folder = Folder(tmp_path_factory.mktemp("history"))
    for number in {0, 3, *first}:  # a file in each dataset, and some more
        folder.write(NAMES[number], 0)
    root = folder.base / "run"
    for step in steps:
        do(folder, root, step)
    assert folder.run(root, "--refresh") == 0
    assert folder.run(folder.base / "new") == 0
    ours, theirs = written(root), written(folder.base / "new")
    assert sorted(ours) == sorted(theirs)
    assert [name for name in ours if ours[name] != theirs[name]] == []
    shutil.rmtree(folder.base)
