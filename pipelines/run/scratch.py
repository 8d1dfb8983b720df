"""The exchange folder before a run: what a machine that went down since, or other code, left there is not used.

Exchange files are not synced. Guarantees: what a run on this machine finds in `exchange/`, it wrote there since this
machine started. Where only another machine went down, checksums tell what of its files is not whole (`slices` and
`sealed` in `cluster.files`). Steps are named by the digest of the code that began them (`Run.code`).
"""

from __future__ import annotations

import platform
import re

from cluster import storage
from cluster.codebase import exchange_code
from cluster.errors import DamagedError
from cluster.files.sealed import read_json, write_json

BOOTS = "boots"  # file that names, for each machine that ran there, the start in which it did
BOOT_ID = "/proc/sys/kernel/random/boot_id"
STEP = re.compile(r"(?!kept-).+\.([0-9a-f]{8}|[0-9])")  # the folder of a step, and the code that began it


def drop_scratch_of_before(root: str) -> None:
    """Remove the files of exchanges where this machine wrote some before it last started, and those of other code."""
    folder = storage.join(root, "exchange")
    if storage.is_local(root):  # an object store has what it confirmed
        _drop_after_power_cut(folder)
    for name in sorted(storage.names(folder)):
        if (step := STEP.fullmatch(name)) and step[1] != exchange_code():
            storage.remove(storage.join(folder, name))


def _drop_after_power_cut(folder: str) -> None:
    here, now = platform.node(), boot_of_this_machine()
    mark = storage.join(folder, BOOTS)
    known = _read(mark)
    if known is not None and known.get(here, now) != now:
        known = None
    if known is None:
        for name in sorted(storage.names(folder)):
            storage.remove(storage.join(folder, name))
    if known is None or here not in known:
        write_json(mark, {**(known or {}), here: now})


def _read(mark: str) -> dict[str, str] | None:
    """Return the starts that are written down; None where they cannot be told."""
    try:
        return dict(read_json(mark))
    except (FileNotFoundError, DamagedError, TypeError, ValueError):
        return None


def boot_of_this_machine() -> str:
    """Return what is different after each start of this machine; where it does not tell, after each call."""
    import secrets

    try:
        return storage.read_bytes(BOOT_ID).decode().strip()
    except OSError:
        return secrets.token_hex(8)
