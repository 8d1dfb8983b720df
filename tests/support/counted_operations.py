"""Count the byte-code operations of a call: a measure of its work that no other process on the machine changes."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

PACKAGES = ("pipelines", "stages", "cluster")


def operations(call: Callable[[], object]) -> int:
    """Return how many operations the code of winnow's packages executes in a call, on this thread."""
    count = 0

    def each(frame: FrameType, event: str, _: Any) -> Any:
        nonlocal count
        if event == "opcode":
            count += 1
        return each

    def start(frame: FrameType, event: str, argument: Any) -> Any:
        if not str(frame.f_globals.get("__name__", "")).startswith(PACKAGES):
            return None
        frame.f_trace_opcodes = True
        return each

    before = sys.gettrace()
    sys.settrace(start)
    try:
        call()
    finally:
        sys.settrace(before)
    return count
