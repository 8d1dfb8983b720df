"""Input files of every format and codec, changed by seeds: see tests/support/fuzz_readers.py for what must hold."""

from __future__ import annotations

import pytest

from tests.support import fuzz_readers, fuzzing
from tests.support.fuzz_budget import budgets


@pytest.mark.parametrize(("kinds", "first", "stop"), budgets(fuzz_readers.kinds(), 15, 3000, groups=2))
def test_no_change_of_an_input_file_breaks_a_promise(kinds: tuple[str, ...], first: int, stop: int) -> None:
    found, ends = fuzzing.findings("tests.support.fuzz_readers", first, stop, kinds)
    assert not found, "\n".join(found)
    assert {kind: counts.total() for kind, counts in ends.items()} == dict.fromkeys(kinds, stop - first)
    assert all(counts["refused"] for counts in ends.values()), "no change was noticed: the net is torn"
