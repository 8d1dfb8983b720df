"""The audit's numbers against brute force on the texts, its intervals against the binomial, its other thresholds."""

from __future__ import annotations

import math
import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from cluster.errors import RecipeError
from pipelines.audit.audit import allocate, audit, precision, wilson
from pipelines.audit.view import render_audit
from pipelines.cli.app import say
from pipelines.cli.main import main
from pipelines.recipe.recipe import load_data
from pipelines.run import runner
from pipelines.runfolder import open_run
from tests.support import corpora, run_folders

WIDTH = 8
STAGES: list[dict[str, Any]] = [
    {"use": "exact_dedup"},
    {"use": "minhash", "shingle_width": WIDTH},
    {"use": "near_dedup", "jaccard_threshold": 0.7, "bands": 32, "rows_per_band": 4},
]


def family(seed: int, size: int, changed: int) -> list[str]:
    """Return a text and variants of it with some words changed."""
    rng = random.Random(seed)
    words = [f"w{rng.randrange(10**6)}" for _ in range(60)]
    found = []
    for n in range(size):
        mine = list(words)
        for place in rng.sample(range(60), changed if n else 0):
            mine[place] = f"v{rng.randrange(10**6)}"
        found.append(" ".join(mine))
    return found


def corpus() -> list[corpora.Document]:
    """Return families of near copies on both sides of the threshold, over two datasets."""
    made: list[corpora.Document] = []
    for seed in range(60):
        for n, text in enumerate(family(seed, 3, 1 + seed % 8)):
            made.append({"dataset": "ab"[n % 2], "text": text, "id": f"{seed}-{n}", "url": None, "score": 1.0})
    return made


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("audit")
    return {name: {"paths": path} for name, path in sorted(corpora.write(folder / "in", corpus(), 2).items())}


def run(inputs: dict[str, Any], folder: Path, near: dict[str, Any] | None = None) -> str:
    stages = [*STAGES[:2], {**STAGES[2], **(near or {})}]
    data = {"name": "t", "datasets": inputs, "stages": stages, "cluster": {"kind": "inline"}}
    runner.run(load_data(data, "test"), str(folder))
    return str(folder)


