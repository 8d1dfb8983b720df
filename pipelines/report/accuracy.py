"""Precision and recall of the deduplication, from the audit that lies in the run folder.

Guarantees: an audit of another ledger counts for nothing.
"""

from __future__ import annotations

from typing import (
    Any,
    NotRequired,  # before Python 3.12 pydantic needs this TypedDict
)

from typing_extensions import TypedDict

from cluster import storage
from cluster.errors import DamagedError
from cluster.files.sealed import read_public_json
from pipelines.staleness import ledger_digest

FILE = "audit.json"


class AccuracyShare(TypedDict):
    """A share that an audit estimates, with its 95 % interval. left_over: documents; of recall only."""

    estimate: float | None
    low: float
    high: float
    left_over: NotRequired[float]


class KeptSampled(TypedDict):
    """Kept documents with more pairs near the threshold than the audit compared: how many, of `seeds`, with how many
    pairs. A random part of each stands for the rest."""

    seeds: int
    seeds_sampled: int
    pairs_of_sampled: int


class StageAccuracy(TypedDict):
    """Precision and recall of one deduplication stage; recall of near_dedup only. sampled_kept: where it was needed."""

    threshold: float
    removed: int
    sampled: int
    precision: AccuracyShare
    recall: AccuracyShare | None
    sampled_kept: KeptSampled | None


class Accuracy(TypedDict):
    """What `winnow audit` found of this ledger. pairs, seed: of its sample."""

    pairs: int
    seed: int
    stages: dict[str, StageAccuracy]


def read_accuracy(root: str) -> Accuracy | None:
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


def _stage(found: dict[str, Any]) -> StageAccuracy:
    return {
        "threshold": float(found["threshold"]),
        "removed": int(found["removed"]),
        "sampled": int(found["sampled"]),
        "precision": found["precision"],
        "recall": found.get("recall"),
        "sampled_kept": _sampled_kept(found.get("kept") or {}),
    }


def _sampled_kept(kept: dict[str, Any]) -> KeptSampled | None:
    if not kept.get("seeds_sampled"):  # an audit of an earlier winnow compared all
        return None
    return {
        "seeds": int(kept["seeds"]),
        "seeds_sampled": int(kept["seeds_sampled"]),
        "pairs_of_sampled": int(kept["pairs_of_sampled"]),
    }
