"""Crowded buckets and long chains of near copies cost work in proportion to their documents, counted, not timed."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from stages.dedup.near import verify
from stages.dedup.near.judge import Judge
from stages.kernels.similarity.jaccard import exact_pairs
from tests.support import corpora
from tests.support.small_runs import run

WORDS = 60
STAGES: list[dict[str, Any]] = [{"use": "minhash"}, {"use": "near_dedup", "jaccard_threshold": 0.8}]


def same(number: int, words: list[str]) -> str:
    return " ".join(words[:WORDS])


def templated(number: int, words: list[str]) -> str:
    """Any two agree in about .84 of their shingles: every one of them is verified."""
    return " ".join([*words[:20], f"{number:08d}", *words[20:WORDS]])


def unlike(number: int, words: list[str]) -> str:
    """Any two share buckets and stay below the threshold."""
    return " ".join([*words[:20], f"{number:08d}", *words[20:40], f"{number * 7919:08d}", *words[40:WORDS]])


def chained(number: int, words: list[str]) -> str:
    """Each agrees with its neighbours only, all the way from the first to the last."""
    return " ".join(words[number : number + WORDS])


def crowd(folder: Path, text: Callable[[int, list[str]], str], size: int) -> dict[str, str]:
    rng = random.Random(5)
    words = ["".join(rng.choice("abcdefghijklmnop") for _ in range(8)) for _ in range(size + WORDS)]
    made = [{"dataset": "a", "text": text(n, words), "id": str(n), "url": None, "score": 1.0} for n in range(size)]
    return corpora.write(folder, made, 3)


@pytest.fixture
def work(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Count what is estimated, compared and read."""
    done: Counter[str] = Counter()
    plain, emit = Judge.__call__, verify._emit_texts

    def asked(self: Judge, left: Any, right: Any) -> Any:
        done["estimates"] += len(left)
        return plain(self, left, right)

    def compared(*args: Any, **more: Any) -> Any:
        done["exact"] += len(args[2])
        done["calls"] += 1
        return exact_pairs(*args, **more)

    def read(*args: Any) -> Any:
        for table in emit(*args):
            done["texts"] += table.num_rows
            yield table

    monkeypatch.setattr(Judge, "__call__", asked)
    monkeypatch.setattr(verify, "exact_pairs", compared)
    monkeypatch.setattr(verify, "_emit_texts", read)
    return done


@pytest.mark.parametrize("mode", ["representative", "component"])
@pytest.mark.parametrize("text", [same, templated, unlike, chained])
def test_a_crowd_costs_a_few_comparisons_per_document(
    tmp_path: Path, work: Counter[str], text: Callable[[int, list[str]], str], mode: str
) -> None:
    size = 800
    stages = [STAGES[0], {**STAGES[1], "mode": mode}]
    ledger = run(tmp_path / "run", crowd(tmp_path / "in", text, size), stages)
    kept = ledger["kept"].to_pylist().count(True)
    if text is same or (text is chained and mode == "component"):
        assert kept == 1
    elif text is chained:
        assert size // 20 < kept < size // 2
    assert kept < size // 2 or text is unlike
    assert work["estimates"] <= 16 * 4 * size  # bands x (1 + further_tries); all pairs would be six times as many
    assert work["exact"] <= 16 * size
    assert work["texts"] <= size


def test_comparing_a_few_texts_at_a_time_gives_the_same(
    tmp_path: Path, work: Counter[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = crowd(tmp_path / "in", unlike, 300)
    before = run(tmp_path / "whole", paths, STAGES)
    calls = work["calls"]
    monkeypatch.setattr(verify, "TEXT_BYTES", 5000)
    assert run(tmp_path / "parts", paths, STAGES).equals(before)
    assert work["calls"] > 10 * calls


def test_only_the_rows_asked_for_are_taken_from_chunks() -> None:
    text = pa.chunked_array([["a", "b"], [], ["c"], ["d", "e", "f"]], pa.large_string())
    for rows in ([], [0], [1, 2, 5], [3, 4], [0, 1, 2, 3, 4, 5]):
        found = verify.take_ascending(text, np.array(rows, np.int64))
        assert found.to_pylist() == ["abcdef"[i] for i in rows]
