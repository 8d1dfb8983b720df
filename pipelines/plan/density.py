"""Duplicates of a sample at the density of a much larger one: whole ranges of keys are kept, so copies stay together.

A pair shows in a sample only if both documents were drawn. Here many more documents are read than are run: each gives
its digest and band keys, and of these only the keys of one range are kept. Documents that share such a key are then all
there. A document that is seen through m of its keys stands for 1 / P(one of m keys lies in the range) documents
(Horvitz and Thompson 1952).

Memory: 8 bytes for each document that is read, and the keys of about `KEPT` documents.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipelines.plan.clock import Clock
from pipelines.recipe.recipe import Recipe
from pipelines.recipe.to_run import prepare
from stages.core.arrays import array
from stages.core.run import Run
from stages.core.shard import Dataset
from stages.core.stage import Stage
from stages.core.view import View
from stages.dedup.near.job import NearJob
from stages.exact_dedup import ExactDedup
from stages.kernels.hashes.hashing import mix64
from stages.kernels.similarity.bands import band_keys
from stages.near_dedup import NearDedup, near_job
from stages.passes.annotate import annotate
from stages.passes.freeze import freeze

KEPT = 100_000  # documents whose band keys are kept
MOST = 2_000_000  # documents of a run folder that are looked at
RANGE_SEED = 11
U64 = npt.NDArray[np.uint64]
I64 = npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Dense:
    """Duplicates among `documents` documents. dropped, candidates: shares; a candidate shares a key with another.

    complete: these are all documents of the input.
    """

    documents: int
    dropped: float
    candidates: float
    complete: bool = False


@dataclass(frozen=True, kw_only=True)
class Duplicates:
    """What a dedup stage drops. in_sample: share of the sample's documents; in_all: of the whole, estimated.

    `in_all` is None where the sample is too small to tell; see `growth.share_in_all`. seen_among: documents among which
    duplicates were looked for (density.py), at least those of the sample; candidates: share of the whole that shares
    a key with another, None where only the sample tells.
    """

    documents: int  # of the sample that the stage saw
    dropped: int
    groups: int
    in_sample: float
    in_all: float | None
    seen_among: int = 0
    candidates: float | None = None

    @property
    def factor(self) -> float:
        """How many times larger the share is in the whole than in the sample."""
        if not self.dropped or self.in_all is None:
            return 1.0
        return max(1.0, self.in_all / self.in_sample)


def needs(run: Run) -> list[str]:
    """Return the names of the stages that duplicates are told by: digests, signatures, and the dedup stages."""
    wanted: set[str] = {run.stages[0].name}
    for index, stage in enumerate(run.stages):
        if isinstance(stage, ExactDedup):
            wanted |= {stage.name, f"{stage.name}.hash"}
        elif isinstance(stage, NearDedup):
            wanted |= {stage.name, run.stages[near_job(run, index).signatures_at].name}
    return [s.name for s in run.stages if s.name in wanted]


def of_drawn(recipe: Recipe, datasets: Sequence[Dataset], folder: str) -> dict[str, Dense]:
    """Return by dedup stage what a drawn sample shows; only digests and signatures are computed, in `folder`."""
    clock, job = Clock(), prepare(recipe, folder).run
    names = needs(job)
    if len(names) < 2:
        return {}
    stages: tuple[Stage, ...] = tuple(s for s in job.stages if s.name in names)
    job = dataclasses.replace(job, datasets=tuple(datasets), stages=stages, on_error="quarantine")
    os.makedirs(folder, exist_ok=True)
    job = dataclasses.replace(job, manifest_digest=freeze(clock, job).digest)
    for number in range(len(job.manifest.bundles)):
        annotate(job, number)
    return of_facts(job, range(len(job.manifest.bundles)))


def of_run(run: Run) -> dict[str, Dense]:
    """Return by dedup stage what the facts of a run folder show, of MOST documents at most; {} if some are missing."""
    bundles = run.manifest.bundles
    every, taken = sum(b.rows for b in bundles), list[int]()
    step = max(1, -(-every // MOST))
    for position in range(0, len(bundles), step):
        taken.append(position)
    names = needs(run)
    stages = tuple(s for s in run.stages if s.name in names)
    job = dataclasses.replace(run, stages=stages)
    try:
        found = of_facts(job, taken)
    except (OSError, LookupError):
        return {}
    return {name: dataclasses.replace(d, complete=step == 1) for name, d in found.items()}


def of_facts(job: Run, positions: Sequence[int]) -> dict[str, Dense]:
    """Return by dedup stage the duplicates among the documents of these bundles, whose facts are there."""
    found: dict[str, Dense] = {}
    gone: dict[int, npt.NDArray[np.bool_]] = {}  # by position: documents that an exact_dedup before drops
    for index, stage in enumerate(job.stages):
        if isinstance(stage, ExactDedup):
            mine = [p for p in positions if stage.applies_to(job.manifest.bundles[p].dataset)]
            found[stage.name] = _exact(job, index, mine, gone)
        elif isinstance(stage, NearDedup):
            mine = [p for p in positions if stage.applies_to(job.manifest.bundles[p].dataset)]
            found[stage.name] = _near(near_job(job, index), mine, gone)
    return found


def _exact(job: Run, index: int, positions: Sequence[int], gone: dict[int, npt.NDArray[np.bool_]]) -> Dense:
    """Count repeated digests; mark all but the first document of each."""
    hashes = next((i for i, s in enumerate(job.stages) if s.name == f"{job.stages[index].name}.hash"), None)
    parts, rows = list[U64](), list[I64]()
    for position in positions:
        view = View.at(job, position)
        live = np.flatnonzero(view.live(1))
        facts = view.read.take(live) if hashes is None else view.facts(hashes, live)
        parts.append(array(facts, "d1" if hashes is None else "n1").astype(np.uint64))
        rows.append(live)
    keys = np.concatenate(parts) if parts else np.empty(0, np.uint64)
    _, first, counts = np.unique(keys, return_index=True, return_counts=True)
    lost = np.ones(len(keys), np.bool_)
    lost[first] = False
    start = 0
    for position, live in zip(positions, rows, strict=True):
        mask = np.zeros(job.manifest.bundles[position].rows, np.bool_)
        mask[live] = lost[start : start + len(live)]
        gone[position] = mask | gone[position] if position in gone else mask
        start += len(live)
    total = max(1, len(keys))
    return Dense(
        documents=len(keys),
        dropped=float(lost.sum()) / total,
        candidates=float(counts[counts > 1].sum()) / total,
    )


def _near(near: NearJob, positions: Sequence[int], gone: dict[int, npt.NDArray[np.bool_]]) -> Dense:
    """Estimate the documents that share a band key, from those with a key in a range that keeps about KEPT of them."""
    expected = sum(near.run.manifest.bundles[p].rows for p in positions)
    share = min(1.0, KEPT / max(1, expected * near.bands))
    kept, documents = [np.empty((0, near.bands), np.uint64)], 0
    for position in positions:
        view = View.at(near.run, position)
        there = view.covered(near.signatures_at)
        if position in gone:
            there = there & ~gone[position]
        rows = np.flatnonzero(there)
        documents += len(rows)
        if len(rows):
            keys = band_keys(near.signatures(view, rows), near.bands, near.rows_per_band)
            kept.append(keys[in_range(keys, share).any(axis=1)])
    candidates, dropped = estimate(np.concatenate(kept), share)
    total = max(1, documents)
    return Dense(documents=documents, dropped=dropped / total, candidates=candidates / total)


def in_range(keys: U64, share: float) -> npt.NDArray[np.bool_]:
    """Mark the keys that lie in a range which holds this share of all keys."""
    if share >= 1:
        return np.ones(keys.shape, np.bool_)
    mixed: U64 = mix64(keys.reshape(-1), RANGE_SEED).reshape(keys.shape)
    return mixed < np.uint64(int(share * 2**64))


def estimate(keys: U64, share: float) -> tuple[float, float]:
    """Return how many documents share a key with another, and how many of these a deduplication drops at most.

    keys : (documents, bands) of those with a key in the range; share : of all keys that the range holds.
    """
    there = in_range(keys, share)
    document, band = np.nonzero(there)
    value = keys[document, band]
    order = np.argsort(value, kind="stable")
    document, value = document[order], value[order]
    starts = np.flatnonzero(np.r_[True, value[1:] != value[:-1]]) if len(value) else np.empty(0, np.int64)
    size = np.diff(np.r_[starts, len(value)])
    members, first = document, np.repeat(document[starts], size) if len(value) else document
    group = np.repeat(size, size)
    shared = group > 1
    members, first, group = members[shared], first[shared], group[shared]
    agree = np.zeros(keys.shape, np.bool_)
    other = members != first
    same = keys[members[other]] == keys[first[other]]
    np.logical_or.at(agree, members[other], same)
    np.logical_or.at(agree, first[other], same)
    largest = np.zeros(len(keys), np.int64)
    np.maximum.at(largest, members, group)
    seen = np.flatnonzero(largest)
    bands = np.maximum(1, agree[seen].sum(axis=1))
    weight = 1.0 / (1.0 - (1.0 - share) ** bands) if share < 1 else np.ones(len(seen))
    return float(weight.sum()), float((weight * (1.0 - 1.0 / largest[seen])).sum())
