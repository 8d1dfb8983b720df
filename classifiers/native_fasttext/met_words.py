"""Words that a model met before and their features, and the tokens of a text, a block at a time; compiled by numba.

Guarantees: the tokens are fastText's; a word is met only where all its bytes are equal. Memory: 96 bytes for each of
SLOTS words. Where two words fall on one place, the later one is remembered.
"""

# numba has no types for mypy and knows no difference between Python's and numpy's numbers:
# mypy: disable-error-code="no-any-return, arg-type, return-value, assignment"

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from llvmlite import ir
from numba.core import cgutils, types
from numba.core.extending import intrinsic

from classifiers.native_fasttext.subwords import (
    BASIS,
    CHUNK,
    I32,
    PRIME,
    U8,
    U64,
    inlined,
    load64,
    njit,
    sign_extended,
    trailing_zeros,
)

BLOCK = 256  # tokens
SLOTS = 65536  # words that are remembered, at most
WIDTH = 4  # numbers of eight bytes for each: its hash and length, its bytes
LONGEST = 8 * (WIDTH - 1)  # bytes of a word that is remembered
KEPT = 15  # features of a word that is remembered, at most
COPIED = 8  # of these are copied without a look at how many there are
TOO_MANY = -1  # features, or the word is none: a label, the end of a line
MET, APART = -1, -2  # places of a word whose features are remembered, and of one that stands alone

_ONES, _HIGH = np.uint64(0x0101010101010101), np.uint64(0x8080808080808080)
_SPREAD = np.array([0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9], np.uint64)


class Met(NamedTuple):
    """Words that were met, by a hash of their bytes, and the tokens of one block."""

    keys: U64  # (slots, WIDTH): hash and length, bytes; length 0: none
    rows: I32  # (slots, KEPT + 1): the number of features or TOO_MANY, and these
    hashes: I32  # of the block's tokens
    spans: I32  # where they lie, after the text's begin
    places: I32  # where they begin in `marked`, or MET, or APART
    slots: I32  # where they are remembered, -1 of those longer than LONGEST
    marked: U8  # those in ASCII that were not met, each as `<word>`


def make_met(maxn: int) -> Met:
    """Return room for words of a model with character n-grams of up to `maxn` characters; hardly any without."""
    slots = SLOTS if maxn > 0 else 1
    return Met(
        np.zeros((slots, WIDTH), np.uint64),
        np.empty((slots, KEPT + 1), np.int32),
        np.empty(BLOCK, np.int32),
        np.empty(2 * BLOCK, np.int32),
        np.empty(BLOCK, np.int32),
        np.empty(BLOCK, np.int32),
        np.zeros(CHUNK + 8 + max(0, maxn), np.uint8),
    )


@intrinsic  # type: ignore[untyped-decorator]
def prefetch(typing: Any, rows: Any, row: Any) -> Any:
    """Ask for the cache line where `rows[row]` begins; changes no result."""

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        array = context.make_array(signature.args[0])(context, builder, arguments[0])
        place = builder.gep(array.data, [builder.mul(arguments[1], builder.extract_value(array.shape, 1))])
        number, pointer = ir.IntType(32), ir.IntType(8).as_pointer()
        kind = ir.FunctionType(ir.VoidType(), [pointer, number, number, number])
        function = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
        builder.call(function, [builder.bitcast(place, pointer), *(ir.Constant(number, x) for x in (0, 3, 1))])
        return context.get_dummy_value()

    return types.void(rows, types.int64), build


@intrinsic  # type: ignore[untyped-decorator]
def copy_lanes(typing: Any, rows: Any, row: Any, ids: Any, n: Any) -> Any:
    """Copy rows[row, 1 : 1 + COPIED] to ids[n : n + COPIED] in one step."""

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        matrix, target = (context.make_array(signature.args[k])(context, builder, arguments[k]) for k in (0, 2))
        lanes = ir.VectorType(ir.IntType(32), COPIED).as_pointer()
        place = builder.add(
            builder.mul(arguments[1], builder.extract_value(matrix.shape, 1)), ir.Constant(ir.IntType(64), 1)
        )
        found = builder.load(builder.bitcast(builder.gep(matrix.data, [place]), lanes), align=4)
        builder.store(found, builder.bitcast(builder.gep(target.data, [arguments[3]]), lanes), align=4)
        return context.get_dummy_value()

    return types.void(rows, types.int64, ids, types.int64), build


@inlined
def separates(byte: np.uint8) -> bool:
    """Tell whether fastText ends a word here; a newline counts as a space."""
    return bool(byte <= 32 and (byte == 32 or byte == 0 or 9 <= byte <= 13))


