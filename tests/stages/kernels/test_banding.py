"""The banding solver equals datasketch's optimum, keeps the recall asked for, and warns of poor choices."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cluster.errors import RecipeError
from stages.kernels.similarity.banding import half_way, probability, s_curve, solve, warnings
from stages.near_dedup import NearDedup


def test_point_eight_with_128_permutations_is_9_bands_of_13_rows() -> None:
    assert solve(0.8, 128) == (9, 13)


@pytest.mark.parametrize("threshold", [0.3, 0.5, 0.7, 0.75, 0.85, 0.9, 0.95])
@pytest.mark.parametrize(("k", "weight"), [(64, 0.5), (128, 0.5), (50, 0.9), (50, 0.1)])
def test_the_optimum_equals_that_of_datasketch(threshold: float, k: int, weight: float) -> None:
    lsh = pytest.importorskip("datasketch.lsh")
    mine = solve(threshold, k, false_positive_weight=weight, false_negative_weight=1 - weight)
    assert mine == lsh._optimal_param(threshold, k, weight, 1 - weight)


@settings(max_examples=40, deadline=None)
@given(st.floats(0.3, 0.95), st.integers(16, 96), st.floats(0.5, 0.99))
def test_a_minimum_recall_is_kept_with_the_least_false_positives(t: float, k: int, recall: float) -> None:
    bands, rows = solve(t, k, min_recall=recall)
    assert bands * rows <= k
    assert probability(t, bands, rows) >= recall
    if (bands - 1) > 0:
        assert probability(t, bands - 1, rows) < recall  # one band less would find fewer false positives


def test_recall_may_be_asked_for_at_another_similarity_than_the_threshold() -> None:
    bands, rows = solve(0.8, 128, min_recall=0.99, at=0.85)
    assert probability(0.85, bands, rows) >= 0.99
    assert half_way(bands, rows) > half_way(*solve(0.8, 128, min_recall=0.99))


def test_the_s_curve_rises_from_0_to_1() -> None:
    curve = s_curve(14, 8, 51)
    assert [j for j, _ in curve] == pytest.approx([i / 50 for i in range(51)])
    assert curve[0][1] == 0.0
    assert curve[-1][1] == 1.0
    assert all(a[1] <= b[1] for a, b in pairwise(curve))
    assert probability(half_way(14, 8), 14, 8) == pytest.approx(0.5)


def test_the_banding_of_zyda2_is_warned_about_and_the_default_is_not() -> None:
    (warning,) = warnings(8, 16, 0.85)
    assert "only 46 %" in warning
    assert warnings(8, 16, 0.88) == []
    assert warnings(16, 8, 0.8) == []


def test_values_out_of_range_and_recall_out_of_reach_are_refused() -> None:
    for threshold, k in [(0.0, 128), (1.0, 128), (80.0, 128), (0.8, 0)]:
        with pytest.raises(RecipeError):
            solve(threshold, k)
    for recall, at in [(0.0, 0.8), (1.5, 0.8), (0.9, 0.0), (0.9, 85.0)]:
        with pytest.raises(RecipeError):
            solve(0.8, 128, min_recall=recall, at=at)
    with pytest.raises(RecipeError, match="out of reach"):
        solve(0.1, 4, min_recall=0.99)


def test_a_recipe_says_how_bands_are_solved() -> None:
    assert NearDedup(jaccard_threshold=0.8).banding(128) == (16, 8)
    assert NearDedup(jaccard_threshold=0.8, solve="area").banding(128) == (9, 13)
    bands, rows = NearDedup(jaccard_threshold=0.8, min_recall=0.99).banding(128)
    assert probability(0.8, bands, rows) >= 0.99 > probability(0.8, bands - 1, rows)
    at_ninety = NearDedup(jaccard_threshold=0.8, min_recall=0.99, recall_at=0.9).banding(128)
    assert at_ninety == solve(0.8, 128, min_recall=0.99, at=0.9) != (bands, rows)


@pytest.mark.parametrize(
    "options",
    [
        {"solve": "area", "min_recall": 0.9},
        {"solve": "area", "bands": 16, "rows_per_band": 8},
        {"min_recall": 0.9, "bands": 16, "rows_per_band": 8},
        {"recall_at": 0.9},
        {"min_recall": 95},
    ],
    ids=str,
)
def test_options_of_the_solver_that_do_not_fit_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(RecipeError):
        NearDedup(jaccard_threshold=0.8, **options)
