"""Passes over the ledger, cut into tasks that name shards by number.

Guarantees: the tasks depend on the manifest alone; what they return is added in ledger order, so the sums are those of
one pass from the first file to the last. Memory: a worker process holds the manifest once, a task one ledger batch.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from cluster.scale import scaled
from pipelines.artefacts import ShardRow
from pipelines.runfolder import RunFolder
from stages.core import manifest
from stages.core.shard import Shard

FILES_PER_TASK = 512
ROWS_PER_TASK = scaled(1 << 22)


class Task(NamedTuple):
    """Consecutive live shards of one dataset, by number among these. manifest: digest of the manifest they are in."""

    manifest: str
    dataset: str
    first: int
    last: int


def ledger_tasks(folder: RunFolder) -> list[Task]:
    """Cut the ledger into tasks of some hundred files or million rows; every dataset has one at least."""
    return [task for task, _ in tasks_with_shards(folder)]


def tasks_with_shards(folder: RunFolder) -> Iterator[tuple[Task, list[Shard]]]:
    """Yield the tasks of `ledger_tasks`, each with its shards."""
    frozen = manifest.read_manifest(folder.root)
    if frozen is None:
        return
    for name in folder.datasets:
        shards = frozen.live_of(name)
        for first, last in _runs([shard.rows for shard in shards]):
            yield Task(frozen.digest, name, first, last), list(shards[first:last])


def _runs(rows: list[int]) -> Iterator[tuple[int, int]]:
    first, held = 0, 0
    for last, more in enumerate(rows, start=1):
        held += more
        if last - first == FILES_PER_TASK or held >= ROWS_PER_TASK:
            yield first, last
            first, held = last, 0
    yield first, len(rows)


def shards_of(root: str, task: Task) -> list[ShardRow]:
    """Return the shards of a task, out of the manifest that this process has read once."""
    return rows_of(manifest.cached_manifest(root, task.manifest).live_of(task.dataset)[task.first : task.last])


def rows_of(shards: Sequence[Shard]) -> list[ShardRow]:
    """Return shards as rows of the manifest."""
    return [{"ordinal": s.ordinal, "dataset": s.dataset, "path": s.path, "rows": s.rows} for s in shards]
