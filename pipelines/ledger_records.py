"""The lists of the ledger's files: where they lie, and what a file is made from as its list says.

Guarantees: what a file is said to be made from is told of the bytes that its list names and of no others. Memory: a
worker process holds a number for each shard.
"""

from __future__ import annotations

import contextlib
import functools
import re
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from cluster import storage
from cluster.errors import DamagedError
from cluster.files.digesting import is_that
from pipelines.staleness import ledger_mark
from stages.core.manifest import cached_manifest
from stages.outcome import ledger
from stages.outcome.ledger import LedgerFile

ADDRESS = re.compile(r"[0-9a-f]{16}")


def ledger_folder(root: str) -> str:
    """Return where the ledger of a run folder lies."""
    return storage.join(root, "ledger")


def records_at(root: str, address: str) -> str:
    """Return where the lists of the files of the ledger lie that these decisions made."""
    return storage.join(root, "decisions", "ledger", address)


def records_of(root: str) -> str | None:
    """Return where the lists of the ledger's files lie that is in the run folder; None where none was begun."""
    try:
        address = storage.read_bytes(ledger_mark(root)).decode("utf-8", "replace")
    except FileNotFoundError:
        return None
    return records_at(root, address) if ADDRESS.fullmatch(address) else None


def families_of(root: str, manifest: str, ordinals: Sequence[int]) -> list[tuple[str, ...]]:
    """Return what the ledger files of these shards are made from, for each family of columns.

    Nothing where that is not told of one of them, or a file is not the one that its list names. manifest : its digest.
    """
    records, units = records_of(root), _units(root, manifest)
    if records is None:
        return []
    found: dict[int, LedgerFile] = {}
    with contextlib.suppress(FileNotFoundError, DamagedError, ValueError):
        for unit in sorted({int(units[ordinal]) for ordinal in ordinals}):
            for file in ledger.files_of_unit(records, unit):
                found[int(file.path.partition(".")[0])] = file
        mine = [found.get(ordinal) for ordinal in ordinals]
        if all(file is not None and file.made_from and _is_that(root, file) for file in mine):
            return [tuple(file.made_from.split(":")) for file in mine if file is not None]
    return []


def _is_that(root: str, file: LedgerFile) -> bool:
    return is_that(storage.join(ledger_folder(root), file.path), file.bytes, file.sha256)


@functools.lru_cache(maxsize=4)
def _units(root: str, digest: str) -> npt.NDArray[np.int32]:
    """Return the unit of bundles that each live shard is in, by ordinal."""
    manifest = cached_manifest(root, digest)
    found = np.zeros(len(manifest.live_shards), np.int32)
    for unit, positions in enumerate(manifest.units):
        for position in positions:
            found[[piece.shard.ordinal for piece in manifest.bundles[position].pieces]] = unit
    return found
