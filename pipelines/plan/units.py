"""Bytes and seconds as a person says them."""

from __future__ import annotations

UNITS = ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB"))


def size(number: float) -> str:
    """Return bytes with three digits and a unit.

    Examples
    --------
    >>> size(1_234_000), size(12)
    ('1.23 MB', '12 B')
    """
    return next((f"{number / unit:.3g} {name}" for unit, name in UNITS if number >= unit), f"{number:.0f} B")


def duration(seconds: float) -> str:
    """Return seconds as a person says it.

    Examples
    --------
    >>> duration(3.21), duration(250), duration(9000)
    ('3.2 s', '4.2 min', '2.5 h')
    """
    if seconds < 100:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.1f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"
