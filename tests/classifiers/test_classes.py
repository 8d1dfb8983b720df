"""Classifiers of several labels and of numbers: repeatable, measured, used by `label` and `quality`."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from classifiers import quality, train
from classifiers.classes import classes_of
from cluster.errors import RecipeError
from pipelines.cli.main import main
from pipelines.commands.classifier import train_labels, train_scores
from stages.label import Label
from stages.quality import Quality

TOPICS = {
    "law and order": ["court", "judge", "statute", "appeal", "verdict"],
    "cooking": ["onion", "butter", "oven", "recipe", "flour"],
    "sport": ["goal", "match", "league", "coach", "stadium"],
}
COMMON = ["the", "of", "and", "to", "is", "for"]
SMALL: dict[str, Any] = {"dimensions": 8, "bucket": 2000, "epoch": 20, "learning_rate": 0.5}


def topic_text(topic: str, random_: random.Random) -> str:
    return " ".join(random_.choice(TOPICS[topic] if random_.random() < 0.5 else COMMON) for _ in range(30))


@pytest.fixture(scope="module")
def topics(tmp_path_factory: pytest.TempPathFactory) -> Path:
    random_ = random.Random(3)
    rows = [{"text": topic_text(topic, random_), "topic": topic} for topic in TOPICS for _ in range(80)]
    rows += [{"text": None, "topic": "sport"}, {"text": "no topic here", "topic": None}]
    random_.shuffle(rows)
    path = tmp_path_factory.mktemp("topics") / "topics.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture(scope="module")
def scored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Texts whose score is the share of good words, times five."""
    random_ = random.Random(4)
    rows = []
    for _ in range(400):
        share = random_.random()
        words = [random_.choice(TOPICS["sport"] if random_.random() < share else COMMON) for _ in range(60)]
        rows.append({"text": " ".join(words), "score": 5 * share, "whole": round(5 * share)})
    path = tmp_path_factory.mktemp("scored") / "scored.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def documents(texts: list[str]) -> pa.Table:
    return pa.table({"text": pa.array(texts, pa.large_string())})


@pytest.fixture(scope="module")
def topic_model(topics: Path) -> str:
    trained = train_labels(str(topics), topics.parent / "topic.bin", label_column="topic", **SMALL)
    assert trained.results is not None
    assert trained.results.accuracy > 0.95
    assert {row.label for row in trained.results.labels} == {"law_and_order", "cooking", "sport"}
    assert sum(trained.counts.texts.values()) == 240
    card = json.loads(Path(trained.card).read_text())
    assert card["held_out"]["macro_f1"] == trained.results.macro_f1
    return f"fasttext:{trained.path}"


def test_labels_of_a_model_are_facts_and_decide(topic_model: str) -> None:
    random_ = random.Random(9)
    texts = [topic_text(topic, random_) for topic in TOPICS]
    stage = Label(model=topic_model, name="topic", keep_labels=("sport", "cooking"))
    facts = stage.annotate(documents(texts))
    assert facts.column("label").to_pylist() == ["law_and_order", "cooking", "sport"]
    assert all(score > 0.6 for score in facts.column("label_score").to_pylist())
    found = stage.decide(facts)
    named = [found.reasons[code] if code >= 0 else None for code in found.reason.tolist()]
    assert named == ["label", None, None]
    dropped = Label(model=topic_model, drop_labels=("sport",)).decide(facts).dropped.tolist()
    assert dropped == [False, False, True]
    certain = Label(model=topic_model, min_score=1.0).decide(facts)
    assert certain.dropped.tolist() == [score < 1.0 for score in facts.column("label_score").to_pylist()]


def test_a_column_names_labels_too_and_may_name_none() -> None:
    stage = Label(model="column:topic", keep_labels=("sport",))
    facts = stage.annotate(pa.table({"column:topic": pa.array(["sport", "cooking", None])}))
    found = stage.decide(facts)
    assert [found.reasons[code] if code >= 0 else None for code in found.reason] == [None, "label", "no_label"]


