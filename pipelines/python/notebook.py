"""Progress in a notebook: one bar for the step at hand, updated in place, and a line for each that ended.

Guarantees: the cell's output is two displays, whatever the number of steps; without IPython nothing of it is imported.
"""

from __future__ import annotations

import contextlib
import html
import importlib
import sys
from collections.abc import Iterator
from typing import Any

from pipelines.run.bars import LEAST_SECONDS
from pipelines.run.progress import beating
from pipelines.run.seen import PASSING, Advance, Seen, kernels

EVERY = 0.5  # seconds between two pictures


def in_notebook() -> bool:
    """Tell whether this process is the kernel of a notebook."""
    if "IPython" not in sys.modules:
        return False
    shell: Any = sys.modules["IPython"].get_ipython()
    return shell is not None and hasattr(shell, "kernel")


class Notebook:
    """Shows steps in the output of a notebook's cell."""

    def __init__(self, show: Any = None) -> None:
        display = show or importlib.import_module("IPython.display").display
        self._now = display(_Html(""), display_id=True)
        self._ended = display(_Html(""), display_id=True)
        self._lines: list[str] = []

    @contextlib.contextmanager
    def step(self, name: str, documents: int | None = None, bytes: int | None = None) -> Iterator[Advance]:
        seen = Seen(name, documents)
        self._now.update(_Html(picture(seen)))
        with beating(lambda: self._now.update(_Html(picture(seen))), EVERY):
            yield seen
        seen.kernels.look()
        self._now.update(_Html(""))
        if seen.seconds >= LEAST_SECONDS and name not in PASSING:
            self.note(f"{seen.words}: {seen.summary()}")

    def note(self, text: str) -> None:
        self._lines.append(text)
        self._ended.update(_Html("<br>".join(f"<small>{html.escape(line)}</small>" for line in self._lines)))


class _Html:
    """HTML that a notebook displays."""

    def __init__(self, text: str) -> None:
        self._text = text

    def _repr_html_(self) -> str:
        return self._text

    def __repr__(self) -> str:
        return ""


def picture(seen: Seen) -> str:
    """Return the bar of a step with what there is to say of it."""
    seen.kernels.look()
    parts = [*seen.parts(), f"{seen.seconds:.0f} s"]
    if seen.kernels.growing:
        parts.append(f"{kernels(seen.kernels.count)} compiled so far, once per installation")
    done = "" if seen.share is None else f' value="{seen.share:.3f}"'
    name = html.escape(seen.words)
    return f'<label>{name} <progress max="1"{done}></progress></label> <small>{html.escape(", ".join(parts))}</small>'
