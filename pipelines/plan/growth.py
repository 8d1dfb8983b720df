"""From a sample's counts to the whole: documents before each stage, duplicates that a sample cannot see.

Filters keep the same share of the whole as of the sample. Duplicates do not: a pair shows in the sample only
if both of its documents were drawn. How their share grows with the number of documents is taken to follow
Fisher's log series (Fisher, Corbet, Williams 1943), in which m documents hold a * ln(1 + m / a) distinct ones;
a follows from the sample. It is given up where the whole is more than FARTHEST times the sample.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from pipelines.plan import near
from pipelines.plan.density import Dense, Duplicates
from pipelines.plan.sample import Measured
from stages.core.arrays import array
from stages.core.view import View
from stages.dedup.dedup_stage import DedupStage

FARTHEST = 250  # times the sample that the whole may be
ENOUGH = 20  # candidates of a sample that tell how many of them are duplicates
MOST = 0.98  # of a dataset that is expected to go in one dedup stage


def share_in_all(in_sample: float, drawn: int, total: int) -> float | None:
    """Estimate the share of duplicates among `total` documents from that among `drawn` of them.

    Returns
    -------
    None where it cannot be told: no duplicate was drawn, or the sample is too small a part of the whole.

    Examples
    --------
    >>> round(share_in_all(0.022, 3114, 36948), 2)
    0.2
    >>> share_in_all(0.1, 500, 500)
    0.1
    """
    if drawn >= total:
        return in_sample
    if in_sample <= 0 or total > FARTHEST * drawn:
        return None
    low, high = 1e-6 * drawn, 1e9 * drawn  # of a; the share falls as a grows
    for _ in range(200):
        a = math.sqrt(low * high)
        low, high = (a, high) if _share(drawn, a) > in_sample else (low, a)
    return max(in_sample, min(MOST, _share(total, math.sqrt(low * high))))


def _share(documents: float, a: float) -> float:
    """Return the share of duplicates among so many documents of a log series."""
    x = documents / a
    return 1.0 - math.log1p(x) / x if x > 1e-4 else x / 2


def duplicates(measured: Measured, index: int, total: int, dense: Dense | None = None) -> Duplicates:
    """Return what the dedup stage at `index` of a sample run drops in the sample and, of `total`, in the whole.

    dense : the same among more documents than were run, which then tells the whole.
    """
    run, live = measured.run, 0
    winners = [np.empty(0, np.int64)]
    for bundle in run.manifest.bundles:
        if run.stages[index].applies_to(bundle.dataset):
            view = View(run, bundle)
            live += int(view.live(index).sum())
            winners.append(array(view.stored_decisions(index), "representative").astype(np.int64))
    lost = np.concatenate(winners)
    groups = len(np.unique(lost))
    in_sample = len(lost) / max(1, live)
    found = Duplicates(
        documents=live,
        dropped=len(lost),
        groups=groups,
        in_sample=in_sample,
        in_all=share_in_all(in_sample, live, total),
        seen_among=live,
    )
    if dense is None or dense.documents <= live:
        return found
    return _at_density(found, dense, total, _verified(measured, run.stages[index].name, found))


def _at_density(found: Duplicates, dense: Dense, total: int, verified: float) -> Duplicates:
    """Return what more documents tell of the whole; verified: share of what shares a key that is dropped."""
    share = dense.dropped * verified
    in_all = share if dense.complete else share_in_all(share, dense.documents, total)
    if in_all is None:
        return dataclasses.replace(found, seen_among=dense.documents)
    grown = in_all / share if share else 1.0
    candidates = min(1.0, dense.candidates * max(1.0, grown))
    return dataclasses.replace(found, in_all=in_all, seen_among=dense.documents, candidates=candidates)


def _verified(measured: Measured, stage: str, found: Duplicates) -> float:
    """Return the share of the sample's candidates, less one for each group, that were dropped; 1 if there are few."""
    candidates = near.in_sample(measured, stage)
    return min(1.0, found.dropped / max(1, candidates - found.groups)) if candidates > ENOUGH else 1.0


@dataclass(frozen=True, kw_only=True)
class Flow:
    """Documents per stage and dataset in the whole. kept: what survives; tokens: estimated tokens of it."""

    before: dict[str, dict[str, float]]  # stage -> dataset -> documents that live before it
    dropped: dict[str, dict[str, float]]
    duplicates: dict[str, Duplicates]
    kept: dict[str, float]
    kept_bytes: dict[str, float]


def flow(
    measured: Measured,
    documents: Mapping[str, int],
    text_bytes: Mapping[str, int],
    dense: Mapping[str, Dense] | None = None,
) -> Flow:
    """Carry the sample's shares over to the whole, stage by stage; dense: what more documents tell of duplicates."""
    run = measured.run
    names = [d.name for d in run.datasets]
    counts = {name: _dropped(measured, name) for name in names}
    live = {name: float(documents[name]) for name in names}
    seen = {name: float(measured.documents[name]) for name in names}
    before: dict[str, dict[str, float]] = {}
    dropped: dict[str, dict[str, float]] = {}
    found: dict[str, Duplicates] = {}
    for index, stage in enumerate(run.stages):
        mine = [n for n in names if stage.applies_to(n)]
        before[stage.name] = {n: live[n] for n in mine}
        factor = 1.0
        if isinstance(stage, DedupStage):
            total = round(sum(live[n] for n in mine))
            found[stage.name] = duplicates(measured, index, total, (dense or {}).get(stage.name))
            factor = found[stage.name].factor
        dropped[stage.name] = {}
        for name in mine:
            share = min(MOST if factor > 1 else 1.0, factor * counts[name].get(stage.name, 0) / max(1.0, seen[name]))
            if stage.name in found and not found[stage.name].dropped:  # the sample is too thin to hold a pair
                share = found[stage.name].in_all or 0.0
            dropped[stage.name][name] = live[name] * share
            live[name] -= dropped[stage.name][name]
            seen[name] -= counts[name].get(stage.name, 0)
    return Flow(
        before=before,
        dropped=dropped,
        duplicates=found,
        kept=live,
        kept_bytes={n: _bytes(measured, n, live[n], documents[n], text_bytes[n]) for n in names},
    )


def _dropped(measured: Measured, dataset: str) -> dict[str, int]:
    found: dict[str, int] = {}
    for tally in measured.tallies:
        if tally.dataset == dataset:
            for (stage, _), count in tally.dropped.items():
                found[stage] = found.get(stage, 0) + count
    return found


def _bytes(measured: Measured, name: str, kept: float, documents: int, text_bytes: int) -> float:
    """Return the bytes of text that survive: kept documents, as long as the sample's survivors are."""
    mine = [t for t in measured.tallies if t.dataset == name]
    survivors = sum(t.kept for t in mine)
    if not survivors or not measured.text_bytes[name]:
        return 0.0
    longer = sum(t.text_bytes for t in mine) / survivors / (measured.text_bytes[name] / measured.documents[name])
    return min(float(text_bytes), kept * longer * text_bytes / max(1, documents))


def total(values: Mapping[str, float], names: Sequence[str] | None = None) -> float:
    """Return the sum over datasets."""
    return sum(v for n, v in values.items() if names is None or n in names)
