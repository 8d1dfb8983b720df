"""The ledger folder: written once for the decisions it tells of, checked file by file when a run goes on.

Guarantees: a file of the ledger counts only where the list of its unit, addressed by the decisions, names it with its
size; before other decisions are written down, all lists go, then all files of which no column stays, or the run stops.
So no file that other decisions made, and none that is missing, empty or cut, stands as the ledger of these.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import partial
from typing import Any

from cluster import storage
from cluster.engines import Engine
from cluster.errors import DamagedError
from cluster.files.digesting import is_that
from cluster.files.parquet_columns import NoParquet
from cluster.files.sealed import write_json
from pipelines.ledger_records import ledger_folder, records_at, records_of
from pipelines.staleness import ledger_mark
from stages.core.digests import digest
from stages.core.run import Run
from stages.outcome import ledger, lineage
from stages.outcome.draw import Draw
from stages.outcome.ledger import LedgerFile
from stages.outcome.made_from import MadeFrom, together

FILE = re.compile(r"[0-9]+\.parquet")


def write_ledger_folder(engine: Engine, job: Run, draws: Sequence[Draw], made: Sequence[MadeFrom]) -> None:
    """Write what is missing of the ledger; of one that other decisions made, what has other rows is replaced.

    draws : of each mix. made : what the rows of each bundle are made from.
    """
    mine = digest(lineage.lineage_digest(job), *(part for draw in draws for part in draw.address()))
    keys = [together([made[position].ledger for position in unit]) for unit in job.manifest.units]
    _start_over_if_other(job.root, mine, keys)
    folder, records = ledger_folder(job.root), records_at(job.root, mine)
    have, listed = storage.sizes(folder), storage.names(records)
    todo = [
        (unit, key)
        for unit, key in enumerate(keys)
        if f"{unit}.json" not in listed or not _is_whole(records, unit, have)
    ]
    engine.map(partial(_write_unit, job, draws, folder, records), todo, cost=ledger.WRITE)
    storage.remove(_before(records))


def _write_unit(job: Run, draws: Sequence[Draw], folder: str, records: str, task: tuple[int, str]) -> dict[str, int]:
    """Write the files of a unit; of those that are there as they were before, only the columns that changed."""
    unit, key = task
    with contextlib.suppress(FileNotFoundError, DamagedError, NoParquet):
        before = ledger.files_of_unit(_before(records), unit)
        names = _changed(before[0].made_from, key) if before else []
        if names and all(is_that(storage.join(folder, file.path), file.bytes, file.sha256) for file in before):
            return ledger.write_ledger(job, draws, folder, records, unit, key, before, names)
    return ledger.write_ledger(job, draws, folder, records, unit, key)


def _changed(before: str, now: str) -> list[str]:
    """Return the columns of the ledger that are made from something else now; none where nearly all are."""
    pairs = list(zip(ledger.FAMILIES, before.split(":"), now.split(":"), strict=False))
    if len(pairs) < len(ledger.FAMILIES) or pairs[0][1] != pairs[0][2]:
        return []
    return [name for names, old, new in pairs if old != new for name in names]


def _before(records: str) -> str:
    """Return where the lists of files lie that were the ledger's before, and of which some columns may stay."""
    return f"{records}-before"


def listed_files(root: str) -> list[dict[str, Any]]:
    """Return path below the ledger folder, rows, bytes and SHA-256 of each file that is done. Raises DamagedError."""
    records = records_of(root)
    units = sorted(int(name.removesuffix(".json")) for name in storage.names(records)) if records else []
    return [asdict(file) for unit in units for file in ledger.files_of_unit(str(records), unit)]


def _start_over_if_other(root: str, mine: str, keys: Sequence[str]) -> None:
    """Remove a ledger that other decisions made: first the word that it is whole, then its files.

    Files that are made from what they would be made from now stay, and are listed again; those of which only some
    columns are, stay where they are and are listed apart. keys : of each unit.
    """
    marker = ledger_mark(root)
    if storage.exists(marker) and storage.read_bytes(marker) == mine.encode():
        return
    stay, partly = _unchanged(root, keys)
    storage.remove(marker)
    storage.remove(storage.join(root, "decisions", "ledger"))
    records = records_at(root, mine)
    for place, listed in ((records, stay), (_before(records), partly)):
        for unit, files in listed.items():
            write_json(ledger.unit_path(place, unit), [asdict(file) for file in files])
    folder, kept = ledger_folder(root), {file.path for files in [*stay.values(), *partly.values()] for file in files}
    gone = [name for name in sorted(storage.names(folder)) if FILE.fullmatch(name) and name not in kept]
    storage.remove_files([storage.join(folder, name) for name in gone])
    storage.write_bytes(marker, mine.encode())


def _unchanged(root: str, keys: Sequence[str]) -> tuple[dict[int, list[LedgerFile]], dict[int, list[LedgerFile]]]:
    """Return the files of each unit, by its number now, that are there and made from what they would be made from now.

    And those of which some columns are.
    """
    stay, partly = dict[int, list[LedgerFile]](), dict[int, list[LedgerFile]]()
    records, wanted = records_of(root), {key.partition(":")[0]: unit for unit, key in enumerate(keys) if key}
    if records is None or not wanted:
        return stay, partly
    have = storage.sizes(ledger_folder(root))
    for name in storage.names(records):
        with contextlib.suppress(DamagedError):
            files = ledger.files_of_unit(records, int(name.removesuffix(".json")))
            made_from = files[0].made_from if files else ""
            unit = wanted.get(made_from.partition(":")[0])
            if unit is not None and all(have.get(file.path) == file.bytes for file in files):
                (stay if made_from == keys[unit] else partly)[unit] = files
    return stay, partly


def _is_whole(records: str, unit: int, have: Mapping[str, int]) -> bool:
    """Tell whether the files of a unit are there with the sizes that its list names."""
    try:
        return all(have.get(file.path) == file.bytes for file in ledger.files_of_unit(records, unit))
    except (FileNotFoundError, DamagedError):
        return False
