"""The report's passes over the ledger, shared out over the workers.

Guarantees: the answers are those of one pass from the first file to the last, however the files are cut into
tasks; what comes back is counts and a few doc_ids. Memory: one ledger batch in a task.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np
import pyarrow.compute as pc

from cluster.engines import Engine
from pipelines.artefacts import ShardRow
from pipelines.report.ledger_sums import COLUMNS, LedgerSums
from pipelines.runfolder import RunFolder

FILES_PER_TASK = 512
ROWS_PER_TASK = 1 << 22
MEMBERS = 6  # shown of each of the largest groups

Task = tuple[str, list[ShardRow]]  # dataset, its consecutive shards


def sum_ledger(folder: RunFolder, engine: Engine) -> LedgerSums:
    """Return the sums over the whole ledger."""
    total = LedgerSums()
    for part in engine.map(partial(_sum_shards, folder.root), list(_tasks(folder))):
        total.merge(part)
    return total


def members_of_groups(folder: RunFolder, engine: Engine, docs: list[int]) -> dict[int, list[int]]:
    """Return the first few documents, in ledger order, that ended at each of these."""
    found: dict[int, list[int]] = {doc: [] for doc in docs}
    tasks = list(_tasks(folder)) if docs else []
    for part in engine.map(partial(_members, folder.root, docs), tasks):
        for doc, group in part:
            found[doc] = [*found[doc], *group][:MEMBERS]
    return found


def _tasks(folder: RunFolder) -> Iterator[Task]:
    """Cut the ledger into tasks: consecutive shards of one dataset, some thousand files or million rows."""
    shards = folder.manifest.select(["ordinal", "dataset", "path", "rows"]).to_pylist()
    for name in folder.datasets:
        held: list[ShardRow] = []
        rows = 0
        for shard in (s for s in shards if s["dataset"] == name):
            held.append(shard)
            rows += shard["rows"]
            if len(held) == FILES_PER_TASK or rows >= ROWS_PER_TASK:
                yield name, held
                held, rows = [], 0
        yield name, held  # every dataset has sums, if only of nothing


def _sum_shards(root: str, task: Task) -> LedgerSums:
    dataset, shards = task
    part = LedgerSums()
    _ = part.datasets[dataset]
    for table in RunFolder(root).ledger_of(shards, COLUMNS):
        part.add(dataset, table)
    return part


def _members(root: str, docs: list[int], task: Task) -> list[tuple[int, list[int]]]:
    """Return (survivor, its first few members in these shards)."""
    found: dict[int, list[int]] = {}
    wanted = np.array(sorted(docs), np.int64)
    for table in RunFolder(root).ledger_of(task[1], ["doc_id", "survivor", "kept"]):
        survivor = pc.fill_null(table.column("survivor"), -1).to_numpy()
        for at in np.flatnonzero(np.isin(survivor, wanted) & ~table.column("kept").to_numpy()):
            group = found.setdefault(int(survivor[at]), [])
            if len(group) < MEMBERS:
                group.append(table.column("doc_id")[int(at)].as_py())
    return list(found.items())
