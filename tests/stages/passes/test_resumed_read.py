"""A first read that is complete is not begun again, unless one of its sidecars is gone or the stages are others."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from cluster.engines import InlineEngine
from pipelines.run import runner
from pipelines.run_state import reopen
from stages.passes.lost_shards import annotate_all
from tests.support import corpora
from tests.support.small_runs import recipe_of


class _Counting(InlineEngine):
    """Counts the tasks that it is given."""

    def __init__(self) -> None:
        self.tasks = 0

    def map(self, function: Any, tasks: Any, *, done: Any = None, **declared: Any) -> list[Any]:
        self.tasks += len(tasks)
        return super().map(function, tasks, done=done, **declared)


def tasks_of(root: Path, **change: Any) -> int:
    engine, run = _Counting(), reopen(str(root)).run
    annotate_all(engine, dataclasses.replace(run, **change))
    return engine.tasks


def test_a_complete_read_is_known_by_listings(tmp_path: Path) -> None:
    paths = corpora.write(tmp_path / "in", corpora.corpus(1, 60), 2, ("parquet",))
    root = tmp_path / "run"
    runner.run(recipe_of(paths), str(root), with_report=False)
    assert tasks_of(root) == 0
    gone = next((root / "facts" / "minhash").glob("*/*.arrow"))
    content = gone.read_bytes()
    gone.unlink()
    assert tasks_of(root) > 0
    assert gone.read_bytes() == content
    assert tasks_of(root) == 0
    assert tasks_of(root, on_error="quarantine") > 0
    (root / "facts" / "annotated.json").write_bytes(b"{")
    assert tasks_of(root, on_error="quarantine") > 0
