"""Documents of a dataset by outcome, counted from ledger rows and added up."""

from __future__ import annotations

from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.compute as pc

from cluster.errors import LedgerError


@dataclass(frozen=True, kw_only=True)
class Counts:
    """Documents of one dataset. dropped: (stage, reason) -> documents; copies: rows' worth of the mix."""

    rows: int = 0
    kept: int = 0
    in_mix: int = 0  # kept documents with at least one copy
    copies: int = 0
    dropped: dict[tuple[str, str], int] = field(default_factory=dict)

    def plus(self, other: Counts) -> Counts:
        """Return the counts of both; reasons in the order in which they first came."""
        reasons = dict.fromkeys([*self.dropped, *other.dropped])
        return Counts(
            rows=self.rows + other.rows,
            kept=self.kept + other.kept,
            in_mix=self.in_mix + other.in_mix,
            copies=self.copies + other.copies,
            dropped={key: self.dropped.get(key, 0) + other.dropped.get(key, 0) for key in reasons},
        )


def counts_of(table: pa.Table, copies_column: str = "copies") -> Counts:
    """Return the counts of a table of ledger rows. copies_column: the one of the mix that is asked about."""
    groups = table.filter(pc.invert(table.column("kept"))).group_by(["stage", "reason"])
    rows = groups.aggregate([([], "count_all")]).to_pylist()
    copies = table.column(copies_column).to_numpy()
    return Counts(
        rows=table.num_rows,
        kept=pc.sum(table.column("kept")).as_py() or 0,
        in_mix=int((copies > 0).sum()),
        copies=int(copies.sum()),
        dropped={(str(row["stage"]), str(row["reason"])): row["count_all"] for row in rows},
    )


def check_counts(root: str, dataset: str, counts: Counts) -> None:
    """Raise LedgerError unless every row of a dataset is kept or dropped."""
    dropped = sum(counts.dropped.values())
    if counts.kept + dropped != counts.rows:
        raise LedgerError(
            f"the ledger of {dataset} in {root} does not close: {counts.rows:,} rows, "
            f"{counts.kept:,} kept + {dropped:,} dropped. Run again."
        )
