"""The ledger folder: written once for the decisions it tells of, checked file by file when a run goes on.

Guarantees: a file of the ledger counts only where the list of its unit, addressed by the decisions, names it with its
size; before other decisions are written down, all lists go, then all files, or the run stops. So no file that other
decisions made, and none that is missing, empty or cut, stands as the ledger of these.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import partial
from typing import Any

from cluster import storage
from cluster.engines import Engine
from cluster.errors import DamagedError
from pipelines.staleness import ledger_mark
from stages.core.digests import digest
from stages.core.run import Run
from stages.outcome import ledger, lineage
from stages.outcome.draw import Draw

ADDRESS = re.compile(r"[0-9a-f]{16}")
FILE = re.compile(r"[0-9]+\.parquet")


def write_ledger_folder(engine: Engine, job: Run, draws: Sequence[Draw]) -> None:
    """Write what is missing of the ledger; one that other decisions made is replaced. draws: of each mix."""
    mine = digest(lineage.lineage_digest(job), *(part for draw in draws for part in draw.address()))
    _start_over_if_other(job.root, mine)
    folder, records = ledger_folder(job.root), _records(job.root, mine)
    have, listed = storage.sizes(folder), storage.names(records)
    todo = [
        unit
        for unit in range(len(job.manifest.units))
        if f"{unit}.json" not in listed or not _is_whole(records, unit, have)
    ]
    engine.map(partial(ledger.write_ledger, job, draws, folder, records), todo, cost=ledger.WRITE)


def ledger_folder(root: str) -> str:
    """Return where the ledger of a run folder lies."""
    return storage.join(root, "ledger")


def records_of(root: str) -> str | None:
    """Return where the lists of the ledger's files lie that is in the run folder; None where none was begun."""
    try:
        address = storage.read_bytes(ledger_mark(root)).decode("utf-8", "replace")
    except FileNotFoundError:
        return None
    return _records(root, address) if ADDRESS.fullmatch(address) else None


def listed_files(root: str) -> list[dict[str, Any]]:
    """Return path below the ledger folder, rows, bytes and SHA-256 of each file that is done. Raises DamagedError."""
    records = records_of(root)
    units = sorted(int(name.removesuffix(".json")) for name in storage.names(records)) if records else []
    return [asdict(file) for unit in units for file in ledger.files_of_unit(str(records), unit)]


def _records(root: str, address: str) -> str:
    return storage.join(root, "decisions", "ledger", address)


def _start_over_if_other(root: str, mine: str) -> None:
    """Remove a ledger that other decisions made: first the word that it is whole, then its files."""
    marker = ledger_mark(root)
    if storage.exists(marker) and storage.read_bytes(marker) == mine.encode():
        return
    storage.remove(marker)
    storage.remove(storage.join(root, "decisions", "ledger"))
    folder = ledger_folder(root)
    storage.remove_files([storage.join(folder, name) for name in sorted(storage.names(folder)) if FILE.fullmatch(name)])
    storage.write_bytes(marker, mine.encode())


def _is_whole(records: str, unit: int, have: Mapping[str, int]) -> bool:
    """Tell whether the files of a unit are there with the sizes that its list names."""
    try:
        return all(have.get(file.path) == file.bytes for file in ledger.files_of_unit(records, unit))
    except (FileNotFoundError, DamagedError):
        return False
