"""What a mix cannot be as its recipe wishes is said, or stops the run."""

from __future__ import annotations

from typing import Any

import pytest

from cluster.errors import RecipeError
from stages.outcome.mix_warnings import check_strict, holdout_warnings, mix_warnings, unwritten
from stages.outcome.mixing import Mix, portions

ROWS = {"a": 300, "b": 100, "c": 50}


def of(survivors: dict[str, tuple[int, int]], **wish: Any) -> tuple[dict[str, Any], list[str]]:
    mix = Mix(mode=wish.pop("mode", "sample"), **wish)
    shares = portions(mix, survivors)
    return shares, mix_warnings(mix, shares, ROWS)


@pytest.mark.parametrize("weights", [{"a": 9, "b": 1}, {"a": 1, "b": 9, "c": 5}, {"a": 1, "b": 0.001, "c": 1}], ids=str)
def test_a_dataset_without_survivors_takes_nothing_from_the_others(weights: dict[str, float]) -> None:
    survivors = {"a": (300, 9000), "b": (0, 0), "c": (50, 9000)}
    shares, warnings = of(survivors, weights=weights)
    left = {n: weights.get(n, 0.0) for n in ("a", "c")}
    expected, _ = of({n: survivors[n] for n in left}, weights={n: w for n, w in left.items() if w})
    assert {n: shares[n].epochs for n in left} == {n: p.epochs for n, p in expected.items()}
    assert any("dataset b" in w and "none survived" in w and "cannot be kept" in w for w in warnings)
    with pytest.raises(RecipeError, match=r"mix\.strict"):
        check_strict(warnings)


def test_the_weights_of_those_that_are_left_hold_among_themselves() -> None:
    shares, _ = of({"a": (300, 8000), "b": (0, 0), "c": (50, 4000)}, weights={"a": 1, "b": 7, "c": 3})
    assert shares["c"].expected_tokens == 4000
    assert shares["a"].expected_tokens == round(4000 / 3)


@pytest.mark.parametrize("mode", ["sample", "all_with_weights"])
@pytest.mark.parametrize("weights", [None, {"a": 1.0, "b": 1.0}], ids=str)
def test_an_empty_dataset_is_named_whatever_the_mode(mode: str, weights: dict[str, float] | None) -> None:
    _, warnings = of({"a": (3, 30), "b": (0, 0)}, mode=mode, weights=weights)
    assert len(warnings) == 1
    assert "dataset b" in warnings[0]


def test_a_dataset_that_nobody_wants_is_not_missed() -> None:
    _, warnings = of({"a": (3, 30), "b": (0, 0)}, weights={"a": 1.0, "b": 0.0})
    assert warnings == []


def test_a_share_that_caps_the_mix_is_named_with_its_numbers() -> None:
    _, warnings = of({"a": (300, 9000), "b": (2, 100)}, weights={"a": 1, "b": 1})
    assert len(warnings) == 1
    assert "dataset b caps the mix at 200 of 9,100" in warnings[0]
    assert of({"a": (300, 9000), "b": (2, 8000)}, weights={"a": 1, "b": 1})[1] == []


def test_a_weight_that_the_epochs_do_not_allow_is_named_with_both_shares() -> None:
    _, warnings = of({"a": (300, 9000), "b": (2, 100)}, weights={"a": 1, "b": 1}, target_tokens=2000)
    assert len(warnings) == 1
    assert "100 of 1,000 tokens" in warnings[0]
    assert "9.1% of the mix instead of 50.0%" in warnings[0]


def test_a_mix_of_nothing_says_so() -> None:
    _, warnings = of({"a": (300, 9000), "b": (0, 0)}, weights={"b": 1})
    assert any("the mix is empty" in w for w in warnings)


def test_a_dataset_of_which_chance_drew_nothing_is_named() -> None:
    shares, _ = of({"a": (300, 9000), "b": (2, 100)}, weights={"a": 1, "b": 1}, target_tokens=20)
    assert unwritten(shares, {"a": 1, "b": 0}) == [text for text in unwritten(shares, {"a": 1, "b": 0}) if "b" in text]
    assert len(unwritten(shares, {"a": 1, "b": 0})) == 1


@pytest.mark.parametrize(("held", "told"), [(0, True), (9, True), (10, False), (40, False), (165, True)])
def test_a_hold_out_far_from_its_share_is_told(held: int, told: bool) -> None:
    found = holdout_warnings(Mix(holdout=0.02, holdout_by="domain"), 1000, held)
    assert [f"{held} of 1,000 documents ({held / 1000:.1%})" in text and "of domain" in text for text in found] == [
        True
    ] * told
    assert holdout_warnings(Mix(holdout=0.02), 1000, held) == []
