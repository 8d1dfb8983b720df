"""Calibration of filters: the truth lies inside the intervals, labels of people fit, the best threshold is found."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from classifiers import models
from cluster.errors import RecipeError
from pipelines.calibrate import labels
from pipelines.calibrate.calibrate import Question, calibrate
from pipelines.calibrate.estimate import Stratum, best_threshold, draws, precision_recall
from pipelines.cli.main import main
from pipelines.recipe.recipe import load_data
from pipelines.run import runner
from tests.support import languages
from tests.support.chat_server import ChatServer, Request, Say, completion, user_text

ROWS = 3000


def corpus(folder: Path, *, rows: int = ROWS, seed: int = 1) -> dict[str, bool]:
    """Write two datasets with a score that tells good from bad with errors; return which text is good."""
    random = np.random.default_rng(seed)
    good: dict[str, bool] = {}
    for dataset, share in (("a", 0.6), ("b", 0.2)):
        truth = random.random(rows) < share
        score = np.clip(random.normal(np.where(truth, 0.65, 0.35), 0.18), 0, 1)
        texts = [f"{dataset} document {i}, which is {'good' if t else 'bad'} text" for i, t in enumerate(truth)]
        good |= dict(zip(texts, truth.tolist(), strict=True))
        table = pa.table({"text": texts, "id": [str(i) for i in range(rows)], "url": ["u"] * rows, "score": score})
        (folder / "in").mkdir(exist_ok=True, parents=True)
        pq.write_table(table, folder / "in" / f"{dataset}.parquet")
    return good


def run(folder: Path, stages: list[dict[str, Any]]) -> Path:
    columns = {"text": "text", "id": "id", "url": "url"}
    datasets = {name: {"paths": str(folder / "in" / f"{name}.parquet"), "columns": columns} for name in "ab"}
    data = {"name": "t", "datasets": datasets, "stages": stages, "cluster": {"kind": "inline"}}
    runner.run(load_data(data, "test"), str(folder / "run"))
    return folder / "run"


FILTER = {"use": "quality", "name": "hq", "model": "column:score", "min_score": 0.5}


def honest(request: Request, before: int) -> Say:
    return completion(json.dumps({"label": "yes" if "good text" in user_text(request) else "no"}))


def truth(folder: Path, good: dict[str, bool], datasets: str = "ab") -> tuple[float, float]:
    """Return the true precision and recall of scores from 0.5 on."""
    tables = [pq.read_table(folder / "in" / f"{name}.parquet") for name in datasets]
    rows = [row for table in tables for row in table.to_pylist()]
    kept = [row for row in rows if row["score"] >= 0.5]
    right = sum(good[row["text"]] for row in kept)
    return right / len(kept), right / sum(good[row["text"]] for row in rows)


def test_the_true_precision_and_recall_lie_inside_the_intervals(tmp_path: Path) -> None:
    good = corpus(tmp_path)
    with ChatServer(honest) as server:
        judge = {"use": "llm_judge", "base_urls": [server.url], "models": ["m"], "budget_requests": 0}
        made = run(tmp_path, [judge, FILTER])
        found = calibrate(str(made), Question(stage="hq", documents=300))
        asked = len(server.seen)
        assert calibrate(str(made), Question(stage="hq", documents=300)) == found
        assert len(server.seen) == asked == 300, "answers are kept"
    for group, datasets in ((found["all"], "ab"), (found["datasets"]["a"], "a"), (found["datasets"]["b"], "b")):
        precision, recall = truth(tmp_path, good, datasets)
        assert group["precision"]["low"] <= precision <= group["precision"]["high"]
        assert group["recall"]["low"] <= recall <= group["recall"]["high"]
        assert group["documents"] == ROWS * len(datasets)
    assert found["threshold"] == 0.5
    assert abs(found["all"]["best"]["threshold"] - 0.5) < 0.12


@pytest.mark.parametrize(
    "few",
    [pytest.param((4, 0.95), marks=pytest.mark.nightly), (8, 0.5), pytest.param((30, 0.02), marks=pytest.mark.nightly)],
)
def test_intervals_hold_what_they_promise(few: tuple[int, float]) -> None:
    """Of 120 samples from known strata, far from all miss; some tiny strata, rates near 0 and 1."""
    judged, last = few
    rates = {"kept-far": last, "kept-near": 0.7, "dropped-near": 0.3, "dropped-far": 0.02}
    random = np.random.default_rng(7)
    inside = np.zeros(2)
    for number in range(120):
        strata, right, size = [], {}, 500
        for name in ("a", "b", "c"):
            for side, rate in rates.items():
                whole = random.random(size) < rate
                right[name, side] = int(whole.sum())
                strata.append(
                    Stratum(f"{name}\t\t{side}", side, side.startswith("kept"), size, judged, int(whole[:judged].sum()))
                )
        kept = sum(n for (_, side), n in right.items() if side.startswith("kept"))
        shares = precision_recall(strata, draws(strata, number), range(len(strata)))
        for i, true in enumerate((kept / (6 * size), kept / sum(right.values()))):
            low, high = shares[i].low, shares[i].high
            assert low is not None
            assert high is not None
            inside[i] += low <= true <= high
    assert (inside >= 0.88 * 120).all(), inside  # 95 of 100 are promised; 120 samples may miss some more


def test_a_stratum_judged_in_full_leaves_no_doubt() -> None:
    strata = [Stratum("a", "kept-near", True, 10, 10, 7), Stratum("b", "dropped-near", False, 10, 10, 2)]
    precision, recall = precision_recall(strata, draws(strata), [0, 1])
    assert (precision.low, precision.value, precision.high) == (0.7, 0.7, 0.7)
    assert recall.value == pytest.approx(7 / 9)
    assert recall.low == recall.high == pytest.approx(7 / 9)


def test_the_best_threshold_is_the_best_of_all() -> None:
    random = np.random.default_rng(3)
    for beta in (0.5, 1.0, 2.0):
        score = np.round(random.random(60), 1)
        score[:5] = -np.inf
        good, weight = random.random(60) < score, random.integers(1, 9, 60).astype(float)
        found = best_threshold(score, good, weight, beta)
        assert found is not None

        def f(limit: float, score: Any = score, good: Any = good, weight: Any = weight, beta: float = beta) -> float:
            kept = score >= limit
            true = weight[kept & good].sum()
            p, r = true / weight[kept].sum(), true / weight[good].sum()
            return float((1 + beta**2) * p * r / (beta**2 * p + r)) if true else 0.0

        assert found.f == pytest.approx(max(f(limit) for limit in np.unique(score[5:])))
        assert found.f == pytest.approx(f(found.value))


def test_people_label_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good = corpus(tmp_path, rows=400)
    made = run(tmp_path, [FILTER])
    path = tmp_path / "labels.csv"
    assert main(["calibrate", str(made), "--stage", "hq", "--documents", "80", "--export", str(path)]) == 0
    capsys.readouterr()
    with open(path, encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 80
    assert all(row["good"] == "" for row in rows)
    assert not any("kept" in key or "score" in key for key in rows[0]), "nothing tells the filter's verdict"
    for row in rows[:-3]:
        row["good"] = "yes" if good[row["text"]] else "No"
    with open(path, "w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    arguments = ["calibrate", str(made), "--stage", "hq", "--documents", "80", "--import", str(path), "--json"]
    assert main(arguments) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["unjudged"] == 3
    precision, _ = truth(tmp_path, good)
    assert found["all"]["precision"]["low"] <= precision <= found["all"]["precision"]["high"]
    with pytest.raises(RecipeError, match="none of the sample"):
        calibrate(str(made), Question(stage="hq", documents=20), given=str(path))


def labelled(text: str, path: Path, docs: list[int]) -> list[bool | None]:
    path.write_bytes(text.encode())
    return labels.read(str(path), docs)


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_labels_survive_spreadsheets(tmp_path: Path, end: str, delimiter: str) -> None:
    rows = [["text", "good", "doc_id", "mine"], ["a", "No", "3", ""], ['"x"', "", "1", ""], ["b", "YES ", "2", "?"]]
    text = end.join(delimiter.join(row) for row in [*rows, [""] * 4, [""] * 4]) + end
    assert labelled("\ufeff" + text, tmp_path / "labels.csv", [1, 2, 3, 4]) == [None, True, False, None]


@pytest.mark.parametrize(
    ("rows", "what"),
    [
        ("doc_id,text\n1,a\n", "lacks the column good"),
        ("", "lacks the column doc_id"),
        ("doc_id,good\n1,\n2,\n", "no label"),
        ("doc_id,good\n1,yes\n1,no\n", "two different labels"),
        ("doc_id,good\n²,yes\n", "must be a number"),
        ("doc_id,good\n1,perhaps\n", "yes or no"),
        ("doc_id,good\n9,yes\n", "none of the sample"),
        ('doc_id,good\n1,"' + "x" * 200_000, "CSV again"),
    ],
)
def test_what_is_wrong_with_labels_is_said(tmp_path: Path, rows: str, what: str) -> None:
    with pytest.raises(RecipeError, match=what):
        labelled(rows, tmp_path / "labels.csv", [1, 2])


@pytest.mark.nightly
def test_less_is_better_where_the_limit_is_the_highest_score(tmp_path: Path) -> None:
    corpus(tmp_path, rows=500)
    with ChatServer(lambda request, before: honest_of_bad(request)) as server:
        judge = {"use": "llm_judge", "base_urls": [server.url], "models": ["m"], "budget_requests": 0}
        low = {"use": "quality", "name": "low", "model": "column:score", "max_score": 0.5}
        found = calibrate(str(run(tmp_path, [judge, low])), Question(stage="low", documents=200))
    assert found["kept"] == "up to the threshold"
    assert found["threshold"] == 0.5
    assert abs(found["all"]["best"]["threshold"] - 0.5) < 0.15


def honest_of_bad(request: Request) -> Say:
    return completion(json.dumps({"label": "yes" if "bad text" in user_text(request) else "no"}))


def test_language_identification_is_calibrated_too(tmp_path: Path) -> None:
    try:
        models.resolve("fasttext:lid.176.ftz")
    except RecipeError as error:
        pytest.skip(str(error))
    texts = {code: languages.good(code, 60) for code in ("ko", "en")}
    (tmp_path / "in").mkdir()
    for name in "ab":
        rows = [f"{text} {i} {name}" for code in texts for i, text in enumerate(texts[code])]
        table = pa.table({"text": rows, "id": [str(i) for i in range(len(rows))], "url": ["u"] * len(rows)})
        pq.write_table(table, tmp_path / "in" / f"{name}.parquet")

    def script(request: Request, before: int) -> Say:
        said = user_text(request).partition('"""')[2]
        assert "codes): en?" in user_text(request)
        return completion(json.dumps({"label": "yes" if said.isascii() else "no"}))

    with ChatServer(script) as server:
        judge = {"use": "llm_judge", "base_urls": [server.url], "models": ["m"], "budget_requests": 0}
        made = run(tmp_path, [judge, {"use": "language_id", "languages": ["en"], "min_score": 0.5}])
        found = calibrate(str(made), Question(stage="language_id", documents=60))
    assert found["all"]["precision"]["value"] == 1.0
    assert set(found["languages"]) >= {"en", "ko"}
    assert found["languages"]["ko"]["best"] is None, "no threshold keeps another language"


def test_what_is_wrong_is_said(tmp_path: Path) -> None:
    corpus(tmp_path, rows=60)
    made = str(run(tmp_path, [FILTER, {"use": "minhash"}]))
    with pytest.raises(RecipeError, match="stage must be one of hq, minhash"):
        calibrate(made, Question(stage="nothing"))
    with pytest.raises(RecipeError, match="compares no score"):
        calibrate(made, Question(stage="minhash"))
    with pytest.raises(RecipeError, match="0 stages llm_judge"):
        calibrate(made, Question(stage="hq"))
    with pytest.raises(RecipeError, match="does not exist"):
        calibrate(made, Question(stage="hq"), given=str(tmp_path / "none.csv"))
