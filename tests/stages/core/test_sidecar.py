"""Sidecars and what is looked up in them: in order, or not at all."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.errors import LedgerError
from stages.core.shard import Bundle, Piece, Shard, check_ascending
from stages.core.sidecar import Sidecars, expand

SHARD = Shard(ordinal=3, dataset="a", path="f", relative_path="f", rows=9, bytes=9, fingerprint="f")
BUNDLE = Bundle(number=0, dataset="a", pieces=(Piece(shard=SHARD, start=0, stop=9),))


@given(st.lists(st.integers(0, 9), max_size=6), st.sampled_from([np.int64, np.uint32]))
def test_rows_ascend_if_they_are_sorted_and_distinct(rows: list[int], kind: type[np.integer]) -> None:
    if rows == sorted(set(rows)):
        check_ascending(np.array(rows, kind), "rows")
        return
    with pytest.raises(LedgerError, match="rows must ascend, each one once; got"):
        check_ascending(np.array(rows, kind), "rows")


@pytest.mark.parametrize("wanted", [[4, 2, 7], [7, 4, 2], [2, 2], [9, 1]], ids=str)
def test_facts_are_not_looked_up_for_rows_out_of_order(wanted: list[int]) -> None:
    rows, values = np.array([2, 4, 7], np.uint32), pa.table({"value": [20, 40, 70]})
    for good in ([2, 4, 7], [4], []):
        found = expand(rows, values, np.array(good, np.int64), "x")
        assert found["value"].to_pylist() == [10 * row for row in good]
    with pytest.raises(LedgerError, match="rows wanted of x must ascend"):
        expand(rows, values, np.array(wanted, np.int64), "x")


def test_a_sidecar_whose_rows_are_out_of_order_is_refused(tmp_path: Path) -> None:
    sidecars = Sidecars(str(tmp_path))
    sidecars.write(BUNDLE, "r", pa.table({"row": pa.array([2, 5, 1], pa.uint32())}))
    with pytest.raises(LedgerError, match=r"rows of sidecar .* must ascend, each one once; got 1 after 5"):
        sidecars.read(BUNDLE, "r")
