"""Quality scores come from columns or models, and thresholds decide without reading text."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

import fasttext
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from classifiers import hf_model, quality
from classifiers.base import Classifier, Scores
from classifiers.quality import FastTextQuality, Settings
from cluster.errors import BackendError, RecipeError, ShardError
from stages.quality import Quality

GOOD, BAD = "clear careful prose about science", "buy cheap pills now click here"


def train(path: Path, positive: str, negative: str) -> str:
    lines = [f"__label__{positive} {GOOD}", f"__label__{negative} {BAD}"] * 50
    path.with_suffix(".txt").write_text("\n".join(lines) + "\n")
    model = fasttext.train_supervised(
        str(path.with_suffix(".txt")), dim=8, wordNgrams=2, bucket=500, lr=0.5, epoch=20, thread=1, verbose=0
    )
    model.save_model(str(path))
    return f"fasttext:{path}"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return train(tmp_path_factory.mktemp("quality") / "q.bin", "hq", "cc")


def texts(*values: str) -> pa.Table:
    return pa.table({"text": pa.array(values, pa.large_string())})


def column(values: Any, kind: pa.DataType | None = None) -> pa.Table:
    return pa.table({"column:x": pa.array(values, kind)})


def test_a_number_column_is_the_score() -> None:
    stage = Quality(model="column:x")
    for kind in (pa.int32(), pa.float32(), pa.float64(), pa.int64(), pa.uint8()):
        found = stage.annotate(column([3, None, 1], kind))
        assert found.schema == Quality.schema
        assert found.column("quality_score").to_pylist() == [3.0, None, 1.0]
        assert found.column("quality_label").null_count == 3
    assert stage.columns() == ("column:x",)


def test_a_string_column_is_the_label_and_a_score_where_it_reads_as_one() -> None:
    values = ["High", "3.5", " -2e1 ", "", None, "nan", "1,5"]
    for kind in (pa.string(), pa.large_string(), pa.dictionary(pa.int32(), pa.string())):
        found = Quality(model="column:x").annotate(
            column(pa.array(values).cast(pa.string())).cast(pa.schema([("column:x", kind)]))
        )
        assert found.column("quality_score").to_pylist() == [None, 3.5, -20.0, None, None, None, None]
        assert found.column("quality_label").to_pylist() == values


def test_a_column_of_something_else_is_refused_by_name() -> None:
    with pytest.raises(ShardError, match=r"column:x holds struct"):
        Quality(model="column:x").annotate(column([{"a": 1}]))


def test_an_all_null_column_has_no_scores() -> None:
    found = Quality(model="column:x", min_score=1).annotate(column([None, None], pa.null()))
    assert found.schema == Quality.schema
    assert found.column("quality_score").null_count == 2


def reasons(stage: Quality, facts: pa.Table) -> list[str | None]:
    found = stage.decide(facts)
    return [found.reasons[i] if i >= 0 else None for i in found.reason]


def facts(*rows: tuple[float | None, str | None]) -> pa.Table:
    return pa.Table.from_pylist([{"quality_score": s, "quality_label": n} for s, n in rows], Quality.schema)


def test_decisions_name_reason_value_and_threshold() -> None:
    stage = Quality(model="column:x", min_score=2, max_score=4)
    rows = facts((1.0, None), (2.0, None), (4.0, None), (4.5, None), (None, None))
    assert reasons(stage, rows) == ["low_quality", None, None, "high_quality", "no_score"]
    found = stage.decide(rows)
    np.testing.assert_array_equal(found.value, [1, 2, 4, 4.5, np.nan])
    np.testing.assert_array_equal(found.threshold[[0, 3]], [2, 4])


def test_labels_are_kept_by_name_and_a_null_label_is_not_one_of_them() -> None:
    stage = Quality(model="column:x", keep_labels=("High", "Medium"))
    rows = facts((None, "High"), (None, "Low"), (None, None), (0.1, "Medium"))
    assert reasons(stage, rows) == [None, "quality_label", "quality_label", None]


def test_without_limits_nothing_is_dropped() -> None:
    assert reasons(Quality(model="column:x"), facts((None, None), (1.0, "x"))) == [None, None]


@given(
    scores=st.lists(st.none() | st.floats(-5, 5), max_size=20),
    low=st.none() | st.floats(-5, 0),
    high=st.none() | st.floats(0, 5),
)
def test_decisions_equal_the_rule_row_by_row(scores: list[float | None], low: float | None, high: float | None) -> None:
    def rule(score: float | None) -> bool:
        if low is None and high is None:
            return False
        return score is None or (low is not None and score < low) or (high is not None and score > high)

    stage = Quality(model="column:x", min_score=low, max_score=high)
    found = stage.decide(facts(*((s, None) for s in scores)))
    assert found.dropped.tolist() == [rule(s) for s in scores]


def test_the_score_is_the_probability_of_the_positive_label(model: str) -> None:
    found = Quality(model=model).annotate(texts(GOOD, BAD, GOOD.replace(" ", "\n")))
    score = found.column("quality_score").to_pylist()
    assert score[0] > 0.9 > 0.1 > score[1]
    assert score[2] == score[0]
    assert found.column("quality_label").to_pylist() == ["hq", "cc", "hq"]


def test_the_scores_are_those_of_the_package(model: str) -> None:
    package = fasttext.load_model(model.removeprefix("fasttext:"))
    found = Quality(model=model).annotate(texts(GOOD, BAD, "about pills")).column("quality_score").to_pylist()
    for text, score in zip((GOOD, BAD, "about pills"), found, strict=True):
        names, values = package.predict([text], k=-1)
        expected = dict(zip(names[0], values[0], strict=True))["__label__hq"]
        assert abs(score - min(float(expected), 1.0)) <= 1e-6


def test_the_positive_label_can_be_chosen(model: str) -> None:
    bad = Quality(model=model, positive_label="cc").annotate(texts(GOOD, BAD)).column("quality_score").to_pylist()
    assert bad[0] < 0.1 < 0.9 < bad[1]
    assert Quality(model=model, positive_label="__label__cc").annotate(texts(BAD)).num_rows == 1
    with pytest.raises(RecipeError, match=r"no label 'best'; its labels are"):
        Quality(model=model, positive_label="best").annotate(texts(GOOD))


@pytest.mark.parametrize(("positive", "negative"), [("hq", "lq"), ("High", "Low"), ("1", "0"), ("pos", "neg")])
def test_usual_names_of_the_positive_label_are_known(positive: str, negative: str, tmp_path: Path) -> None:
    spec = train(tmp_path / "m.bin", positive, negative)
    found = FastTextQuality(Settings(spec=spec)).score(pa.array([GOOD, BAD], pa.large_string()))
    assert found.value[0] > 0.5 > found.value[1]


def test_unknown_label_names_ask_for_the_positive_one(tmp_path: Path) -> None:
    spec = train(tmp_path / "m.bin", "wiki", "web")
    with pytest.raises(RecipeError, match="positive_label"):
        Quality(model=spec).annotate(texts(GOOD))


def test_models_keep_the_protocol(model: str) -> None:
    loaded = quality.load(Settings(spec=model))
    assert isinstance(loaded, Classifier)
    assert set(loaded.card()) >= {"digest", "licence", "source"}
    empty = loaded.score(pa.array([], pa.large_string()))
    assert empty.value.shape == empty.label.shape == (0,)


def test_of_equal_scores_the_package_s_label_is_named(tmp_path: Path) -> None:
    path = tmp_path / "ties.bin"
    path.with_suffix(".txt").write_text(f"__label__hq {GOOD}\n__label__cc {GOOD}\n")
    untrained = fasttext.train_supervised(str(path.with_suffix(".txt")), dim=4, epoch=1, lr=0.0, thread=1, verbose=0)
    untrained.save_model(str(path))
    found = FastTextQuality(Settings(spec=f"fasttext:{path}"))
    label = int(found.score(texts(GOOD)["text"].combine_chunks()).label[0])
    assert (f"__label__{found.labels[label]}",) == untrained.predict(GOOD)[0]


def test_no_document_gives_an_empty_table_of_the_schema() -> None:
    for spec in ("column:x", "fasttext:not-there.bin", "hf:not-there"):
        assert Quality(model=spec).annotate(texts()).schema == Quality.schema


def test_thresholds_change_no_fact_but_model_label_and_cut_do(model: str) -> None:
    base = Quality(model=model).fact_digest()
    assert Quality(model=model, min_score=0.5, max_score=0.9, keep_labels=("hq",)).fact_digest() == base
    assert Quality(model=model, positive_label="cc").fact_digest() != base
    assert Quality(model=model, max_chars=100).fact_digest() != base


def test_another_model_under_the_same_path_changes_the_facts(tmp_path: Path) -> None:
    spec = train(tmp_path / "m.bin", "hq", "cc")
    before = Quality(model=spec).fact_digest()
    train(tmp_path / "m.bin", "hq", "lq")
    assert Quality(model=spec).fact_digest() != before


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({}, "column:NAME"),
        ({"model": "quality.bin"}, "column:NAME"),
        ({"model": "column:"}, "column:NAME"),
        ({"model": "sentence-transformers:x"}, "column:NAME"),
        ({"model": "column:x", "min_score": 3, "max_score": 2}, "at most max_score"),
    ],
)
def test_a_wrong_parameter_is_refused_with_its_value(parameters: dict[str, Any], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        Quality(**parameters)


OUTSIDE = """
import numpy as np
from classifiers.base import Scores

