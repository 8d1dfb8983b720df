"""Training a quality classifier is repeatable, leaks no copy into its test, and writes down what it did."""

from __future__ import annotations

import gzip
import json
import random
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from classifiers import evaluation, quality
from classifiers.train import Counts, line_of
from cluster.errors import RecipeError, ShardError
from pipelines.commands.classifier import evaluate, train
from stages.inputs import side_files

SCIENCE = [
    "theory",
    "measure",
    "evidence",
    "result",
    "method",
    "chapter",
    "energy",
    "cell",
    "river",
    "history",
    "language",
    "number",
]
SPAM = ["buy", "cheap", "click", "offer", "winner", "casino", "pills", "free", "money", "now", "deal", "subscribe"]
COMMON = ["the", "a", "of", "and", "in", "to", "it", "is", "that", "for"]


def texts(words: list[str], count: int, seed: int) -> list[str]:
    rng = random.Random(seed)
    return [
        " ".join(rng.choice(words if rng.random() < 0.5 else COMMON) for _ in range(rng.randint(15, 40)))
        for _ in range(count)
    ]


def write(path: Path, values: list[str]) -> Path:
    path.write_text("".join(json.dumps({"text": v}) + "\n" for v in values))
    return path


@pytest.fixture
def data(tmp_path: Path) -> tuple[Path, Path]:
    return write(tmp_path / "good.jsonl", texts(SCIENCE, 150, 1)), write(tmp_path / "bad.jsonl", texts(SPAM, 150, 2))


SMALL = {"dimensions": 8, "bucket": 2000}


def test_a_trained_model_separates_text_of_another_source(data: tuple[Path, Path], tmp_path: Path) -> None:
    trained = train(data[0], [data[1]], tmp_path / "q.bin", **SMALL)
    assert trained.evaluation is not None
    assert trained.evaluation.auc > 0.99
    other = evaluate(
        trained.path,
        write(tmp_path / "other_good.jsonl", texts(SCIENCE, 40, 3)),
        write(tmp_path / "other_bad.jsonl", texts(SPAM, 40, 4)),
    )
    assert other.auc > 0.99
    assert other.at.f1 > 0.95
    assert other.positives == other.negatives == 40


def test_the_same_data_and_seed_give_the_same_file(data: tuple[Path, Path], tmp_path: Path) -> None:
    for name in ("a.bin", "b.bin"):
        train(data[0], data[1], tmp_path / name, seed=5, **SMALL)
    assert (tmp_path / "a.bin").read_bytes() == (tmp_path / "b.bin").read_bytes()


def test_the_order_and_split_of_the_files_do_not_matter(data: tuple[Path, Path], tmp_path: Path) -> None:
    train(data[0], data[1], tmp_path / "a.bin", **SMALL)
    lines = data[0].read_text().splitlines(keepends=True)[::-1]
    (tmp_path / "x.jsonl").write_text("".join(lines[:70]))
    (tmp_path / "y.jsonl").write_text("".join(lines[70:]))
    train([tmp_path / "y.jsonl", tmp_path / "x.jsonl"], data[1], tmp_path / "b.bin", **SMALL)
    assert (tmp_path / "a.bin").read_bytes() == (tmp_path / "b.bin").read_bytes()


def test_copies_are_used_once_and_never_on_both_sides(data: tuple[Path, Path], tmp_path: Path) -> None:
    once = train(data[0], data[1], tmp_path / "a.bin", holdout=0.3, **SMALL)
    doubled = tmp_path / "doubled.jsonl"
    doubled.write_text(data[0].read_text() * 3)
    again = train(doubled, data[1], tmp_path / "b.bin", holdout=0.3, **SMALL)
    assert again.counts.copies == 300
    assert again.counts.held_out == once.counts.held_out
    assert again.counts.trained == once.counts.trained
    assert (tmp_path / "a.bin").read_bytes() == (tmp_path / "b.bin").read_bytes()


