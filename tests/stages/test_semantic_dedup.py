"""Semantic dedup through a whole run: an embedding column against the oracle, and a real model on paraphrases."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cluster.errors import RecipeError, ShardError
from pipelines.recipe.recipe import load_data
from pipelines.run import runner
from stages import semantic_dedup
from stages.dedup.centroid_counts import centroids_for
from stages.inputs.vectors import column_vectors
from stages.kernels.similarity import cosine
from stages.kernels.survivors.candidates import Candidates
from stages.semantic_dedup import SemanticDedup
from tests.support import oracles
from tests.support.embedding_models import minilm

STAGE = {"use": "semantic_dedup", "model": "column:vector", "cosine_threshold": 0.9}
Rows = list[dict[str, Any]]


def documents(seed: int, count: int, groups: int = 12) -> Rows:
    """Documents around a few directions; some without a vector."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(groups, 8))
    made = []
    for number in range(count):
        near = centres[rng.integers(groups)] + rng.normal(size=8) * 0.28
        vector = None if rng.random() < 0.05 else near.round(3).tolist()
        made.append({"text": f"text {number} of {seed}", "id": f"{number}", "vector": vector, "score": rng.random()})
    return made


def write(folder: Path, datasets: dict[str, Rows], files: int, kind: str = "parquet") -> dict[str, str]:
    paths = {}
    for name, rows in datasets.items():
        (folder / name).mkdir(parents=True)
        size = -(-len(rows) // files)
        for part in range(0, len(rows), size):
            path = folder / name / f"{part:05d}.{kind}"
            if kind == "parquet":
                pq.write_table(pa.Table.from_pylist(rows[part : part + size]), path)
            else:
                path.write_text("".join(json.dumps(row) + "\n" for row in rows[part : part + size]))
        paths[name] = str(folder / name)
    return paths


def run(root: Path, paths: dict[str, str], *stages: dict[str, Any], **more: Any) -> dict[tuple[str, str], Any]:
    """Run and return, by (dataset, id), what each document lost to and how similar it is."""
    datasets = {name: {"paths": path, "columns": {"text": "text", "id": "id"}} for name, path in paths.items()}
    data = {"name": "t", "datasets": datasets, "stages": list(stages), "cluster": {"kind": "inline"}, **more}
    runner.run(load_data(data, "test"), str(root), with_report=False)
    rows = pa.concat_tables([pq.read_table(p) for p in sorted((root / "ledger").glob("*.parquet"))]).to_pylist()
    name = {row["doc_id"]: (row["dataset"], row["id"]) for row in rows}
    return {
        name[row["doc_id"]]: row["reason"]
        and (row["reason"], name.get(row["representative"]), row["similarity"], row["similarity_kind"])
        for row in rows
    }


def expected(datasets: dict[str, Rows], priority: list[str], longest: bool = False) -> dict[tuple[str, str], Any]:
    """Who loses to whom by the oracle; the order is priority, then the documents' own hashes."""
    from stages.kernels.hashes.hashing import buffers, content_hash

    flat = [(name, row) for name in priority for row in datasets[name]]
    h1, h2 = content_hash(*buffers(pa.array([row["text"] for _, row in flat], pa.large_string())))
    order = sorted(range(len(flat)), key=lambda i: (priority.index(flat[i][0]), int(h1[i]), int(h2[i]) >> 48))
    order = [i for i in order if flat[i][1]["vector"] is not None]
    vectors, _ = cosine.unit(np.array([flat[i][1]["vector"] for i in order]))
    wide = vectors.astype(np.float64)
    length = np.sqrt((wide**2).sum(axis=1))
    near = wide @ wide.T / (length[:, None] * length) >= 0.9
    n = len(order)
    rank = [priority.index(flat[i][0]) for i in order]
    no, yes = [False] * n, [True] * n
    lost = oracles.representatives([list(range(n))], rank, no, yes, False, n, lambda a, b: bool(near[a, b]))
    key = [(flat[i][0], flat[i][1]["id"]) for i in order]
    return {key[i]: None if w is None else key[w] for i, w in enumerate(lost)}


def losses(found: dict[tuple[str, str], Any]) -> dict[tuple[str, str], Any]:
    return {key: value and value[1] for key, value in found.items()}


def test_survivors_are_those_of_the_oracle_for_every_partitioning(tmp_path: Path) -> None:
    datasets = {"a": documents(1, 60), "b": documents(2, 60), "c": documents(1, 60)}
    for row in datasets["c"]:
        row["text"] += " again"
    priority = ["b", "a", "c"]
    wanted = expected(datasets, priority)
    assert 20 < sum(v is not None for v in wanted.values()) < 150
    for files, kind, reverse in ((1, "parquet", False), (5, "parquet", True), (3, "jsonl", False)):
        given = {name: rows[::-1] if reverse else rows for name, rows in datasets.items()}
        paths = write(tmp_path / f"{kind}{files}", given, files, kind)
        found = run(tmp_path / f"run-{kind}{files}", paths, STAGE, priority=priority)
        assert {k: v for k, v in losses(found).items() if k in wanted} == wanted
        for value in found.values():
            if value is not None:
                assert value[0] == "semantic_duplicate"
                assert value[2] >= np.float32(0.9)
                assert value[3] == "exact"


def test_documents_without_a_vector_stay(tmp_path: Path) -> None:
    rows = [{"text": f"t{i}", "id": f"{i}", "vector": v} for i, v in enumerate([None, [0.0, 0.0], [1.0, 0.0], None])]
    found = run(tmp_path / "run", write(tmp_path / "in", {"a": rows}, 1), STAGE)
    assert set(found.values()) == {None}


def test_centroids_do_not_depend_on_the_partitioning(tmp_path: Path) -> None:
    pytest.importorskip("sklearn")
    datasets = {"a": documents(3, 150), "b": documents(3, 150)}
    stage = {**STAGE, "centroids": 6}
    found = []
    for files in (1, 7):
        given = {name: rows[::-1] if files == 7 else rows for name, rows in datasets.items()}
        paths = write(tmp_path / f"in{files}", given, files)
        found.append(losses(run(tmp_path / f"run{files}", paths, stage)))
    assert found[0] == found[1]
    everything = losses(run(tmp_path / "all", write(tmp_path / "again", datasets, 2), STAGE))
    dropped, dropped_by_all = (sum(v is not None for v in f.values()) for f in (found[0], everything))
    assert 0.7 * dropped_by_all < dropped <= dropped_by_all


def test_priority_protection_and_promotion_are_those_of_the_other_dedup_stages(tmp_path: Path) -> None:
    same = {"vector": [1.0, 2.0]}
    paths = write(
        tmp_path / "in",
        {
            "a": [{"text": "one", "id": "1", "score": 0.1, **same}],
            "b": [{"text": "two", "id": "2", "score": 0.9, **same}],
        },
        1,
    )
    quality = {"use": "quality", "model": "column:score", "min_score": 0.5}
    plain = run(tmp_path / "plain", paths, STAGE)
    assert losses(plain) == {("a", "1"): None, ("b", "2"): ("a", "1")}
    protected = run(tmp_path / "protected", paths, {**STAGE, "protect": ["b"]})
    assert losses(protected) == {("a", "1"): ("b", "2"), ("b", "2"): None}
    promoted = run(tmp_path / "promoted", paths, STAGE, quality)
    assert promoted[("b", "2")] is None
    assert promoted[("a", "1")][0] == "low_quality"
    orphaned = run(tmp_path / "orphaned", paths, {**STAGE, "orphans": "allow"}, quality)
    assert orphaned[("b", "2")][:2] == ("semantic_duplicate", ("a", "1"))
    twice = write(tmp_path / "twice", {"a": [{"text": t, "id": t, **same} for t in "xyz"]}, 1)
    assert set(run(tmp_path / "keep", twice, {**STAGE, "within_dataset": "keep_all"}).values()) == {None}


def test_another_threshold_embeds_nothing_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = write(tmp_path / "in", {"a": documents(4, 40)}, 2)
    first = run(tmp_path / "run", paths, STAGE)

    def fail(*_: Any) -> Any:
        raise AssertionError("embedded again")

    monkeypatch.setattr(semantic_dedup, "column_vectors", fail)
    second = run(tmp_path / "run", paths, {**STAGE, "cosine_threshold": 0.99})
    assert sum(map(bool, second.values())) < sum(map(bool, first.values()))


def test_vectors_of_different_lengths_are_refused(tmp_path: Path) -> None:
    short, long = (
        [{"text": "t", "id": "1", "vector": [1.0, 2.0]}],
        [{"text": "u", "id": "2", "vector": [1.0, 2.0, 3.0]}],
    )
    with pytest.raises(RecipeError, match="2 numbers in a, 3 numbers in b"):
        run(tmp_path / "run", write(tmp_path / "in", {"a": short, "b": long}, 1), STAGE)
    with pytest.raises(ShardError, match="different lengths"):
        column_vectors(pa.chunked_array([[[1.0], [1.0, 2.0]]]), "column:v")
    with pytest.raises(ShardError, match="lists of numbers"):
        column_vectors(pa.chunked_array([[True]]), "column:v")


def test_a_column_that_is_empty_everywhere_is_refused(tmp_path: Path) -> None:
    paths = write(tmp_path / "in", {"a": [{"text": "t", "id": "1"}]}, 1, "jsonl")
    with pytest.raises(RecipeError, match="none of 1 documents has an embedding in column:vector"):
        run(tmp_path / "run", paths, STAGE)


@pytest.mark.parametrize("kind", [pa.list_(pa.float32()), pa.large_list(pa.float64()), pa.list_(pa.float32(), 2)])
def test_every_kind_of_list_is_a_vector(kind: pa.DataType) -> None:
    values = pa.chunked_array([pa.array([[1, 2], None, [3, 4]], kind)])
    assert column_vectors(values, "column:v").tolist() == [[1, 2], [0, 0], [3, 4]]


def test_small_corpora_are_compared_all_with_all() -> None:
    assert [centroids_for(n) for n in (2, 15_000, 100_000, 10**9)] == [1, 2, 10, 100_000]
    assert centroids_for(14_000) == 1


@pytest.mark.parametrize("model", ["", "column:", "bert:x"])
def test_a_bad_model_is_a_bad_recipe(model: str) -> None:
    with pytest.raises(RecipeError, match="onnx:FOLDER"):
        SemanticDedup(model=model)


PARAPHRASES = [
    ("A man is playing a guitar on stage.", "On the stage, a man plays a guitar."),
    ("How do I reset my password?", "What is the way to reset my password?"),
    ("She bought a new car yesterday.", "Yesterday she purchased a new automobile."),
]
OTHERS = ["The bread is in the oven.", "The museum is closed on Mondays.", "Rain is expected in the north tomorrow."]


def test_a_real_model_finds_paraphrases_and_nothing_else(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    pytest.importorskip("tokenizers")
    folder, problem = minilm()
    if problem:
        pytest.skip(f"the embedding model cannot be fetched: {problem}")
    texts = [*(a for a, _ in PARAPHRASES), *OTHERS]
    datasets = {
        "a": [{"text": text, "id": f"{i}"} for i, text in enumerate(texts)],
        "b": [{"text": b, "id": f"{i}"} for i, (_, b) in enumerate(PARAPHRASES)],
    }
    stage = {"use": "semantic_dedup", "model": f"onnx:{folder}"}
    found = run(tmp_path / "run", write(tmp_path / "in", datasets, 1), stage)
    assert losses(found) == {
        **{("a", f"{i}"): None for i in range(len(texts))},
        **{("b", f"{i}"): ("a", f"{i}") for i in range(len(PARAPHRASES))},
    }


# --- SemDeDup's own rule ---------------------------------------------------------------------------------


def chosen(count: int, **arrays: Any) -> Candidates:
    no, yes = np.zeros(count, np.bool_), np.ones(count, np.bool_)
    given = {"rank": np.arange(count), "dataset": np.zeros(count, np.int32), "protected": no, "eligible": yes}
    return Candidates(**{**given, **arrays})


def on_circle(*degrees: float) -> cosine.F16:
    angle = np.radians(degrees)
    return cosine.unit(np.stack([np.cos(angle), np.sin(angle)], axis=1))[0]


def lost(vectors: cosine.F16, candidates: Candidates, first: str, threshold: float) -> list[int]:
    order = cosine.paper_order(vectors, candidates, first)
    return cosine.survivors(vectors, candidates, keep_all=False, threshold=threshold, paper=order).tolist()


def test_the_paper_drops_by_dropped_documents_too() -> None:
    chain, near = on_circle(0, 20, 40, 60), 0.93  # the cosine of 20 degrees is .94, of 40 .77
    assert cosine.survivors(chain, chosen(4), keep_all=False, threshold=near).tolist() == [-1, 0, -1, 2]
    assert lost(chain, chosen(4), "order", near) == [-1, 0, 0, 0]
    assert lost(chain, chosen(4), "farthest", near) == [-1, 0, 3, -1]  # 0 and 60 come first, 20 and 40 are near them
    assert lost(chain, chosen(4), "nearest", near) == [1, -1, 1, 1]
    able = np.array([True, False, True, True])
    assert lost(chain, chosen(4, eligible=able), "order", near) == [-1, 0, -1, 2]
    spared = np.array([False, False, True, False])
    assert lost(chain, chosen(4, protected=spared), "order", near) == [-1, 0, -1, 2]
    assert lost(chain, chosen(4, dataset=np.array([1, 1, 1, 0], np.int32)), "farthest", near) == [-1, 0, 3, -1]


def test_the_papers_rule_gives_the_numbers_of_nemo_curators_test() -> None:
    sklearn = pytest.importorskip("sklearn")
    from sklearn.cluster import KMeans
    from sklearn.datasets import make_blobs

    assert sklearn
    points, _ = make_blobs(n_samples=[100, 200, 300, 400, 500], centers=None, n_features=3, random_state=42)
    points = points / np.linalg.norm(points, axis=1, keepdims=True)
    label = KMeans(5, random_state=42, n_init=1).fit_predict(points)
    dropped = {"farthest": 0, "nearest": 0}
    for first in dropped:
        for centroid in range(5):
            vectors, _ = cosine.unit(points[label == centroid])
            dropped[first] += sum(at >= 0 for at in lost(vectors, chosen(len(vectors)), first, 0.99))
    assert dropped == {"farthest": 1471, "nearest": 1495}


def test_paper_equals_the_plain_rule_beyond_a_block(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cosine, "BLOCK", 7)
    monkeypatch.setattr(cosine, "ACROSS", 5)
    rng = np.random.default_rng(3)
    vectors, _ = cosine.unit(rng.normal(size=(60, 3)))
    candidates = chosen(60, eligible=rng.random(60) < 0.8, protected=rng.random(60) < 0.1)
    order = cosine.paper_order(vectors, candidates, "farthest").tolist()
    found, want = lost(vectors, candidates, "farthest", 0.8), [-1] * 60
    for place, row in enumerate(order):
        if candidates.protected[row]:
            continue
        pairs = [e for e in order[:place] if candidates.eligible[e]]
        near = cosine.pair_cosines(vectors, np.full(len(pairs), row), np.array(pairs, np.int64)) >= 0.8
        first = next((e for e, hit in zip(pairs, near, strict=True) if hit), -1)
        want[row] = first if first < 0 or want[first] < 0 else want[first]
    assert found == want


def test_paper_through_a_run_and_wrong_modes(tmp_path: Path) -> None:
    angles = {d: np.radians(d) for d in (0, 20, 40, 60)}
    rows = [{"text": f"t{d}", "id": str(d), "vector": [float(np.cos(a)), float(np.sin(a))]} for d, a in angles.items()]
    paths = write(tmp_path, {"a": rows}, 2)
    stage = {**STAGE, "cosine_threshold": 0.93, "mode": "paper"}
    found = losses(run(tmp_path / "run", paths, stage))
    assert found == {("a", "0"): None, ("a", "60"): None, ("a", "20"): ("a", "0"), ("a", "40"): found[("a", "40")]}
    assert found[("a", "40")] in (("a", "60"), ("a", "0"))
    for key in ("mode", "first"):
        with pytest.raises(RecipeError, match=f"{key} must be one of"):
            SemanticDedup(model="column:x", **{key: "all"})
