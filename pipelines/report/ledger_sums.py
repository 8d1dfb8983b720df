"""What the report counts in the ledger, in one pass over it.

Guarantees: `LedgerSums` are sums over ledger rows, so they do not depend on how they are cut into tables;
samples are those with the smallest hash of doc_id. Memory: a few counters per dataset, stage and reason.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from cluster.errors import LedgerError
from pipelines.records import datasets_of_group
from pipelines.report import tree
from stages.core.arrays import array

I64 = npt.NDArray[np.int64]
COLUMNS = [
    "doc_id",
    "kept",
    "copies",
    "stage",
    "reason",
    "value",
    "threshold",
    "representative",
    "representative_dataset",
    "similarity",
    "similarity_kind",
    "num_tokens",
]
GROUP_COLUMNS = ["doc_id", "kept", "group_size", "group_datasets"]
KEPT = ""  # stands where a stage's name would, for documents that live
SAMPLES = 4  # per stage and reason, and of the kept ones of each dataset
PAIRS = 8  # per deduplication stage, half of them those nearest the threshold
LARGEST = 10  # groups shown
SIMILARITY_BINS = 200
SIMILARITIES = np.arange(SIMILARITY_BINS + 1) / SIMILARITY_BINS  # edges of the bins
GROUP_SIZES = (1, 2, 3, 4, 5, 6, 11, 21, 51, 101, 1_001, 10_001, 100_001, 1_000_001)  # lower ends
# Edges of the bins of document lengths in tokens: half powers of two, each a whole number once; the last is open.
LENGTHS = np.unique(np.r_[0, np.round(2.0 ** (np.arange(0, 45) / 2))]).astype(np.int64)


@dataclass
class Amount:
    """Documents and their tokens."""

    documents: int = 0
    tokens: int = 0

    def add(self, documents: int, tokens: int) -> None:
        self.documents += int(documents)
        self.tokens += int(tokens)

    def __add__(self, other: Amount) -> Amount:
        return Amount(self.documents + other.documents, self.tokens + other.tokens)

    def __sub__(self, other: Amount) -> Amount:
        return Amount(self.documents - other.documents, self.tokens - other.tokens)

    def as_tree(self) -> tree.Amount:
        """Return the amount as report.json has it."""
        return {"documents": self.documents, "tokens": self.tokens}


class Smallest:
    """Keeps the documents with the `size` smallest keys."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.entries: list[tuple[float, int]] = []

    def add(self, keys: npt.NDArray[np.float64], docs: I64) -> None:
        """Offer documents, arrays of shape (rows,)."""
        if len(self.entries) == self.size:  # most batches hold nothing smaller
            better = np.flatnonzero(keys <= self.entries[-1][0])
            keys, docs = keys[better], docs[better]
        if len(keys) > self.size:
            best = np.lexsort((docs, keys))[: self.size]
            keys, docs = keys[best], docs[best]
        self.entries.extend(zip(keys.tolist(), docs.tolist(), strict=True))
        self.entries = sorted(self.entries)[: self.size]

    def merge(self, other: Smallest) -> None:
        self.entries = sorted([*self.entries, *other.entries])[: self.size]

    @property
    def docs(self) -> list[int]:
        return [doc for _, doc in self.entries]


@dataclass
class DatasetSums:
    """Sums over the ledger rows of one dataset."""

    rows: Amount = field(default_factory=Amount)
    kept: Amount = field(default_factory=Amount)
    dropped: dict[tuple[str, str], Amount] = field(default_factory=lambda: defaultdict(Amount))
    mix: Amount = field(default_factory=Amount)  # documents with a copy; tokens count every copy
    copies: int = 0
    lengths: I64 = field(default_factory=lambda: np.zeros((2, len(LENGTHS) - 1), np.int64))  # (read, kept) by bin
    kept_samples: Smallest = field(default_factory=lambda: Smallest(SAMPLES))
    lost_to: dict[tuple[str, str], Amount] = field(default_factory=lambda: defaultdict(Amount))

    def mix_tree(self) -> tree.MixedAmount:
        """Return what is in the mix as report.json has it."""
        return {**self.mix.as_tree(), "copies": self.copies}

    def merge(self, other: DatasetSums) -> None:
        """Count what another part of the same dataset counted."""
        self.rows, self.kept, self.mix = self.rows + other.rows, self.kept + other.kept, self.mix + other.mix
        self.copies += other.copies
        self.lengths = self.lengths + other.lengths
        self.kept_samples.merge(other.kept_samples)
        for mine, theirs in ((self.dropped, other.dropped), (self.lost_to, other.lost_to)):
            for key, amount in theirs.items():
                mine[key] = mine[key] + amount


