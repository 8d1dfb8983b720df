"""The character n-grams of words as fastText hashes them into buckets; compiled by numba.

Guarantees: the rows that fastText's `Dictionary::computeSubwords` names, in its order. N-grams of ASCII words are
hashed side by side for many places of a text; the few of them that a pruned model has rows for are found by a bit each.
"""

# numba has no types for mypy and knows no difference between Python's and numpy's numbers:
# mypy: disable-error-code="no-any-return, arg-type, return-value, assignment"

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar, cast

import numba
import numpy as np
import numpy.typing as npt
from llvmlite import ir
from numba.core import types
from numba.core.extending import intrinsic

F = TypeVar("F", bound=Callable[..., Any])
U8 = npt.NDArray[np.uint8]
U32 = npt.NDArray[np.uint32]
U64 = npt.NDArray[np.uint64]
I32 = npt.NDArray[np.int32]
I64 = npt.NDArray[np.int64]
F32 = npt.NDArray[np.float32]

njit = cast(Callable[[F], F], numba.njit(cache=True, nogil=True, error_model="numpy"))
# Called per word: passing a dozen arrays to a function costs more than what it does.
inlined = cast(Callable[[F], F], numba.njit(cache=True, nogil=True, error_model="numpy", forceinline=True))

BASIS = np.uint32(2166136261)  # 32-bit FNV-1a
PRIME = np.uint32(16777619)
CHUNK = 2048  # bytes of a text whose n-grams are hashed at a time
_FIRST = np.array([(1 << 8 * n) - 1 for n in range(9)], np.uint64)  # masks of the first n bytes


class Sizes(NamedTuple):
    """The numbers of a model."""

    minn: int
    maxn: int
    bucket: int
    reciprocal: np.uint64  # 2**64 // bucket
    factor: np.uint64  # 2**shift // bucket, below 2**32: the same for hashes of 32 bits
    shift: np.uint64
    word_ngrams: int
    words: int  # entries before this one are words, the others labels
    present_mask: int  # 0 where `present` is one word for all buckets, else -1
    pruned: bool  # some buckets have a row: see `row_of`


@inlined
def sign_extended(byte: int) -> np.uint32:
    """fastText hashes signed characters: bytes from 0x80 fill the upper 24 bits."""
    return np.uint32(byte | 0xFFFFFF00) if byte >= 0x80 else np.uint32(byte)


@intrinsic  # type: ignore[untyped-decorator]
def load64(typing: Any, data: Any, index: Any) -> Any:
    """Read eight bytes at any position as a little-endian number; the caller keeps inside the array."""

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        array = context.make_array(signature.args[0])(context, builder, arguments[0])
        place = builder.gep(array.data, [arguments[1]])
        return builder.load(builder.bitcast(place, context.get_value_type(types.uint64).as_pointer()), align=1)

    return types.uint64(data, types.int64), build


@intrinsic  # type: ignore[untyped-decorator]
def high_product(typing: Any, x: Any, y: Any) -> Any:
    """Return the upper 64 bits of the product of two uint64."""

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        wide = ir.IntType(128)
        product = builder.mul(builder.zext(arguments[0], wide), builder.zext(arguments[1], wide))
        return builder.trunc(builder.lshr(product, ir.Constant(wide, 64)), ir.IntType(64))

    return types.uint64(types.uint64, types.uint64), build


@inlined
def bucket_of(z: Sizes, h: np.uint64) -> np.int64:
    """Return `h % bucket` without a division: the quotient by reciprocal is right or one too low."""
    bucket = np.uint64(z.bucket)
    rest = h - high_product(h, z.reciprocal) * bucket
    return np.int64(min(rest, rest - bucket))  # below zero wraps around to a large number


@inlined
def bucket_kept(z: Sizes, present: U64, bucket: np.int64) -> np.int64:
    """Return 1 where the bucket has a row, else 0; without a branch, since no one can predict it."""
    word = present[(bucket >> 6) & z.present_mask]
    return np.int64((word >> np.uint64(bucket & 63)) & np.uint64(1))


@intrinsic  # type: ignore[untyped-decorator]
def ones(typing: Any, word: Any) -> Any:
    """Return how many bits of a uint64 are set."""

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.ctpop(arguments[0])

    return types.int64(types.uint64), build


