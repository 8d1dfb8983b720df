"""The result of a calibration for the terminal."""

from __future__ import annotations

from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from pipelines.shown_text import visible


def render(found: dict[str, Any]) -> RenderableType:
    """Return a table: precision, recall, and the best threshold, of all documents and of each group."""
    beta = f"{found['beta']:g}"
    table = Table(title=visible(f"{found['stage']}: {_threshold(found)}"))
    for head in ("", "documents", "judged", "precision", "recall", f"best F{beta} at", f"F{beta}"):
        table.add_column(head, justify="left" if not head else "right")
    groups = [("all", found["all"])]
    for kind in ("datasets", "languages"):
        groups += [(name or "(no language)", one) for name, one in found[kind].items() if len(found[kind]) > 1]
    for name, one in groups:
        best = one["best"]
        table.add_row(
            visible(name),
            f"{one['documents']:,}",
            f"{one['judged']:,}",
            _share(one["precision"]),
            _share(one["recall"]),
            "-" if best is None else f"{best['threshold']:.4g}",
            "-" if best is None else f"{best['f']:.3f}",
        )
    lines: list[RenderableType] = [table]
    if found["unjudged"]:
        lines.append(Text(f"{found['unjudged']:,} documents of the sample have no label."))
    return Group(*lines)


def _threshold(found: dict[str, Any]) -> str:
    if found["threshold"] is None:
        return "kept by a threshold for each document; thresholds below are distances from it"
    return f"kept {found['kept']} {found['threshold']:.4g}"


def _share(one: dict[str, float | None]) -> str:
    if one["value"] is None:
        return "-"
    return f"{one['value']:.3f} [{one['low']:.3f}, {one['high']:.3f}]"