def test_the_probability_of_one_label_is_a_quality_score(topic_model: str) -> None:
    random_ = random.Random(9)
    stage = Quality(model=topic_model, positive_label="sport", max_score=0.5)
    facts = stage.annotate(documents([topic_text(topic, random_) for topic in TOPICS]))
    assert stage.decide(facts).dropped.tolist() == [False, False, True]


def test_a_model_of_labels_without_a_positive_one_is_no_quality_model(topic_model: str) -> None:
    with pytest.raises(RecipeError, match="has no label that looks positive"):
        quality.load(quality.Settings(spec=topic_model))


@pytest.mark.parametrize("column", ["whole", "score"])
def test_a_number_is_learned_and_is_the_score(scored: Path, tmp_path: Path, column: str) -> None:
    trained = train_scores(str(scored), tmp_path / "n.bin", score_column=column, bins=6, **SMALL)
    assert trained.results is not None
    assert trained.results.correlation is not None
    assert trained.results.correlation > 0.8
    assert trained.results.error is not None
    assert trained.results.error < 1
    good, bad = " ".join(TOPICS["sport"] * 12), " ".join(COMMON * 10)
    stage = Quality(model=f"fasttext:{trained.path}", min_score=2.5)
    facts = stage.annotate(documents([good, bad]))
    high, low = facts.column("quality_score").to_pylist()
    assert high > 3.5 > 1.5 > low
    assert stage.decide(facts).dropped.tolist() == [False, True]


def test_tuning_is_repeatable_and_no_worse(scored: Path, tmp_path: Path) -> None:
    weak = {**SMALL, "epoch": 1, "learning_rate": 0.01}
    plain = train_scores(str(scored), tmp_path / "plain.bin", score_column="whole", **weak)
    models = [
        train_scores(str(scored), tmp_path / f"{name}.bin", score_column="whole", autotune=4, **weak) for name in "ab"
    ]
    assert (tmp_path / "a.bin").read_bytes() == (tmp_path / "b.bin").read_bytes()
    assert models[0].parameters.epoch > 1
    assert models[0].results is not None
    assert plain.results is not None
    assert models[0].results.accuracy >= plain.results.accuracy


def test_trials_begin_with_what_was_given_and_are_as_many_as_wished() -> None:
    chosen = train.Parameters(autotune=7, epoch=3, seed=5)
    found = train.trials(chosen)
    assert len(found) == 7
    assert (found[0].epoch, found[0].autotune) == (3, 0)
    assert found == train.trials(chosen)
    assert found[1:] != train.trials(train.Parameters(autotune=7, epoch=3, seed=6))[1:]


def test_numbers_become_classes_that_hold_about_as_many_texts() -> None:
    values = np.random.default_rng(1).exponential(size=1000)
    names, edges = classes_of(values, 8)
    places = np.searchsorted(edges, values, side="right")
    assert len(names) == 8 == len(edges) + 1
    assert np.bincount(places).min() > 100
    assert [float(name) for name in names] == sorted(float(name) for name in names)


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["--label-column", "topic", "--score-column", "topic"], 2, "either --label-column or --score-column"),
        (["--label-column", "nothing"], 1, "nothing"),
        (["--score-column", "topic"], 1, "scores must be numbers"),
        (["--positive", "x", "--label-column", "topic"], 2, "give --positive and --negative"),
        (["--label-column", "topic", "--autotune", "5000"], 1, "autotune must be a number of trials"),
    ],
)
def test_the_command_says_what_is_wrong(
    topics: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], code: int, says: str
) -> None:
    given = ["classifier", "train", "--data", str(topics), "-o", str(tmp_path / "m.bin"), *arguments]
    assert main(given) in (code, 1, 2)
    assert says in capsys.readouterr().err
    assert not (tmp_path / "m.bin").exists()


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"model": "topic.bin"}, "model must be"),
        (
            {"model": "column:t", "keep_labels": ("a",), "drop_labels": ("a",)},
            "drop_labels must be none of keep_labels",
        ),
        ({"model": "column:t", "min_score": 0.9, "max_score": 0.1}, "min_score must be at most max_score"),
    ],
)
def test_wrong_parameters_of_the_stage_are_named(given: dict[str, Any], says: str) -> None:
    with pytest.raises(RecipeError, match=says):
        Label(**given)
