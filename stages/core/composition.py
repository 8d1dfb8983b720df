"""Edits of texts, and edits of what the first ones made of them, as one set of edits of the texts.

Guarantees: applying the composition gives the bytes that applying both in turn gives (kernels/text/compositions.py).
Memory: the edits of both sets.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from stages.core.edits import Edits
from stages.kernels.text.compositions import compose

I64 = npt.NDArray[np.int64]


def compose_edits(first: Edits, second: Edits) -> Edits:
    """Return one set for two merged ones, `second` of the texts that `first` made."""
    if not len(first) or not len(second):
        return first if len(first) else second
    alone = ~np.isin(second.row, first.row)
    before, after = _by_row(first), _by_row(second.take(~alone))
    parts, rows = [second.take(alone)], list[list[tuple[int, int, int, int, int, bytes]]]()
    for at, edits in before.items():
        rows.append([(at, *edit) for edit in _composed(edits, after.get(at, []))])
    flat = [edit for row in rows for edit in row]
    numbers = np.array([edit[:5] for edit in flat], np.int64).reshape(-1, 5)
    text = pa.array([edit[5] for edit in flat], pa.large_binary()).view(pa.large_string())
    place, start, stop, left, right = numbers.T
    parts.append(Edits(place, start, stop, left, right, text))
    every = [
        np.concatenate([getattr(part, name) for part in parts]) for name in ("row", "start", "stop", "left", "right")
    ]
    order = np.lexsort([every[1], every[0]])
    row, start, stop, left, right = every
    return Edits(row, start, stop, left, right, pa.concat_arrays([part.text for part in parts])).take(order)


_Wide = tuple[int, int, int, int, bytes]  # start, stop, left, right, text


def _by_row(edits: Edits) -> dict[int, list[_Wide]]:
    found: dict[int, list[_Wide]] = {}
    texts = edits.text.view(pa.large_binary()).to_pylist()
    arrays = (a.tolist() for a in (edits.row, edits.start, edits.stop, edits.left, edits.right))
    for row, start, stop, left, right, text in zip(*arrays, texts, strict=True):
        found.setdefault(row, []).append((start, stop, left, right, text))
    return found


def _composed(first: list[_Wide], second: list[_Wide]) -> list[_Wide]:
    """Return the composition of one text's edits, with the white space around each as wide as it is known."""
    spans = compose([(e[0], e[1], e[4]) for e in first], [(e[0], e[1], e[4]) for e in second])
    around = [(e[2], e[3]) for e in first]
    around += _back(first, [(e[2], e[3]) for e in second])
    around.sort()
    found, k = list[_Wide](), 0
    for start, stop, text in spans:
        left, right = start, stop
        while k < len(around) and around[k][1] < start:
            k += 1
        for low, high in around[k:]:
            if low > stop:
                break
            if low <= start and high >= stop:
                left, right = min(left, low), max(right, high)
        found.append((start, stop, left, right, text))
    return found


def _back(first: list[_Wide], spans: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return spans of the edited text as the spans of the original that hold them."""
    starts = np.array([e[0] for e in first], np.int64)
    stops = np.array([e[1] for e in first], np.int64)
    sizes = np.array([len(e[4]) for e in first], np.int64)
    shift = np.concatenate([[0], np.cumsum(sizes - (stops - starts))])
    begins = starts + shift[:-1]

    def place(at: int, low: bool) -> int:
        k = int(np.searchsorted(begins, at, side="right" if low else "left"))  # edits that begin before
        if k and at < begins[k - 1] + sizes[k - 1] and (low or at > begins[k - 1]):
            return int(starts[k - 1] if low else stops[k - 1])
        return int(at - shift[k])

    return [(place(low, True), place(high, False)) for low, high in spans]
