"""Show how far a run is: bars on a terminal, lines in a batch log, JSON lines for machines, or nothing.

Guarantees: what is shown never changes what is done; a line is written at most every few seconds, and at least every
half minute. Rates are documents and megabytes per second of the step at hand; the time left is told where it can be
(pace.py).
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, Protocol, TextIO

from pipelines.run.seen import PASSING, Advance, Seen, kernels

SECONDS = 10.0  # between lines of a log


class Progress(Protocol):
    """One display for all steps of a run: its stages, and what comes before and after them."""

    def step(
        self, name: str, documents: int | None = None, bytes: int | None = None
    ) -> contextlib.AbstractContextManager[Advance]:
        """Open a step; give totals where they are known."""

    def note(self, text: str) -> None:
        """Show a sentence between steps."""


class Silent:
    """Shows nothing."""

    @contextlib.contextmanager
    def step(self, name: str, documents: int | None = None, bytes: int | None = None) -> Iterator[Advance]:
        yield Seen(name, documents)

    def note(self, text: str) -> None:
        return None


class Lines:
    """Writes plain lines, or one JSON object a line, to a stream."""

    def __init__(self, out: TextIO | None = None, *, as_json: bool = False, every: float = SECONDS) -> None:
        self._out = out or sys.stderr
        self._json = as_json
        self._every = every
        self._last = 0.0
        self._lock = threading.Lock()

    @contextlib.contextmanager
    def step(self, name: str, documents: int | None = None, bytes: int | None = None) -> Iterator[Advance]:
        seen = Seen(name, documents)
        self._last = seen.pace.begin
        self._write("start", seen)
        with beating(lambda: self._write_if_due(seen), self._every):
            yield _Told(seen, lambda: self._write_if_due(seen))
        self._write("done", seen)

    def note(self, text: str) -> None:
        line = json.dumps({"time": _now(), "event": "note", "text": text}) if self._json else text
        print(line, file=self._out, flush=True)

    def _write_if_due(self, seen: Seen) -> None:
        if time.perf_counter() - self._last >= self._every:
            self._write("progress", seen)

    def _write(self, event: str, seen: Seen) -> None:
        with self._lock:
            self._last = time.perf_counter()
            seen.kernels.look()
            if self._json:
                print(json.dumps(_record(event, seen)), file=self._out, flush=True)
            elif event == "progress":
                words = seen.parts() or ["no task has ended yet"]
                if seen.kernels.growing:
                    words.append(f"{kernels(seen.kernels.count)} compiled so far, once per installation")
                print(f"{seen.words}: {', '.join([f'{seen.seconds:.1f} s', *words])}", file=self._out, flush=True)
            elif event == "done" and seen.name not in PASSING:
                print(f"{seen.words}: {seen.summary()}", file=self._out, flush=True)


class _Told:
    """Counts, and tells a display of every count."""

    def __init__(self, seen: Seen, tell: Any) -> None:
        self._seen = seen
        self._tell = tell
        self.part = seen.part

    def __call__(self, documents: int = 0, bytes: int = 0) -> None:
        self._seen(documents, bytes)
        self._tell()


@contextlib.contextmanager
def beating(beat: Any, every: float) -> Iterator[None]:
    """Call `beat` every so many seconds while the block goes on, on a thread of its own."""
    over = threading.Event()

    def go_on() -> None:
        while not over.wait(every):
            beat()

    thread = threading.Thread(target=go_on, daemon=True, name="winnow-display")
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def _record(event: str, seen: Seen) -> dict[str, Any]:
    """Return one line of the JSON log: when, what, counts, rates, seconds left (null where not known)."""
    pace, seconds = seen.pace, seen.seconds
    left = None if event == "done" else pace.left(time.perf_counter())
    return {
        "time": _now(),
        "event": event,
        "stage": seen.name,
        "words": seen.words,
        "part": seen.pass_name or None,
        "part_tasks": seen.pass_tasks or None,
        "part_tasks_done": seen.pass_done if seen.pass_tasks else None,
        "tasks": pace.tasks,
        "documents": pace.documents,
        "bytes": pace.bytes,
        "total_documents": pace.total,
        "seconds": round(seconds, 3),
        "documents_per_second": round(pace.documents / seconds, 1) if seconds else None,
        "bytes_per_second": round(pace.bytes / seconds, 1) if seconds else None,
        "kernels_compiled": seen.kernels.count,
        "eta_seconds": None if left is None else round(sum(left) / 2, 1),
        "eta_range": None if left is None else [round(end, 1) for end in left],
    }


def choose_display(*, quiet: bool = False, json_log: bool = False) -> Progress:
    """Return the display for this process: nothing, JSON lines, bars on a terminal that can show them, else lines."""
    if quiet:
        return Silent()
    if json_log:
        return Lines(as_json=True)
    if not can_show_bars():
        return Lines()
    from pipelines.run.bars import Bars

    return Bars()


def can_show_bars() -> bool:
    """Tell whether standard error is a terminal that can move its cursor."""
    return sys.stderr.isatty() and os.environ.get("TERM", "dumb") not in ("dumb", "unknown")
