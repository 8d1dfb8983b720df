"""Precision and recall of the deduplication, from the audit that lies in the run folder.

Guarantees: an audit of another ledger counts for nothing; one that is damaged is named in a warning, and counts for
nothing.
"""

from __future__ import annotations

import logging
from typing import Any, NotRequired, cast

from typing_extensions import TypedDict  # pydantic reads them, and needs this one before Python 3.12

from cluster import storage
from cluster.errors import DamagedError
from cluster.files.records import as_kind, read_public_record
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


class _Recall(TypedDict):
    estimate: float | None
    low: float
    high: float
    left_over: float


class _Stage(TypedDict):
    """What is asked of a stage in audit.json."""

    threshold: float
    removed: int
    sampled: int
    precision: AccuracyShare
    recall: NotRequired[_Recall | None]
    kept: NotRequired[dict[str, Any] | None]


class _Audit(TypedDict):
    """What is asked of audit.json, whatever winnow wrote it."""

    ledger: str
    pairs: int
    seed: int
    stages: dict[str, _Stage]


def read_audit(root: str) -> Accuracy | None:
    """Return what the last audit of the present ledger found; None where there is none. Raises DamagedError."""
    path = storage.join(root, FILE)
    try:
        found = cast("_Audit", read_public_record(path, _Audit))
    except FileNotFoundError:
        return None
    stages = {name: _stage(path, stage) for name, stage in found["stages"].items()}
    if found["ledger"] != ledger_digest(root):
        return None
    return {"pairs": found["pairs"], "seed": found["seed"], "stages": stages}


def read_accuracy(root: str) -> Accuracy | None:
    """Return the same for a report: None with a warning where it is damaged."""
    try:
        return read_audit(root)
    except DamagedError as error:
        why = str(error).partition(". ")[0]
        logging.getLogger(__name__).warning("%s, so it is left out. `winnow audit %s` makes it again.", why, root)
        return None


def _stage(path: str, found: _Stage) -> StageAccuracy:
    return {
        "threshold": found["threshold"],
        "removed": found["removed"],
        "sampled": found["sampled"],
        "precision": found["precision"],
        "recall": cast("AccuracyShare | None", found.get("recall")),
        "sampled_kept": _sampled_kept(path, found.get("kept") or {}),
    }


def _sampled_kept(path: str, kept: dict[str, Any]) -> KeptSampled | None:
    """Return what was sampled of the kept documents; None where all were compared, as earlier winnows did."""
    if not kept.get("seeds_sampled"):
        return None
    return as_kind(path, {name: kept[name] for name in KeptSampled.__annotations__ if name in kept}, KeptSampled)
