"""The first word of a command: a line on standard error before the heavy packages are loaded.

Guarantees: what a command prints on standard output is not touched; nothing is said with --quiet, to a machine
(--json with no terminal to read along), or by a command that ends at once.
"""

from __future__ import annotations

import contextlib
import json
import sys
import threading
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

AT_ONCE = ("run", "materialize", "stage", "dedup", "export")
PATIENCE = 0.4  # seconds after which a command that does not always take long says that it is at work
SILENT = ("--quiet", "-q", "--help", "-h", "--version", "--install-completion", "--show-completion")


@contextlib.contextmanager
def first_word(arguments: Sequence[str]) -> Iterator[None]:
    """Say that a command is at work: at once where it always takes long, else once it does."""
    command = next((word for word in arguments if not word.startswith("-")), "")
    silent = any(word in SILENT for word in arguments)
    if not command or silent or ("--json" in arguments and not sys.stderr.isatty()):
        yield
        return
    timer = threading.Timer(0 if command in AT_ONCE else PATIENCE, _say, [command, arguments])
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _say(command: str, arguments: Sequence[str]) -> None:
    if "--json-log" in arguments:
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        line = json.dumps({"time": now, "event": "begin", "command": command})
    else:
        line = f"winnow {command}: begins" if command in AT_ONCE else f"winnow {command}: at work"
    with contextlib.suppress(OSError, ValueError):  # nobody reads
        print(line, file=sys.stderr, flush=True)
