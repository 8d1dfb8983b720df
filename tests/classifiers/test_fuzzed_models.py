"""fastText models, changed by seeds: see tests/support/fuzz_models.py for what must hold."""

from __future__ import annotations

import pytest

from tests.support import fuzz_models, fuzzing
from tests.support.fuzz_budget import budgets


@pytest.mark.parametrize(("kinds", "first", "stop"), budgets(fuzz_models.kinds(), 20, 2000))
def test_no_change_of_a_model_is_more_than_an_error_or_a_model(kinds: tuple[str, ...], first: int, stop: int) -> None:
    found, ends = fuzzing.findings("tests.support.fuzz_models", first, stop, kinds)
    assert not found, "\n".join(found)
    assert {kind: counts.total() for kind, counts in ends.items()} == dict.fromkeys(kinds, stop - first)
    assert all(counts["refused"] for counts in ends.values()), "no change was noticed: the net is torn"
