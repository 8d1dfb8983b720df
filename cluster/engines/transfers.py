"""Count of the documents that a thread has brought from its GPU to the host: what a step's timings show.

Guarantees: the count of a thread only grows, so that the difference of two is what was brought between them.
"""

from __future__ import annotations

import threading


class _Brought(threading.local):
    documents = 0


_here = _Brought()


def brought() -> int:
    """Return how many documents this thread has brought from the device to the host so far."""
    return _here.documents


def count_brought(documents: int) -> None:
    """Count documents that this thread brings from the device to the host.

    >>> before = brought()
    >>> count_brought(2)
    >>> brought() - before
    2
    """
    _here.documents += documents
