"""A judge whose verdicts are known is copied by a classifier, whose agreement is measured on other documents."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from classifiers import quality
from classifiers.evaluation import auc
from cluster.errors import RecipeError
from pipelines.calibrate.distil import Wish, distil, matching_threshold
from pipelines.cli.main import main
from pipelines.recipe.recipe import load_data
from pipelines.run import runner
from tests.support import embedding_models
from tests.support.chat_server import ChatServer, Request, Say, user_text, verdict

GOOD = (
    "theorem",
    "proof",
    "energy",
    "molecule",
    "history",
    "river",
    "law",
    "theory",
    "measure",
    "equation",
    "cell",
    "planet",
    "grammar",
)
BAD = ("click", "buy", "cheap", "now", "sale", "free", "casino", "winner", "bonus", "deal", "coupon", "subscribe")
BOTH = (
    "the",
    "of",
    "and",
    "to",
    "in",
    "a",
    "is",
    "that",
    "for",
    "it",
    "as",
    "with",
    "on",
    "by",
    "at",
    "from",
    "this",
    "be",
    "are",
)


def text(draw: random.Random) -> tuple[str, float]:
    """Return a text, and what the judge says of it: how many of its words are good ones."""
    share = draw.random()
    words = [draw.choice(BOTH if draw.random() < 0.6 else GOOD if draw.random() < share else BAD) for _ in range(60)]
    return " ".join(words), share


def score_of(request: Request) -> int:
    words = user_text(request).split()
    good, bad = (sum(word in side for word in words) for side in (set(GOOD), set(BAD)))
    return round(5 * good / max(1, good + bad))


def judged(request: Request, before: int) -> Say:
    return verdict(score_of(request))


def recipe(folder: Path, server: ChatServer, rows: int, **more: Any) -> Any:
    draw = random.Random(4)
    (folder / "in").mkdir(parents=True, exist_ok=True)
    for name in "ab":
        texts = [f"{text(draw)[0]} {name}{i}" for i in range(rows)]
        table = pa.table({"text": texts, "id": [str(i) for i in range(rows)], "url": ["u"] * rows})
        pq.write_table(table, folder / "in" / f"{name}.parquet")
    stages = [{"use": "llm_judge", "base_urls": [server.url], "models": ["m"], "min_score": 3, **more}]
    columns = {"text": "text", "id": "id", "url": "url"}
    datasets = {name: {"paths": str(folder / "in" / f"{name}.parquet"), "columns": columns} for name in "ab"}
    return load_data({"name": "t", "datasets": datasets, "stages": stages, "cluster": {"kind": "inline"}}, "test")


def held_out(spec: str) -> float:
    """Return the AUC of a model on texts that no run has seen, by the judge's verdict."""
    draw = random.Random(99)
    texts = [text(draw)[0] for _ in range(300)]
    good = np.array([score_of({"messages": [{"content": one}]}) >= 3 for one in texts])
    scores = quality.load(quality.Settings(spec=spec)).score(pa.array(texts, pa.large_string())).value
    return auc(scores[good], scores[~good])


def test_a_known_judge_is_recovered(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = str(tmp_path / "quality.bin")
    with ChatServer(judged) as server:
        runner.run(recipe(tmp_path, server, 900, sample=1500), str(tmp_path / "run"))
        assert len(server.seen) == 1500
        assert main(["classifier", "distil", str(tmp_path / "run"), "-o", out, "--json"]) == 0
        assert len(server.seen) == 1500, "distilling asks nothing"
    found = json.loads(capsys.readouterr().out)
    assert found["all"]["auc"] > 0.97
    assert found["all"]["kappa"] > 0.75
    assert set(found["datasets"]) == {"a", "b"}
    assert found["trained"] + found["tuned_on"] + found["all"]["documents"] == 1500
    assert abs(found["all"]["kept"] - found["all"]["good"]) < 0.1 * found["all"]["documents"]
    assert held_out(f"fasttext:{out}") > 0.97
    card = json.loads(Path(f"{out}.card.json").read_text())
    assert card["distilled"]["threshold"] == found["threshold"]
    assert "Distilled from a judge" in Path(f"{out}.card.md").read_text()


@pytest.mark.nightly
def test_one_command_leads_from_corpus_to_filter(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with ChatServer(judged) as server:
        made = recipe(tmp_path, server, 400)
        path = tmp_path / "mix.yaml"
        path.write_text(made.to_yaml())
        out = str(tmp_path / "q.bin")
        run = str(tmp_path / "run")
        assert main(["classifier", "distil", run, "-o", out, "--recipe", str(path)]) == 0
    line = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("{use: quality"))
    assert f"fasttext:{out}" in line


@pytest.mark.nightly
def test_a_head_on_embeddings_copies_a_judge_too(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    pytest.importorskip("sklearn")
    model, problem = embedding_models.minilm()
    if problem:
        pytest.skip(problem)
    with ChatServer(judged) as server:
        runner.run(recipe(tmp_path, server, 300), str(tmp_path / "run"))
    wish = Wish(to="onnx", embeddings=f"onnx:{model}")
    found = distil(str(tmp_path / "run"), str(tmp_path / "head"), wish)
    assert found["model"] == f"onnx:{tmp_path / 'head'}"
    assert found["all"]["auc"] > 0.9
    assert held_out(found["model"]) > 0.9
    first = quality.digest_of(found["model"])
    (tmp_path / "head" / "head.json").write_text('{"weights": [1.0], "bias": 0, "max_tokens": 9}')
    assert quality.digest_of(found["model"]) != first
    with pytest.raises(RecipeError, match="has 1 weights"):
        held_out(found["model"])


def test_the_threshold_keeps_what_the_judge_keeps() -> None:
    random_ = np.random.default_rng(5)
    for _ in range(50):
        score, weight = random_.random(40), random_.integers(1, 5, 40).astype(float)
        good = random_.random(40) < 0.4
        if good.any():
            kept = weight[score >= matching_threshold(score, good, weight)].sum()
            assert weight[good].sum() <= kept < weight[good].sum() + 5


def test_what_is_wrong_is_said(tmp_path: Path) -> None:
    with ChatServer(lambda request, before: verdict(0)) as server:
        runner.run(recipe(tmp_path, server, 60), str(tmp_path / "run"))
    run, out = str(tmp_path / "run"), str(tmp_path / "q.bin")
    with pytest.raises(RecipeError, match="0 documents good"):
        distil(run, out, Wish())
    with pytest.raises(RecipeError, match="fasttext or onnx"):
        distil(run, out, Wish(to="gbm"))
    with pytest.raises(RecipeError, match="--embeddings"):
        distil(run, out, Wish(to="onnx"))
    with pytest.raises(RecipeError, match="stages llm_judge"):
        distil(run, out, Wish(judge="other"))
