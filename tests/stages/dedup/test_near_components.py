"""Components joined in rounds through the exchange are those that one task finds, for graphs of any shape."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cluster.engines import InlineEngine
from cluster.files.arrow_files import read_arrow, write_arrow
from stages.dedup.near import components as near_components
from stages.dedup.near.components import _stars
from stages.kernels.similarity.jaccard import exact_pairs
from stages.kernels.survivors.components import components
from tests.support import corpora
from tests.support.small_runs import STAGES, run

I64 = npt.NDArray[np.int64]
RECORDS = pa.schema([("key", pa.uint64()), ("doc", pa.int64())])


def write_buckets(folder: Path, buckets: list[list[int]], files: int) -> list[str]:
    """Write buckets of documents into files, as the exchange of band keys leaves them."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for number in range(files):
        mine = [(key, doc) for key, docs in enumerate(buckets) if key % files == number for doc in docs]
        if mine:
            keys, docs = zip(*mine, strict=True)
            paths.append(str(folder / f"buckets-{number}.arrow"))
            write_arrow(paths[-1], pa.table([pa.array(keys, pa.uint64()), pa.array(docs, pa.int64())], schema=RECORDS))
    return paths


def tied(folder: Path, buckets: list[list[int]], files: int, edges: int) -> dict[int, int]:
    """Return the least of its component for every document but the least ones; so many edges to a destination."""
    paths = write_buckets(folder, buckets, files)
    found: dict[int, int] = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(near_components, "EDGES_PER_DESTINATION", edges)
        stars = _stars(InlineEngine(), str(folder / "components"), paths)
    for path in stars:
        table = read_arrow(path)
        pairs = zip(table["node"].to_pylist(), table["other"].to_pylist(), strict=True)
        for node, least in pairs:
            assert found.setdefault(node, least) == least
    return found


def rounds(caplog: pytest.LogCaptureFixture) -> int:
    return len([r for r in caplog.records if r.name == "winnow.components"])


@settings(max_examples=30, deadline=None)
@given(
    buckets=st.lists(st.sets(st.integers(0, 30), min_size=2, max_size=5), max_size=25),
    files=st.integers(1, 4),
    edges=st.integers(1, 40),
)
def test_rounds_find_the_components_of_one_task(
    tmp_path_factory: pytest.TempPathFactory, buckets: list[set[int]], files: int, edges: int
) -> None:
    pairs = [(min(b), m) for b in buckets for m in b]
    label = components([a for a, _ in pairs], [b for _, b in pairs], 31)
    scale = 1 << 33  # documents are numbered by shard and row
    found = tied(tmp_path_factory.mktemp("g"), [[m * scale for m in b] for b in buckets], files, edges)
    assert found == {m * scale: int(label[m]) * scale for _, m in pairs if label[m] != m}


def chain(n: int) -> list[tuple[I64, I64]]:
    return [(np.arange(n - 1), np.arange(1, n))]


def star(n: int) -> list[tuple[I64, I64]]:
    """A centre in the middle of the numbers, so that not even half of the edges are as they should be."""
    leaves = np.delete(np.arange(n), n // 2)
    return [(np.full(n - 1, n // 2), leaves)]


def scattered(n: int) -> list[tuple[I64, I64]]:
    rng = np.random.default_rng(n)
    return [(rng.integers(0, n, n), rng.integers(0, n, n))]


@pytest.mark.parametrize(
    ("graph", "n", "most"),
    [(chain, 100_000, 18), (star, 20_000, 4), (scattered, 20_000, 6)],
    ids=["chain", "star", "scattered"],
)
@pytest.mark.parametrize("numbering", ["in order", "any"])
def test_large_graphs_are_joined_in_few_rounds(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, graph: Any, n: int, most: int, numbering: str
) -> None:
    caplog.set_level(logging.INFO, "winnow.components")
    name = np.arange(n) if numbering == "in order" else np.random.default_rng(1).permutation(n)
    [(left, right)] = graph(n)
    left, right = name[left], name[right]
    label = components(left, right, n)
    found = tied(tmp_path, np.column_stack([left, right]).tolist(), 4, n // 2)
    assert found == {m: int(label[m]) for m in range(n) if label[m] != m}
    assert rounds(caplog) <= most


def in_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(near_components, "AT_ONCE", 0)


@pytest.mark.parametrize("mode", ["representative", "component"])
def test_a_run_decides_the_same_in_rounds_as_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    paths = corpora.write(tmp_path / "in", corpora.corpus(41, 300), 3)
    stages = [{**s, "mode": mode} if s["use"] == "near_dedup" else s for s in STAGES]
    before = run(tmp_path / "once", paths, stages)
    assert before["reason"].to_pylist().count("near_duplicate") > 10
    in_rounds(monkeypatch)
    assert run(tmp_path / "rounds", paths, stages).equals(before)
    looser = [{**s, "jaccard_threshold": 0.65} if s["use"] == "near_dedup" else s for s in stages]
    recalled = run(tmp_path / "rounds", paths, looser)  # takes the pairs that were verified before
    assert recalled.equals(run(tmp_path / "new", paths, looser))


def test_verified_pairs_are_found_again_in_rounds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = corpora.write(tmp_path / "in", corpora.corpus(42, 200), 2)
    in_rounds(monkeypatch)
    run(tmp_path / "run", paths)
    asked = []
    monkeypatch.setattr("stages.dedup.near.verify.exact_pairs", lambda *a, **k: asked.append(a) or exact_pairs(*a, **k))
    stages = [{**s, "max_removed": 1.0, "further_tries": 4} if s["use"] == "near_dedup" else s for s in STAGES]
    run(tmp_path / "run", paths, stages)
    first = sum(len(a[2]) for a in asked)
    run(tmp_path / "new", paths, stages)
    assert first < sum(len(a[2]) for a in asked) - first


def test_rounds_go_on_where_they_were_interrupted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    buckets = [[i, i + 1] for i in range(300)]
    expected = tied(tmp_path / "whole", buckets, 3, 200)
    calls = 0

    def interrupted(node: I64, other: I64) -> Any:
        nonlocal calls
        calls += 1
        if calls % 4 == 0:
            raise KeyboardInterrupt
        return kernel(node, other)

    kernel = near_components.small_star
    monkeypatch.setattr(near_components, "small_star", interrupted)
    for attempt in range(100):
        try:
            found = tied(tmp_path / "cut", buckets, 3, 200)
            break
        except KeyboardInterrupt:
            assert attempt < 99
    assert found == expected
    assert calls <= 3 * 10 + attempt  # nothing is done twice but what was interrupted


def test_destinations_follow_from_the_edges_that_are_left_in_each_round(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A chain and many copies: contraction within files leaves few edges of the many bucket members."""
    chain_ = [[i, i + 1] for i in range(4000)]
    buckets = [*chain_, *([list(range(10_000, 10_200))] * 30)]
    made: dict[str, int] = {}
    hop = near_components._hop

    def counted(folder: str, name: str, destinations: int) -> Any:
        made[name] = destinations
        return hop(folder, name, destinations)

    monkeypatch.setattr(near_components, "_hop", counted)
    found = tied(tmp_path, buckets, 2, 1000)
    assert len(found) == 4000 + 199
    assert made["large-0"] == -(-2 * (4000 + 2 * 199) // 1000)  # of 14,000 members of buckets
    assert 1 <= made["small-1"] <= 5
    assert not (tmp_path / "components" / "contracted").exists()
