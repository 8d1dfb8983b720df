"""Plain values that a notebook shows as the command line does: a dict with `_repr_html_`."""

from __future__ import annotations

from collections.abc import Callable
from io import StringIO
from typing import Any

WIDTH = 110  # characters of a line in a notebook's cell
FORMAT = '<pre style="font-family: monospace; line-height: 1.25; overflow-x: auto">{code}</pre>'


class Shown(dict[str, Any]):
    """A dict that shows itself in a notebook by a function which makes of it what rich can print."""

    def __init__(self, values: dict[str, Any], render: Callable[[Any], Any]) -> None:
        super().__init__(values)
        self._render = render

    def __reduce__(self) -> tuple[Any, ...]:
        return dict, (dict(self),)

    def _repr_html_(self) -> str:
        return html_of(self._render(self))


def html_of(renderable: Any) -> str:
    """Return what rich can print as HTML, for a cell of a notebook; all texts are escaped."""
    from rich.console import Console

    console = Console(file=StringIO(), record=True, width=WIDTH, highlight=False, force_jupyter=False)
    console.print(renderable)
    return console.export_html(inline_styles=True, code_format=FORMAT)
