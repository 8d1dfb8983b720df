"""kept.json of a stage: what is written is read, anything else counts as nothing kept."""

from __future__ import annotations

import copy
import random
from pathlib import Path
from typing import Any

import pytest

from cluster.files.sealed import write_json
from stages.dedup import kept
from tests.support.damaged_folders import change

FOLDER = "exchange/kept-near_dedup/0123456789abcdef-anew.01234567"
RECORD: dict[str, Any] = {
    "rule": "0" * 16,
    "datasets": [["a", "source", "403f880d"]],
    "numbering": "1" * 16,
    "decisions": "2" * 16,
    "before": ["3" * 16],
    "verdicts": [1, 5],
    "rows": 68,
    "layers": [{"hop": "bands-0", "folder": f"{FOLDER}/bands-0", "destinations": 1, "numbering": "1" * 16}],
    "more": {"labels": f"{FOLDER}/labels.arrow", "largest": 4},
}


def test_a_record_is_read(tmp_path: Path) -> None:
    path = str(tmp_path / "kept.json")
    write_json(path, RECORD)
    found = kept._read(path)
    assert found is not None
    assert found.of("bands-0")[0].folder == f"{FOLDER}/bands-0"
    assert found.more == RECORD["more"]
    assert found.datasets == (("a", "source", "403f880d"),)


@pytest.mark.parametrize("place", ["/etc", "../other", f"{FOLDER}/../../../..", "facts/read"])
def test_a_record_that_leads_out_of_what_is_kept_counts_for_nothing(tmp_path: Path, place: str) -> None:
    path = str(tmp_path / "kept.json")
    write_json(path, {**RECORD, "more": {"labels": place, "largest": 4}})
    assert kept._read(path) is None
    write_json(path, {**RECORD, "layers": [{**RECORD["layers"][0], "folder": place}]})
    assert kept._read(path) is None


def test_any_change_is_read_as_types_or_counts_for_nothing(tmp_path: Path) -> None:
    path, nothing = str(tmp_path / "kept.json"), 0
    for seed in range(300):
        data = copy.deepcopy(RECORD)
        change(data, random.Random(seed))
        write_json(path, data)
        found = kept._read(path)
        nothing += found is None
        assert found is None or all(isinstance(layer.destinations, int) for layer in found.layers)
    assert nothing > 100
