"""Show an export and a trace in the terminal.

Guarantees: texts are shown through `visible`: no control character and no markup of theirs reaches the terminal.
"""

from __future__ import annotations

from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from pipelines.explain.view import render_document
from pipelines.export.tree import Trace, TracedSequence
from pipelines.shown_text import visible

TEXT_SHOWN = 200


def export_sentence(out: str, found: dict[str, Any]) -> str:
    """Return what an export came to, in one line."""
    padding = f", {found['padding_share']:.2%} padding" if found["padding_tokens"] else ""
    empty = found["documents_without_tokens"]
    without = f"; {empty:,} documents gave no token" if empty else ""
    return (
        f"{found['tokens']:,} tokens ({found['dtype']}) of {found['copies']:,} documents in {found['sequences']:,} "
        f"sequences{padding}, {found['parts']:,} files: {out}{without}"
    )


def render_trace(found: Trace) -> Group:
    """Return a trace as something that rich can print: the sequences, then every document."""
    parts: list[RenderableType] = [_sequence(one) for one in found["sequences"]]
    return Group(*parts, *(render_document(document) for document in found["documents"]))


def _sequence(one: TracedSequence) -> Table:
    filled = f", {one['padding']:,} of them padding" if one["padding"] else ""
    title = f"\n{one['name']}: {one['tokens']:,} tokens{filled}"
    table = Table(box=None, padding=(0, 2, 0, 0), title=title, title_justify="left", title_style="bold")
    for name in ("tokens", "doc_id", "copy", "of the document", "text"):
        table.add_column(name, header_style="dim", overflow="fold")
    for piece in one["pieces"]:
        stop = piece["document_from"] + piece["tokens"]
        text = piece["text"]
        short = text if len(text) <= TEXT_SHOWN else f"{text[: TEXT_SHOWN // 2]} [...] {text[-TEXT_SHOWN // 2 :]}"
        table.add_row(
            f"{piece['at']:,}-{piece['at'] + piece['tokens'] - 1:,}",
            str(piece["doc_id"]),
            str(piece["copy"]),
            f"{piece['document_from']:,}-{stop - 1:,} of {piece['document_tokens']:,}",
            Text(visible(short)),
        )
    return table