@pytest.fixture(scope="module")
def finished(inputs: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> str:
    return run(inputs, tmp_path_factory.mktemp("audited") / "run")


def shingles(text: str) -> set[str]:
    return {text[i : i + WIDTH] for i in range(max(1, len(text) - WIDTH + 1))}


def jaccard(one: str, other: str) -> float:
    a, b = shingles(one), shingles(other)
    return len(a & b) / len(a | b)


def left_over(run_dir: str, threshold: float) -> list[tuple[int, int]]:
    """Return every pair of kept documents that reaches the threshold, by brute force."""
    rows = [r for r in run_folders.ledger(Path(run_dir)) if r["kept"]]
    texts = {d: x.text for d, x in open_run(run_dir).texts([r["doc_id"] for r in rows]).items()}
    docs = sorted(texts)
    return [(a, b) for n, a in enumerate(docs) for b in docs[n + 1 :] if jaccard(texts[a], texts[b]) >= threshold]


def test_a_verified_run_has_full_precision_and_what_is_left_over_is_what_brute_force_finds(finished: str) -> None:
    entry = audit(finished, pairs=10_000)["stages"]["near_dedup"]
    assert entry["precision"]["estimate"] == 1.0
    assert entry["sampled"] == entry["removed"] > 50
    assert entry["kept"]["alike"] == 2 * len(left_over(finished, 0.7))


def test_wrongly_removed_pairs_are_found_where_nothing_is_verified(inputs: dict[str, Any], tmp_path: Path) -> None:
    loose = {"verify": "none", "mode": "component", "bands": 64, "rows_per_band": 2}
    made = run(inputs, tmp_path / "run", loose)
    entry = audit(made, pairs=10_000)["stages"]["near_dedup"]
    rows = [r for r in run_folders.ledger(Path(made)) if r["stage"] == "near_dedup"]
    texts = open_run(made).texts({d for r in rows for d in (r["doc_id"], r["representative"])})
    right = sum(jaccard(texts[r["doc_id"]].text, texts[r["representative"]].text) >= 0.7 for r in rows)
    assert entry["precision"]["estimate"] == pytest.approx(right / len(rows))
    assert 0 < right < len(rows)
    assert any(s["wrong"] for s in entry["strata"])


def test_misses_of_a_poor_banding_lower_recall_by_what_brute_force_finds(
    inputs: dict[str, Any], tmp_path: Path
) -> None:
    made = run(inputs, tmp_path / "run", {"bands": 4, "rows_per_band": 16})
    entry = audit(made, pairs=10_000)["stages"]["near_dedup"]
    pairs = left_over(made, 0.7)
    alike: dict[int, int] = {}
    for pair in pairs:
        for doc in pair:
            alike[doc] = alike.get(doc, 0) + 1
    missed = sum(n / (n + 1) for n in alike.values())
    assert len(pairs) > 10
    assert entry["kept"]["alike"] == 2 * len(pairs)
    assert entry["recall"]["left_over"] == pytest.approx(missed)
    assert entry["recall"]["estimate"] == pytest.approx(entry["removed"] / (entry["removed"] + missed))
    assert entry["recall"]["low"] < entry["recall"]["estimate"] < entry["recall"]["high"]


def test_the_interval_of_a_small_sample_holds_the_whole(inputs: dict[str, Any], tmp_path: Path) -> None:
    made = run(inputs, tmp_path / "run", {"verify": "none", "mode": "component", "bands": 64, "rows_per_band": 2})
    whole = audit(made, pairs=10_000)["stages"]["near_dedup"]["precision"]["estimate"]
    held = 0
    for seed in range(20):
        found = audit(made, pairs=30, seed=seed)["stages"]["near_dedup"]["precision"]
        assert found["pairs"] == 30
        held += found["low"] <= whole <= found["high"]
    assert held >= 17


def test_the_same_seed_gives_the_same_audit_and_another_seed_another_sample(finished: str) -> None:
    one, same, other = (audit(finished, pairs=20, seed=seed) for seed in (1, 1, 2))
    assert one == same
    assert one["stages"]["near_dedup"]["kept"] != other["stages"]["near_dedup"]["kept"]


def test_nothing_is_written(finished: str) -> None:
    before = {p: p.stat().st_mtime_ns for p in Path(finished).rglob("*")}
    audit(finished, pairs=20, threshold=0.6)
    assert {p: p.stat().st_mtime_ns for p in Path(finished).rglob("*")} == before


def test_the_present_threshold_keeps_what_the_run_kept(finished: str) -> None:
    found = audit(finished, pairs=1, threshold=0.7)["threshold"]
    assert all(d["now"] == d["then"] for d in found["datasets"].values())
    kept = [r for r in run_folders.ledger(Path(finished)) if r["kept"]]
    assert sum(d["now"]["documents"] for d in found["datasets"].values()) == len(kept)


@pytest.mark.parametrize("threshold", [0.5, 0.6, 0.8, 0.95])
def test_another_threshold_keeps_about_what_a_run_with_it_keeps(
    finished: str, inputs: dict[str, Any], tmp_path: Path, threshold: float
) -> None:
    found = audit(finished, pairs=1, threshold=threshold)["threshold"]
    made = run(inputs, tmp_path / "run", {"jaccard_threshold": threshold})
    kept = sum(r["kept"] for r in run_folders.ledger(Path(made)))
    then = sum(d["then"]["documents"] for d in found["datasets"].values())
    assert abs(then - kept) <= found["pairs_guessed"]
    assert abs(then - kept) <= 0.08 * kept


def test_keep_all_counts_no_pairs_inside_a_dataset(inputs: dict[str, Any], tmp_path: Path) -> None:
    made = run(inputs, tmp_path / "run", {"within_dataset": "keep_all"})
    kept = audit(made, pairs=10_000)["stages"]["near_dedup"]["kept"]
    shard = {r["doc_id"]: r["dataset"] for r in run_folders.ledger(Path(made))}
    assert all(shard[m["doc_id"]] != shard[m["other"]] for m in kept["missed"])


def test_a_folder_without_a_dedup_stage_is_refused(inputs: dict[str, Any], tmp_path: Path) -> None:
    data = {"name": "t", "datasets": inputs, "stages": [], "cluster": {"kind": "inline"}}
    runner.run(load_data(data, "test"), str(tmp_path / "run"))
    with pytest.raises(RecipeError, match="no deduplication stage"):
        audit(str(tmp_path / "run"))


def test_a_threshold_cannot_change_an_unverified_stage(inputs: dict[str, Any], tmp_path: Path) -> None:
    made = run(inputs, tmp_path / "run", {"verify": "none", "mode": "component"})
    with pytest.raises(RecipeError, match="verify: none"):
        audit(made, pairs=1, threshold=0.5)


def test_the_command_prints_tables_and_json(finished: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["audit", finished, "--pairs", "20", "--threshold", "0.6"]) == 0
    assert "precision" in capsys.readouterr().out
    assert main(["audit", finished, "--pairs", "20", "--json"]) == 0
    assert '"recall"' in capsys.readouterr().out
    say(render_audit(audit(finished, pairs=5)))


@given(st.integers(1, 300), st.data())
def test_wilson_holds_the_share_and_narrows_with_trials(trials: int, data: st.DataObject) -> None:
    share = data.draw(st.integers(0, trials)) / trials
    low, high = wilson(share, trials)
    assert 0 <= low <= share + 1e-12
    assert share - 1e-12 <= high <= 1
    wider = wilson(share, trials / 4)
    assert wider[0] <= low + 1e-12
    assert high <= wider[1] + 1e-12


@pytest.mark.parametrize("share", [0.5, 0.9, 0.98])
@pytest.mark.parametrize("trials", [50, 400])
def test_wilson_covers_a_binomial_share(share: float, trials: int) -> None:
    covered = 0.0
    for hits in range(trials + 1):
        low, high = wilson(hits / trials, trials)
        covered += float(stats.binom.pmf(hits, trials, share)) * (low <= share <= high)
    assert covered > 0.92


@given(st.dictionaries(st.text(max_size=3), st.integers(0, 50), max_size=8), st.integers(0, 200))
def test_allocation_spends_all_there_is_and_is_even(sizes: dict[str, int], total: int) -> None:
    given_ = allocate(sizes, total)
    assert sum(given_.values()) == min(total, sum(sizes.values()))
    assert all(given_[k] <= sizes[k] for k in sizes)
    short = [given_[k] for k in sizes if given_[k] < sizes[k]]
    assert not short or max(given_.values(), default=0) <= max(short) + 1


def test_no_removed_pairs_leave_precision_open() -> None:
    found = precision([], 0.8)
    assert found["estimate"] is None
    assert (found["low"], found["high"]) == (0.0, 1.0)
    assert math.isclose(found["effective"], 0.0)
