"""Semantic dedup with many clusters: the tree of centroids, and documents that are compared across borders."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from cluster.errors import RecipeError
from cluster.files.arrow_files import read_arrow
from stages import semantic_dedup
from stages.dedup import centroid_counts, clusters
from stages.inputs.vectors import to_matrix
from stages.kernels.hashes.hashing import buffers, content_hash
from stages.kernels.similarity import cosine, lloyd
from tests.stages.test_semantic_dedup import STAGE, documents, losses, run, write

Key = tuple[str, str]


@pytest.fixture
def small_tree(monkeypatch: pytest.MonkeyPatch) -> None:
    """A tree where there are more than four centroids, parts of 50 vectors."""
    for module in (clusters, semantic_dedup):
        monkeypatch.setattr(module, "CHILDREN", 4)
        monkeypatch.setattr(module, "PART", 50)


def unit_vectors(seed: int, count: int) -> cosine.F16:
    return cosine.unit(np.random.default_rng(seed).normal(size=(count, 6)))[0]


def test_sums_of_parts_are_those_of_the_whole() -> None:
    vectors, centroids = unit_vectors(1, 400), unit_vectors(2, 7)
    whole = lloyd.partial_sums(vectors, centroids)
    order = np.random.default_rng(3).permutation(400)
    parts = [lloyd.partial_sums(vectors[rows], centroids) for rows in np.array_split(order, 5)]
    assert np.array_equal(sum(sums for sums, _ in parts), whole[0])
    assert np.array_equal(sum(counts for _, counts in parts), whole[1])
    moved = lloyd.lloyd(vectors, 7)
    sums, _ = lloyd.partial_sums(vectors, moved)
    assert np.array_equal(lloyd.next_centroids(sums, moved), moved)


def test_two_nearest_are_the_first_two_of_a_sort() -> None:
    vectors, centroids = unit_vectors(4, 90), unit_vectors(5, 11)
    products = vectors.astype(np.float64) @ centroids.astype(np.float64).T
    order = np.argsort(-products, axis=1, kind="stable")
    first, second = cosine.two_nearest(vectors, centroids)
    assert np.array_equal(first, order[:, 0])
    assert np.array_equal(second, order[:, 1])


def test_a_tree_splits_documents_evenly_whatever_the_partitioning(
    tmp_path: Path, small_tree: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(semantic_dedup, "SAMPLE_PER_CENTROID", 8)
    monkeypatch.setattr(clusters, "SAMPLE_PER_CENTROID", 8)
    rows = documents(7, 500, groups=40)
    stage = {**STAGE, "centroids": 25}
    found, leaves = [], []
    descend = clusters.Tree.descend
    seen: list[Any] = []
    monkeypatch.setattr(clusters.Tree, "descend", lambda self, *a, **k: seen.append(descend(self, *a, **k)) or seen[-1])
    for files in (1, 6):
        seen.clear()
        given = rows[::-1] if files == 6 else rows
        found.append(losses(run(tmp_path / f"run{files}", write(tmp_path / f"in{files}", {"a": given}, files), stage)))
        leaves.append(seen[-1][0])  # of the last pass, which sends the documents; small files make one bundle
    assert found[0] == found[1]
    counts = np.unique(leaves[0], return_counts=True)[1]
    assert len(counts) >= 12
    assert counts.max() <= 4 * 500 / 25
    assert np.array_equal(counts, np.unique(leaves[1], return_counts=True)[1])


def in_order(rows: list[dict[str, Any]]) -> list[int]:
    h1, h2 = content_hash(*buffers(pa.array([row["text"] for row in rows], pa.large_string())))
    order = sorted(range(len(rows)), key=lambda i: (int(h1[i]), int(h2[i]) >> 48))
    return [i for i in order if rows[i]["vector"] is not None]


def kept_by_going_through(rows: list[dict[str, Any]], near: Any, shared: Any, eligible: Any) -> dict[int, list[int]]:
    """Return, of each document in order, the kept and eligible ones before it that are similar and share a cluster."""
    kept: list[int] = []
    found: dict[int, list[int]] = {}
    for i in in_order(rows):
        found[i] = [j for j in kept if eligible[j] and near[i, j] and shared[i] & shared[j]]
        if not found[i]:
            kept.append(i)
    return found


@pytest.mark.parametrize("filtered", [False, True])
@pytest.mark.parametrize("files", [1, 5])
def test_across_borders_a_document_fares_as_when_all_are_gone_through(
    tmp_path: Path, files: int, filtered: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("sklearn")
    rows = documents(11, 260, groups=9)
    monkeypatch.setattr(semantic_dedup, "mark_complete", lambda *_: None)  # keep the centroids
    monkeypatch.setattr(centroid_counts, "DOCUMENTS_PER_DESTINATION", 70)
    stages = [{**STAGE, "centroids": 12, "borders": True}]
    if filtered:
        stages.append({"use": "quality", "model": "column:score", "min_score": 0.4})
    found = run(tmp_path / "run", write(tmp_path / "in", {"a": rows}, files), *stages)
    [path] = (tmp_path / "run").glob("exchange/semantic_dedup-*/sample/out-0.arrow")
    centroids = to_matrix(read_arrow(str(path)).column("embedding"))
    vectors, good = cosine.unit(np.array([row["vector"] or [0.0] * 8 for row in rows]))
    first, second = cosine.two_nearest(vectors, centroids)
    wide = vectors.astype(np.float64)
    length = np.where(good, np.sqrt((wide**2).sum(axis=1)), 1.0)
    near = wide @ wide.T / (length[:, None] * length) >= 0.9
    shared = [{int(a), int(b)} for a, b in zip(first, second, strict=True)]
    eligible = [not filtered or row["score"] >= 0.4 for row in rows]
    wanted = kept_by_going_through(rows, near, shared, eligible)
    alone = kept_by_going_through(rows, near, [{int(a)} for a in first], eligible)
    assert sum(map(bool, wanted.values())) > sum(map(bool, alone.values()))  # borders part some
    for i, winners in wanted.items():
        value = found["a", f"{i}"]
        lost = value is not None and value[0] == "semantic_duplicate"
        assert lost == bool(winners)
        if lost:
            assert value[1] in {("a", f"{j}") for j in winners}


def test_borders_change_nothing_where_there_is_one_cluster(tmp_path: Path) -> None:
    paths = write(tmp_path / "in", {"a": documents(13, 80)}, 2)
    plain = run(tmp_path / "plain", paths, STAGE)
    assert run(tmp_path / "borders", paths, {**STAGE, "borders": True}) == plain


def test_borders_are_refused_with_the_papers_rule() -> None:
    with pytest.raises(RecipeError, match="borders must be left out with mode: paper"):
        semantic_dedup.SemanticDedup(model="column:v", borders=True, mode="paper")
