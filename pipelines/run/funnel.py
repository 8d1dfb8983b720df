"""The funnel of a run as a table for the terminal: one column per dataset, one line per stage."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.table import Table

from pipelines.recipe.recipe import Recipe

Tally = Mapping[str, Any]


def funnel_table(recipe: Recipe, tallies: Mapping[str, Tally]) -> Table:
    """Return rows, documents dropped per stage, kept, tokens and epochs of each dataset, and their sum."""
    columns = dict(tallies) | ({"all": _sum(tallies)} if len(tallies) > 1 else {})
    table = Table(title=f"{recipe.name}: documents")
    table.add_column("")
    for name in columns:
        table.add_column(name, justify="right")
    table.add_row("rows", *(f"{t['rows']:,}" for t in columns.values()))
    for stage in ["read", *(s.name for s in recipe.stages)]:
        if any(stage in t["dropped"] for t in columns.values()):
            lost = (t["dropped"].get(stage, 0) for t in columns.values())
            table.add_row(f"- {stage}", *(f"{n:,}" if n else "" for n in lost))
    table.add_section()
    table.add_row("kept", *(f"{t['kept']:,}" for t in columns.values()))
    table.add_row("", *(f"{t['kept'] / t['rows']:.1%}" if t["rows"] else "" for t in columns.values()))
    table.add_row("tokens", *(f"{t['tokens']:,}" for t in columns.values()))
    table.add_row("epochs", *("" if t["epochs"] is None else f"{t['epochs']:.3g}" for t in columns.values()))
    return table


def _sum(tallies: Mapping[str, Tally]) -> Tally:
    total: dict[str, Any] = {"rows": 0, "kept": 0, "tokens": 0, "epochs": None, "dropped": {}}
    for tally in tallies.values():
        for key in ("rows", "kept", "tokens"):
            total[key] += tally[key]
        for stage, count in tally["dropped"].items():
            total["dropped"][stage] = total["dropped"].get(stage, 0) + count
    return total
