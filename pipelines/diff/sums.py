"""Counts of what entered, left and moved between two ledgers.

Guarantees: sums over documents, so they do not depend on how tables are cut. Memory: a counter per dataset, stage and
reason.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from pipelines.diff import tree

ENTERED, LEFT = "entered", "left"
CAUSE = ("change", "dataset", "stage", "reason")
MOVED = ("dataset", "old_stage", "old_reason", "new_stage", "new_reason")


def changed(table: pa.Table) -> pa.Table:
    """Return the documents that one run keeps and the other does not, with `change`, `stage`, `reason` and `tokens`."""
    was, now = (_true(table.column(f"{side}_kept")) for side in ("old", "new"))
    rows = table.filter(pc.xor(was, now))
    left = _true(rows.column("old_kept"))
    columns = {
        "change": pc.if_else(left, LEFT, ENTERED),
        "tokens": pc.if_else(left, rows.column("old_num_tokens"), rows.column("new_num_tokens")),
    }
    for name in ("stage", "reason", "value", "threshold", "representative"):
        columns[name] = pc.if_else(left, rows.column(f"new_{name}"), rows.column(f"old_{name}"))
    for name, values in columns.items():
        rows = rows.append_column(name, values)
    return rows


class Sums:
    """Everything that is counted over matched documents."""

    def __init__(self) -> None:
        self.datasets: dict[str, Counter[str]] = defaultdict(Counter)
        self.causes: dict[tuple[str, ...], Counter[str]] = defaultdict(Counter)
        self.moved: Counter[tuple[str, ...]] = Counter()

    def add(self, table: pa.Table, moves: pa.Table) -> None:
        """Count matched documents, and `moves`, what `changed` returns of them."""
        for side in ("old", "new"):
            self._add_side(table, side)
        for row in _grouped(moves, CAUSE, "tokens"):
            self.causes[tuple(str(row[name] or "") for name in CAUSE)].update(
                documents=row["count_all"], tokens=row["tokens_sum"] or 0
            )
        both = table.filter(pc.and_(pc.is_valid(table.column("old_doc_id")), pc.is_valid(table.column("new_doc_id"))))
        self._add_moved(both)
        kept = pc.and_(both.column("old_kept"), both.column("new_kept"))
        other = pc.not_equal(both.column("old_copies"), both.column("new_copies"))
        for row in _grouped(both.filter(pc.and_(kept, other)), ("dataset",)):
            self.datasets[row["dataset"]]["copies_changed"] += row["count_all"]

    def _add_side(self, table: pa.Table, side: str) -> None:
        mine = table.filter(pc.is_valid(table.column(f"{side}_doc_id")))
        tokens = mine.column(f"{side}_num_tokens")
        kept = mine.column(f"{side}_kept")
        counted = pa.table(
            {
                "dataset": mine.column("dataset"),
                "rows": pa.repeat(1, mine.num_rows),
                "kept": pc.cast(kept, pa.int64()),
                "tokens": pc.if_else(kept, tokens, 0),
                "mix": pc.multiply(pc.cast(mine.column(f"{side}_copies"), pa.int64()), tokens),
            }
        )
        names = ("rows", "kept", "tokens", "mix")
        for row in counted.group_by("dataset").aggregate([(n, "sum") for n in names]).to_pylist():
            self.datasets[row["dataset"]].update({f"{side}_{n}": row[f"{n}_sum"] or 0 for n in names})

    def _add_moved(self, both: pa.Table) -> None:
        dropped = both.filter(pc.invert(pc.or_(both.column("old_kept"), both.column("new_kept"))))
        same = pc.and_(
            pc.equal(dropped.column("old_stage"), dropped.column("new_stage")),
            pc.equal(dropped.column("old_reason"), dropped.column("new_reason")),
        )
        for row in _grouped(dropped.filter(pc.invert(_true(same))), MOVED):
            self.moved[tuple(str(row[name] or "") for name in MOVED)] += row["count_all"]

    def dataset_trees(self) -> dict[str, tree.DatasetChange]:
        """Return the counts of each dataset, by name."""
        found: dict[str, tree.DatasetChange] = {}
        for name in sorted(self.datasets):
            count = self.datasets[name]
            found[name] = {
                "old": _side(count, "old"),
                "new": _side(count, "new"),
                "entered": self._moves(ENTERED, name),
                "left": self._moves(LEFT, name),
                "judged_otherwise": sum(n for key, n in self.moved.items() if key[0] == name),
                "copies_changed": count["copies_changed"],
            }
        return found

    def _moves(self, change: str, dataset: str) -> tree.Count:
        mine = [count for key, count in self.causes.items() if key[:2] == (change, dataset)]
        return {"documents": sum(c["documents"] for c in mine), "tokens": sum(c["tokens"] for c in mine)}

    def cause_trees(self) -> list[tree.Cause]:
        """Return why documents entered or left, those of most documents first."""
        found: list[Any] = [{**dict(zip(CAUSE, key, strict=True)), **count} for key, count in self.causes.items()]
        return sorted(found, key=lambda c: (-c["documents"], *(c[name] for name in CAUSE)))

    def moved_trees(self) -> list[tree.Moved]:
        """Return how reasons changed of documents that neither run keeps, those of most documents first."""
        found: list[Any] = [{**dict(zip(MOVED, key, strict=True)), "documents": n} for key, n in self.moved.items()]
        return sorted(found, key=lambda m: (-m["documents"], *(m[name] for name in MOVED)))


def _side(count: Counter[str], side: str) -> tree.Side:
    kept: tree.Count = {"documents": count[f"{side}_kept"], "tokens": count[f"{side}_tokens"]}
    return {"rows": count[f"{side}_rows"], "kept": kept, "mix_tokens": count[f"{side}_mix"]}


def _true(values: Any) -> Any:
    """Return truth values with null as false."""
    return pc.fill_null(values, False)


def _grouped(table: pa.Table, by: tuple[str, ...], *summed: str) -> list[dict[str, Any]]:
    found = table.group_by(list(by)).aggregate([([], "count_all"), *((name, "sum") for name in summed)])
    return list(found.to_pylist())
