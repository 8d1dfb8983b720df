"""What goes with a damaged file of a run folder: no more than what rests on it."""

from __future__ import annotations

from pathlib import Path

import pytest

from cluster.files.sealed import write_json
from pipelines.run.healing import rests_on


@pytest.mark.parametrize("mix", ["mix", "mix.stable"])
@pytest.mark.parametrize("name", ["before/a-00000.json", "a-00000.json"])
def test_of_a_mix_only_the_damaged_list_goes(tmp_path: Path, mix: str, name: str) -> None:
    lists = tmp_path / "decisions" / mix / "0123456789abcdef"
    for each in ("before/a-00000.json", "before/a-00001.json", "a-00000.json", "a-00001.json"):
        write_json(str(lists / each), {"files": []})
    assert rests_on(str(tmp_path), str(lists / name)) == [str(lists / name)]


def test_decisions_of_a_stage_go_together(tmp_path: Path) -> None:
    place = tmp_path / "decisions" / "near_dedup" / "0123456789abcdef"
    assert rests_on(str(tmp_path), str(place / "before" / "x.json")) == [str(place)]
