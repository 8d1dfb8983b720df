"""audit.json, as the report reads it: whatever stands in it, figures or a sentence."""

from __future__ import annotations

import copy
import json
import logging
import random
from pathlib import Path
from typing import Any

import pytest

from cluster.errors import DamagedError
from cluster.files.sealed import write_public_json
from pipelines.commands import verify
from pipelines.report import accuracy
from tests.support.damaged_folders import change

SHARE = {"estimate": 0.9, "low": 0.8, "high": 1.0, "pairs": 9, "effective": 9.0}
KEPT = {"seeds": 9, "seeds_sampled": 3, "pairs_of_sampled": 7, "documents": 40}
STAGE = {
    "use": "near_dedup",
    "threshold": 0.8,
    "removed": 9,
    "sampled": 9,
    "precision": SHARE,
    "recall": {**SHARE, "left_over": 1.5},
    "kept": KEPT,
}
AUDIT = {
    "format": 1,
    "ledger": "0" * 16,
    "pairs": 20,
    "seed": 42,
    "stages": {"near_dedup": STAGE, "exact_dedup": STAGE},
}


@pytest.fixture(autouse=True)
def ledger(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accuracy, "ledger_digest", lambda root: "0" * 16)


def test_an_audit_is_read(tmp_path: Path) -> None:
    write_public_json(str(tmp_path / accuracy.FILE), AUDIT)
    found = accuracy.read_accuracy(str(tmp_path))
    assert found is not None
    assert found["stages"]["near_dedup"]["sampled_kept"] == {"seeds": 9, "seeds_sampled": 3, "pairs_of_sampled": 7}
    write_public_json(str(tmp_path / accuracy.FILE), {**AUDIT, "ledger": "1" * 16})
    assert accuracy.read_accuracy(str(tmp_path)) is None


@pytest.mark.parametrize("data", [b"", b"[]", b"7", b"{}", b'{"ledger": 1}', json.dumps({"stages": []}).encode()])
def test_another_file_is_named_and_left_out(tmp_path: Path, data: bytes, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / accuracy.FILE).write_bytes(data)
    with caplog.at_level(logging.WARNING):
        assert accuracy.read_accuracy(str(tmp_path)) is None
    assert "is damaged" in caplog.text
    assert "`winnow audit" in caplog.text


def test_any_change_gives_figures_of_their_kind_or_a_damaged_file(tmp_path: Path) -> None:
    damaged = 0
    for seed in range(400):
        data: dict[str, Any] = copy.deepcopy(AUDIT)
        change(data, random.Random(seed))
        write_public_json(str(tmp_path / accuracy.FILE), data)
        try:
            found = accuracy.read_audit(str(tmp_path))
        except DamagedError:
            damaged += 1
            assert accuracy.read_accuracy(str(tmp_path)) is None
            continue
        shown = accuracy.read_accuracy(str(tmp_path))
        assert (shown is None) == (found is None)
        for stage in shown["stages"].values() if shown else ():
            shares = [share for share in (stage["precision"], stage["recall"]) if share is not None]
            numbers = [share[end] for share in shares for end in ("low", "high")]
            numbers += [share["estimate"] for share in shares if share["estimate"] is not None]
            numbers += [stage["recall"]["left_over"]] if stage["recall"] is not None else []
            assert all(isinstance(number, int | float) for number in numbers)
    assert damaged > 100


def test_what_helps_is_the_command_that_makes_a_file(tmp_path: Path) -> None:
    (tmp_path / "recipe.lock.yaml").write_text("name: x\n")
    write_public_json(str(tmp_path / accuracy.FILE), {**AUDIT, "pairs": "many"})
    hop = tmp_path / "exchange" / "synthesise-wiki-0123456789abcdef.0" / "chunks"
    hop.mkdir(parents=True)
    (hop / "0.arrow").write_bytes(b"cut")
    (tmp_path / "exchange" / "mix-0.arrow").write_bytes(b"cut")
    found = {fault["path"]: fault["remedy"] for fault in verify.verify(str(tmp_path))["faults"]}
    assert "winnow audit RUN" in found[accuracy.FILE]
    assert "winnow synthesise" in found[str((hop / "0.arrow").relative_to(tmp_path))]
    assert "winnow run" in found["exchange/mix-0.arrow"]
    said = verify.render(verify.verify(str(tmp_path)))
    assert all(f"winnow {name}" in said for name in ("audit", "synthesise", "run"))


def test_what_helps_after_a_removal_asks_for_no_other(tmp_path: Path) -> None:
    (tmp_path / "recipe.lock.yaml").write_text("name: x\n")
    for place in ("exchange/synthesise-wiki-0.0/chunks", "exchange/mix-0", "facts/read/0"):
        (tmp_path / place).mkdir(parents=True)
        for name in ("0.arrow", "0.more.arrow"):
            (tmp_path / place / name).write_bytes(b"cut")
    (tmp_path / "quarantine").mkdir()
    (tmp_path / "quarantine" / "a-0.jsonl").write_bytes(b"cut")
    found = verify.verify(str(tmp_path), remove=True)
    remedies = {fault["path"]: fault["remedy"] for fault in found["faults"]}
    assert len([path for path in remedies if path.endswith(".arrow")]) == 6
    kept = [path for path in remedies if (tmp_path / path).exists()]
    assert kept == ["quarantine/a-0.jsonl"]
    assert {path for path, remedy in remedies.items() if remedy == verify.STAYS} == set(kept)
    last = verify.render(found).splitlines()[-1]
    assert "--remove" not in last
    assert all(f"`winnow {name}`" in last for name in ("synthesise", "run"))
    found["faults"] = [fault for fault in found["faults"] if fault["path"] in kept]
    assert "Nothing was removed. No run makes it again" in verify.render(found)
