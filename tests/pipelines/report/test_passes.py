"""The passes over the ledger: shared out over workers, with the answers of one pass."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest

from cluster.engines import InlineEngine
from pipelines import ledger_tasks
from pipelines.report import passes
from pipelines.report.report import write_report
from tests.support import run_folders


class _Elsewhere(InlineEngine):
    """Sends functions, tasks and answers through pickle, as workers of other processes do."""

    def map(self, function: Any, tasks: Any, *, done: Any = None, **declared: Any) -> list[Any]:
        there = pickle.loads(pickle.dumps(function))
        return [pickle.loads(pickle.dumps(there(pickle.loads(pickle.dumps(task))))) for task in tasks]


def test_the_report_does_not_depend_on_how_the_ledger_is_cut_into_tasks(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = (run / "report.json").read_bytes()
    for files, rows in ((1, 1 << 22), (2, 1 << 22), (512, 1)):
        monkeypatch.setattr(ledger_tasks, "FILES_PER_TASK", files)
        monkeypatch.setattr(ledger_tasks, "ROWS_PER_TASK", rows)
        (run / "report.json").unlink()
        write_report(str(run), _Elsewhere())
        assert (run / "report.json").read_bytes() == before


def test_members_of_the_largest_groups_ended_there(run: Path, found: dict[str, Any]) -> None:
    rows = {r["doc_id"]: r for r in run_folders.ledger(run)}
    for group in found["groups"]["largest"]:
        assert sum(group["group_datasets"].values()) == group["group_size"]
        assert len(group["members"]) == min(passes.MEMBERS, group["group_size"] - 1)
        assert all(rows[m["doc_id"]]["survivor"] == group["doc_id"] for m in group["members"])
