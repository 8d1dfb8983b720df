"""A diff of two runs as one HTML page: no network, no script, every text escaped."""

from __future__ import annotations

from importlib import resources

from pipelines.diff import tree
from pipelines.diff.view import cause, sentences
from pipelines.report.page import environment, only_style, stylesheet


def render_page(found: tree.Diff) -> str:
    """Return the page of what `diff` returns."""
    template = environment().from_string(
        (resources.files("pipelines") / "diff" / "diff.html").read_text(encoding="utf-8")
    )
    style = stylesheet()
    largest = max((c["documents"] for c in found["causes"]), default=0)
    return template.render(
        d=found, style=style, policy=only_style(style), sentences=list(sentences(found)), cause=cause, largest=largest
    )
