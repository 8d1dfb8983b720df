"""An audit as types: what `winnow audit --json` prints.

Guarantees: the same run folder, seed and numbers give the same audit.
"""

from __future__ import annotations

from typing import NotRequired

from typing_extensions import TypedDict

from pipelines.staleness import Stale


class Precision(TypedDict):
    """Share of removed pairs that are duplicates, with its interval. effective: sample size by weights."""

    estimate: float | None
    low: float
    high: float
    pairs: int
    effective: float


class Recall(TypedDict):
    """Share of duplicates that was removed, with its interval. left_over: kept documents that should have gone."""

    estimate: float | None
    low: float
    high: float
    left_over: float
    left_over_low: NotRequired[float]
    left_over_high: float


class WrongPair(TypedDict):
    """A removed pair whose true similarity does not reach the threshold."""

    doc_id: int
    representative: int
    similarity: float
    similarity_kind: str
    true: float | None


class StratumAudit(TypedDict):
    """Removed pairs of two datasets and one band of similarity, and what was found of those compared."""

    dataset: str
    representative_dataset: str
    similarity_from: float
    removed: int
    sampled: int
    unreadable: int
    right: int
    low: float
    high: float
    wrong: list[WrongPair]


class EstimateBand(TypedDict):
    """Kept pairs of one band of estimates, and how many of them are duplicates."""

    estimate_from: float
    pairs: int
    alike: int


class MissedPair(TypedDict):
    """Two kept documents that are duplicates."""

    doc_id: int
    other: int
    estimate: float
    true: float | None
    shared_bucket: bool


class KeptAudit(TypedDict):
    """Kept documents compared with others, and the duplicates among them.

    seeds_sampled: those with too many pairs near the threshold, of which a random part was compared by text;
    pairs_of_sampled: how many pairs these have.
    """

    documents: int
    seeds: int
    compared_with: int
    pairs: int
    unreadable: int
    seeds_sampled: int
    pairs_of_sampled: int
    alike: int
    alike_sharing_a_bucket: int
    bands: list[EstimateBand]
    missed: list[MissedPair]


class StageAudit(TypedDict):
    """One deduplication stage; what was kept is audited for near_dedup only."""

    use: str
    threshold: float
    removed: int
    sampled: int
    precision: Precision
    strata: list[StratumAudit]
    threshold_is: NotRequired[str]
    kept: NotRequired[KeptAudit]
    recall: NotRequired[Recall]


class KeptAmount(TypedDict):
    """Documents and tokens that survive every stage."""

    documents: int
    tokens: int


class NowAndThen(TypedDict):
    """What survives of a dataset in the run, and with the other threshold."""

    now: KeptAmount
    then: KeptAmount


class ThresholdAudit(TypedDict):
    """What another threshold would keep. pairs_guessed: decided by their estimate; not_judged: count as passing."""

    stage: str
    threshold: float
    present: float | None
    pairs_known: int
    pairs_guessed: int
    not_judged: int
    datasets: dict[str, NowAndThen]


class Audit(TypedDict):
    """How right the deduplication of a run was, per stage. threshold: only where another one was asked about."""

    format: int
    run: str
    pairs: int
    seed: int
    stages: dict[str, StageAudit]
    threshold: NotRequired[ThresholdAudit]
    stale: NotRequired[list[Stale]]
