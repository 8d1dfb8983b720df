"""Tallies that are kept: those of counting again, and counted again only where rows changed."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from cluster.files.sealed import read_json, write_json
from stages.outcome import kept_tallies, ledger
from stages.outcome.by_language import ByLanguage
from stages.outcome.ledger import Tally
from tests.pipelines.run.test_additions import KEYS, RECIPES, Inputs, write

TALLY = Tally(
    dataset="a",
    rows=9,
    dropped={("exact_dedup", "exact_duplicate"): 2, ("rules", "too: short"): 1},
    kept=6,
    mixable=(5, 77),
    text_bytes=400,
    content=(1 << 64) - 3,
    languages=ByLanguage(
        judged=Counter({("rules", "en"): 7}),
        dropped=Counter({("rules", "en", "too: short"): 1}),
        remarks=Counter({("rules", "no words", "xx"): 2}),
    ),
    tokens=90,
)


def test_a_tally_is_read_back_as_it_was(tmp_path: Path) -> None:
    path = str(tmp_path / "0.json")
    write_json(path, {"made_from": "x", "tally": kept_tallies._to_json(TALLY)})
    assert kept_tallies._read(path, "x") == TALLY
    assert kept_tallies._read(path, "y") is None
    data = read_json(path)
    for wrong in ({}, {**data["tally"], "rows": "many"}, {**data["tally"], "mixable": [1]}):
        write_json(path, {"made_from": "x", "tally": wrong})
        assert kept_tallies._read(path, "x") is None
    Path(path).write_bytes(b"{")
    assert kept_tallies._read(path, "x") is None


def counted(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Note the positions of bundles that are counted."""
    noted: list[int] = []
    real = ledger.tally

    def tally(run: Any, mix: Any, position: int) -> Tally:
        noted.append(position)
        return real(run, mix, position)

    monkeypatch.setattr(ledger, "tally", tally)
    return noted


def test_only_bundles_in_which_rows_changed_are_counted_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inputs = Inputs(tmp_path, RECIPES["promoted"])
    for dataset in "abc":
        write(inputs, dataset, "0", [f"{dataset}{n // 2}" for n in range(8)])
    noted = counted(monkeypatch)
    inputs.run("run")
    assert noted == [0, 1, 2]
    noted.clear()
    write(inputs, "d", "0", ["like no other", "a0"])  # a copy of a document that stays
    assert inputs.run("run") == inputs.anew()
    assert noted == [3, *range(4)]  # the second run is that of the new folder
    noted.clear()
    inputs.run("run")
    assert noted == []


def test_other_held_out_documents_are_counted_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inputs = Inputs(tmp_path, RECIPES["plain"])
    for key in KEYS[:2]:
        inputs.add(key)
    inputs.run("run")
    noted = counted(monkeypatch)
    inputs.more = {"output": {"holdout": 0.5}}
    inputs.run("run")
    assert len(noted) == 1
