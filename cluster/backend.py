"""What computes in this process: `cpu`, or `gpu` where the workers resolved to it."""

from __future__ import annotations

_resolved = "cpu"


def current() -> str:
    """Return the resolved backend of this process."""
    return _resolved
