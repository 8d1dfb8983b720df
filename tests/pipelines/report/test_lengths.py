"""Lengths before and after: counts of the ledger, whatever way it is cut, and quantiles that are about right."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc

from pipelines.report.ledger_sums import LENGTHS, LedgerSums
from pipelines.report.lengths import lengths_of_datasets
from pipelines.runfolder import open_run


def test_every_document_is_in_one_bin_before_and_every_kept_one_after(run: Path, found: dict[str, Any]) -> None:
    ledger = open_run(str(run)).ledger
    for name, counts in found["lengths"]["datasets"].items():
        edges = np.array(found["lengths"]["edges"])
        rows = [row for table in ledger(name, ["num_tokens", "kept"]) for row in table.to_pylist()]
        assert sum(counts["read"]) == len(rows)
        assert sum(counts["kept"]) == sum(row["kept"] for row in rows)
        for side, mine in (("read", rows), ("kept", [row for row in rows if row["kept"]])):
            expected = np.histogram([row["num_tokens"] for row in mine], edges)[0].tolist()
            assert counts[side] == expected


def test_bins_are_whole_numbers_that_rise() -> None:
    assert (np.diff(LENGTHS) > 0).all()
    assert LENGTHS[0] == 0


def test_quantiles_are_right_to_within_a_bin(run: Path) -> None:
    sums = LedgerSums()
    folder = open_run(str(run))
    for name in folder.datasets:
        for table in folder.ledger(name):
            sums.add(name, table)
    found = lengths_of_datasets(sums, folder.datasets)
    for name in folder.datasets:
        tokens = [t for table in folder.ledger(name, ["num_tokens"]) for t in pc.fill_null(table[0], 0).to_pylist()]
        middle = found["datasets"][name]["quantiles_read"][1]
        if not tokens:
            assert middle is None
            continue
        true = float(np.quantile(tokens, 0.5, method="inverted_cdf"))
        at = int(np.searchsorted(LENGTHS, true, side="right")) - 1
        assert middle is not None
        assert LENGTHS[at] <= middle <= LENGTHS[at + 1]
