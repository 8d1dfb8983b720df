"""Tables that grow keep what they hold."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from stages.kernels.text import line_counts, pii_windows
from stages.kernels.text.growing import grown, grown_row


@pytest.mark.parametrize("used", [0, 1, 5])
def test_twice_as_long_with_the_first_rows(used: int) -> None:
    rows = np.arange(15, dtype=np.int64).reshape(5, 3)
    more, longer = grown(rows, used), grown_row(rows[:, 0].copy(), used)
    assert (more.shape, longer.shape, more.dtype, longer.dtype) == ((10, 3), (10,), np.int64, np.int64)
    assert (more[:used] == rows[:used]).all()
    assert (longer[:used] == rows[:used, 0]).all()


def test_tables_of_kernels_grow_beyond_their_first_size() -> None:
    lines = pa.array(["".join(f"line {n}.\n" for n in range(5000))], pa.large_string())
    assert line_counts.count_lines(lines)["words"].tolist() == [2] * 5000
    numbers = pa.array([f"call {n + 1_000_000_000} now" for n in range(3000)], pa.large_string())
    assert pii_windows.windows(numbers)[:, 0].tolist() == list(range(3000))
