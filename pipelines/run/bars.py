"""Live bars on a terminal: one for the step at hand, one more while kernels are compiled.

Guarantees: a bar and its words fit the width of the terminal, at 40 columns too; what is left of a step is one line.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from typing import Any

from pipelines.run.seen import PASSING, Advance, Seen

LEAST_SECONDS = 0.1  # a step that takes less leaves no line
REFRESH = 5  # pictures a second
LOOK = 1.0  # seconds between two looks at the kernels


class Bars:
    """Live bars on a terminal."""

    def __init__(self, console: Any = None, *, lines: bool = True) -> None:
        from rich.console import Console

        self._console = console or Console(stderr=True)
        self._lines = lines  # whether a finished step leaves one

    @contextlib.contextmanager
    def step(self, name: str, documents: int | None = None, bytes: int | None = None) -> Iterator[Advance]:
        from rich.live import Live

        seen = Seen(name, documents)
        picture = _Picture(self._console, seen)
        with Live(get_renderable=picture, console=self._console, transient=True, refresh_per_second=REFRESH) as live:
            yield seen
            live.refresh()
        seen.kernels.look()
        if self._lines and seen.seconds >= LEAST_SECONDS and name not in PASSING:
            self._console.print(f"{seen.words:<{name_width(self._console.width)}} {seen.summary()}", highlight=False)

    def note(self, text: str) -> None:
        self._console.print(text, highlight=False, markup=False)


def name_width(width: int) -> int:
    """Return the columns that the name of a step gets on a terminal of so many."""
    return max(12, min(20, width // 4))


class _Picture:
    """What is shown of a step at the moment."""

    def __init__(self, console: Any, seen: Seen) -> None:
        self._console = console
        self._seen = seen
        self._looked = time.monotonic()

    def __call__(self) -> Any:
        from rich.console import Group

        seen = self._seen
        if time.monotonic() - self._looked > LOOK:
            seen.kernels.look()
            self._looked = time.monotonic()
        rows = [self._row(seen.words, seen.share, [*seen.parts(), f"{seen.seconds:.0f} s"])]
        if seen.kernels.growing:
            words = [f"{seen.kernels.count} so far", "once per installation"]
            rows.append(self._row("compile kernels", None, words))
        return Group(*rows)

    def _row(self, name: str, share: float | None, parts: list[str]) -> Any:
        """Return name, bar and as many of the words as fit on one line."""
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text

        width = self._console.width
        first, bar = name_width(width), max(6, min(30, width // 5))
        row = Table.grid(padding=(0, 1))
        row.add_column(width=first, no_wrap=True, overflow="ellipsis")
        row.add_column(width=bar, no_wrap=True)
        row.add_column(no_wrap=True, overflow="ellipsis")
        done = ProgressBar(total=1.0, completed=share or 0.0, width=bar, pulse=share is None)
        row.add_row(Text(name), done, Text(fitting(parts, width - first - bar - 3)))
        return row


def fitting(parts: list[str], width: int) -> str:
    """Return the first parts that fit, with commas between them.

    Examples
    --------
    >>> fitting(["10 of 40 documents", "5 documents/s", "2 s"], 34)
    '10 of 40 documents, 5 documents/s'
    """
    line = ""
    for part in parts:
        longer = f"{line}, {part}" if line else part
        if len(longer) > width and line:
            break
        line = longer
    return line
