"""Dotted paths: how a name that may itself hold dots is cut.

Guarantees: the longest name that exists is taken.
"""

from __future__ import annotations

from collections.abc import Collection


def split_path(names: Collection[str], path: str) -> tuple[str, str] | None:
    """Return (longest of `names` that begins the path, the rest of the path); None if there is none.

    >>> split_path(["a", "a.b"], "a.b.c")
    ('a.b', 'c')
    """
    if path in names:
        return path, ""
    end = path.rfind(".")
    while end > 0:
        if path[:end] in names:
            return path[:end], path[end + 1 :]
        end = path.rfind(".", 0, end)
    return None
