"""Cutting by a score: quantiles of a stated population, exact; GPT-3's Pareto draw by content hash."""

from __future__ import annotations

import json
import math
import random
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.errors import RecipeError
from pipelines.recipe.recipe import load_data
from pipelines.run import runner
from stages.kernels.hashes.hashing import mix64
from stages.score_cut import ScoreCut, from_ordered, pareto_draw, to_ordered

FLOATS = st.lists(st.floats(allow_nan=False), min_size=1, max_size=20)


@given(FLOATS)
def test_ordered_bits_sort_as_the_numbers_do_and_come_back(values: list[float]) -> None:
    numbers = np.array(values)
    bits = to_ordered(numbers)
    assert from_ordered(bits).tolist() == (numbers + 0.0).tolist()
    assert numbers[np.argsort(bits, kind="stable")].tolist() == sorted(values)


def test_draws_have_the_distribution_of_numpys_pareto() -> None:
    draws = pareto_draw(mix64(np.arange(20_000, dtype=np.uint64), 3), 0, 9.0)
    for x in (0.01, 0.1, 0.3, 1.0):
        want = (1 + x) ** -9.0
        assert abs((draws > x).mean() - want) < 4 * math.sqrt(want * (1 - want) / len(draws)) + 1e-3


def corpus(seed: int) -> list[dict[str, Any]]:
    random_ = random.Random(seed)
    made = []
    for n in range(150):
        score = random_.choice([None, round(random_.uniform(-1, 1), 1), random_.random()])
        made.append({"id": str(n), "text": f"text number {n}", "score": score, "dataset": random_.choice("ab")})
    return made


def run(folder: Path, documents: list[dict[str, Any]], files: int, stages: list[dict[str, Any]]) -> dict[str, Any]:
    datasets = {}
    for name in "ab":
        mine = [{k: v for k, v in d.items() if k != "dataset"} for d in documents if d["dataset"] == name]
        (folder / name).mkdir(parents=True, exist_ok=True)
        for n in range(files):
            lines = "".join(json.dumps(row) + "\n" for row in mine[n::files])
            (folder / name / f"{n}.jsonl").write_text(lines)
        datasets[name] = {"paths": str(folder / name), "columns": {"id": "id"}}
    data = {"datasets": datasets, "stages": stages, "cluster": {"kind": "inline"}}
    runner.run(load_data(data, "test"), str(folder / "run"), with_report=False)
    rows = [r for f in (folder / "run" / "ledger").glob("*.parquet") for r in pq.read_table(f).to_pylist()]
    return {row["id"]: row for row in rows}


SCORE: dict[str, Any] = {"use": "quality", "model": "column:score"}


def plain_threshold(values: list[float], share: float) -> float:
    return sorted(values)[max(1, math.ceil(share * len(values))) - 1]


@pytest.mark.parametrize("per", ["dataset", "all"])
@pytest.mark.parametrize("files", [1, 4])
def test_quantiles_are_those_of_the_documents_that_live(tmp_path: Path, per: str, files: int) -> None:
    documents = corpus(1)
    stages = [{**SCORE, "min_score": -0.5}, {"use": "score_cut", "min_quantile": 0.7, "per": per}]
    ledger = run(tmp_path, documents, files, stages)
    live = [d for d in documents if d["score"] is not None and d["score"] >= -0.5]
    for d in live:
        values = [o["score"] for o in live if per == "all" or o["dataset"] == d["dataset"]]
        limit = plain_threshold(values, 0.7)
        row = ledger[d["id"]]
        assert row["kept"] == (d["score"] >= limit)
        if not row["kept"]:
            assert (row["reason"], row["value"], row["threshold"]) == ("below_quantile", d["score"], limit)
    again = run(tmp_path, documents, files, [stages[0], {**stages[1], "min_quantile": 0.0}])
    assert all(again[d["id"]]["kept"] for d in live)


def test_the_pareto_draw_prefers_good_documents_and_is_the_same_for_any_partitioning(tmp_path: Path) -> None:
    documents = corpus(2)
    stages = [SCORE, {"use": "score_cut", "pareto_alpha": 9.0}]
    ledger = run(tmp_path / "1", documents, 1, stages)
    kept = {key for key, row in ledger.items() if row["kept"]}
    shuffled = random.Random(1).sample(documents, len(documents))
    again = run(tmp_path / "2", shuffled, 3, stages)
    assert kept == {key for key, row in again.items() if row["kept"]}
    by_score = {d["id"]: d["score"] for d in documents}
    assert all(by_score[key] is not None for key in kept)
    good = [key in kept for key, score in by_score.items() if score is not None and score > 0.9]
    bad = [key in kept for key, score in by_score.items() if score is not None and score < 0.3]
    assert sum(good) / len(good) > 0.3 > sum(bad) / len(bad)
    assert {row["reason"] for row in ledger.values()} == {None, "not_drawn", "no_score"}
    other = run(tmp_path / "1", documents, 1, [SCORE, {**stages[1], "seed": 5}])
    assert kept != {key for key, row in other.items() if row["kept"]}


def test_documents_without_a_score_may_stay(tmp_path: Path) -> None:
    documents = corpus(3)
    cut = {"use": "score_cut", "min_quantile": 0.5, "keep_missing": True}
    ledger = run(tmp_path, documents, 1, [{**SCORE, "min_score": 0.0, "keep_missing": True}, cut])
    assert all(ledger[d["id"]]["kept"] for d in documents if d["score"] is None)
    assert {row["reason"] for row in ledger.values()} == {None, "low_quality", "below_quantile"}


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({}, "min_quantile must be given"),
        ({"min_quantile": 0.5, "pareto_alpha": 9.0}, "not both"),
        ({"pareto_alpha": 0.0}, "above 0"),
    ],
)
def test_a_wrong_parameter_is_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        ScoreCut(**values)


@pytest.mark.parametrize(
    ("stages", "message"),
    [
        ([{"use": "score_cut", "min_quantile": 0.5}], "of must be a stage before"),
        ([SCORE, {"use": "score_cut", "min_quantile": 0.5, "column": "x"}], "a fact of stage quality"),
        ([{**SCORE, "datasets": ["a"]}, {"use": "score_cut", "min_quantile": 0.5}], "does not apply"),
        ([SCORE, {"use": "score_cut", "min_quantile": 0.5, "per": "language"}], "language_id"),
    ],
)
def test_a_score_that_is_not_there_is_named(tmp_path: Path, stages: list[dict[str, Any]], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        run(tmp_path, corpus(3), 1, stages)
