"""Two lists of edits of one text, one after the other, as one: edits of a text, and edits of what those made of it.

Guarantees: applying the composition to the text gives what applying both in turn gives; its spans are spans of that
text. Where an edit of the second list meets one of the first they become one, which keeps what the first wrote and the
second left. Time is linear in the edits.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import AnyStr

Edit = tuple[int, int, AnyStr]  # start, stop, what stands there instead


def compose(first: Sequence[Edit[AnyStr]], second: Sequence[Edit[AnyStr]]) -> list[Edit[AnyStr]]:
    """Return one list of edits for two; each is sorted and without overlaps, `second` refers to what `first` made.

    >>> compose([(1, 4, "-")], [(0, 2, "x")]), compose([(1, 4, "abc")], [(2, 3, "")])
    ([(0, 4, 'x')], [(1, 4, 'ac')])
    """
    found: list[Edit[AnyStr]] = []
    i = j = shift = 0  # shift: of a place after edit i of the first
    while i < len(first) or j < len(second):
        begin = first[i][0] + shift if i < len(first) else None
        if j == len(second) or (begin is not None and begin + len(first[i][2]) <= second[j][0]):
            found.append(first[i])
            shift += len(first[i][2]) - (first[i][1] - first[i][0])
            i += 1
        elif begin is None or second[j][1] <= begin:
            start, stop, text = second[j]
            found.append((start - shift, stop - shift, text))
            j += 1
        else:
            edit, i, j, shift = _meeting(first, second, i, j, shift)
            found.append(edit)
    return found


def _meeting(
    first: Sequence[Edit[AnyStr]], second: Sequence[Edit[AnyStr]], i: int, j: int, shift: int
) -> tuple[Edit[AnyStr], int, int, int]:
    """Return the one edit for those from i and j on that meet, and the i, j and shift after them."""
    begin, before, from_j = min(first[i][0] + shift, second[j][0]), shift, j
    made: list[tuple[int, AnyStr]] = []  # where the texts of the first lie
    reach = begin + 1
    while True:
        if i < len(first) and first[i][0] + shift < reach:
            start, stop, text = first[i]
            made.append((start + shift, text))
            reach = max(reach, start + shift + len(text))
            shift += len(text) - (stop - start)
            i += 1
        elif j < len(second) and second[j][0] < reach:
            reach = max(reach, second[j][1])
            j += 1
        else:
            break
    text = _written(made, second[from_j:j], reach)
    return (begin - before, reach - shift, text), i, j, shift


def _written(made: Sequence[tuple[int, AnyStr]], cuts: Sequence[Edit[AnyStr]], reach: int) -> AnyStr:
    """Return the texts of the first edits, with those of the second in them."""
    parts: list[AnyStr] = []
    at = k = 0
    nothing: AnyStr = cuts[0][2][:0]
    ends = list(cuts)
    ends.append((reach, reach, nothing))
    for start, stop, new in ends:
        while k < len(made) and made[k][0] < start:
            place, text = made[k]
            parts.append(text[max(0, at - place) : max(0, start - place)])
            if place + len(text) > start:
                break
            k += 1
        parts.append(new)
        at = stop
        while k < len(made) and made[k][0] + len(made[k][1]) <= at:
            k += 1
    return nothing.join(parts)
