"""Duplicates that deduplication left over: kept documents that resemble each other, found without its buckets.

A seeded sample of kept documents is compared, by 8-bit signature slots, with the kept documents of the run
(of a seeded part of its bundles where they are many); pairs whose estimate comes near the threshold are handed
out for true comparison. Memory: the sampled documents' slots, one bundle's signatures, the rows kept of the bundles
compared (COMPARISONS / 500 and one bundle), and a bounded number of pairs whatever is found (neighbours.py).
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from pipelines.audit import tree
from pipelines.audit.neighbours import FOUND, Neighbours
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
U64 = npt.NDArray[np.uint64]
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
    """Kept pairs near the threshold. seeds: documents whose neighbours were compared by text.

    neighbours: of seeds with more than were compared, how many there are; those compared are a random part.
    """

    documents: int  # kept, of the whole run
    compared: int  # kept documents that the seeds were compared with
    seeds: list[int] = field(default_factory=list)
    pairs: list[KeptPair] = field(default_factory=list)
    neighbours: dict[int, int] = field(default_factory=dict)

    def missed(self, limit: float, interval: Interval) -> tuple[float, float, float]:
        """Return the share of kept documents that should have gone, and its interval.

        A document with r neighbours left counts r / (r + 1): of a group of r + 1 alike, one would have stayed.
        """
        part = self.compared / max(1, self.documents)
        alike, pairs = dict.fromkeys(self.seeds, 0), dict.fromkeys(self.seeds, 0)
        for pair in self.pairs:
            pairs[pair.doc] += 1
            if pair.true is not None and pair.true >= limit:
                alike[pair.doc] += 1
        scaled = {doc: n * self.neighbours.get(doc, pairs[doc]) / max(1, pairs[doc]) for doc, n in alike.items()}
        counts = np.array([n / part for n in scaled.values()]) if part else np.zeros(0)
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
            "seeds_sampled": len(self.neighbours),
            "pairs_of_sampled": sum(self.neighbours.values()),
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
    kept: dict[int, I64] = dict.fromkeys((b.number for b in bundles), np.empty(0, np.int64))
    seeds = _Seeds(SEEDS, sought.seed)
    for bundle in run.manifest.bundles:
        if near.applies_to(bundle.dataset):
            rows = _kept_rows(run, bundle)
            seeds.add(bundle.doc_ids()[rows])
            if bundle.number in kept:
                kept[bundle.number] = rows
    compared = sum(len(rows) for rows in kept.values())
    found = KeptPairs(documents=seeds.documents, compared=compared)
    chosen = seeds.first(max(1, COMPARISONS // max(1, compared)))
    if len(chosen):
        _take(found, _neighbours(near, sought, bundles, kept, chosen))
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


class _Seeds:
    """The doc_ids with the smallest marks, a hash of them: a random sample, in random order. documents: of all."""

    def __init__(self, most: int, seed: int) -> None:
        self.documents = 0
        self._most, self._seed = most, seed
        self._marks, self._docs = np.empty(0, np.uint64), np.empty(0, np.int64)

    def add(self, docs: I64) -> None:
        self.documents += len(docs)
        marks = np.concatenate([self._marks, mix64(docs.astype(np.uint64), self._seed + 1)])
        first = np.argsort(marks, kind="stable")[: self._most]
        self._marks, self._docs = marks[first], np.concatenate([self._docs, docs])[first]

    def first(self, number: int) -> I64:
        return self._docs[:number]


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
    near: NearJob, sought: Sought, bundles: Sequence[Bundle], kept: dict[int, I64], seeds: I64
) -> Neighbours:
    """Return the pairs of a seed and another kept document whose estimate comes near the threshold."""
    least = sought.threshold - ERRORS * float(standard_error(sought.threshold, near.least_slots))
    signatures = _signatures(near, seeds)
    mine, keys = slots8(signatures), _keys(near, signatures)
    rank = [_rank(near, doc) for doc in seeds.tolist()]
    found = Neighbours(seeds, sought.pairs, sought.seed)
    for bundle in bundles:
        if not len(kept[bundle.number]):
            continue
        others = _others(near, bundle, kept[bundle.number])
        table = np.concatenate([mine, slots8(others.signatures)])
        right = np.arange(len(mine), len(table))
        for number in range(len(seeds)):
            if number < found.open and _may_drop(near.stage_run.stage.within_dataset, rank[number], others.rank):
                estimates = estimate_pairs(table, np.full(len(right), number), right)
                at = np.flatnonzero((estimates >= least) & (others.docs != seeds[number]))
                mark, part = found.smallest(number, others.docs[at])
                found.add(number, len(at), _rows(near, others, at[part], mark, estimates, keys[number]))
        found.shrink()
    return found


class _Others(NamedTuple):
    """Kept documents of one bundle."""

    docs: I64
    signatures: npt.NDArray[np.unsignedinteger]
    rank: tuple[str, bool]


def _others(near: NearJob, bundle: Bundle, rows: I64) -> _Others:
    rank = bundle.dataset, is_protected(near.run, near.stage_run.stage, bundle.dataset)
    return _Others(bundle.doc_ids()[rows], near.signatures(View(near.run, bundle), rows), rank)


def _keys(near: NearJob, signatures: npt.NDArray[np.unsignedinteger]) -> U64:
    return band_keys(signatures, near.bands, near.rows_per_band, 0, near.bands)


def _rows(
    near: NearJob, others: _Others, at: npt.NDArray[np.intp], mark: U64, estimates: npt.NDArray[np.float32], keys: U64
) -> npt.NDArray[np.void]:
    """Return pairs of a seed with these keys and the documents at `at`, as FOUND."""
    rows = np.empty(len(at), FOUND)
    rows["mark"], rows["other"], rows["estimate"] = mark, others.docs[at], estimates[at]
    rows["shared"] = (_keys(near, others.signatures[at]) == keys).any(axis=1)
    return rows


def _rank(near: NearJob, doc: int) -> tuple[str, bool]:
    dataset = near.run.manifest.shard(doc >> 32).dataset
    return dataset, is_protected(near.run, near.stage_run.stage, dataset)


def _may_drop(within: str, one: tuple[str, bool], other: tuple[str, bool]) -> bool:
    """Tell whether the recipe lets one of two documents of these datasets drop the other."""
    if one[1] and other[1]:
        return False
    return within != "keep_all" or one[0] != other[0]


def _take(found: KeptPairs, neighbours: Neighbours) -> None:
    """Note the seeds that are taken, and their pairs."""
    for doc, mine in neighbours.taken():
        found.seeds.append(doc)
        if len(mine.rows) < mine.count:
            found.neighbours[doc] = mine.count
        for _, other, estimate, shared in mine.rows.tolist():
            found.pairs.append(KeptPair(doc=doc, other=other, estimate=estimate, shared=shared))
