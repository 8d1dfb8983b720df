"""Precision and recall of the deduplication, from the audit that lies in the run folder.

Guarantees: an audit of another ledger counts for nothing.
"""

from __future__ import annotations

from typing import Any

from cluster import storage
from cluster.errors import DamagedError
from cluster.files.sealed import read_public_json
from pipelines.report import tree
from pipelines.staleness import ledger_digest

FILE = "audit.json"


def read_accuracy(root: str) -> tree.Accuracy | None:
    """Return what the last audit of the ledger found; None where there is none."""
    path = storage.join(root, FILE)
    try:
        found = read_public_json(path)
    except (FileNotFoundError, DamagedError):
        return None
    if found.get("ledger") != ledger_digest(root):
        return None
    stages = {name: _stage(stage) for name, stage in (found.get("stages") or {}).items()}
    return {"pairs": int(found.get("pairs", 0)), "seed": int(found.get("seed", 0)), "stages": stages}


def _stage(found: dict[str, Any]) -> tree.StageAccuracy:
    return {
        "threshold": float(found["threshold"]),
        "removed": int(found["removed"]),
        "sampled": int(found["sampled"]),
        "precision": found["precision"],
        "recall": found.get("recall"),
        "sampled_kept": _sampled_kept(found.get("kept") or {}),
    }


def _sampled_kept(kept: dict[str, Any]) -> tree.KeptSampled | None:
    if not kept.get("seeds_sampled"):  # an audit of an earlier winnow compared all
        return None
    return {
        "seeds": int(kept["seeds"]),
        "seeds_sampled": int(kept["seeds_sampled"]),
        "pairs_of_sampled": int(kept["pairs_of_sampled"]),
    }
