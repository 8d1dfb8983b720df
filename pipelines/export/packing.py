"""Pack documents into windows: concatenated, best fit, or each by itself.

Guarantees: every token of every document is in exactly one window, in order within its document; the windows follow
from the documents' lengths, their order and the seed alone. Memory: 40 bytes a piece.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipelines.export.settings import Settings
from stages.kernels.hashes.hashing import mix64

I64 = npt.NDArray[np.int64]
WINDOW_SALT = 0x77696E646F77


@dataclass(frozen=True)
class Pieces:
    """Pieces of documents in the order in which they are written, arrays of shape (pieces,).

    document : place among the documents packed. start : first token in the document. length : tokens.
    window : number of the window, ascending. windows : how many there are.
    """

    document: I64
    start: I64
    length: I64
    window: I64
    windows: int


def pack(settings: Settings, sizes: I64, salt: int) -> Pieces:
    """Return documents of these sizes as pieces in windows. salt : tells packings apart that share a seed."""
    if settings.whole_documents or (settings.pack == "none" and not settings.fixed):
        return _whole(sizes)
    if settings.pack == "concat":
        found = _concatenated(sizes, settings.window)
    elif settings.pack == "best_fit":
        found = _best_fit(sizes, settings.window)
    else:
        found = _alone(sizes, settings.window)
    return _shuffled(found, settings.seed ^ WINDOW_SALT ^ (salt << 20))


def _whole(sizes: I64) -> Pieces:
    number = np.arange(len(sizes))
    return Pieces(number, np.zeros(len(sizes), np.int64), sizes, number, len(sizes))


def _concatenated(sizes: I64, window: int) -> Pieces:
    """Cut the stream of all documents at every window."""
    stops = np.cumsum(sizes)
    total = int(stops[-1]) if len(stops) else 0
    bounds = np.unique(np.concatenate([np.arange(0, total, window), stops[sizes > 0] - sizes[sizes > 0], [total]]))
    start, length = bounds[:-1], np.diff(bounds)
    document = np.searchsorted(stops, start, side="right")
    first = stops[document] - sizes[document]
    return Pieces(document, start - first, length, start // window, -(-total // window))


def _cut(sizes: I64, window: int) -> tuple[I64, I64, I64]:
    """Return (document, start, length) of pieces of at most one window."""
    count = -(-sizes // window)
    document = np.repeat(np.arange(len(sizes)), count)
    turn = np.arange(len(document)) - np.repeat(np.cumsum(count) - count, count)
    start = turn * window
    return document, start, np.minimum(window, sizes[document] - start)


def _alone(sizes: I64, window: int) -> Pieces:
    document, start, length = _cut(sizes, window)
    return Pieces(document, start, length, np.arange(len(document)), len(document))


def _best_fit(sizes: I64, window: int) -> Pieces:
    """Fit pieces, longest first, each into the fullest window that has room."""
    document, start, length = _cut(sizes, window)
    order = np.argsort(-length, kind="stable")
    home = np.empty(len(order), np.int64)
    spaces: list[int] = []  # spaces that some window has, ascending
    windows_with: dict[int, list[int]] = {}  # space -> windows
    count = int((length == window).sum())
    home[order[:count]] = np.arange(count)
    for piece, size in zip(order[count:].tolist(), length[order[count:]].tolist(), strict=True):
        at = bisect_left(spaces, size)
        if at == len(spaces):
            here, left = count, window - size
            count += 1
        else:
            space = spaces[at]
            here, left = windows_with[space].pop(), space - size
            if not windows_with[space]:
                del windows_with[space], spaces[at]
        if left:
            if left not in windows_with:
                insort(spaces, left)
                windows_with[left] = []
            windows_with[left].append(here)
        home[piece] = here
    by_window = np.argsort(home, kind="stable")  # within a window in the order of documents
    return Pieces(document[by_window], start[by_window], length[by_window], home[by_window], count)


def _shuffled(found: Pieces, seed: int) -> Pieces:
    """Return the windows in an order that the seed draws."""
    place = np.empty(found.windows, np.int64)
    place[np.argsort(mix64(np.arange(found.windows, dtype=np.uint64), seed & ((1 << 64) - 1)))] = np.arange(
        found.windows
    )
    window = place[found.window]
    order = np.argsort(window, kind="stable")
    return Pieces(found.document[order], found.start[order], found.length[order], window[order], found.windows)
