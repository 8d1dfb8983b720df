"""The share of duplicates in the whole against counted ones."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.plan.growth import share_in_all


@given(st.floats(0.001, 0.5), st.integers(100, 5000), st.floats(1.0, 200.0))
def test_the_share_of_duplicates_grows_with_the_documents_and_no_faster_than_they(
    share: float, drawn: int, times: float
) -> None:
    total = round(drawn * times)
    found = share_in_all(share, drawn, total)
    assert found is not None
    assert share - 1e-9 <= found <= 0.98
    assert found <= share * max(1.0, total / drawn) + 1e-6


def test_the_share_of_duplicates_of_a_log_series_is_found_from_a_sample() -> None:
    rng = np.random.default_rng(0)
    a, total, drawn = 30_000.0, 60_000, 6_000
    names: list[int] = []
    for n in range(total):  # Hoppe's urn: a new name with probability a / (a + n), else one that is there
        names.append(n if rng.random() < a / (a + n) else names[int(rng.integers(n))])
    sample = rng.choice(np.array(names), drawn, replace=False)
    found = share_in_all(1 - len(np.unique(sample)) / drawn, drawn, total)
    assert found == pytest.approx(1 - len(set(names)) / total, rel=0.1)


def test_what_cannot_be_told_is_not_told() -> None:
    assert share_in_all(0.0, 100, 1000) is None
    assert share_in_all(0.01, 100, 10**9) is None
    assert share_in_all(0.0, 100, 100) == 0.0
