"""Bytes that files take on disk."""

from __future__ import annotations

import os

from cluster import storage


def folder_bytes(folder: str) -> int:
    """Return the bytes of all files below a local folder; 0 for one elsewhere, which is not walked."""
    if not storage.is_local(folder):
        return 0
    return sum(os.path.getsize(os.path.join(place, name)) for place, _, names in os.walk(folder) for name in names)
