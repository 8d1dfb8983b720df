"""What the sample looks like: languages, quality scores, similar pairs, and what the LSH banding misses of them.

Memory: the scores of the sample; for similar pairs 8-bit signatures of at most PAIRED documents.
"""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import numpy.typing as npt
import pyarrow.compute as pc

from pipelines.plan.sample import Measured
from pipelines.plan.tree import FilterPlan, LshPlan
from stages.core.run import Run
from stages.core.stage import ShardStage
from stages.core.view import View
from stages.dedup.near.job import NearJob
from stages.kernels.similarity.banding import half_way, probability, s_curve
from stages.kernels.similarity.jaccard import estimate_pairs
from stages.kernels.similarity.minhash import slots8
from stages.language_id import LanguageId
from stages.near_dedup import NearDedup, near_job
from stages.quality import Quality

PAIRED = 3000  # documents compared with each other: 4.5 million pairs, about a second
SHOWN = (0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95)
TOP_LANGUAGES = 8
NUDGE = 0.1  # a threshold is moved by this share of the scores' spread to see how much hangs on it
F64 = npt.NDArray[np.float64]


def languages(measured: Measured) -> dict[str, dict[str, dict[str, float]]]:
    """Return stage -> dataset -> language -> share of the documents that the stage judged, the largest ones."""
    run = measured.run
    found: dict[str, dict[str, dict[str, float]]] = {}
    for index, stage in enumerate(run.stages):
        if isinstance(stage, LanguageId):
            counts: dict[str, Counter[str]] = {}
            for bundle in run.manifest.bundles:
                if stage.applies_to(bundle.dataset):
                    view = View(run, bundle)
                    table = view.facts(index, np.flatnonzero(view.live(index)), ["language"])
                    pairs = pc.value_counts(table.column("language")).to_pylist()
                    counts.setdefault(bundle.dataset, Counter()).update({p["values"]: p["counts"] for p in pairs})
            found[stage.name] = {name: _shares(count) for name, count in counts.items()}
    return found


def _shares(counts: Counter[str]) -> dict[str, float]:
    total = max(1, sum(counts.values()))
    top = counts.most_common(TOP_LANGUAGES)
    rest = total - sum(n for _, n in top)
    return {**{str(name): n / total for name, n in top}, **({"other": rest / total} if rest > 0 else {})}


def filters(measured: Measured) -> list[FilterPlan]:
    """Return for every stage that judges by a score how the scores lie about its threshold, per dataset.

    lower, upper: share kept if the threshold were NUDGE of the spread (5th to 95th percentile) lower or higher.
    """
    run = measured.run
    found = []
    for index, stage in enumerate(run.stages):
        column = {LanguageId: "language_score", Quality: "quality_score"}.get(_base(stage))
        limit = getattr(stage, "min_score", None)
        if column is not None and isinstance(stage, ShardStage):
            for dataset in (d.name for d in run.datasets if stage.applies_to(d.name)):
                scores = _scores(run, index, dataset, column)
                found.append(_about(stage.name, dataset, scores, limit))
    return found


def _base(stage: object) -> type[object]:
    return next((k for k in (LanguageId, Quality) if isinstance(stage, k)), object)


def _scores(run: Run, index: int, dataset: str, column: str) -> F64:
    parts = [np.empty(0)]
    for bundle in run.manifest.bundles:
        if bundle.dataset == dataset:
            view = View(run, bundle)
            table = view.facts(index, np.flatnonzero(view.live(index)), [column])
            parts.append(table.column(column).to_numpy(zero_copy_only=False).astype(np.float64))
    return np.concatenate(parts)


def _about(stage: str, dataset: str, scores: F64, limit: float | None) -> FilterPlan:
    known = scores[~np.isnan(scores)]
    points = (5, 25, 50, 75, 95)
    values = np.percentile(known, points) if len(known) else np.full(len(points), math.nan)
    found: FilterPlan = {
        "stage": stage,
        "dataset": dataset,
        "documents": len(scores),
        "without_score": int(np.isnan(scores).sum()),
        "percentiles": {f"p{p}": float(v) for p, v in zip(points, values, strict=True)},
        "min_score": limit,
    }
    if limit is not None and len(known):
        step = NUDGE * float(values[-1] - values[0])
        lower, at, upper = (float((known >= x).sum() / len(scores)) for x in (limit - step, limit, limit + step))
        found["kept_lower"], found["kept"], found["kept_upper"] = lower, at, upper
    return found


def lsh(measured: Measured) -> list[LshPlan]:
    """Return for every near_dedup its banding, its S-curve at SHOWN, and the expected share of misses."""
    run = measured.run
    found: list[LshPlan] = []
    for index, stage in enumerate(run.stages):
        if not isinstance(stage, NearDedup):
            continue
        near = near_job(run, index)
        bands, rows = near.bands, near.rows_per_band
        threshold = half_way(bands, rows) if math.isnan(stage.threshold) else stage.threshold
        pairs = _similar(near, threshold - 0.1)
        above = pairs[pairs >= threshold]
        found.append(
            {
                "stage": stage.name,
                "bands": bands,
                "rows_per_band": rows,
                "threshold": threshold,
                "threshold_is": "half-way point of the curve" if math.isnan(stage.threshold) else "jaccard_threshold",
                "s_curve": s_curve(bands, rows),
                "found": {f"{j:.2f}": probability(j, bands, rows) for j in SHOWN},
                "half_way": half_way(bands, rows),
                "missed_if_even": missed_if_even(threshold, bands, rows),
                "missed_in_sample": float(np.mean((1 - above**rows) ** bands)) if len(above) else None,
                "similar_pairs_in_sample": len(above),
                "near_threshold_in_sample": int((np.abs(pairs - threshold) <= 0.05).sum()),
            }
        )
    return found


def missed_if_even(threshold: float, bands: int, rows: int, steps: int = 2000) -> float:
    """Return the share of pairs not found if similarities were even over [threshold, 1]; midpoint rule.

    Examples
    --------
    >>> round(missed_if_even(0.8, 16, 8), 3)
    0.006
    """
    j = threshold + (1 - threshold) * (np.arange(steps) + 0.5) / steps
    return float(np.mean((1 - j**rows) ** bands))


def _similar(near: NearJob, least: float) -> F64:
    """Return the estimated similarities, `least` and more, of the pairs among up to PAIRED live documents."""
    slots = []
    for bundle in near.run.manifest.bundles:
        if near.applies_to(bundle.dataset):
            view = View(near.run, bundle)
            rows = np.flatnonzero(view.live(near.index))
            if len(rows):
                slots.append(slots8(near.signatures(view, rows)))
    if not slots:
        return np.empty(0)
    every = np.concatenate(slots)
    step = -(-len(every) // PAIRED)
    chosen = np.ascontiguousarray(every[::step])
    found = [np.empty(0)]
    for i in range(1, len(chosen)):
        value = estimate_pairs(chosen, np.full(i, i), np.arange(i)).astype(np.float64)
        found.append(value[value >= least])
    return np.concatenate(found)


def statuses(measured: Measured) -> dict[str, dict[str, float]]:
    """Return dataset -> "stage: reason" -> share of the sample's documents dropped there."""
    found: dict[str, dict[str, float]] = {}
    for tally in measured.tallies:
        mine = found.setdefault(tally.dataset, {})
        for (stage, reason), count in tally.dropped.items():
            key = f"{stage}: {reason}"
            mine[key] = mine.get(key, 0.0) + count / max(1, measured.documents[tally.dataset])
    return found