class ByLength:
    labels = ("short", "long")
    def score(self, texts):
        length = np.array([len(t) for t in texts.to_pylist()], np.float64)
        return Scores(length, (length > 10).astype(np.int32))
    def card(self):
        return {"digest": "by-length-1", "licence": "MIT", "source": "here"}

def nothing():
    return object()
"""


def test_a_classifier_from_outside_needs_three_members(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "outsider_pkg.py").write_text(OUTSIDE)
    monkeypatch.syspath_prepend(str(tmp_path))
    stage = Quality(model="python:outsider_pkg:ByLength", min_score=5)
    found = stage.annotate(texts("abc", "a much longer text"))
    assert found.column("quality_score").to_pylist() == [3.0, 18.0]
    assert found.column("quality_label").to_pylist() == ["short", "long"]
    assert stage.model_digest() == "by-length-1"
    with pytest.raises(RecipeError, match="without labels and score and card"):
        Quality(model="python:outsider_pkg:nothing").annotate(texts("abc"))
    with pytest.raises(RecipeError, match="has no missing"):
        Quality(model="python:outsider_pkg:missing").annotate(texts("abc"))
    sys.modules.pop("outsider_pkg", None)


def test_no_score_is_said_as_such() -> None:
    nothing = Scores.none(2)
    assert np.isnan(nothing.value).all()
    assert nothing.labels(("a", "b")).to_pylist() == [None, None]


@pytest.mark.skipif(importlib.util.find_spec("torch") is not None, reason="the extra is installed")
def test_a_missing_extra_is_named() -> None:
    with pytest.raises(BackendError, match=r"winnow-mix\[torch\]"):
        Quality(model="hf:some/model").annotate(texts("abc"))
    with pytest.raises(BackendError, match=r"winnow-mix\[nemo\]"):
        Quality(model="nemo:QualityClassifier").annotate(texts("abc"))


@given(st.lists(st.integers(0, 3000), max_size=60))
def test_batches_by_length_hold_every_text_once_and_bounded_tokens(lengths: list[int]) -> None:
    found = list(hf_model.batches(np.array(lengths, np.int64)))
    rows = np.concatenate(found) if found else np.empty(0, np.int64)
    assert sorted(rows.tolist()) == list(range(len(lengths)))
    for batch in found:
        longest = max(lengths[i] for i in batch)
        assert len(batch) == 1 or longest * len(batch) <= hf_model.TOKENS_PER_BATCH
