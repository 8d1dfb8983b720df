"""Sums over the ledger as plain JSON, in which they are kept from one report to the next, and back.

Guarantees: what is read back equals what was written, names in the same order; anything else is one of the errors
`ledger_blocks.NOT_COUNTS`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from pipelines.report.ledger_sums import Amount, DatasetSums, DedupSums, LedgerSums, Smallest

Pairs = dict[tuple[str, str], Amount]


def sums_to_json(sums: LedgerSums) -> dict[str, Any]:
    """Return sums as JSON has them."""
    return {
        "datasets": [[name, _dataset(each)] for name, each in sums.datasets.items()],
        "dedup": [[name, _dedup(each)] for name, each in sums.dedup.items()],
        "samples": [[*key, each.entries] for key, each in sums.samples.items()],
        "groups": sums.groups.tolist(),
        "largest": sums.largest.entries,
        "shared": [[*pair, count] for pair, count in sums.shared.items()],
    }


def sums_of_json(data: Any) -> LedgerSums:
    """Return the sums that `sums_to_json` wrote. Raises one of `NOT_COUNTS` for anything else."""
    sums = LedgerSums()
    for name, each in data["datasets"]:
        sums.datasets[str(name)] = _dataset_of(each)
    for name, each in data["dedup"]:
        sums.dedup[str(name)] = _dedup_of(each)
    for stage, reason, entries in data["samples"]:
        _fill(sums.samples[str(stage), str(reason)], entries)
    sums.groups += np.array(data["groups"], np.int64)
    _fill(sums.largest, data["largest"])
    for first, second, count in data["shared"]:
        sums.shared[str(first), str(second)] = int(count)
    return sums


def _dataset(sums: DatasetSums) -> dict[str, Any]:
    return {
        "amounts": [[each.documents, each.tokens] for each in (sums.rows, sums.kept, sums.mix)],
        "copies": sums.copies,
        "lengths": sums.lengths.tolist(),
        "kept_samples": sums.kept_samples.entries,
        "dropped": _amounts(sums.dropped),
        "lost_to": _amounts(sums.lost_to),
    }


def _dataset_of(data: Any) -> DatasetSums:
    sums = DatasetSums()
    sums.rows, sums.kept, sums.mix = (Amount(int(documents), int(tokens)) for documents, tokens in data["amounts"])
    sums.copies = int(data["copies"])
    sums.lengths += np.array(data["lengths"], np.int64)
    _fill(sums.kept_samples, data["kept_samples"])
    _fill_amounts(sums.dropped, data["dropped"])
    _fill_amounts(sums.lost_to, data["lost_to"])
    return sums


def _dedup(sums: DedupSums) -> dict[str, Any]:
    return {
        "similarity": sums.similarity.tolist(),
        "kinds": dict(sums.kinds),
        "counts": [sums.unknown, sums.below_one, sums.below],
        "thresholds": sorted(sums.thresholds),
        "nearest": sums.nearest.entries,
        "any": sums.any.entries,
    }


def _dedup_of(data: Any) -> DedupSums:
    sums = DedupSums()
    sums.similarity += np.array(data["similarity"], np.int64)
    sums.kinds.update({str(kind): int(count) for kind, count in data["kinds"].items()})
    sums.unknown, sums.below_one, sums.below = (int(count) for count in data["counts"])
    sums.thresholds = {float(threshold) for threshold in data["thresholds"]}
    _fill(sums.nearest, data["nearest"])
    _fill(sums.any, data["any"])
    return sums


def _amounts(pairs: Pairs) -> list[list[Any]]:
    return [[*key, amount.documents, amount.tokens] for key, amount in pairs.items()]


def _fill_amounts(pairs: Pairs, data: Any) -> None:
    for first, second, documents, tokens in data:
        pairs[str(first), str(second)] = Amount(int(documents), int(tokens))


def _fill(smallest: Smallest, data: Any) -> None:
    smallest.entries = [(float(key), int(doc)) for key, doc in data]
