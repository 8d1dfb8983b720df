"""Thresholds of .97 to 1.0: what near_dedup drops reaches them by true similarity, whatever the signature's width."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.audit.audit import audit
from pipelines.recipe.recipe import load_data
from pipelines.run import runner
from stages.kernels.hashes.hashing import buffers
from stages.kernels.similarity.jaccard import CHANCE, at_most, doubt, exact_pairs, passes

WIDTH = 24
WORDS = [a + b + c for a in "bdfgklmnprst" for b in "aeiou" for c in ("n", "r", "st", "ld")]


def corpus() -> list[str]:
    """Return pairs of texts, neighbours, that differ in one word, or that repeat the same shingles."""
    rng = np.random.default_rng(3)
    texts: list[str] = []
    for number in range(24):
        words = rng.choice(WORDS, 150 + 60 * number).tolist()
        other = words.copy()
        other[int(rng.integers(len(words)))] = "changed"
        texts += [" ".join(words), " ".join(other)]
    for number in range(3):
        texts += ["round and round we go " * (9 + number), "round and round we go " * (12 + number)]
    return texts


TEXTS = corpus()


@pytest.fixture(scope="module")
def similarity() -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    first = np.arange(0, len(TEXTS), 2)
    return exact_pairs(*buffers(pa.array(TEXTS, pa.large_string())), first, first + 1, WIDTH)


@pytest.mark.parametrize("permutations", [64, 128, 512])
@pytest.mark.parametrize("threshold", [0.97, 0.98, 0.99, 0.995, 0.999, 1.0])
def test_exactly_the_pairs_that_reach_the_threshold_are_dropped(
    tmp_path: Path,
    similarity: np.ndarray[tuple[int], np.dtype[np.float64]],
    threshold: float,
    permutations: int,
) -> None:
    (tmp_path / "in").mkdir()
    pq.write_table(pa.table({"text": TEXTS}), tmp_path / "in" / "0.parquet")
    near = {"use": "near_dedup", "jaccard_threshold": threshold, "bands": permutations, "rows_per_band": 1}
    data = {
        "datasets": {"d": {"paths": str(tmp_path / "in")}},
        "stages": [{"use": "minhash", "shingle_width": WIDTH, "num_permutations": permutations}, near],
        "cluster": {"kind": "inline"},
    }
    runner.run(load_data(data, "test"), str(tmp_path / "run"))
    ledger = pq.read_table(next((tmp_path / "run" / "ledger").glob("*.parquet")))
    kept = ledger.column("kept").to_numpy().reshape(-1, 2)
    # the last texts are all made of the same shingles
    assert (~kept).sum() == (similarity[:-3] >= threshold).sum() + 5
    assert ((~kept).any(axis=1)[:-3] == (similarity[:-3] >= threshold)).all()
    dropped = ledger.filter(pa.array(~kept.reshape(-1)))
    assert set(dropped.column("similarity_kind").to_pylist()) == {"exact"}
    found = audit(str(tmp_path / "run"))["stages"]["near_dedup"]
    assert found["precision"]["estimate"] == 1.0
    assert found["recall"]["estimate"] == 1.0


@pytest.mark.parametrize("k", [16, 64, 128, 256, 1024])
@pytest.mark.parametrize("threshold", [0.8, 0.9, 0.97, 0.99, 0.999, 0.9999, 1.0])
def test_an_estimate_that_is_trusted_is_wrong_less_than_once_in_ten_thousand_times(threshold: float, k: int) -> None:
    below, above = doubt(threshold, k)
    estimates = (np.arange(k + 1) / k - CHANCE) / (1 - CHANCE)
    trusted = np.flatnonzero(threshold - estimates >= below)
    wrong = at_most(int(trusted.max()), k, threshold * (1 - CHANCE) + CHANCE) if len(trusted) else 0.0
    assert wrong < (1e-5 if threshold >= 0.97 and k <= 256 else 1e-4)
    assert above > 1 - threshold or k * (1 - threshold) > 9


def test_what_a_signature_promises_is_what_chance_gives() -> None:
    rng = np.random.default_rng(5)
    for similarity, threshold, k in [(0.99, 1.0, 128), (0.97, 0.98, 64), (0.9, 0.9, 32)]:
        agree = rng.random((20_000, k)) < similarity * (1 - CHANCE) + CHANCE
        seen = ((agree.mean(axis=1) - CHANCE) / (1 - CHANCE) >= threshold).mean()
        assert abs(seen - passes(similarity, threshold, k)) < 0.02


@pytest.mark.parametrize(
    ("verify", "threshold", "says"), [("signature", 1.0, True), ("signature", 0.8, False), ("exact", 1.0, False)]
)
def test_a_run_that_trusts_signatures_near_one_says_what_they_can_promise(
    tmp_path: Path, verify: str, threshold: float, says: bool
) -> None:
    (tmp_path / "in").mkdir()
    pq.write_table(pa.table({"text": TEXTS[:4]}), tmp_path / "in" / "0.parquet")
    data = {
        "datasets": {"d": {"paths": str(tmp_path / "in")}},
        "stages": [{"use": "minhash"}, {"use": "near_dedup", "jaccard_threshold": threshold, "verify": verify}],
        "cluster": {"kind": "inline"},
    }
    result = runner.run(load_data(data, "test"), str(tmp_path / "run"), with_report=False)
    assert any("verify is signature" in text for text in result.warnings) is says
