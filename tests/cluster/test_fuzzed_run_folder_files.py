"""Files of a run folder, changed by seeds: see tests/support/fuzz_sidecars.py for what must hold."""

from __future__ import annotations

import pytest

from tests.support import fuzz_sidecars, fuzzing
from tests.support.fuzz_budget import budgets


@pytest.mark.parametrize(("kinds", "first", "stop"), budgets(fuzz_sidecars.kinds(), 20, 3000))
def test_no_change_of_a_file_of_a_run_folder_gives_other_content(kinds: tuple[str, ...], first: int, stop: int) -> None:
    found, ends = fuzzing.findings("tests.support.fuzz_sidecars", first, stop, kinds)
    assert not found, "\n".join(found)
    assert {kind: counts.total() for kind, counts in ends.items()} == dict.fromkeys(kinds, stop - first)
    assert all(counts["refused"] for counts in ends.values()), "no change was noticed: the net is torn"
