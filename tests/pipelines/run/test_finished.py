"""A finished run that is called again: it says so without workers, and only where nothing has changed."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from cluster import counting_store
from cluster.counting_store import SCHEME, CountingStore
from pipelines.run import runner
from pipelines.run.result import RunResult
from tests.support import corpora
from tests.support.small_runs import mix, recipe_of


class Started(Exception):
    """Workers were asked for."""


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("finished")
    corpora.write(folder / "in", corpora.corpus(31, 120), 2)
    with contextlib.chdir(folder):
        runner.run(recipe(), "run")
    return folder


@pytest.fixture
def folder(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run that was copied, so that its next call makes a new note, and from then on must start no workers."""
    copy = Path(shutil.copytree(finished, tmp_path / "all"))
    monkeypatch.chdir(copy)
    runner.run(recipe(), "run")

    def refuse(*_: Any) -> None:
        raise Started

    monkeypatch.setattr(runner, "start", refuse)
    return copy


def recipe(**more: Any) -> Any:
    return recipe_of({name: f"in/{name}" for name in "abc"}, **more)


def again(**more: Any) -> RunResult:
    return runner.run(recipe(), "run", **more)


def test_it_gives_the_same_result_without_workers_as_often_as_it_is_called(folder: Path) -> None:
    first, second = again(), again()
    assert first == second
    assert first.was_done
    assert sum(t["rows"] for t in first.tallies.values()) == 120
    assert sum(t["mixes"][""]["documents"] for t in first.tallies.values()) == len(mix(folder / "run"))


def touch(path: Path) -> None:
    os.utime(path, (1, 1))


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("change", [touch, flip, os.remove], ids=lambda f: f.__name__)
@pytest.mark.parametrize("place", ["ledger", "mix", "facts/read", "decisions", "manifest.parquet", "in"])
def test_a_file_that_was_touched_by_anybody_makes_it_look_at_everything(
    folder: Path, place: str, change: Callable[[Path], None]
) -> None:
    top = folder / place if place == "in" else folder / "run" / place
    path = top if top.is_file() else sorted(p for p in top.rglob("*") if p.is_file() and p.suffix)[0]
    change(path)
    with pytest.raises(Started):
        again()


def test_a_new_input_file_is_noticed(folder: Path) -> None:
    source = sorted((folder / "in").rglob("*.parquet"))[0]
    pq.write_table(pq.read_table(source), source.with_name("zz.parquet"))
    with pytest.raises(Started):
        again()


@pytest.mark.parametrize("more", [{"seed": 6}, {"mix": {"max_epochs": 2, "mode": "sample"}}, {"stages": []}], ids=str)
def test_another_recipe_is_run(folder: Path, more: dict[str, Any]) -> None:
    with pytest.raises(Started):
        runner.run(recipe(**more), "run")


@pytest.mark.parametrize("more", [{"limit": 5}, {"sample": 0.5}], ids=str)
def test_a_part_of_it_is_another_run(folder: Path, more: dict[str, Any]) -> None:
    with pytest.raises(Started):
        again(**more)


def test_the_page_may_be_written_anew_and_workers_counted_otherwise(folder: Path) -> None:
    (folder / "run" / "report.json").write_text("{}")
    assert runner.run(recipe(), "run", workers=3).was_done
    assert again().was_done


# --- in an object store ----------------------------------------------------------------------------------

STORED = f"{SCHEME}://run"


def in_store() -> Any:
    return recipe_of({"a": f"{SCHEME}://in"}, stages=[{"use": "exact_dedup"}])


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Iterator[CountingStore]:
    """A run that is finished in a store that gives ETags; from then on no workers may be started."""
    counting_store.use()
    found = CountingStore()
    for number in range(3):
        lines = [{"text": f"{word} of file {number % 2}"} for word in ("one", "two")]
        found.pipe_file(f"in/{number}.jsonl", "".join(f"{json.dumps(line)}\n" for line in lines).encode())
    runner.run(in_store(), STORED)

    def refuse(*_: Any) -> None:
        raise Started

    monkeypatch.setattr(runner, "start", refuse)
    yield found
    CountingStore.empty()


def test_a_run_in_a_store_is_known_to_be_finished_by_listings(store: CountingStore) -> None:
    first = runner.run(in_store(), STORED)
    assert first.was_done
    assert runner.run(in_store(), STORED) == first
    assert sum(t["rows"] for t in first.tallies.values()) == 6


@pytest.mark.parametrize("change", ["written again", "removed", "added"])
@pytest.mark.parametrize("place", ["run/ledger", "run/mix", "run/facts/read", "run/decisions", "in"])
def test_an_object_that_was_touched_makes_it_look_at_everything(store: CountingStore, place: str, change: str) -> None:
    name = store.find(place)[0]
    if change == "written again":
        store.pipe_file(name, store.cat_file(name))
    elif change == "removed":
        store.rm(name)
    else:
        store.pipe_file(f"{name}.more.jsonl", b'{"text": "a text"}\n')
    with pytest.raises(Started):
        runner.run(in_store(), STORED)


def test_in_a_store_without_marks_no_run_is_taken_for_finished(
    store: CountingStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = CountingStore._entry
    monkeypatch.setattr(CountingStore, "_entry", lambda self, path: {**entry(self, path), "ETag": None})
    with pytest.raises(Started):
        runner.run(in_store(), STORED)


def test_it_says_so_within_three_seconds_of_cpu(tmp_path: Path) -> None:
    paths = corpora.write(tmp_path / "in", corpora.corpus(32, 60, ("a",)), 1)
    (tmp_path / "r.yaml").write_text(
        f"datasets: {{a: {{paths: {paths['a']}, columns: {{id: id}}}}}}\nstages: [{{use: exact_dedup}}]\n"
        "cluster: {kind: inline}\n"
    )
    command = [sys.executable, "-m", "pipelines", "run", str(tmp_path / "r.yaml"), "-r", str(tmp_path / "run")]
    subprocess.run(command, check=True, capture_output=True)
    seconds = []
    for _ in range(4):  # the least: on a busy machine the same work takes up to twice the time
        before = os.times()
        done = subprocess.run([*command, "--set", "cluster.kind=local"], check=True, capture_output=True, text=True)
        after = os.times()
        assert "Nothing was left to do" in done.stdout
        used = (after.children_user - before.children_user, after.children_system - before.children_system)
        seconds.append(sum(used))
        if seconds[-1] < 3:
            break
    assert min(seconds) < 3
