"""Duplicates that deduplication left over: kept documents that resemble each other, found without its buckets.

A seeded sample of kept documents is compared, by 8-bit signature slots, with the kept documents of the run
(of a seeded part of its bundles where they are many); pairs whose estimate comes near the threshold are handed
out for true comparison. Memory: the sampled documents' slots, one bundle's signatures, the pairs found.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from pipelines.audit import tree
from pipelines.runfolder import RunFolder
from stages.core.run import Run
from stages.core.shard import Bundle
from stages.core.view import View
from stages.dedup.dedup_stage import is_protected
from stages.dedup.near.job import NearJob
from stages.kernels.hashes.hashing import mix64
from stages.kernels.similarity.bands import band_keys
from stages.kernels.similarity.jaccard import estimate_pairs, standard_error
from stages.kernels.similarity.minhash import slots8
from stages.near_dedup import near_job

I64 = npt.NDArray[np.int64]
COMPARISONS = 300_000_000  # of signatures at most: some ten seconds
SEEDS = 5000  # kept documents that are compared with the others at most
ERRORS = 3.0  # standard errors below the threshold down to which a pair is looked at: 1 in 1,000 lies lower
WIDTH = 0.05  # of a band of estimates
Interval = Callable[[float, float], tuple[float, float]]


@dataclass(frozen=True, kw_only=True)
class Sought:
    """What is looked for: pairs about the threshold of the stage at `index`, so many of them."""

    index: int
    threshold: float
    pairs: int
    seed: int


@dataclass
class KeptPair:
    """Two kept documents. shared: whether they shared a bucket."""

    doc: int
    other: int
    estimate: float
    shared: bool
    true: float | None = None


@dataclass
class KeptPairs:
    """Kept pairs near the threshold. seeds: documents whose neighbours were all compared by text."""

    documents: int  # kept, of the whole run
    compared: int  # kept documents that the seeds were compared with
    seeds: list[int] = field(default_factory=list)
    pairs: list[KeptPair] = field(default_factory=list)

    def missed(self, limit: float, interval: Interval) -> tuple[float, float, float]:
        """Return the share of kept documents that should have gone, and its interval.

        A document with r neighbours left counts r / (r + 1): of a group of r + 1 alike, one would have stayed.
        """
        part = self.compared / max(1, self.documents)
        alike = dict.fromkeys(self.seeds, 0)
        for pair in self.pairs:
            if pair.true is not None and pair.true >= limit:
                alike[pair.doc] += 1
        counts = np.array([n / part for n in alike.values()]) if part else np.zeros(0)
        share = float(np.mean(counts / (counts + 1.0))) if len(counts) else 0.0
        return share, *interval(share, len(counts))

    def as_tree(self, limit: float) -> tree.KeptAudit:
        """Return what was compared and found."""
        known = [p for p in self.pairs if p.true is not None]
        alike = [p for p in known if p.true is not None and p.true >= limit]
        bands: dict[float, list[KeptPair]] = {}
        for pair in known:
            bands.setdefault(round(np.floor(pair.estimate / WIDTH + 1e-6) * WIDTH, 2), []).append(pair)
        return {
            "documents": self.documents,
            "seeds": len(self.seeds),
            "compared_with": self.compared,
            "pairs": len(known),
            "unreadable": len(self.pairs) - len(known),
            "alike": len(alike),
            "alike_sharing_a_bucket": sum(p.shared for p in alike),
            "bands": [
                {"estimate_from": low, "pairs": len(mine), "alike": sum((p.true or 0.0) >= limit for p in mine)}
                for low, mine in sorted(bands.items())
            ],
            "missed": [
                {"doc_id": p.doc, "other": p.other, "estimate": p.estimate, "true": p.true, "shared_bucket": p.shared}
                for p in alike[:20]
            ],
        }


def find_kept_pairs(folder: RunFolder, sought: Sought) -> KeptPairs:
    """Return kept pairs whose estimated similarity is near or above the threshold."""
    run, near = folder.run, near_job(folder.run, sought.index)
    bundles = _bundles(near, sought)
    kept = {b.number: _kept_rows(run, b) for b in run.manifest.bundles if near.applies_to(b.dataset)}
    documents = sum(len(rows) for rows in kept.values())
    compared = sum(len(kept[b.number]) for b in bundles)
    found = KeptPairs(documents=documents, compared=compared)
    number = min(SEEDS, documents, max(1, COMPARISONS // max(1, compared)))
    seeds = _seeds(run, kept, number, sought.seed)
    if not len(seeds):
        return found
    signatures = _signatures(near, seeds)
    pairs = _neighbours(near, sought, bundles, kept, seeds, signatures)
    _take(found, seeds, pairs, sought.pairs)
    return found


def _bundles(near: NearJob, sought: Sought) -> list[Bundle]:
    """Return the bundles to compare with: all, or a seeded part that COMPARISONS allows for SEEDS / 10 documents."""
    mine = [b for b in near.run.manifest.bundles if near.applies_to(b.dataset)]
    most = COMPARISONS // (SEEDS // 10)
    random.Random(sought.seed).shuffle(mine)
    chosen: list[Bundle] = []
    rows = 0
    for bundle in mine:
        if chosen and rows + bundle.rows > most:
            break
        chosen.append(bundle)
        rows += bundle.rows
    return sorted(chosen, key=lambda b: b.number)


def _kept_rows(run: Run, bundle: Bundle) -> I64:
    """Return the bundle rows that live in the end."""
    view = View(run, bundle)
    last = len(run.stages) - 1
    live = view.live(last).copy()
    rows, decisions = view.decided(last)
    live[rows[decisions.dropped]] = False
    return np.flatnonzero(live)


def _seeds(run: Run, kept: dict[int, I64], number: int, seed: int) -> I64:
    """Return the doc_ids of `number` kept documents in random order: those with the smallest marks."""
    marks, docs = [np.empty(0, np.uint64)], [np.empty(0, np.int64)]
    for bundle in run.manifest.bundles:
        if bundle.number in kept:
            doc = bundle.doc_ids()[kept[bundle.number]]
            mark = mix64(doc.astype(np.uint64), seed + 1)
            first = np.argsort(mark, kind="stable")[:number]
            marks.append(mark[first])
            docs.append(doc[first])
    mark, doc = np.concatenate(marks), np.concatenate(docs)
    return doc[np.argsort(mark, kind="stable")[:number]]


def _signatures(near: NearJob, docs: I64) -> npt.NDArray[np.unsignedinteger]:
    """Return the signatures of documents, (docs, permutations)."""
    position, row = near.run.manifest.locate(docs)
    found: npt.NDArray[np.unsignedinteger] | None = None
    for here in np.unique(position):
        mine = np.flatnonzero(position == here)
        mine = mine[np.argsort(row[mine])]
        part = near.signatures(View.at(near.run, here), row[mine])
        if found is None:
            found = np.empty((len(docs), part.shape[1]), part.dtype)
        found[mine] = part
    assert found is not None
    return found


def _neighbours(
    near: NearJob,
    sought: Sought,
    bundles: Sequence[Bundle],
    kept: dict[int, I64],
    seeds: I64,
    signatures: npt.NDArray[np.unsignedinteger],
) -> Iterator[KeptPair]:
    """Yield the pairs of a seed and another kept document whose estimate comes near the threshold."""
    stage = near.stage_run.stage
    least = sought.threshold - ERRORS * float(standard_error(sought.threshold, near.num_permutations))
    mine, bands = slots8(signatures), (near.bands, near.rows_per_band, 0, near.bands)
    keys = band_keys(signatures, *bands)
    rank = [_rank(near, doc) for doc in seeds.tolist()]
    for bundle in bundles:
        rows = kept[bundle.number]
        if not len(rows):
            continue
        docs = bundle.doc_ids()[rows]
        theirs = near.signatures(View(near.run, bundle), rows)
        table = np.concatenate([mine, slots8(theirs)])
        other_rank = (bundle.dataset, is_protected(near.run, stage, bundle.dataset))
        for number, doc in enumerate(seeds.tolist()):
            if not _may_drop(stage.within_dataset, rank[number], other_rank):
                continue
            right = np.arange(len(mine), len(table))
            value = estimate_pairs(table, np.full(len(right), number), right)
            for at in np.flatnonzero(value >= least):
                if docs[at] != doc:
                    shared = bool((keys[number] == band_keys(theirs[at : at + 1], *bands)[0]).any())
                    yield KeptPair(doc=doc, other=int(docs[at]), estimate=float(value[at]), shared=shared)


def _rank(near: NearJob, doc: int) -> tuple[str, bool]:
    dataset = near.run.manifest.shard(doc >> 32).dataset
    return dataset, is_protected(near.run, near.stage_run.stage, dataset)


def _may_drop(within: str, one: tuple[str, bool], other: tuple[str, bool]) -> bool:
    """Tell whether the recipe lets one of two documents of these datasets drop the other."""
    if one[1] and other[1]:
        return False
    return within != "keep_all" or one[0] != other[0]


def _take(found: KeptPairs, seeds: I64, pairs: Iterator[KeptPair], most: int) -> None:
    """Keep the pairs of the first seeds whose pairs together are at most `most`."""
    by_seed: dict[int, list[KeptPair]] = {}
    for pair in pairs:
        by_seed.setdefault(pair.doc, []).append(pair)
    for doc in seeds.tolist():
        mine = by_seed.get(doc, [])
        if found.seeds and len(found.pairs) + len(mine) > most:
            break
        found.seeds.append(doc)
        found.pairs.extend(sorted(mine, key=lambda p: p.other))
