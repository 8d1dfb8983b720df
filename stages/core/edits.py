"""Edits of a text: byte spans of the original, each with its replacement.

Every stage's edits refer to the original text. Guarantees: overlapping edits are merged into one, from the first
start to the last stop, with the replacement of the longest (of equally long ones that of the earlier stage, then
the first); the edited text depends on the edits alone, not on their order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numba
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from stages.core.arrays import BoolArray, places_in
from stages.core.shard import check_ascending
from stages.kernels.hashes.hashing import buffers, read_only

I64 = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Edits:
    """Spans [start, stop) in bytes of the original text, arrays of shape (edits,), sorted by row, then start.

    row: bundle row, or place in the requested rows. left, right: the span with the white space around it, up to the
    next visible character. text: large_string, the replacement; "" cuts.
    """

    row: I64
    start: I64
    stop: I64
    left: I64
    right: I64
    text: pa.Array

    def __len__(self) -> int:
        return len(self.row)

    def take(self, at: npt.NDArray[np.integer] | BoolArray) -> Edits:
        """Return a subset of the edits, by position or by mask."""
        places = np.flatnonzero(at) if at.dtype == np.bool_ else at
        row, start, stop, left, right = (a[places] for a in (self.row, self.start, self.stop, self.left, self.right))
        return Edits(row, start, stop, left, right, self.text.take(pa.array(places)))

    def among(self, rows: I64) -> Edits:
        """Return the edits of these rows, renumbered by place in `rows`. Raises LedgerError unless `rows` ascend."""
        check_ascending(rows, "rows whose edits are wanted")
        place = places_in(rows, self.row)
        hit = place >= 0
        found = self.take(hit)
        return Edits(place[hit], found.start, found.stop, found.left, found.right, found.text)

    def numbered(self, rows: I64) -> Edits:
        """Return the edits with `rows[row]` as their rows."""
        return Edits(rows[self.row], self.start, self.stop, self.left, self.right, self.text)


def none() -> Edits:
    """Return an empty set of edits."""
    nothing = np.empty(0, np.int64)
    return Edits(nothing, nothing, nothing, nothing, nothing, pa.array([], pa.large_string()))


def from_spans(column: pa.Array | pa.ChunkedArray, text: pa.Array | None = None) -> Edits:
    """Return the edits in a column of type list<struct<start, stop[, left, right], …>>, one list per row.

    text : the replacements, one per span of all lists; cuts if None.
    """
    lists = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    if isinstance(lists, pa.ChunkedArray):
        lists = pa.concat_arrays(lists.chunks) if lists.num_chunks else pa.array([], column.type)
    row = pc.list_parent_indices(lists).to_numpy(zero_copy_only=False).astype(np.int64)
    spans = pc.list_flatten(lists)
    names = {spans.type.field(i).name for i in range(spans.type.num_fields)}

    def numbers(name: str) -> I64:
        return np.asarray(pc.struct_field(spans, name).to_numpy(zero_copy_only=False), np.int64)

    start, stop = numbers("start"), numbers("stop")
    around = (numbers("left"), numbers("right")) if {"left", "right"} <= names else (start, stop)
    if text is None:
        text = pa.array([""], pa.large_string()).take(pa.array(np.zeros(len(row), np.int64)))
    return Edits(row, start, stop, *around, text.cast(pa.large_string()))


def merge(edits: Sequence[Edits]) -> Edits:
    """Merge the edits of several stages, given in recipe order, into one set without overlaps."""
    edits = [e for e in edits if len(e)]
    if not edits:
        return none()
    stage = np.repeat(np.arange(len(edits)), [len(e) for e in edits])
    row, start, stop, left, right = (
        np.concatenate([getattr(e, field) for e in edits]) for field in ("row", "start", "stop", "left", "right")
    )
    every = Edits(row, start, stop, left, right, pa.concat_arrays([e.text for e in edits]))
    order = np.argsort((row << 32) + start, kind="stable")  # of runs that ascend, so they are only merged
    order = order[(stop > start)[order]]
    if len(order) < len(row) or (np.diff(order) < 0).any():
        every, stage = every.take(order), stage[order]
    if not len(every):
        return none()
    group = _groups(every)
    first = np.flatnonzero(np.diff(group, prepend=-1))
    if len(first) == len(every):
        return every
    return Edits(
        every.row[first],
        every.start[first],
        np.maximum.reduceat(every.stop, first),
        np.minimum.reduceat(every.left, first),
        np.maximum.reduceat(every.right, first),
        every.text.take(pa.array(_winners(every, stage, group, first))),
    )


def _winners(edits: Edits, stage: npt.NDArray[np.integer], group: I64, first: I64) -> I64:
    """Return the longest edit of each group, (groups,); of equally long ones that of the first stage, then the first.

    Most groups are one edit.
    """
    found = first.copy()
    several = np.flatnonzero(np.diff(first, append=len(edits)) > 1)
    among = np.flatnonzero(np.isin(group, several))
    start, stop = edits.start[among], edits.stop[among]
    order = np.lexsort([start, stage[among], start - stop, group[among]])
    found[several] = among[order[np.flatnonzero(np.diff(group[among], prepend=-1))]]  # as long in any order
    return found


def _groups(edits: Edits) -> I64:
    """Return the overlap group of each edit, (edits,) int64; edits are sorted by row, then start."""
    reach = np.maximum.accumulate((edits.row << 32) + edits.stop)
    apart = np.ones(len(edits), np.bool_)
    apart[1:] = (edits.row[1:] << 32) + edits.start[1:] >= reach[:-1]
    return np.cumsum(apart) - 1


def sizes(edits: Edits, num_bytes: I64) -> I64:
    """Return the size of every text after merged edits in bytes, (rows,); `num_bytes` is indexed by row."""
    new = pc.binary_length(edits.text).to_numpy(zero_copy_only=False).astype(np.int64)
    change = np.zeros(len(num_bytes), np.int64)
    np.add.at(change, edits.row, new - (edits.stop - edits.start))
    return num_bytes + change


def nothing_left(edits: Edits, num_bytes: I64) -> I64:
    """Return the rows whose merged edits leave only white space, ascending."""
    if not len(edits):
        return np.empty(0, np.int64)
    bare = pc.utf8_trim_whitespace(edits.text)
    cut = pc.equal(pc.binary_length(bare), 0).to_numpy(zero_copy_only=False).astype(np.bool_)
    first = np.flatnonzero(np.diff(edits.row, prepend=-1))
    row = edits.row[first]
    before = np.zeros(len(edits), np.int64)
    before[1:] = edits.right[:-1]
    before[first] = 0
    whole = cut & (edits.left <= before)
    last = np.append(first[1:], len(edits)) - 1
    found: I64 = row[np.logical_and.reduceat(whole, first) & (edits.right[last] >= num_bytes[row])]
    return found


def apply(texts: pa.Array, edits: Edits) -> pa.Array:
    """Apply merged edits to texts; return large_string. `row` is the place in `texts`."""
    if not len(edits):
        return texts
    data, offsets = buffers(texts)
    new, new_offsets = buffers(edits.text)
    after = sizes(edits, np.diff(offsets))
    places = np.zeros(len(after) + 1, np.int64)
    np.cumsum(after, out=places[1:])
    out = np.empty(int(places[-1]), np.uint8)
    arguments = (offsets, edits.row, edits.start, edits.stop, new_offsets)
    _apply(read_only(data, np.uint8), read_only(new, np.uint8), *(read_only(a, np.int64) for a in arguments), out)
    return pa.LargeStringArray.from_buffers(len(after), pa.py_buffer(places), pa.py_buffer(out))


@numba.njit(cache=True, nogil=True)
def _apply(data, new, offsets, row, start, stop, new_offsets, out):  # type: ignore[no-untyped-def]
    """Fill `out` with the bytes of the edited texts."""
    at = e = 0
    for d in range(len(offsets) - 1):
        begin = offsets[d]
        place = begin
        while e < len(row) and row[e] == d:
            for i in range(place, begin + start[e]):
                out[at] = data[i]
                at += 1
            for i in range(new_offsets[e], new_offsets[e + 1]):
                out[at] = new[i]
                at += 1
            place = begin + stop[e]
            e += 1
        for i in range(place, offsets[d + 1]):
            out[at] = data[i]
            at += 1
