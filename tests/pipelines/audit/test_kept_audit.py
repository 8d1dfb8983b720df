"""The audit that a run folder keeps: of its ledger alone, never replaced by a smaller one, shown by the report."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from cluster.engines import InlineEngine
from pipelines.audit.audit import audit
from pipelines.audit.kept_audit import audit_in_run, is_cheap, keep_audit
from pipelines.report.accuracy import read_accuracy
from pipelines.report.report import write_report
from pipelines.staleness import ledger_mark
from tests.support import run_folders


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run_folders.make(tmp_path_factory.mktemp("kept"))


@pytest.fixture
def run(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "run"))


def page(run: Path) -> dict[str, Any]:
    write_report(str(run), trust=True)
    return json.loads((run / "report.json").read_text())


def test_the_report_shows_what_the_last_audit_found(run: Path) -> None:
    assert page(run)["accuracy"] is None
    found = audit(str(run), pairs=20, trust=True)
    assert keep_audit(str(run), found)
    shown = page(run)["accuracy"]
    assert shown["pairs"] == 20
    assert {name: s["precision"]["estimate"] for name, s in shown["stages"].items()} == {
        name: s["precision"]["estimate"] for name, s in found["stages"].items()
    }
    assert "How right it was" in (run / "report.html").read_text()


def test_a_smaller_audit_replaces_no_larger_one(run: Path) -> None:
    assert keep_audit(str(run), audit(str(run), pairs=20, trust=True))
    assert not keep_audit(str(run), audit(str(run), pairs=5, trust=True))
    found = read_accuracy(str(run))
    assert found is not None
    assert found["pairs"] == 20


def test_an_audit_of_another_ledger_counts_for_nothing(run: Path) -> None:
    assert keep_audit(str(run), audit(str(run), pairs=5, trust=True))
    Path(ledger_mark(str(run))).write_text("0123456789abcdef")
    assert read_accuracy(str(run)) is None


def test_a_damaged_audit_counts_for_nothing(run: Path) -> None:
    assert keep_audit(str(run), audit(str(run), pairs=5, trust=True))
    file = run / "audit.json"
    file.write_text(file.read_text().replace('"pairs": 5', '"pairs": 9'))
    assert read_accuracy(str(run)) is None


def test_a_run_audits_itself_only_where_that_costs_next_to_nothing(run: Path) -> None:
    assert not is_cheap(60, removed=1_000, kept=9_000)
    assert is_cheap(600, removed=1_000, kept=9_000)
    assert not is_cheap(600, removed=1_000_000, kept=1)
    audit_in_run(InlineEngine(), str(run))
    found = read_accuracy(str(run))
    assert found is not None
    assert found["stages"]
