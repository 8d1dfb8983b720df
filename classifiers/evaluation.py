"""How well scores separate two sets of documents: precision, recall, AUC, calibration, thresholds.

Guarantees: exact ranks with ties counted as half, no dependence on the order of documents. Holds one
float per document.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np

from classifiers.base import F64

THRESHOLDS = (0.01, 0.018112, 0.05, *(round(0.1 * i, 1) for i in range(1, 10)), 0.95, 0.99)  # .018112: DCLM's
BINS = 10


@dataclass(frozen=True, kw_only=True)
class AtThreshold:
    """What keeping the documents with a score of at least `threshold` would mean. Shares in [0, 1]."""

    threshold: float
    kept: float  # of all documents
    precision: float  # NaN where nothing is kept
    recall: float
    f1: float
    negatives_kept: float


@dataclass(frozen=True, kw_only=True)
class CalibrationBin:
    """Documents with a score in [low, high): mean score beside the share that is positive."""

    low: float
    high: float
    documents: int
    mean_score: float
    positive: float


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """Metrics of one model on one labelled set. `at` is the row of the chosen threshold."""

    positives: int
    negatives: int
    auc: float
    at: AtThreshold
    calibration_error: float  # expected calibration error over ten bins (Guo et al. 2017, eq. 5)
    thresholds: tuple[AtThreshold, ...]
    calibration: tuple[CalibrationBin, ...]

    def as_dict(self) -> dict[str, Any]:
        """Return plain numbers for JSON; NaN becomes None."""
        return dict(_plain(dataclasses.asdict(self)))


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(v) for key, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    return None if isinstance(value, float) and np.isnan(value) else value


def evaluate_scores(positive: F64, negative: F64, threshold: float = 0.5) -> Evaluation:
    """Compare the scores of positive and negative documents, (positives,) and (negatives,); NaN counts as 0.

    Examples
    --------
    >>> found = evaluate_scores(np.array([0.9, 0.8]), np.array([0.1, 0.85]))
    >>> found.auc, found.at.precision, found.at.recall
    (0.75, 0.6666666666666666, 1.0)
    """
    positive, negative = np.nan_to_num(positive), np.nan_to_num(negative)
    score = np.concatenate([positive, negative])
    truth = np.arange(len(score)) < len(positive)
    bins = calibration(score, truth)
    error = sum(b.documents * abs(b.mean_score - b.positive) for b in bins) / max(len(score), 1)
    return Evaluation(
        positives=len(positive),
        negatives=len(negative),
        auc=auc(positive, negative),
        at=at_threshold(positive, negative, threshold),
        calibration_error=error,
        thresholds=tuple(at_threshold(positive, negative, t) for t in THRESHOLDS),
        calibration=tuple(bins),
    )


def auc(positive: F64, negative: F64) -> float:
    """Return the probability that a positive document scores higher than a negative one, ties half."""
    if not len(positive) or not len(negative):
        return float("nan")
    ordered = np.sort(negative)
    below = np.searchsorted(ordered, positive, "left").sum()
    equal = np.searchsorted(ordered, positive, "right").sum() - below
    return float((below + equal / 2) / (len(positive) * len(negative)))


def kappa(one: Any, other: Any) -> float:
    """Return Cohen's kappa of two arrays of verdicts, (documents,) bool; NaN where both always say the same.

    Examples
    --------
    >>> kappa(np.array([True, True, False, False]), np.array([True, False, False, False]))
    0.5
    """
    if not len(one):
        return float("nan")
    a, b = float(np.mean(one)), float(np.mean(other))
    chance = a * b + (1 - a) * (1 - b)
    return float("nan") if chance == 1 else float((np.mean(one == other) - chance) / (1 - chance))


def at_threshold(positive: F64, negative: F64, threshold: float) -> AtThreshold:
    """Return what the threshold keeps; a document is kept when its score is not below it."""
    right, wrong = int((positive >= threshold).sum()), int((negative >= threshold).sum())
    kept, total = right + wrong, len(positive) + len(negative)
    return AtThreshold(
        threshold=threshold,
        kept=_share(kept, total),
        precision=_share(right, kept),
        recall=_share(right, len(positive)),
        f1=_share(2 * right, kept + len(positive)),
        negatives_kept=_share(wrong, len(negative)),
    )


def _share(part: int, whole: int) -> float:
    return part / whole if whole else float("nan")


def calibration(score: F64, truth: Any) -> list[CalibrationBin]:
    """Return ten bins of equal width over [0, 1]; empty bins are left out."""
    index = np.clip((score * BINS).astype(int), 0, BINS - 1)
    found = []
    for i in range(BINS):
        members = index == i
        count = int(members.sum())
        if count:
            mean, share = float(score[members].mean()), float(truth[members].mean())
            found.append(
                CalibrationBin(low=i / BINS, high=(i + 1) / BINS, documents=count, mean_score=mean, positive=share)
            )
    return found


def plot(evaluation: Evaluation, title: str) -> str:
    """Return an SVG of precision, recall and the share kept over the threshold."""
    left, top, width, height = 50, 30, 480, 260
    rows = evaluation.thresholds
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width + 180}" height="{height + 80}" '
        'font-family="sans-serif" font-size="12">',
        f'<text x="{left}" y="18" font-size="14">{_escaped(title)}</text>',
        f'<rect x="{left}" y="{top}" width="{width}" height="{height}" fill="none" stroke="#999"/>',
        f'<text x="{left}" y="{top + height + 40}">threshold of the score, AUC {evaluation.auc:.3f}</text>',
    ]
    for tick in (0.0, 0.25, 0.5, 0.75, 1.0):
        x, y = left + tick * width, top + (1 - tick) * height
        lines.append(f'<text x="{x - 8:.0f}" y="{top + height + 18}">{tick:g}</text>')
        lines.append(f'<text x="{left - 34}" y="{y + 4:.0f}">{tick:g}</text>')
    curves = (
        ("precision", "#1b6ca8"),
        ("recall", "#c0392b"),
        ("kept", "#777"),
        ("negatives_kept", "#d68910"),
    )
    for place, (name, colour) in enumerate(curves):
        values = [(row.threshold, getattr(row, name)) for row in rows]
        points = " ".join(f"{left + t * width:.1f},{top + (1 - v) * height:.1f}" for t, v in values if not np.isnan(v))
        lines.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"/>')
        y = top + 20 + 18 * place
        lines.append(f'<text x="{left + width + 12}" y="{y}" fill="{colour}">{name.replace("_", " ")}</text>')
    return "\n".join([*lines, "</svg>"]) + "\n"


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
