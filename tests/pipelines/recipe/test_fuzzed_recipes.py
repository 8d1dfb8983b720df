"""Recipes, changed by seeds: see tests/support/fuzz_recipes.py for what must hold."""

from __future__ import annotations

import pytest

from tests.support import fuzz_recipes, fuzzing
from tests.support.fuzz_budget import budgets


@pytest.mark.parametrize(("kinds", "first", "stop"), budgets(fuzz_recipes.kinds(), 40, 5000))
def test_no_recipe_is_more_than_a_sentence_within_seconds(kinds: tuple[str, ...], first: int, stop: int) -> None:
    found, ends = fuzzing.findings("tests.support.fuzz_recipes", first, stop, kinds)
    assert not found, "\n".join(found)
    assert {kind: counts.total() for kind, counts in ends.items()} == dict.fromkeys(kinds, stop - first)
    assert all(counts["refused"] for counts in ends.values()), "no change was noticed: the net is torn"
