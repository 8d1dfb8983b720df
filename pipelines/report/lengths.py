"""How long documents are, per dataset: of what was read and of what survived.

Guarantees: sums over ledger rows (ledger_sums.py), so that they do not depend on how the ledger is cut into tasks.
Bins are half powers of two, so a length that is read off them is right to within a fifth.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from pipelines.report import tree
from pipelines.report.ledger_sums import LENGTHS, DatasetSums, LedgerSums

QUANTILES = (0.1, 0.5, 0.9)
I64 = npt.NDArray[np.int64]


def lengths_of_datasets(sums: LedgerSums, datasets: Sequence[str]) -> tree.Lengths:
    """Return the histogram of document lengths of every dataset, before and after, with a few quantiles."""
    found = {name: _of_dataset(sums.datasets[name]) for name in datasets}
    used = [d for d in found.values() if any(d["read"])]
    last = max((max(i for i, n in enumerate(d["read"]) if n) for d in used), default=0)
    first = min((min(i for i, n in enumerate(d["read"]) if n) for d in used), default=0)
    for lengths in found.values():
        lengths["read"], lengths["kept"] = lengths["read"][first : last + 1], lengths["kept"][first : last + 1]
    return {"edges": [int(edge) for edge in LENGTHS[first : last + 2]], "datasets": found}


def _of_dataset(sums: DatasetSums) -> tree.LengthCounts:
    read, kept = sums.lengths
    return {
        "read": read.tolist(),
        "kept": kept.tolist(),
        "quantiles_read": [_quantile(read, q) for q in QUANTILES],
        "quantiles_kept": [_quantile(kept, q) for q in QUANTILES],
    }


def _quantile(counts: I64, share: float) -> int | None:
    """Return the length below which a share of the documents lies, about; None without documents."""
    total = int(counts.sum())
    if not total:
        return None
    at = int(np.searchsorted(np.cumsum(counts), share * total, side="left"))
    before = int(counts[:at].sum())
    inside = (share * total - before) / max(1, int(counts[at]))
    return round(float(LENGTHS[at]) + inside * (float(LENGTHS[at + 1]) - float(LENGTHS[at])))
