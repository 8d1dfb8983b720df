"""From a sample's counts to the whole: documents before each stage, duplicates that a sample cannot see.

Filters keep the same share of the whole as of the sample. Duplicates do not: a pair shows in the sample only
if both of its documents were drawn. The number of distinct documents is therefore estimated from how many
groups of one and of two the sample holds (Chao and Lin 2012, Biometrics 68, 912: Chao1 for sampling without
replacement), which is a lower bound of the distinct ones, so an upper estimate of the duplicates.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from pipelines.plan_sample import Measured
from stages.base import array
from stages.dedup import DedupStage
from stages.run import View

MOST = 0.98  # of a dataset that is expected to go in one dedup stage


@dataclass(frozen=True, kw_only=True)
class Duplicates:
    """What a dedup stage drops. in_sample: share of the sample's documents; in_all: of the whole, estimated.

    `in_all` is None where the sample is too small to tell: it holds no group of two.
    """

    documents: int  # of the sample that the stage saw
    dropped: int
    groups: int
    in_sample: float
    in_all: float | None

    @property
    def factor(self) -> float:
        """How many times larger the share is in the whole than in the sample."""
        if not self.dropped or self.in_all is None:
            return 1.0
        return max(1.0, self.in_all / self.in_sample)


def distinct(singles: int, pairs: int, seen: int, drawn: int, total: int) -> float | None:
    """Estimate how many distinct items `total` items hold.

    Parameters
    ----------
    singles, pairs : distinct items that were drawn once and twice.
    seen : distinct items drawn. drawn : items drawn, without replacement.

    Returns
    -------
    At most `total`; None where nothing was drawn twice although not all was drawn.

    Examples
    --------
    >>> distinct(90, 5, 95, 100, 100)
    95.0
    >>> round(distinct(90, 5, 95, 100, 10_000))
    770
    """
    if drawn >= total:
        return float(seen)
    if not pairs:
        return None
    share = drawn / total
    bound = 2.0 * pairs * drawn / max(1, drawn - 1) + singles * share / (1.0 - share)
    return min(float(total), seen + singles**2 / bound)


def duplicates(measured: Measured, index: int, total: int) -> Duplicates:
    """Return what the dedup stage at `index` of a sample run drops in the sample and, of `total`, in the whole."""
    run, live = measured.run, 0
    winners = [np.empty(0, np.int64)]
    for bundle in run.manifest.bundles:
        if run.stages[index].applies_to(bundle.dataset):
            view = View(run, bundle)
            live += int(view.live(index).sum())
            winners.append(array(view.exchanged(index), "representative").astype(np.int64))
    lost = np.concatenate(winners)
    sizes = np.unique(lost, return_counts=True)[1] + 1
    singles = live - int(sizes.sum())
    known = distinct(singles, int((sizes == 2).sum()), live - len(lost), live, max(total, live))
    in_sample = len(lost) / max(1, live)
    in_all = None if known is None else min(MOST, max(in_sample, 1.0 - known / max(1, total, live)))
    return Duplicates(documents=live, dropped=len(lost), groups=len(sizes), in_sample=in_sample, in_all=in_all)


@dataclass(frozen=True, kw_only=True)
class Flow:
    """Documents per stage and dataset in the whole. kept: what survives; tokens: estimated tokens of it."""

    before: dict[str, dict[str, float]]  # stage -> dataset -> documents that live before it
    dropped: dict[str, dict[str, float]]
    duplicates: dict[str, Duplicates]
    kept: dict[str, float]
    kept_bytes: dict[str, float]


def flow(measured: Measured, documents: Mapping[str, int], text_bytes: Mapping[str, int]) -> Flow:
    """Carry the sample's shares over to the whole, stage by stage."""
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
            found[stage.name] = duplicates(measured, index, total)
            factor = found[stage.name].factor
        dropped[stage.name] = {}
        for name in mine:
            share = min(MOST if factor > 1 else 1.0, factor * counts[name].get(stage.name, 0) / max(1.0, seen[name]))
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
