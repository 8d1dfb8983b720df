"""The plot of an S-curve."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from pipelines.plan import view


@given(st.integers(1, 64), st.integers(1, 32), st.floats(0.0, 1.0))
def test_the_plot_has_fixed_lines_and_marks_the_threshold(bands: int, rows: int, threshold: float) -> None:
    lines = view.s_curve(bands, rows, threshold).plain.splitlines()
    assert len(lines) == view.HEIGHT + 3
    assert lines[-2].count("┴") == 1
    assert f"▲{threshold:.2f}" in lines[-1]
    heights = [sum(view.BLOCKS.find(line[6 + c]) for line in lines[1:-2] if line[6 + c] != "│") for c in range(61)]
    assert all(math.isfinite(h) for h in heights)
    assert heights == sorted(heights)
