"""Duplicates that a sample is too thin to hold are told by whole ranges of keys, and by more documents."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.plan import density
from pipelines.plan.density import estimate, in_range
from pipelines.plan.growth import FARTHEST
from pipelines.plan.plan import plan
from pipelines.recipe.recipe import load_data
from tests.support.plans import recipe_data


def keys_of(groups: int, alone: int, bands: int, seed: int) -> Any:
    """Return keys of `groups` pairs that share half of their bands, and of documents that share none."""
    rng = np.random.default_rng(seed)
    keys = rng.integers(0, 1 << 63, (2 * groups + alone, bands), np.uint64)
    keys[1 : 2 * groups : 2, : bands // 2] = keys[0 : 2 * groups : 2, : bands // 2]
    return keys


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 300), st.integers(1, 300), st.sampled_from([2, 8, 16]), st.integers(0, 99))
def test_with_all_keys_every_document_that_shares_one_is_counted(
    groups: int, alone: int, bands: int, seed: int
) -> None:
    candidates, dropped = estimate(keys_of(groups, alone, bands, seed), 1.0)
    assert (candidates, dropped) == (2 * groups, groups)


@pytest.mark.parametrize("share", [0.5, 0.1, 0.02])
def test_a_range_of_keys_tells_how_many_documents_share_one(share: float) -> None:
    keys = keys_of(20_000, 30_000, 8, 3)
    kept = keys[in_range(keys, share).any(axis=1)]
    assert len(kept) < len(keys) * min(1.0, 9 * share)
    candidates, dropped = estimate(kept, share)
    assert candidates == pytest.approx(40_000, rel=0.05)
    assert dropped == pytest.approx(20_000, rel=0.05)


def test_no_keys_tell_nothing() -> None:
    assert estimate(np.empty((0, 4), np.uint64), 0.1) == (0.0, 0.0)


@pytest.fixture(scope="module")
def thin(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Return a recipe on documents of which one in three is a copy of another, far away."""
    folder, rng = tmp_path_factory.mktemp("thin"), random.Random(4)
    texts = [" ".join(f"w{rng.randrange(4000)}" for _ in range(30)) for _ in range(4000)]
    texts += [texts[n] for n in range(2000)]
    rng.shuffle(texts)
    for part in range(8):
        lines = "".join(json.dumps({"text": t}) + "\n" for t in texts[part::8])
        Path(folder, f"{part}.jsonl").write_text(lines)
    stages = [{"use": "exact_dedup"}, {"use": "minhash"}, {"use": "near_dedup", "jaccard_threshold": 0.8}]
    return recipe_data({"a": {"paths": [str(folder)]}}, stages=stages)


def test_duplicates_are_told_where_the_sample_has_none(thin: dict[str, Any]) -> None:
    recipe = load_data(thin, "test")
    blind = plan(recipe, sample_documents=200, duplicate_documents=0)["duplicates"]["exact_dedup"]
    told = plan(recipe, sample_documents=200, duplicate_documents=3000)["duplicates"]["exact_dedup"]
    assert (blind["looked_at"], blind["candidates"]) == (200, None)
    assert told["looked_at"] == pytest.approx(3000, rel=0.05)
    assert told["in_all"] == pytest.approx(1 / 3, abs=0.07)
    assert told["looked_at"] * FARTHEST > 250 * 200


def test_the_facts_of_a_run_folder_tell_all(thin: dict[str, Any], tmp_path: Path) -> None:
    from pipelines.run import runner

    recipe, folder = load_data(thin, "test"), str(tmp_path / "run")
    runner.run(recipe, folder, with_report=False)
    found = plan(recipe, folder, sample_documents=200)["duplicates"]["exact_dedup"]
    assert found["looked_at"] == 6000
    assert found["in_all"] == pytest.approx(1 / 3, abs=1e-3)


def test_stages_that_tell_nothing_of_duplicates_are_not_run(thin: dict[str, Any], tmp_path: Path) -> None:
    from pipelines.recipe.to_run import prepare

    run = prepare(load_data({**thin, "stages": [*thin["stages"], {"use": "heuristics"}]}, "test"), "").run
    assert "heuristics" not in density.needs(run)
    assert {"read", "exact_dedup", "minhash", "near_dedup"} <= set(density.needs(run))