@inlined
def to_rows(z: Sizes, present: U64, rank: I32, row_of: I32, ids: I32, start: int, stop: int) -> None:
    """Turn buckets into rows, in place; tables of a bit per bucket and a number per row stay in the cache."""
    for i in range(start, stop):
        bucket = np.int64(ids[i])
        if z.pruned:
            below = (np.uint64(1) << np.uint64(bucket & 63)) - np.uint64(1)
            bucket = np.int64(row_of[rank[bucket >> 6] + ones(present[bucket >> 6] & below)])
        ids[i] = z.words + bucket


@inlined
def push_subwords(z: Sizes, present: U64, rank: I32, row_of: I32, marked: U32, length: int, ids: I32, n: int) -> int:
    """Append the character n-grams of `<word>` to the features; return their new number."""
    first = n
    for i in range(length):
        if marked[i] & 0xC0 == 0x80:
            continue
        h, j, k = BASIS, i, 1
        while j < length and k <= z.maxn:
            h = np.uint32(np.uint32(h ^ marked[j]) * PRIME)
            j += 1
            while j < length and marked[j] & 0xC0 == 0x80:
                h = np.uint32(np.uint32(h ^ marked[j]) * PRIME)
                j += 1
            if k >= z.minn and not (k == 1 and (i == 0 or j == length)):
                bucket = bucket_of(z, np.uint64(h))
                ids[n] = bucket
                n += bucket_kept(z, present, bucket)
            k += 1
    to_rows(z, present, rank, row_of, ids, first, n)
    return n


@intrinsic  # type: ignore[untyped-decorator]
def trailing_zeros(typing: Any, word: Any) -> Any:
    """Return how many of the lowest bits of a uint64 are 0."""

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.cttz(arguments[0], ir.Constant(ir.IntType(1), 0))

    return types.int64(types.uint64), build


@njit
def plain_buckets(
    z: Sizes, present: U64, marked: U8, begin: int, count: int, state: U32, buckets: U32, kept: U8
) -> None:
    """Write the bucket of the ASCII n-gram of every length that begins at each of `count` places, as vectors.

    What runs over the end of a word means nothing. buckets : (lengths, CHUNK); state : (CHUNK,) hashes so far; kept :
    (CHUNK + 8,) a bit for every length whose bucket has a row.
    """
    bucket, factor, shift = np.uint32(z.bucket), np.uint64(z.factor), np.uint64(z.shift)
    mask, shortest = z.present_mask, max(z.minn, 1)
    state[:count] = BASIS
    kept[:count] = np.uint8(0)
    for k in range(z.maxn):
        source = marked[begin + k : begin + k + count]
        if k + 1 < shortest:
            for p in range(count):
                state[p] = np.uint32(np.uint32(state[p] ^ np.uint32(source[p])) * PRIME)
            continue
        row, place = buckets[k + 1 - shortest], np.uint64(k + 1 - shortest)
        for p in range(count):
            h = np.uint32(np.uint32(state[p] ^ np.uint32(source[p])) * PRIME)
            state[p] = h
            quotient = np.uint32((np.uint64(h) * factor) >> shift)  # right or one too low
            rest = np.uint32(h - np.uint32(quotient * bucket))
            row[p] = min(rest, np.uint32(rest - bucket))  # below zero wraps around to a large number
        for p in range(count):
            found = np.uint64(row[p])
            word = present[np.int64(found >> np.uint64(6)) & mask]
            kept[p] |= np.uint8(((word >> (found & np.uint64(63))) & np.uint64(1)) << place)


@inlined
def push_plain_subwords(z: Sizes, buckets: U32, kept: U8, at: int, length: int, ids: I32, n: int) -> int:
    """Append the buckets of the n-grams of an ASCII word that begins at place `at` of `buckets`."""
    shortest = max(z.minn, 1)
    for begin in range(0, length, 8):
        found = load64(kept, at + begin) & _FIRST[min(8, length - begin)]
        while found != 0:
            bit = trailing_zeros(found)
            found &= found - np.uint64(1)
            i, k = begin + (bit >> 3), shortest + (bit & 7)
            ids[n] = np.int64(buckets[k - shortest, at + i])
            n += i + k <= length and not (k == 1 and (i == 0 or i + 1 == length))
    return n


@inlined
def mark(data: U8, start: int, stop: int, marked: U32) -> int:
    """Write `<word>` as sign-extended characters; return its length."""
    marked[0] = 60
    for i in range(start, stop):
        marked[i - start + 1] = sign_extended(data[i])
    marked[stop - start + 1] = 62
    return stop - start + 2
