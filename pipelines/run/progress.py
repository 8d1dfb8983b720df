"""Show how far a run is: bars on a terminal, lines in a batch log, JSON lines for machines, or nothing.

Guarantees: what is shown never changes what is done; a line is written at most every few seconds. Rates
are documents and megabytes per second of the step at hand; an ETA is shown where the total is known.
"""

from __future__ import annotations

import contextlib
import json
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, Protocol, TextIO

SECONDS = 10.0  # between lines of a log


class Advance(Protocol):
    """Tells the display what a finished task did."""

    def __call__(self, documents: int = 0, bytes: int = 0) -> None: ...


class Progress(Protocol):
    """One display for all steps of a run: its stages, and what comes before and after them."""

    def step(
        self, name: str, documents: int | None = None, bytes: int | None = None
    ) -> contextlib.AbstractContextManager[Advance]:
        """Open a step; give totals where they are known."""


class Silent:
    """Shows nothing."""

    @contextlib.contextmanager
    def step(self, name: str, documents: int | None = None, bytes: int | None = None) -> Iterator[Advance]:
        def advance(documents: int = 0, bytes: int = 0) -> None:
            return None

        yield advance


class Lines:
    """Writes plain lines, or one JSON object a line, to a stream."""

    def __init__(self, out: TextIO | None = None, *, as_json: bool = False, every: float = SECONDS) -> None:
        self._out = out or sys.stderr
        self._json = as_json
        self._every = every

    @contextlib.contextmanager
    def step(self, name: str, documents: int | None = None, bytes: int | None = None) -> Iterator[Advance]:
        begin = last = time.perf_counter()
        seen = {"tasks": 0, "documents": 0, "bytes": 0}
        self._write("start", name, seen, documents, 0.0)

        def advance(documents: int = 0, bytes: int = 0) -> None:
            nonlocal last
            seen["tasks"] += 1
            seen["documents"] += documents
            seen["bytes"] += bytes
            now = time.perf_counter()
            if now - last >= self._every:
                last = now
                self._write("progress", name, seen, total, now - begin)

        total = documents
        yield advance
        self._write("done", name, seen, documents, time.perf_counter() - begin)

    def _write(self, event: str, name: str, seen: dict[str, int], total: int | None, seconds: float) -> None:
        if self._json:
            print(json.dumps(_record(event, name, seen, total, seconds)), file=self._out, flush=True)
        elif event != "start":
            print(f"{name}: {_words(seen, total, seconds)}", file=self._out, flush=True)


def _record(event: str, name: str, seen: dict[str, int], total: int | None, seconds: float) -> dict[str, Any]:
    """Return one line of the JSON log: when, what, counts, rates, seconds left (null where not known)."""
    left = _seconds_left(seen["documents"], total, seconds)
    return {
        "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
        "event": event,
        "stage": name,
        **seen,
        "total_documents": total,
        "seconds": round(seconds, 3),
        "documents_per_second": round(seen["documents"] / seconds, 1) if seconds else None,
        "bytes_per_second": round(seen["bytes"] / seconds, 1) if seconds else None,
        "eta_seconds": None if left is None else round(left, 1),
    }


def _seconds_left(documents: int, total: int | None, seconds: float) -> float | None:
    """Return how long the rest takes at the pace so far; None where the total or the pace is not known."""
    if not total or not documents:
        return None
    return seconds * max(0, total - documents) / documents


def _words(seen: dict[str, int], total: int | None, seconds: float) -> str:
    """Return counts, rates and, where the total is known, the time left."""
    parts = [f"{seconds:.1f} s"]
    if seen["documents"]:
        of = f" of {total:,}" if total else ""
        parts.append(f"{seen['documents']:,}{of} documents")
    elif seen["tasks"]:
        parts.append(f"{seen['tasks']:,} tasks")
    if seconds > 0.05 and seen["documents"]:
        parts.append(f"{seen['documents'] / seconds:,.0f} documents/s")
    if seconds > 0.05 and seen["bytes"]:
        parts.append(f"{seen['bytes'] / seconds / 1e6:,.1f} MB/s")
    left = _seconds_left(seen["documents"], total, seconds)
    if left:
        parts.append(f"{left:,.0f} s left")
    return ", ".join(parts)


class Bars:
    """Live bars on a terminal."""

    def __init__(self, console: Any = None) -> None:
        from rich.console import Console

        self._console = console or Console(stderr=True)

    @contextlib.contextmanager
    def step(self, name: str, documents: int | None = None, bytes: int | None = None) -> Iterator[Advance]:
        from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as RichProgress

        begin = time.perf_counter()
        seen = {"tasks": 0, "documents": 0, "bytes": 0}
        columns = (
            TextColumn("{task.description:<14}"),
            BarColumn(bar_width=30),
            TextColumn("{task.fields[words]}"),
            TimeRemainingColumn(),
        )
        with RichProgress(*columns, console=self._console, transient=True) as bars:
            task = bars.add_task(name, total=documents, words="")

            def advance(documents: int = 0, bytes: int = 0) -> None:
                seen["tasks"] += 1
                seen["documents"] += documents
                seen["bytes"] += bytes
                words = _words(seen, None, time.perf_counter() - begin)
                bars.update(task, completed=seen["documents"], words=words)

            yield advance
        total = time.perf_counter() - begin
        if total >= 0.1:
            self._console.print(f"{name:<14} {_words(seen, documents, total)}", highlight=False)


def choose_display(*, quiet: bool = False, json_log: bool = False) -> Progress:
    """Return the display for this process: nothing, JSON lines, bars on a terminal, else lines."""
    if quiet:
        return Silent()
    if json_log:
        return Lines(as_json=True)
    return Bars() if sys.stderr.isatty() else Lines()