@dataclass
class DedupSums:
    """Sums over the documents one deduplication stage dropped."""

    similarity: I64 = field(default_factory=lambda: np.zeros(SIMILARITY_BINS, np.int64))
    kinds: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    unknown: int = 0  # dropped without a similarity
    below_one: int = 0  # similar, but not equal
    below: int = 0  # below the threshold, as an estimate may be
    thresholds: set[float] = field(default_factory=set)
    nearest: Smallest = field(default_factory=lambda: Smallest(PAIRS // 2))
    any: Smallest = field(default_factory=lambda: Smallest(2 * PAIRS))

    def merge(self, other: DedupSums) -> None:
        """Count what another part of the same stage's losers counted."""
        self.similarity += other.similarity
        self.unknown += other.unknown
        self.below_one += other.below_one
        self.below += other.below
        self.thresholds |= other.thresholds
        self.nearest.merge(other.nearest)
        self.any.merge(other.any)
        for kind, count in other.kinds.items():
            self.kinds[kind] += count


def _samples() -> Smallest:
    return Smallest(SAMPLES)


@dataclass
class LedgerSums:
    """Everything the report takes from the ledger."""

    datasets: dict[str, DatasetSums] = field(default_factory=lambda: defaultdict(DatasetSums))
    dedup: dict[str, DedupSums] = field(default_factory=lambda: defaultdict(DedupSums))
    samples: dict[tuple[str, str], Smallest] = field(default_factory=lambda: defaultdict(_samples))
    groups: I64 = field(default_factory=lambda: np.zeros((len(GROUP_SIZES), 2), np.int64))  # groups, documents
    largest: Smallest = field(default_factory=lambda: Smallest(LARGEST))
    shared: dict[tuple[str, str], int] = field(default_factory=lambda: defaultdict(int))  # groups with both

    def add(self, dataset: str, table: pa.Table) -> None:
        """Count a table of ledger rows with `COLUMNS` and `GROUP_COLUMNS`, all of one dataset."""
        self.add_rows(dataset, table)
        self.add_groups(table)

    def add_rows(self, dataset: str, table: pa.Table) -> None:
        """Count a table of ledger rows with `COLUMNS`, all of one dataset: all but groups."""
        mine = self.datasets[dataset]
        kept = array(table, "kept").astype(np.bool_)
        tokens = array(table, "num_tokens").astype(np.int64)
        copies = array(table, "copies").astype(np.int64)
        key = _hash(array(table, "doc_id").astype(np.int64))
        mine.rows.add(table.num_rows, tokens.sum())
        mine.kept.add(kept.sum(), tokens[kept].sum())
        mine.mix.add((copies > 0).sum(), (copies * tokens).sum())
        mine.copies += int(copies.sum())
        mine.lengths += _lengths(tokens, kept)
        docs = array(table, "doc_id").astype(np.int64)
        mine.kept_samples.add(key[kept], docs[kept])
        _check_kept(dataset, table, kept, copies)
        for (stage, reason), rows in _groups(table, ["stage", "reason"]):
            if stage is not None:
                mine.dropped[stage, str(reason)].add(len(rows), tokens[rows].sum())
                self.samples[stage, str(reason)].add(key[rows], docs[rows])
        for (stage, winner), rows in _groups(table, ["stage", "representative_dataset"]):
            if stage is not None and winner is not None:
                mine.lost_to[stage, winner].add(len(rows), tokens[rows].sum())
                self._add_pairs(stage, table.take(pa.array(rows)), key[rows])

    def merge(self, other: LedgerSums) -> None:
        """Count what another part of the ledger counted; in ledger order, so that names come in the same order."""
        for name, dataset in other.datasets.items():
            self.datasets[name].merge(dataset)
        for stage, dedup in other.dedup.items():
            self.dedup[stage].merge(dedup)
        for key, few in other.samples.items():
            self.samples[key].merge(few)
        self.groups += other.groups
        self.largest.merge(other.largest)
        for pair, count in other.shared.items():
            self.shared[pair] += count

    def _add_pairs(self, stage: str, lost: pa.Table, key: npt.NDArray[np.float64]) -> None:
        mine = self.dedup[stage]
        similarity = _floats(lost, "similarity")
        threshold = _floats(lost, "threshold")
        known = ~np.isnan(similarity)
        at = np.searchsorted(SIMILARITIES, similarity[known], side="right") - 1
        at = np.clip(at, 0, SIMILARITY_BINS - 1)
        mine.similarity += np.bincount(at, minlength=SIMILARITY_BINS)
        mine.unknown += int((~known).sum())
        mine.below_one += int((similarity < 1).sum())
        mine.below += int((similarity < threshold.astype(np.float32)).sum())
        mine.thresholds.update(np.unique(threshold[~np.isnan(threshold)]).tolist())
        for entry in pc.value_counts(lost.column("similarity_kind")).to_pylist():
            mine.kinds[str(entry["values"] or "none")] += entry["counts"]
        docs = array(lost, "doc_id").astype(np.int64)
        differs = ~(similarity >= 1)  # identical texts say nothing side by side
        mine.any.add(key[differs], docs[differs])
        near = known & differs
        mine.nearest.add(similarity[near].astype(np.float64), docs[near])

    def add_groups(self, table: pa.Table) -> None:
        """Count the groups in a table of ledger rows with `GROUP_COLUMNS`."""
        known = pc.and_(table.column("kept"), pc.is_valid(table.column("group_size")))
        mine = known.to_numpy().astype(np.bool_, copy=False)
        size = pc.fill_null(table.column("group_size"), 0).to_numpy().astype(np.int64)
        which = np.searchsorted(np.array(GROUP_SIZES), size[mine], side="right") - 1
        self.groups[:, 0] += np.bincount(which, minlength=len(GROUP_SIZES))
        documents = np.bincount(which, weights=size[mine], minlength=len(GROUP_SIZES))
        self.groups[:, 1] += documents.astype(np.int64)
        several = np.flatnonzero(mine & (size > 1))  # few: only their other columns are looked at
        self.largest.add(-size[several].astype(np.float64), array(table, "doc_id").astype(np.int64)[several])
        names = table.column("group_datasets").take(pa.array(several))
        for entry in pc.value_counts(names).to_pylist():
            for pair in _pairs_of(entry["values"]):
                self.shared[pair] += entry["counts"]


def _lengths(tokens: I64, kept: npt.NDArray[np.bool_]) -> I64:
    """Return how many documents lie in each bin of lengths, (2, bins): of all, and of those kept."""
    which = np.clip(np.searchsorted(LENGTHS, tokens, side="right") - 1, 0, len(LENGTHS) - 2)
    return np.stack([np.bincount(which[mine], minlength=len(LENGTHS) - 1) for mine in (slice(None), kept)])


def _check_kept(dataset: str, table: pa.Table, kept: npt.NDArray[np.bool_], copies: I64) -> None:
    """Raise LedgerError where a row is both kept and dropped, or dropped and in the mix."""
    named = np.asarray(pc.is_valid(table.column("stage")).to_numpy()).astype(np.bool_)
    wrong = (kept == named) | (~kept & (copies > 0))
    if wrong.any():
        doc = table.column("doc_id")[int(np.flatnonzero(wrong)[0])].as_py()
        raise LedgerError(
            f"the ledger of {dataset} contradicts itself about {int(wrong.sum()):,} documents (first: doc_id "
            f"{doc}): a document is either kept, or a stage dropped it and it has no copies. Delete the "
            "ledger folder and run again."
        )


def _groups(table: pa.Table, names: list[str]) -> Iterator[tuple[tuple[str | None, ...], I64]]:
    """Yield (values, row numbers) of every combination of these columns that occurs."""
    code = np.zeros(table.num_rows, np.int64)
    dictionaries: list[list[str | None]] = []
    for name in names:
        encoded = table.column(name).combine_chunks().dictionary_encode(null_encoding="encode")
        if isinstance(encoded, pa.ChunkedArray):
            encoded = encoded.chunk(0)
        dictionaries.append(encoded.dictionary.to_pylist())
        code = code * max(1, len(dictionaries[-1])) + np.asarray(encoded.indices.to_numpy())
    for value in np.flatnonzero(np.bincount(code)):
        rest, values = int(value), []
        for dictionary in reversed(dictionaries):
            rest, at = divmod(rest, len(dictionary))
            values.append(dictionary[at])
        yield tuple(reversed(values)), np.flatnonzero(code == value)


def _pairs_of(members: str | None) -> list[tuple[str, str]]:
    """Return every two datasets that share the group."""
    names = sorted(datasets_of_group(members))
    return [(a, b) for i, a in enumerate(names) for b in names[i + 1 :]]


def _floats(table: pa.Table, name: str) -> npt.NDArray[np.float64]:
    return np.asarray(pc.fill_null(table.column(name).cast(pa.float64()), np.nan).to_numpy())


def _hash(docs: I64) -> npt.NDArray[np.float64]:
    """Return a key in [0, 1) per document that has nothing to do with its place, (rows,)."""
    from stages.kernels.hashes.hashing import mix64

    mixed = mix64(docs.astype(np.uint64), 0x7265706F7274)
    return (mixed >> np.uint64(11)).astype(np.float64) * 2.0**-53
