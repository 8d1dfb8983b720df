"""Which texts may hold something to repair, in one pass over their bytes, so that the others need not be looked at.

Guarantees: a text that is not marked has no edit of `stages.kernels.text.repairs` of the kinds asked for. Mojibake
needs two characters in a row that ftfy's pattern of bad characters has in a row; they are read from that pattern, and
where it is of a form not known here, every text beyond ASCII is marked. Memory: tables of 23 MB, mostly untouched.
"""

from __future__ import annotations

import functools
import importlib
import itertools
import sys
from collections.abc import Iterable, Sequence
from typing import Any

import numba
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from stages.kernels.dispatch.dispatch import by_backend
from stages.kernels.dispatch.resident import Resident
from stages.kernels.hashes.hashing import I64, buffers, read_only
from stages.kernels.text.fold import code_point
from stages.kernels.text.repairs import CONTROL, KINDS, LINE_END, joining

BoolArray = npt.NDArray[np.bool_]
U8 = npt.NDArray[np.uint8]
U64 = npt.NDArray[np.uint64]

_MOJIBAKE, _ENTITY, _CONTROL, _LINE_END, _NFC = (1 << place for place in range(len(KINDS)))  # as in KINDS
_POINTS = 0x10000  # of ftfy's pattern, whose characters are all of the first plane
_COMMON = 1000  # how much oftener a character of ASCII is met than another
_PLAIN = np.array([(0x20 <= code < 0x7F and code != 38) or code in (9, 10, 12) for code in range(256)], np.bool_)


@functools.cache
def tables() -> tuple[U8, U64, U64]:
    """Return by code point (kinds of repair it may need, first of these pairs, second of these pairs)."""
    alone = np.zeros(sys.maxunicode + 1, np.uint8)
    left, right = np.zeros(len(alone), np.uint64), np.zeros(len(alone), np.uint64)
    for pattern, bit in ((CONTROL, _CONTROL), (LINE_END, _LINE_END)):
        alone[[code for code in (*range(0x3000), *range(0xFE00, 0x10000)) if pattern.fullmatch(chr(code))]] |= bit
    alone[sorted(joining())] |= _NFC
    try:
        pairs = _bad_pairs()
    except (ImportError, AttributeError, LookupError, TypeError, ValueError):
        alone[0x80:] |= _MOJIBAKE
        return alone, left, right
    for place, (one, other) in enumerate(pairs):
        if other is None:
            alone[:_POINTS][one] |= _MOJIBAKE
        else:
            left[:_POINTS][one] |= np.uint64(1 << place)
            right[:_POINTS][other] |= np.uint64(1 << place)
    return alone, left, right


def _bad_pairs() -> list[tuple[BoolArray, BoolArray | None]]:
    """Return two sets of characters in a row, or one set, of every alternative of ftfy's pattern.

    Raises
    ------
    ValueError
        the pattern is no list of alternatives of which each has such a pair.
    """
    from ftfy import badness

    pattern = badness.BADNESS_RE
    ((kind, found),) = importlib.import_module("re._parser").parse(pattern.pattern, pattern.flags)
    if str(kind) != "BRANCH" or len(found[1]) > 64:
        raise ValueError(str(kind))
    return [_pair(list(items)) for items in found[1]]


def _pair(items: Sequence[Any]) -> tuple[BoolArray, BoolArray | None]:
    """Return the rarest two neighbouring sets of an alternative, one where that is all, or the other is anything."""
    sets = [_members(item) for item in items if str(item[0]) != "AT"]
    pairs = [(a, b) for a, b in itertools.pairwise(sets) if a is not None and b is not None]
    one, other = min(pairs, key=lambda pair: _often(pair[0]) * _often(pair[1]), default=(sets[0], None))
    if one is None or (one[:128].any() and (other is None or other[:128].any())):
        raise ValueError("ASCII")
    if other is None or other.mean() > 0.5:
        return one, None
    return one, other


def _often(members: BoolArray) -> float:
    return float(_COMMON * members[:128].sum() + members[128:].sum())


def _members(item: Any) -> BoolArray | None:
    """Return the characters that an item of a parsed pattern may be, (65536,) bool; None: it is no single one."""
    kind, found = str(item[0]), np.zeros(_POINTS, np.bool_)
    if kind == "LITERAL":
        found[item[1]] = True
    elif kind == "IN":
        names = [str(name) for name, _ in item[1]]
        for name, value in item[1]:
            if str(name) == "CATEGORY":
                return np.ones(_POINTS, np.bool_)
            if str(name) == "RANGE":
                found[value[0] : value[1] + 1] = True
            elif str(name) == "LITERAL":
                found[value] = True
        return ~found if "NEGATE" in names else found
    elif kind in ("ANY", "NOT_LITERAL"):
        found[:] = True
    else:
        return None
    return found


@numba.njit(cache=True, nogil=True)
def _is_entity(data, i, high):  # type: ignore[no-untyped-def]
    """Tell whether signs, letters or digits stand behind the & at i, and a semicolon behind them."""
    first = i = i + 1
    while i < high and (48 <= data[i] <= 57 or 97 <= data[i] | 32 <= 122 or data[i] == 35):
        i += 1
    return first < i < high and data[i] == 59


@numba.njit(cache=True, nogil=True)
def _mark(data, offsets, alone, left, right, wanted, found):  # type: ignore[no-untyped-def]
    for d in range(len(offsets) - 1):
        i, high = offsets[d], offsets[d + 1]
        first = np.uint64(0)  # pairs that the character before begins, where that is not ASCII
        while i < high:
            if _PLAIN[data[i]]:
                i += 1
                continue
            if data[i] == 38:
                if wanted & _ENTITY and _is_entity(data, i, high):
                    found[d] = True
                    break
                i += 1
                continue
            point, size = code_point(data, i)
            kinds = alone[point]
            if size > 1:
                if i > offsets[d]:
                    before = data[i - 1]
                    if before < 0x80:
                        first = left[before]
                if first & right[point]:
                    kinds |= _MOJIBAKE
                first = left[point]
                if i + size < high and data[i + size] < 0x80 and first & right[data[i + size]]:
                    kinds |= _MOJIBAKE
            if kinds & wanted:
                found[d] = True
                break
            i += size


def may_need_repair(texts: pa.Array | Resident, kinds: Iterable[str]) -> BoolArray:
    """Mark the large_string texts without nulls that may hold something of these kinds to repair, (texts,) bool.

    >>> may_need_repair(pa.array(["caf\u00e9 & \u201cbar\u201d", "AT&amp;T", "\u00c3\u00a9"]), KINDS).tolist()
    [False, True, True]
    """
    return repair_marks(*buffers(texts), sum(1 << place for place, kind in enumerate(KINDS) if kind in set(kinds)))


@by_backend
def repair_marks(data: U8, offsets: I64, wanted: int) -> BoolArray:
    """Mark the documents that may hold something to repair, (docs,) bool; wanted: bits of kinds, in their order."""
    found = np.zeros(len(offsets) - 1, np.bool_)
    _mark(read_only(data, np.uint8), read_only(offsets, np.int64), *tables(), wanted, found)
    return found