def test_copies_with_other_white_space_are_copies(data: tuple[Path, Path], tmp_path: Path) -> None:
    once = train(data[0], data[1], tmp_path / "a.bin", holdout=0.3, **SMALL)
    spaced = [json.loads(line)["text"].replace(" ", "\t\n ") for line in data[0].read_text().splitlines()]
    again = train(
        [data[0], write(tmp_path / "spaced.jsonl", spaced)], data[1], tmp_path / "b.bin", holdout=0.3, **SMALL
    )
    assert again.counts.copies == 150
    assert again.counts.held_out == once.counts.held_out
    assert (tmp_path / "a.bin").read_bytes() == (tmp_path / "b.bin").read_bytes()


def test_the_held_out_texts_are_the_same_for_every_seed(data: tuple[Path, Path], tmp_path: Path) -> None:
    counts = [train(*data, tmp_path / f"{seed}.bin", seed=seed, **SMALL).counts for seed in (0, 1)]
    assert counts[0].held_out == counts[1].held_out
    assert counts[0].held_out["hq"] > 0


def test_a_text_on_both_sides_is_left_out_and_counted(data: tuple[Path, Path], tmp_path: Path) -> None:
    both = write(tmp_path / "both.jsonl", texts(SCIENCE, 150, 1)[:7])
    found = train(data[0], [data[1], both], tmp_path / "q.bin", **SMALL).counts
    assert found.conflicting == 7
    assert sum(found.trained.values()) + sum(found.held_out.values()) == 300 - 7


def test_training_again_under_the_same_name_is_measured_anew(data: tuple[Path, Path], tmp_path: Path) -> None:
    first = train(*data, tmp_path / "q.bin", **SMALL)
    swapped = train(data[1], data[0], tmp_path / "q.bin", **SMALL)
    assert first.evaluation is not None
    assert swapped.evaluation is not None
    assert swapped.evaluation.auc > 0.99
    assert evaluate(tmp_path / "q.bin", *data).auc < 0.01


def test_without_holdout_everything_trains(data: tuple[Path, Path], tmp_path: Path) -> None:
    trained = train(*data, tmp_path / "q.bin", holdout=0.0, **SMALL)
    assert trained.evaluation is None
    assert trained.counts.trained == {"hq": 150, "cc": 150}
    assert "Nothing was held out" in (tmp_path / "q.bin.card.md").read_text()


def test_the_card_names_data_parameters_and_metrics(data: tuple[Path, Path], tmp_path: Path) -> None:
    trained = train(*data, tmp_path / "q.bin", seed=3, **SMALL)
    card = json.loads(Path(trained.card).read_text())
    assert card["parameters"]["seed"] == 3
    assert card["parameters"]["epoch"] == 50  # little text: seen as often as it is ever
    assert set(card["data"]["hq"]) == {str(data[0])}
    assert len(card["data"]["hq"][str(data[0])]) == 64
    assert card["held_out"]["auc"] == pytest.approx(trained.evaluation.auc if trained.evaluation else 0)
    assert card["digest"] == quality.digest_of(f"fasttext:{trained.path}")
    assert "AUC" in (tmp_path / "q.bin.card.md").read_text()
    assert (tmp_path / "q.bin.svg").read_text().startswith("<svg")


def test_words_with_a_meaning_to_fasttext_do_not_become_labels() -> None:
    assert line_of("__label__cc a </s> b\n__label__ c x__label__y") == "a b c x__label__y"
    assert line_of("a </s>b </s></s>") == "a </s>b </s></s>"


def test_planted_labels_do_not_reach_the_model(tmp_path: Path) -> None:
    good = write(tmp_path / "g.jsonl", [f"__label__evil {t} </s> tail" for t in texts(SCIENCE, 40, 1)])
    bad = write(tmp_path / "b.jsonl", texts(SPAM, 40, 2))
    trained = train(good, bad, tmp_path / "q.bin", **SMALL)
    assert set(quality.load(quality.Settings(spec=f"fasttext:{trained.path}")).labels) == {"hq", "cc"}


