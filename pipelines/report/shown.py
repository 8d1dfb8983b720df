"""The documents that a report shows: their rows of the ledger and their texts, read once for all its sections.

Guarantees: texts are as pages show them (`RunFolder.shown_texts`). Memory: rows and texts of these documents.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from pipelines.artefacts import LedgerRow
from pipelines.runfolder import Document, RunFolder


@dataclass(frozen=True, kw_only=True)
class Shown:
    """Documents by doc_id. A document is in neither where it cannot be had."""

    rows: dict[int, LedgerRow]
    texts: dict[int, Document]


def read_shown(folder: RunFolder, docs: Iterable[int], dropped: Iterable[int]) -> Shown:
    """Read these documents, and each that one of `dropped` lost to."""
    dropped = list(dropped)
    rows = folder.rows([*docs, *dropped])
    lost_to = (rows[doc]["representative"] for doc in dropped if doc in rows)
    rows |= folder.rows(winner for winner in lost_to if winner is not None and winner not in rows)
    return Shown(rows=rows, texts=folder.shown_texts(rows))