@inlined
def packed(data: U8, start: int, stop: int) -> np.uint64:
    """Return the first eight bytes as a number; words hold no zero byte, so shorter ones are told apart."""
    if start + 8 <= len(data):
        found = load64(data, start)
        return found if stop - start >= 8 else found & ((np.uint64(1) << np.uint64(8 * (stop - start))) - np.uint64(1))
    found = np.uint64(0)
    for i in range(start, min(stop, start + 8)):
        found |= np.uint64(data[i]) << np.uint64(8 * (i - start))
    return found


@inlined
def word_end(data: U8, at: int, stop: int) -> int:
    """Return where the word at `at` ends, at `stop` at the latest; eight bytes are looked at at once."""
    while at + 8 <= len(data) and at < stop:
        x = load64(data, at)
        low = (x - _ONES * np.uint64(33)) & ~x & _HIGH  # its lowest mark is the first byte below 33
        if low == 0:
            at += 8
            continue
        at += trailing_zeros(low) >> 3
        if at >= stop or separates(data[at]):
            return min(at, stop)
        at += 1
    while at < stop and not separates(data[at]):
        at += 1
    return min(at, stop)


@inlined
def fnv(data: U8, start: int, stop: int) -> np.uint32:
    """Return the hash of a word."""
    h = BASIS
    for i in range(start, stop):
        h = np.uint32(np.uint32(h ^ sign_extended(data[i])) * PRIME)
    return h


@inlined
def write_marked(data: U8, first: int, last: int, marked: U8, size: int) -> tuple[np.uint32, bool]:
    """Write a token as `<token>`; return its hash and whether it is ASCII."""
    h, union = BASIS, np.uint8(0)
    marked[size] = 60
    for i in range(first, last):
        byte = data[i]
        h = np.uint32(np.uint32(h ^ sign_extended(byte)) * PRIME)
        union |= byte
        marked[size + 1 + i - first] = byte
    marked[size + 1 + last - first] = 62
    return h, union < 0x80


@njit
def read_block(met: Met, data: U8, begin: int, at: int, stop: int) -> tuple[int, int, int]:
    """Read tokens until BLOCK is full; return their number, the bytes of `marked`, and where the block ends.

    Tokens that were not met are entered, so whoever goes through them in this order has their features to remember
    before they are met again.
    """
    keys, rows, hashes, spans, places, slots, marked = met
    tokens, size, mask = 0, 0, len(keys) - 1
    while tokens < BLOCK:
        while at < stop and separates(data[at]):
            at += 1
        if at >= stop:
            break
        first, last = at, word_end(data, at, stop)
        length, slot, place, h, met_before = last - first, -1, APART, np.uint32(0), False
        if length <= LONGEST:
            one = packed(data, first, last)
            two = packed(data, first + 8, last) if length > 8 else np.uint64(0)
            three = packed(data, first + 16, last) if length > 16 else np.uint64(0)
            x = (one ^ (one >> np.uint64(29))) * _SPREAD[0] + two * _SPREAD[1] + three * _SPREAD[2]
            slot = np.int64((x ^ (x >> np.uint64(15))) >> np.uint64(32)) & mask
            key = keys[slot, 0]
            same = keys[slot, 1] == one and keys[slot, 2] == two and keys[slot, 3] == three
            met_before = same and (key & np.uint64(0xFF)) == np.uint64(length)
        if met_before:
            h, place = np.uint32(key >> np.uint64(32)), MET
            prefetch(rows, slot)
        elif length + 2 <= CHUNK:
            if size + length + 2 > CHUNK:
                break
            h, plain = write_marked(data, first, last, marked, size)
            if plain:
                place, size = size, size + length + 2
            if slot >= 0:
                keys[slot, 0] = np.uint64(h) << np.uint64(32) | np.uint64(length)
                keys[slot, 1], keys[slot, 2], keys[slot, 3] = one, two, three
        else:
            h = fnv(data, first, last)
        spans[2 * tokens], spans[2 * tokens + 1] = first - begin, last - begin
        hashes[tokens], places[tokens], slots[tokens] = np.int32(h), place, slot
        tokens, at = tokens + 1, last
    return tokens, size, at


@inlined
def copy_met(rows: I32, slot: int, ids: I32, n: int) -> int:
    """Append the features of a word that was met; return their new number."""
    copy_lanes(rows, slot, ids, n)
    if rows[slot, 0] > COPIED:
        for k in range(COPIED, rows[slot, 0]):
            ids[n + k] = rows[slot, k + 1]
    return n + rows[slot, 0]


@inlined
def remember(rows: I32, slot: int, ids: I32, before: int, n: int) -> None:
    """Remember the features of a word, if they are not too many."""
    rows[slot, 0] = n - before if n - before <= KEPT else TOO_MANY
    for k in range(before, min(n, before + KEPT)):
        rows[slot, 1 + k - before] = ids[k]


@inlined
def forget(keys: U64, slots: I32, first: int, tokens: int) -> None:
    """Take out the tokens of a block whose features nobody will remember."""
    for i in range(first, tokens):
        if slots[i] >= 0:
            keys[slots[i], 0] = np.uint64(0)
