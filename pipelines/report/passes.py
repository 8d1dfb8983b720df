"""The report's passes over the ledger, shared out over the workers.

Guarantees: the answers are those of one pass from the first file to the last, however the files are cut into
tasks; what comes back is counts and a few doc_ids. Memory: one ledger batch in a task.
"""

from __future__ import annotations

from functools import partial

import numpy as np
import pyarrow.compute as pc

from cluster.engines import Engine
from pipelines.ledger_tasks import Task, ledger_tasks, shards_of
from pipelines.report.ledger_sums import COLUMNS, LedgerSums
from pipelines.runfolder import RunFolder

MEMBERS = 6  # shown of each of the largest groups


def sum_ledger(folder: RunFolder, engine: Engine) -> LedgerSums:
    """Return the sums over the whole ledger."""
    total = LedgerSums()
    for part in engine.map(partial(_sum_shards, folder.root), ledger_tasks(folder)):
        total.merge(part)
    return total


def members_of_groups(folder: RunFolder, engine: Engine, docs: list[int]) -> dict[int, list[int]]:
    """Return the first few documents, in ledger order, that ended at each of these."""
    found: dict[int, list[int]] = {doc: [] for doc in docs}
    tasks = ledger_tasks(folder) if docs else []
    for part in engine.map(partial(_members, folder.root, docs), tasks):
        for doc, group in part:
            found[doc] = [*found[doc], *group][:MEMBERS]
    return found


def _sum_shards(root: str, task: Task) -> LedgerSums:
    part = LedgerSums()
    _ = part.datasets[task.dataset]  # every dataset has sums, if only of nothing
    for table in RunFolder(root).ledger_of(shards_of(root, task), COLUMNS):
        part.add(task.dataset, table)
    return part


def _members(root: str, docs: list[int], task: Task) -> list[tuple[int, list[int]]]:
    """Return (survivor, its first few members in these shards)."""
    found: dict[int, list[int]] = {}
    wanted = np.array(sorted(docs), np.int64)
    for table in RunFolder(root).ledger_of(shards_of(root, task), ["doc_id", "survivor", "kept"]):
        survivor = pc.fill_null(table.column("survivor"), -1).to_numpy()
        for at in np.flatnonzero(np.isin(survivor, wanted) & ~table.column("kept").to_numpy()):
            group = found.setdefault(int(survivor[at]), [])
            if len(group) < MEMBERS:
                group.append(table.column("doc_id")[int(at)].as_py())
    return list(found.items())
