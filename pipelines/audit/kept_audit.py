"""The last audit of a run folder, kept for its report; and one inside a run, where it is cheap.

Guarantees: an audit with fewer pairs never replaces one of the same ledger with more. One inside a run is a task of the
engine, and is done only where its cost, by a model that errs on the high side, is below a fiftieth of the work so far.
"""

from __future__ import annotations

from cluster import storage
from cluster.engines import Engine
from cluster.errors import DamagedError
from cluster.files.sealed import write_public_json
from pipelines.audit import tree
from pipelines.audit.audit import audit
from pipelines.report.accuracy import FILE, read_audit
from pipelines.staleness import ledger_digest

SHARE = 0.02  # of the seconds of a run that its audit may take
PAIRS = 100  # of each kind
SECONDS = 2.0  # for these; of CPU on 2026-11-29: 1.2, and 36e-6 for each removed document
SECONDS_PER_REMOVED, SECONDS_PER_KEPT = 50e-6, 5e-6
MOST = 4_000_000  # documents: what an audit holds of each kept one is small, not nothing


def is_cheap(seconds: float, removed: int, kept: int) -> bool:
    """Tell whether an audit costs little beside a run that took so many seconds.

    Examples
    --------
    >>> is_cheap(10.0, 1_000, 8_000), is_cheap(3600.0, 100_000, 900_000)
    (False, True)
    """
    cost = SECONDS + SECONDS_PER_REMOVED * removed + SECONDS_PER_KEPT * kept
    return cost < SHARE * seconds and removed + kept <= MOST


def audit_in_run(engine: Engine, root: str) -> None:
    """Audit a run that has just written its ledger, in one task, and keep what was found."""
    for found in engine.map(_audit, [root]):
        keep_audit(root, found)


def _audit(root: str) -> tree.Audit:
    return audit(root, pairs=PAIRS, trust=True)


def keep_audit(root: str, found: tree.Audit) -> bool:
    """Write an audit into its run folder, where the report looks for it; return whether it was written."""
    root = root.rstrip("/")
    ledger = ledger_digest(root)
    if not ledger or found.get("stale") or _pairs(root) > found["pairs"]:
        return False
    kept = {key: found[key] for key in ("format", "pairs", "seed", "stages")}
    try:
        write_public_json(storage.join(root, FILE), {**kept, "ledger": ledger})
    except OSError:  # a folder that may only be read
        return False
    return True


def _pairs(root: str) -> int:
    """Return the pairs of the audit that lies there; 0 where there is none of the present ledger."""
    try:
        found = read_audit(root)
    except DamagedError:
        return 0
    return found["pairs"] if found else 0
