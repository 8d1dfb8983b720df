"""The input that is to be run, as far as a plan knows it, beside the sample that was run.

`amounts_of_sample` and `amounts_of_whole` say how much of every quantity there is (`stages/core/costs.py`): costs
that tasks declare are read with them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pipelines.plan import near
from pipelines.plan.growth import Flow, total
from pipelines.plan.sample import Measured
from stages.core.costs import Quantity
from stages.core.shard import Bundle
from stages.near_dedup import NearDedup, near_job


@dataclass(frozen=True, kw_only=True)
class Whole:
    """The whole that is to be run, as far as it is known."""

    documents: Mapping[str, int]
    text_bytes: Mapping[str, int]
    hashed_bytes: Mapping[str, int]  # of the files that are fingerprinted
    compressed_bytes: int  # of files that are staged
    files: int
    bundles: Sequence[Bundle]
    missing: Mapping[str, Sequence[bool]]  # shard stage -> per bundle, whether its facts are missing
    flow: Flow
    mix_bytes: int  # of text written to the mix
    mix_parts: int  # tasks that write it

    @property
    def rows(self) -> int:
        return sum(self.documents.values())

    @property
    def all_text(self) -> int:
        """Bytes of text of all datasets."""
        return sum(self.text_bytes.values())

    @property
    def shards(self) -> int:
        """Entries of the manifest: files, and the parts that large ones are cut into."""
        return sum(len(bundle.pieces) for bundle in self.bundles)

    def bundle_bytes(self) -> list[float]:
        """Return the bytes of text in every bundle: its dataset's, by rows."""
        rows = [b.rows for b in self.bundles]
        every: dict[str, int] = {}
        for bundle, count in zip(self.bundles, rows, strict=True):
            every[bundle.dataset] = every.get(bundle.dataset, 0) + count
        return [
            self.text_bytes[b.dataset] * n / max(1, every[b.dataset]) for b, n in zip(self.bundles, rows, strict=True)
        ]


class Amounts(dict[str, float]):
    """How much there is of every quantity; one that a foreign stage made up is taken to grow with the documents."""

    def __missing__(self, quantity: str) -> float:
        return self[Quantity.DOCUMENTS]


def amounts_of_sample(measured: Measured, step: str) -> Amounts:
    """Return the amounts of a sample run, as the tasks of a step see them."""
    return Amounts(
        {
            Quantity.ONCE: 1.0,
            Quantity.FILES: len(measured.run.manifest.shards),
            Quantity.BUNDLES: sum(measured.bundles.values()),
            Quantity.ROWS: measured.rows,
            Quantity.DOCUMENTS: reaching(measured, step),
            Quantity.BAND_RECORDS: measured.rows * _bands(measured, step),
            Quantity.CANDIDATES: near.in_sample(measured, step),
            Quantity.TEXT_BYTES: sum(measured.text_bytes.values()),
            Quantity.MIX_BYTES: measured.mixed_bytes,
            Quantity.MIX_PARTS: len(measured.documents),
        }
    )


def amounts_of_whole(whole: Whole, sample: Measured, step: str) -> Amounts:
    """Return the amounts of the whole, as the tasks of a step see them.

    Candidates, their texts and pairs are estimates: see the constants of near.py.
    """
    candidates = candidates_of(whole, sample, step)
    return Amounts(
        {
            Quantity.ONCE: 1.0,
            Quantity.FILES: whole.files,
            Quantity.BUNDLES: len(whole.bundles),
            Quantity.ROWS: whole.rows,
            Quantity.DOCUMENTS: total(whole.flow.before[step]) if step in whole.flow.before else whole.rows,
            Quantity.BAND_RECORDS: whole.rows * _bands(sample, step),
            Quantity.CANDIDATES: candidates,
            Quantity.CANDIDATE_TEXTS: whole.all_text * min(near.TURNS, math.log1p(candidates)),
            Quantity.CANDIDATE_PAIRS: near.PAIRS * candidates,
            Quantity.TEXT_BYTES: whole.all_text,
            Quantity.MIX_BYTES: whole.mix_bytes,
            Quantity.MIX_PARTS: whole.mix_parts,
        }
    )


def near_index(measured: Measured, step: str) -> int | None:
    """Return the place of a near_dedup of this name, None where the step is something else."""
    stages = enumerate(measured.run.stages)
    return next((i for i, s in stages if s.name == step and isinstance(s, NearDedup)), None)


def _bands(measured: Measured, step: str) -> int:
    index = near_index(measured, step)
    return 0 if index is None else near_job(measured.run, index).bands


def candidates_of(whole: Whole, sample: Measured, step: str) -> float:
    """Return how many documents share a bucket in a near_dedup of the whole, 0 where the step is something else."""
    if near_index(sample, step) is None:
        return 0.0
    return near.in_all(sample, step, whole.flow.duplicates[step], total(whole.flow.before[step]))


def growth_of(sample: Measured, whole: Whole, stage: str) -> float:
    """Return how much larger the share of documents that reach a stage is in the whole than in the sample."""
    if not whole.flow.before.get(stage):
        return 1.0
    seen = reaching(sample, stage)
    share = total(whole.flow.before[stage]) / max(1, whole.rows)
    return share / (seen / max(1, sample.rows)) if seen else 1.0


def reaching(sample: Measured, step: str) -> float:
    """Return how many of the sample's documents reach a stage; all of them where the step is no stage."""
    run = sample.run
    index = next((i for i, s in enumerate(run.stages) if s.name == step), None)
    if index is None:
        return float(sample.rows)
    earlier = {s.name for s in run.stages[:index]}
    mine = [t for t in sample.tallies if run.stages[index].applies_to(t.dataset)]
    return float(sum(t.rows - sum(n for (s, _), n in t.dropped.items() if s in earlier) for t in mine))
