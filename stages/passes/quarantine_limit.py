"""How much of a dataset may be set aside as unreadable (`on_error: quarantine`) before the run stops after all.

Guarantees: the count is that of the ledger, so it does not depend on workers or interruptions; a dataset of which
nothing could be read always stops, unless any number is allowed. Memory: the statuses of one bundle.
"""

from __future__ import annotations

from collections import Counter
from functools import partial

import numpy as np

from cluster import storage
from cluster.engines import Engine
from cluster.errors import ShardError
from stages.core.arrays import array
from stages.core.costs import per_bundle
from stages.core.run import Run
from stages.core.view import View
from stages.inputs.batches import ReadStatus
from stages.passes.quarantined import folder_of, is_listed, problem_of

FEW = 10  # rows that a small dataset may lose whatever their share is, though never more than half of it
COUNT = per_bundle("count unreadable rows")
UNKNOWN = "files that cannot be opened (rows estimated from their bytes)"


def check_quarantined(engine: Engine, run: Run, limit: float) -> None:
    """Stop the run where a dataset lost more rows than `limit` allows.

    Parameters
    ----------
    limit : share of a dataset's rows; 1: any number of rows.

    Raises
    ------
    ShardError
        Names the dataset, how many rows of how many, why, where the list is, and how to allow more.
    """
    if run.on_error != "quarantine" or limit >= 1:
        return
    lost: dict[str, Counter[str]] = {d.name: _lost_files(run, d.name) for d in run.datasets}
    bundles = run.manifest.bundles
    found = engine.map(partial(_bad_rows, run), range(len(bundles)), cost=COUNT)
    for bundle, counts in zip(bundles, found, strict=True):
        lost[bundle.dataset].update(counts)
    for name, reasons in lost.items():
        rows = run.manifest.rows(name) + reasons[UNKNOWN]
        if reasons.total() > allowed(rows, limit):
            raise _too_many(run, name, rows, reasons, limit)


def allowed(rows: int, limit: float) -> int:
    """Return how many of a dataset's rows may be lost: the share, or a few where that is less.

    >>> allowed(100_000, 0.01), allowed(300, 0.01), allowed(8, 0.01), allowed(1, 0.01), allowed(300, 0.0)
    (1000, 10, 4, 0, 0)
    """
    return max(int(rows * limit), min(FEW, rows // 2) if limit else 0)


def _bad_rows(run: Run, position: int) -> dict[str, int]:
    """Return how many rows of a bundle are at fault, by reason."""
    status = array(View(run, run.manifest.bundles[position]).read, "status")
    counts = np.bincount(status, minlength=max(ReadStatus) + 1)
    return {s.reason: int(counts[s]) for s in ReadStatus if s.bad and counts[s]}


def _lost_files(run: Run, dataset: str) -> Counter[str]:
    """Return the rows that files without any are likely to hold: as many per byte as the other files have."""
    shards = run.manifest.live_of(dataset)
    listed = storage.names(folder_of(run.root))
    lost = [s for s in shards if not s.rows and is_listed(listed, s.dataset, s.relative_path)]
    whole = [s for s in shards if s.rows]
    rows, size = sum(s.rows for s in whole), sum(s.bytes for s in whole)
    return Counter({UNKNOWN: sum(max(1, round(s.bytes * rows / max(1, size))) for s in lost)} if lost else {})


def _too_many(run: Run, name: str, rows: int, reasons: Counter[str], limit: float) -> ShardError:
    folder, count = folder_of(run.root), reasons.total()
    why = ", ".join(f"{reason} {number:,}" for reason, number in sorted(reasons.items()) if number)
    return ShardError(
        f"dataset {name}: {count:,} of {rows:,} rows ({count / rows:.1%}) cannot be read ({why}), max_quarantined "
        f"allows {allowed(rows, limit):,} ({limit:.3g} of the rows; of few rows {FEW}, but no more than half). "
        f"{_example(folder)}They are listed under {folder}. Correct the recipe or the files, or allow more: "
        f"max_quarantined: {min(1.0, np.ceil(1000 * count / rows) / 1000):g} (1 allows any number)."
    )


def _example(folder: str) -> str:
    for name in sorted(storage.names(folder)):
        for line in storage.read_bytes(storage.join(folder, name)).splitlines():
            if problem := problem_of(line):
                return f"The first: {problem['path']}: {problem['error']}. "
    return ""
