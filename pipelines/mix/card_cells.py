"""The section of a dataset card on what was wanted and what was written: per cell, or per dataset.

Guarantees: made from the mix's manifest alone.
"""

from __future__ import annotations

from pipelines.mix.markdown import inline, table
from pipelines.runfolder import RunFolder

TITLES = ["cell", "weight", "tokens wanted", "available", "written", "over", "under", "epochs", "documents", "rows"]
NOTE = (
    "Tokens available count each document once; written ones count every copy. Epochs are expected tokens per token "
    "available. A document belongs to the first cell whose conditions it meets."
)


def cells_section(folder: RunFolder) -> list[str]:
    """Return the section on the cells of a mix; nothing for a mix without cells, of which datasets tell as much."""
    if not _has_cells(folder):
        return []
    rows = [
        [
            inline(name),
            "" if cell["weight"] is None else f"{cell['weight']:g}",
            "as it is" if cell["tokens_wanted"] is None else cell["tokens_wanted"],
            cell["tokens_available"],
            cell["tokens_written"],
            cell["tokens_over"],
            cell["tokens_under"],
            f"{cell['epochs']:.3g}",
            cell["documents_written"],
            cell["rows_written"],
        ]
        for name, cell in (folder.mix_manifest.get("cells") or {}).items()
    ]
    left = folder.mix_manifest.get("documents_in_no_cell") or 0
    note = f" {left:,} surviving documents are in no cell and were left out." if left else ""
    return ["## Cells\n\n" + table(TITLES, rows) + "\n\n" + NOTE + note + _excluded(folder)]


def _has_cells(folder: RunFolder) -> bool:
    """Tell whether the cells of the mix are other than its datasets."""
    return "documents_in_no_cell" in folder.mix_manifest


def _excluded(folder: RunFolder) -> str:
    names = folder.mix_manifest.get("exclude") or []
    return f" No document of {inline(', '.join(names))} is in this mix." if names else ""


def similarity_section(folder: RunFolder) -> list[str]:
    """Return the section on how similar the held-out documents are to the training part, where that was measured."""
    found = folder.mix_manifest.get("holdout")
    if not found:
        return []
    return [
        f"## Hold-out\n\nOf {found['measured']:,} held-out documents, compared with {found['compared']:,} of the "
        f"training part, the greatest similarity is {found['greatest']:.3f}, the mean of each one's greatest "
        f"{found['mean']:.3f} ({inline(found['how'])})."
    ]
