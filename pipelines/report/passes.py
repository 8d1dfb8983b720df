"""The report's passes over the ledger, shared out over the workers.

Guarantees: the answers are those of one pass from the first file to the last, however the files are cut into
tasks; what comes back is counts and a few doc_ids. What was counted in files that are as they were is not counted
again (`pipelines/ledger_blocks.py`). Memory: one ledger batch in a task.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pyarrow.compute as pc

from cluster.engines import Engine
from pipelines.artefacts import ShardRow
from pipelines.ledger_blocks import Marked, count_blocks, marked_tasks
from pipelines.report.kept_sums import sums_of_json, sums_to_json
from pipelines.report.ledger_sums import COLUMNS, GROUP_COLUMNS, LedgerSums
from pipelines.runfolder import RunFolder
from stages.outcome.ledger import WITHOUT_GROUPS

MEMBERS = 6  # shown of each of the largest groups


def sum_ledger(folder: RunFolder, engine: Engine) -> LedgerSums:
    """Return the sums over the whole ledger."""
    total = LedgerSums()
    for part in engine.map(partial(_sum_shards, folder.root), marked_tasks(folder)):
        total.merge(part)
    return total


def members_of_groups(folder: RunFolder, engine: Engine, docs: list[int]) -> dict[int, list[int]]:
    """Return the first few documents, in ledger order, that ended at each of these."""
    found: dict[int, list[int]] = {doc: [] for doc in docs}
    tasks = marked_tasks(folder) if docs else []
    for part in engine.map(partial(_members, folder.root, docs), tasks):
        for doc, group in part:
            found[doc] = [*found[doc], *group][:MEMBERS]
    return found


def _sum_shards(root: str, task: Marked) -> LedgerSums:
    total, dataset = LedgerSums(), task.task.dataset
    _ = total.datasets[dataset]  # every dataset has sums, if only of nothing
    count, groups = partial(_sum_block, root, dataset), partial(_sum_groups, root)
    for part in count_blocks(root, "sums", task, count, sums_to_json, sums_of_json, WITHOUT_GROUPS):
        total.merge(part)
    for part in count_blocks(root, "groups", task, groups, sums_to_json, sums_of_json):
        total.merge(part)
    return total


def _sum_block(root: str, dataset: str, shards: list[ShardRow]) -> LedgerSums:
    sums = LedgerSums()
    for table in RunFolder(root).ledger_of(shards, COLUMNS):
        sums.add_rows(dataset, table)
    return sums


def _sum_groups(root: str, shards: list[ShardRow]) -> LedgerSums:
    sums = LedgerSums()
    for table in RunFolder(root).ledger_of(shards, GROUP_COLUMNS):
        sums.add_groups(table)
    return sums


def _members(root: str, docs: list[int], task: Marked) -> list[tuple[int, list[int]]]:
    """Return (survivor, its first few members in these shards)."""
    found: dict[int, list[int]] = {}
    count, of_json = partial(_members_of_block, root, docs), partial(_members_of_json, docs)
    for part in count_blocks(root, "members", task, count, _members_to_json, of_json, WITHOUT_GROUPS):
        for doc, members in part.items():
            if members:
                found[doc] = [*found.get(doc, []), *members][:MEMBERS]
    return list(found.items())


def _members_to_json(members: dict[int, list[int]]) -> dict[str, list[int]]:
    return {str(doc): group for doc, group in members.items()}


def _members_of_json(docs: list[int], data: Any) -> dict[int, list[int]]:
    return {doc: [int(member) for member in data[str(doc)]] for doc in docs}


def _members_of_block(root: str, docs: list[int], shards: list[ShardRow]) -> dict[int, list[int]]:
    """Return, by survivor, its first few members in a block of shards."""
    found: dict[int, list[int]] = {doc: [] for doc in docs}
    wanted = np.array(sorted(docs), np.int64)
    for table in RunFolder(root).ledger_of(shards, ["doc_id", "survivor", "kept"]):
        survivor = pc.fill_null(table.column("survivor"), -1).to_numpy()
        for at in np.flatnonzero(np.isin(survivor, wanted) & ~table.column("kept").to_numpy()):
            group = found[int(survivor[at])]
            if len(group) < MEMBERS:
                group.append(table.column("doc_id")[int(at)].as_py())
    return found
