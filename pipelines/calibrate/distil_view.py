"""How well a distilled classifier copies its judge, for the terminal and for the model's card."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pipelines.shown_text import visible

COLUMNS = ("documents", "good", "kept", "auc", "kappa", "precision", "recall")


def _groups(found: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    yield "all", found["all"]
    for kind in ("datasets", "languages"):
        if len(found[kind]) > 1:
            yield from ((visible(name) or "(no language)", one) for name, one in found[kind].items())


def _shown(value: float | int | None) -> str:
    if value is None:
        return "-"
    return f"{value:,}" if isinstance(value, int) else f"{value:.3f}"


def lines_of(found: dict[str, Any]) -> list[str]:
    """Return the lines for the terminal."""
    lines = [f"{found['model']}: {found['trained']:,} documents trained, judge {found['judge']}"]
    for name, one in _groups(found):
        values = ", ".join(f"{column} {_shown(one[column])}" for column in COLUMNS)
        lines.append(f"held out, {name}: {values}")
    lines.append(f"threshold of the judge's cut: {found['threshold']:.6g}")
    lines.append(f'{{use: quality, model: "{found["model"]}", min_score: {found["threshold"]:.6g}}}')
    return lines


def markdown(found: dict[str, Any]) -> str:
    """Return the section of the model's card."""
    cut = "its labels" if found["cut"] is None else f"a score of at least {found['cut']:g}"
    rows = [f"| {name} | " + " | ".join(_shown(one[c]) for c in COLUMNS) + " |" for name, one in _groups(found)]
    return "\n".join(
        [
            "## Distilled from a judge",
            "",
            f"Judge: stage `{found['judge']}`, models {', '.join(f'`{m}`' for m in found['models'])}, prompt "
            f"`{found['prompt']}`, good by {cut}. {found['trained']:,} documents were trained on; the threshold "
            f"**{found['threshold']:.6g}** keeps the share that the judge keeps, by {found['tuned_on']:,} others.",
            "Agreement on documents that neither saw:",
            "",
            "| | " + " | ".join(COLUMNS) + " |",
            "|" + "---|" * (len(COLUMNS) + 1),
            *rows,
            "",
        ]
    )
