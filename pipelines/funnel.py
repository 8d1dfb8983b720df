"""The funnel of a run as a table for the terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.table import Table

from pipelines.recipe import Recipe


def funnel_table(recipe: Recipe, tallies: Mapping[str, Mapping[str, Any]]) -> Table:
    """Return rows, dropped per stage, kept, tokens and epochs of each dataset, and their sum."""
    stages = [
        "read",
        *(s.name for s in recipe.stages if any(s.name in t["dropped"] for t in tallies.values())),
    ]
    table = Table(title=f"{recipe.name}: documents")
    table.add_column("dataset")
    for name in ("rows", *stages, "kept", "kept %", "tokens", "epochs"):
        table.add_column(name, justify="right")
    for name, tally in tallies.items():
        table.add_row(*_row(name, tally, stages, f"{tally['epochs']:.3g}"))
    if len(tallies) > 1:
        table.add_section()
        table.add_row(*_row("all", _sum(tallies), stages, ""))
    return table


def _row(name: str, tally: Mapping[str, Any], stages: list[str], epochs: str) -> list[str]:
    share = f"{tally['kept'] / tally['rows']:.1%}" if tally["rows"] else ""
    dropped = [f"-{tally['dropped'][s]:,}" if tally["dropped"].get(s) else "" for s in stages]
    return [name, f"{tally['rows']:,}", *dropped, f"{tally['kept']:,}", share, f"{tally['tokens']:,}", epochs]


def _sum(tallies: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    total: dict[str, Any] = {"rows": 0, "kept": 0, "tokens": 0, "dropped": {}}
    for tally in tallies.values():
        for key in ("rows", "kept", "tokens"):
            total[key] += tally[key]
        for stage, count in tally["dropped"].items():
            total["dropped"][stage] = total["dropped"].get(stage, 0) + count
    return total
