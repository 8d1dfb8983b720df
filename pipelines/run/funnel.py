"""The funnel of a run as a table for the terminal: one column per dataset, one line per stage."""

from __future__ import annotations

from collections.abc import Mapping

from rich.table import Table

from pipelines.run.runner import DatasetTally, RunResult


def funnel_table(result: RunResult) -> Table:
    """Return rows, documents dropped per stage, kept, tokens and epochs of each dataset, and their sum."""
    columns = dict(result.tallies)
    total = {"all": _sum_of_datasets(columns)} if len(columns) > 1 else {}
    table = Table(title=f"{result.name}: documents")
    table.add_column("")
    for name in [*columns, *total]:
        table.add_column(name, justify="right")
    both = [*columns.values(), *total.values()]
    table.add_row("rows", *(f"{t['rows']:,}" for t in both))
    for stage in result.stages:
        if any(stage in t["dropped"] for t in both):
            lost = (t["dropped"].get(stage, 0) for t in both)
            table.add_row(f"- {stage}", *(f"{n:,}" if n else "" for n in lost))
    table.add_section()
    table.add_row("kept", *(f"{t['kept']:,}" for t in both))
    table.add_row("", *(f"{t['kept'] / t['rows']:.1%}" if t["rows"] else "" for t in both))
    table.add_row("tokens", *(f"{t['tokens']:,}" for t in both))
    table.add_row("epochs", *(f"{t['epochs']:.3g}" for t in columns.values()), *("" for _ in total))
    return table


def _sum_of_datasets(tallies: Mapping[str, DatasetTally]) -> DatasetTally:
    """Return the sums over all datasets; epochs have none."""
    dropped: dict[str, int] = {}
    for tally in tallies.values():
        for stage, count in tally["dropped"].items():
            dropped[stage] = dropped.get(stage, 0) + count
    return {
        "rows": sum(t["rows"] for t in tallies.values()),
        "dropped": dropped,
        "kept": sum(t["kept"] for t in tallies.values()),
        "tokens": sum(t["tokens"] for t in tallies.values()),
        "epochs": 0.0,
    }
