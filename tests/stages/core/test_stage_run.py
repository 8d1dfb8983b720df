"""What a stage's tasks are given: the stage itself, and small enough to travel with every task."""

from __future__ import annotations

import pickle

from stages.core.run import Run, StageRun, stage_runs
from stages.core.stage import ShardStage
from stages.implicit.read import Read
from stages.language_id import LanguageId
from stages.minhash import MinHash


def run(*stages: ShardStage) -> Run:
    return Run(root="run", datasets=(), stages=(Read(), *stages), priority=(), manifest_digest="0" * 16)


def test_a_stage_run_is_the_stage_at_its_place() -> None:
    job = run(MinHash(name="a"), LanguageId(), MinHash(name="b"))
    found = stage_runs(job, MinHash)
    assert [(one.index, one.stage.name) for one in found] == [(1, "a"), (3, "b")]
    assert found[1].decisions == job.decisions(3)
    assert found[1].folder("hop") == job.exchange_folder(3, "hop")


def test_a_stage_run_travels_with_every_task() -> None:
    one: StageRun[MinHash] = StageRun(run(MinHash()), 1)
    data = pickle.dumps(one)
    assert pickle.loads(data) == one
    assert len(data) < 2_000
