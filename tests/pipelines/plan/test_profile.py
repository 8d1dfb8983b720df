"""What the banding misses, against sums done by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.plan.profile import missed_if_even
from stages.kernels.similarity.banding import probability


@given(st.floats(0.3, 0.95), st.integers(1, 64), st.integers(1, 16))
def test_expected_misses_are_the_mean_of_the_curve(threshold: float, bands: int, rows: int) -> None:
    grid = np.linspace(threshold, 1, 4001)
    expected = float(np.mean([1 - probability(float(j), bands, rows) for j in grid]))
    assert missed_if_even(threshold, bands, rows) == pytest.approx(expected, abs=1e-3)
