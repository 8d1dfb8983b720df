"""The total order of documents, the tie-break of every choice of survivors, as a few uint64 words per document.

Comparing words from left to right is the order: priority, then the recipe's criteria, then content
hash, native id, url, path within the dataset, row. The words depend on nothing else: not on the
order of arrival, the partitioning or the clock. Smaller is better.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from cluster.errors import RecipeError

Words = npt.NDArray[np.uint64]  # (docs, words), compared from left to right
U32 = npt.NDArray[np.uint32]
U64 = npt.NDArray[np.uint64]
I64 = npt.NDArray[np.int64]
F64 = npt.NDArray[np.float64]
Strings: TypeAlias = Sequence[str | None] | pa.Array | pa.ChunkedArray

MAX_PRIORITY = (1 << 16) - 1
_SIGN = np.uint64(1 << 63)
_WORST = np.uint64((1 << 64) - 1)


def order_words(priority: int, criteria: Sequence[F64], h1: U64, h2: U64, tie: U32) -> Words:
    """Return sort keys of documents of one priority, comparable with those of all others.

    Parameters
    ----------
    priority : position of the dataset in the recipe's priority, 0 is best, at most 65,535.
    criteria : one array (docs,) per criterion of the recipe, smaller is better, NaN is worst.
        Every bundle of a run must bring the same number of criteria.
    h1, h2 : (docs,) the two content hashes; all of `h1` and the upper 16 bits of `h2` take part.
    tie : (docs,) rank among documents of identical content, from `tie_ranks`.

    Returns
    -------
    (docs, 2) uint64 without criteria, (docs, 3 + len(criteria)) with them.

    Examples
    --------
    >>> zero = np.zeros(2, np.uint64)
    >>> words = order_words(1, [], zero, zero, np.array([1, 0], np.uint32))
    >>> sort_order(words).tolist()
    [1, 0]
    """
    if not 0 <= priority <= MAX_PRIORITY:
        raise RecipeError(
            f"priority must be in [0, {MAX_PRIORITY}], got {priority}. List fewer datasets under priority."
        )
    leading = [np.full(len(h1), priority, np.uint64), *map(monotone_word, criteria)] if criteria else []
    first, second = _content_words(0 if criteria else priority, h1, h2, tie)
    return np.column_stack([*leading, first, second])


def _content_words(priority: int, h1: U64, h2: U64, tie: U32) -> tuple[U64, U64]:
    h1, h2 = h1.astype(np.uint64, copy=False), h2.astype(np.uint64, copy=False)
    first: U64 = np.uint64(priority << 48) | (h1 >> np.uint64(16))
    second: U64 = ((h1 & np.uint64(0xFFFF)) << np.uint64(48)) | ((h2 >> np.uint64(48)) << np.uint64(32))
    second |= tie.astype(np.uint64)
    return first, second


def monotone_word(values: F64) -> U64:
    """Map float64 to uint64 so that the integers sort as the floats do, NaN last, -0.0 equal to 0.0.

    IEEE 754 magnitudes sort as integers: flipping the sign bit of positive numbers and every bit of
    negative ones joins the two halves.
    """
    values = np.asarray(values, np.float64)
    bits = (values + 0.0).view(np.uint64)
    words = np.where(bits & _SIGN, ~bits, bits | _SIGN)
    return np.where(np.isnan(values), _WORST, words)


def sort_order(words: Words) -> I64:
    """Return the positions that put `words` (docs, words) into ascending order, (docs,) int64.

    Equal rows keep the order they came in. Only rows whose first word is not unique are compared
    further, which costs nothing where the first word already holds a content hash.
    """
    order = np.argsort(words[:, 0]).astype(np.int64, copy=False)
    first = words[order, 0]
    tied = _in_runs(first[1:] == first[:-1], len(order))
    rows = order[tied]
    keys = [rows, *(words[rows, i] for i in reversed(range(words.shape[1])))]
    order[tied] = rows[np.lexsort(keys)]
    return order


def _in_runs(equals_next: npt.NDArray[np.bool_], n: int) -> npt.NDArray[np.bool_]:
    """Mark the n elements of a sorted array that equal a neighbour, given which equal the next one."""
    marked = np.zeros(n, np.bool_)
    marked[:-1] = equals_next
    marked[1:] |= equals_next
    return marked


def tie_ranks(h1: U64, h2: U64, id: Strings, url: Strings, within: Strings, row: I64) -> U32:
    """Rank documents of identical content by native id, url, path within the dataset, row.

    Parameters
    ----------
    h1, h2 : (docs,) content hashes, as far as the order looks at them; documents that agree in both form a group.
    id, url, within : (docs,) strings compared as UTF-8 bytes, null last.
    row : (docs,) physical row in the shard; (dataset, within, row) names a document.

    Returns
    -------
    (docs,) uint32: 0, 1, 2 … inside each group, 0 where the content is unique. Strings are looked
    at only in groups of two or more. Documents that agree in every key share a rank.

    Examples
    --------
    >>> h = np.array([7, 7, 9], np.uint64)
    >>> tie_ranks(h, h, ["b", "a", None], [None] * 3, ["x", "x", "x"], np.arange(3)).tolist()
    [1, 0, 0]
    """
    ranks = np.zeros(len(h1), np.uint32)
    order = sort_order(np.column_stack([h1, h2]))
    same = (h1[order][1:] == h1[order][:-1]) & (h2[order][1:] == h2[order][:-1])
    crowded = _in_runs(same, len(order))
    rows = order[crowded]
    if len(rows) == 0:
        return ranks
    group = np.cumsum(np.r_[True, ~same])[crowded]
    keys = [_strings(values).take(pa.array(rows)) for values in (id, url, within)]
    table = pa.table([pa.array(group), *keys, pa.array(np.asarray(row, np.int64)[rows])], names=[*"giuwr"])
    by_keys = pc.sort_indices(table, sort_keys=[(name, "ascending") for name in "giuwr"])
    ranks[rows[by_keys.to_numpy()]] = _rank_in_groups(table.take(by_keys))
    return ranks


def _strings(values: Strings) -> pa.Array:
    if isinstance(values, pa.ChunkedArray):
        values = values.combine_chunks()
    array = values if isinstance(values, pa.Array) else pa.array(values, pa.large_string())
    return array.cast(pa.large_string())


def _rank_in_groups(table: pa.Table) -> U32:
    """Return the rank of each row in its group (column "g") of a sorted table, (rows,)."""
    group = table.column("g").to_numpy()
    starts = np.r_[True, group[1:] != group[:-1]]
    fresh = starts.copy()
    for name in "iuwr":
        column = table.column(name).combine_chunks()
        now, before = column.slice(1), column.slice(0, len(column) - 1)
        null_now, null_before = pc.is_null(now), pc.is_null(before)
        differs = pc.fill_null(pc.not_equal(now, before), False)
        fresh[1:] |= pc.or_(differs, pc.xor(null_now, null_before)).to_numpy(zero_copy_only=False)
    count = np.cumsum(fresh)
    opening = count[np.flatnonzero(starts)]
    ranks: U32 = (count - opening[np.cumsum(starts) - 1]).astype(np.uint32)
    return ranks