def test_one_empty_side_is_an_error_that_names_it(data: tuple[Path, Path], tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="negative files"):
        train(data[0], write(tmp_path / "none.jsonl", ["", "  "]), tmp_path / "q.bin", **SMALL)
    with pytest.raises(RecipeError, match="holdout"):
        train(*data, tmp_path / "q.bin", holdout=1.0)
    with pytest.raises(RecipeError, match="no parameter 'dims'"):
        train(*data, tmp_path / "q.bin", dims=3)
    with pytest.raises(RecipeError, match="no data file"):
        train(tmp_path / "missing", data[1], tmp_path / "q.bin")


def test_json_lines_and_parquet_are_read_alike_compressed_or_not(tmp_path: Path) -> None:
    values = ["one", "two é", None, "", "three"]
    lines = "".join(json.dumps({"body": v, "n": 1}) + "\n" for v in values).encode()
    (tmp_path / "a.jsonl").write_bytes(lines)
    (tmp_path / "b.jsonl.gz").write_bytes(gzip.compress(lines))
    (tmp_path / "c.jsonl.zst").write_bytes(zstandard.compress(lines))
    pq.write_table(pa.table({"body": values, "n": [1] * 5}), tmp_path / "d.parquet")
    for path in (file.path for file in side_files.find(tmp_path, "body")):
        found = list(side_files.texts(path, "body"))
        assert [t for batch in found for t in batch.texts.to_pylist()] == ["one", "two é", "three"]
        assert [row for batch in found for row in batch.rows] == [0, 1, 4]
        with pytest.raises(RecipeError, match=r"column 'text' does not exist; the file has body, n"):
            list(side_files.texts(path))


def test_a_broken_line_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"text": "x"}\n{"text": \n')
    with pytest.raises(ShardError, match=r"a\.jsonl, row 1 cannot be read: invalid JSON"):
        list(side_files.texts(tmp_path / "a.jsonl"))
    (tmp_path / "a.parquet").write_text("nothing of the kind")
    with pytest.raises(ShardError, match=r"a\.parquet"):
        list(side_files.texts(tmp_path / "a.parquet"))


SCORES = st.lists(st.floats(0, 1), min_size=1, max_size=30)


@given(positive=SCORES, negative=SCORES)
def test_auc_counts_the_pairs_in_the_right_order(positive: list[float], negative: list[float]) -> None:
    pairs = [(p > n) + (p == n) / 2 for p in positive for n in negative]
    found = evaluation.auc(np.array(positive), np.array(negative))
    assert found == pytest.approx(sum(pairs) / len(pairs))


@given(positive=SCORES, negative=SCORES, threshold=st.floats(0, 1))
def test_a_threshold_row_counts_what_it_keeps(positive: list[float], negative: list[float], threshold: float) -> None:
    row = evaluation.at_threshold(np.array(positive), np.array(negative), threshold)
    kept = [p >= threshold for p in positive], [n >= threshold for n in negative]
    assert row.kept == sum(map(sum, kept)) / (len(positive) + len(negative))
    assert row.recall == sum(kept[0]) / len(positive)
    if row.kept and row.recall:
        assert row.f1 == pytest.approx(2 * row.precision * row.recall / (row.precision + row.recall))


@given(positive=SCORES, negative=SCORES)
def test_calibration_bins_hold_every_document_once(positive: list[float], negative: list[float]) -> None:
    found = evaluation.evaluate_scores(np.array(positive), np.array(negative))
    assert sum(b.documents for b in found.calibration) == len(positive) + len(negative)
    assert all(b.low - 1e-9 <= b.mean_score <= b.high + 1e-9 for b in found.calibration)
    assert 0 <= found.calibration_error <= 1
    json.dumps(found.as_dict(), allow_nan=False)
    assert evaluation.plot(found, "a < b").count("<polyline") == 4


def test_counts_start_at_zero() -> None:
    assert Counts().texts == {"hq": 0, "cc": 0}
