"""The features of a text as fastText sees it: words, character n-grams, word n-grams; compiled by numba.

Guarantees: the rows that fastText's `Dictionary::getLine` names for the text and an end of line, in order.
What separates words is fastText's white space: NUL, tab to carriage return, space. No Python object per text.
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
from numba.core import cgutils, types
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

_BASIS = np.uint32(2166136261)  # 32-bit FNV-1a
_PRIME = np.uint32(16777619)
_EOS_HASH = np.uint32(3617362777)  # of "</s>"
_EOS_HEAD = np.uint64(int.from_bytes(b"</s>", "little"))
_LABEL_HASH = np.uint32(713211737)  # of "__label__"
_MIX = np.uint64(116049371)


class Sizes(NamedTuple):
    """The numbers of a model."""

    minn: int
    maxn: int
    bucket: int
    reciprocal: np.uint64  # 2**64 // bucket
    word_ngrams: int
    words: int  # entries before this one are words, the others labels
    present_mask: int  # 0 where `present` is one word for all buckets, else -1
    pruned: bool  # some buckets have a row: see `row_of`


class Tables(NamedTuple):
    """A model as arrays. `rows` is the input matrix, the rest says which rows a word means."""

    sizes: Sizes
    slots: U64  # open addressing by hash, a power of two long, see `fill_slots`
    text: U8  # holds the bytes of entry i from start[i] to stop[i]
    start: I64
    stop: I64
    sub_start: I64  # (words + 1,) features of each word: itself and its character n-grams
    sub_ids: I32
    present: U64  # a bit per bucket that has a row where some were pruned, else one word for all
    row_of: I32  # bucket to position behind the words
    rows: F32  # (rows, dimensions)
    projected: F32  # (rows, labels): rows times the output layer, where labels are few; else empty


@inlined
def sign_extended(byte: int) -> np.uint32:
    """fastText hashes signed characters: bytes from 0x80 fill the upper 24 bits."""
    return np.uint32(byte | 0xFFFFFF00) if byte >= 0x80 else np.uint32(byte)


@inlined
def fnv(data: U8, start: int, stop: int) -> np.uint32:
    h = _BASIS
    for i in range(start, stop):
        h = np.uint32(np.uint32(h ^ sign_extended(data[i])) * _PRIME)
    return h


@njit
def parse_entries(data: U8, entries: int) -> tuple[I64, I64, I64, U8, int]:
    """Return (starts, stops, counts, types, end) of dictionary entries: text, zero, int64 count, int8 type.

    The end is -1 where the data ends first.
    """
    starts, stops = np.empty(entries, np.int64), np.empty(entries, np.int64)
    counts, types = np.zeros(entries, np.int64), np.empty(entries, np.uint8)
    at = 0
    for i in range(entries):
        starts[i] = at
        while at < len(data) and data[at] != 0:
            at += 1
        if at + 10 > len(data):
            return starts, stops, counts, types, -1
        stops[i] = at
        for b in range(8):
            counts[i] |= np.int64(data[at + 1 + b]) << (8 * b)
        types[i] = data[at + 9]
        at += 10
    return starts, stops, counts, types, at


@intrinsic  # type: ignore[untyped-decorator]
def load64(typing: Any, data: Any, index: Any) -> Any:
    """Read eight bytes at any position as a little-endian number; the caller keeps inside the array."""

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        array = context.make_array(signature.args[0])(context, builder, arguments[0])
        place = builder.gep(array.data, [arguments[1]])
        return builder.load(builder.bitcast(place, context.get_value_type(types.uint64).as_pointer()), align=1)

    return types.uint64(data, types.int64), build


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


@inlined
def packed(data: U8, start: int, stop: int) -> np.uint64:
    """Return the first eight bytes as a number; words hold no zero byte, so shorter ones are told apart."""
    if start + 8 <= len(data):
        found = load64(data, start)
        return found if stop - start >= 8 else found & ((np.uint64(1) << np.uint64(8 * (stop - start))) - np.uint64(1))
    found = np.uint64(0)
    for i in range(start, stop):
        found |= np.uint64(data[i]) << np.uint64(8 * (i - start))
    return found


@njit
def fill_slots(text: U8, start: I64, stop: I64, slots: U64) -> None:
    """Enter every word into the open-addressing table, (slots, 2): hash and entry + 1, first bytes."""
    mask = len(slots) - 1
    for i in range(len(start)):
        h = fnv(text, start[i], stop[i])
        slot = np.int64(h) & mask
        while slots[slot, 0]:
            slot = (slot + 1) & mask
        slots[slot, 0] = (np.uint64(h) << np.uint64(32)) | np.uint64(i + 1)
        slots[slot, 1] = packed(text, start[i], stop[i])


@inlined
def find(
    slots: U64,
    text: U8,
    start: I64,
    stop: I64,
    data: U8,
    first: int,
    last: int,
    h: np.uint32,
    head: np.uint64,
) -> np.int64:
    """Return the entry whose bytes are `data[first:last]`, or -1; `head` is their first eight."""
    mask = len(slots) - 1
    slot = np.int64(h) & mask
    while slots[slot, 0]:
        if slots[slot, 0] >> np.uint64(32) == np.uint64(h) and slots[slot, 1] == head:
            entry = np.int64(slots[slot, 0] & np.uint64(0xFFFFFFFF)) - 1
            if last - first < 8:
                return entry
            i = 8
            length = last - first
            if stop[entry] - start[entry] == length:
                while i < length and text[start[entry] + i] == data[first + i]:
                    i += 1
                if i == length:
                    return entry
        slot = (slot + 1) & mask
    return np.int64(-1)


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


@inlined
def to_rows(z: Sizes, row_of: I32, ids: I32, start: int, stop: int) -> None:
    """Turn buckets into rows, in place."""
    for i in range(start, stop):
        ids[i] = z.words + (row_of[ids[i]] if z.pruned else ids[i])


@inlined
def push_subwords(z: Sizes, present: U64, row_of: I32, marked: U32, length: int, ids: I32, n: int) -> int:
    """Append the character n-grams of `<word>` to the features; return their new number."""
    first = n
    plain = True
    for i in range(length):
        plain &= marked[i] < 0x80
    if plain:
        n = push_plain_subwords(z, present, marked, length, ids, n)
        to_rows(z, row_of, ids, first, n)
        return n
    for i in range(length):
        if marked[i] & 0xC0 == 0x80:
            continue
        h, j, k = _BASIS, i, 1
        while j < length and k <= z.maxn:
            h = np.uint32(np.uint32(h ^ marked[j]) * _PRIME)
            j += 1
            while j < length and marked[j] & 0xC0 == 0x80:
                h = np.uint32(np.uint32(h ^ marked[j]) * _PRIME)
                j += 1
            if k >= z.minn and not (k == 1 and (i == 0 or j == length)):
                bucket = bucket_of(z, np.uint64(h))
                ids[n] = bucket
                n += bucket_kept(z, present, bucket)
            k += 1
    to_rows(z, row_of, ids, first, n)
    return n


@inlined
def push_plain_subwords(z: Sizes, present: U64, marked: U32, length: int, ids: I32, n: int) -> int:
    """Append the buckets of the n-grams of an ASCII word, where every byte is a character."""
    for i in range(length):
        h = _BASIS
        most = min(z.maxn, length - i)
        for k in range(1, most + 1):
            h = np.uint32(np.uint32(h ^ marked[i + k - 1]) * _PRIME)
            if k >= z.minn and not (k == 1 and (i == 0 or i + 1 == length)):
                bucket = bucket_of(z, np.uint64(h))
                ids[n] = bucket
                n += bucket_kept(z, present, bucket)
    return n


@inlined
def push_word_ngrams(z: Sizes, present: U64, row_of: I32, hashes: I32, count: int, ids: I32, n: int) -> int:
    """Append the word n-grams of a document to the features; return their new number."""
    first = n
    for i in range(count):
        h = np.uint64(np.int64(hashes[i]))
        for j in range(i + 1, min(count, i + z.word_ngrams)):
            h = h * _MIX + np.uint64(np.int64(hashes[j]))
            bucket = bucket_of(z, h)
            ids[n] = bucket
            n += bucket_kept(z, present, bucket)
    to_rows(z, row_of, ids, first, n)
    return n


@inlined
def mark(data: U8, start: int, stop: int, marked: U32) -> int:
    """Write `<word>` as sign-extended characters; return its length."""
    marked[0] = 60
    for i in range(start, stop):
        marked[i - start + 1] = sign_extended(data[i])
    marked[stop - start + 1] = 62
    return stop - start + 2


@njit
def word_features(t: Tables, word: int, ids: I32, marked: U32) -> int:
    """Write the features of a dictionary word to `ids`; return their number."""
    ids[0] = word
    start, stop = t.start[word], t.stop[word]
    if t.sizes.maxn <= 0 or (stop - start == 4 and fnv(t.text, start, stop) == _EOS_HASH):
        return 1
    length = mark(t.text, start, stop, marked)
    return push_subwords(t.sizes, t.present, t.row_of, marked, length, ids, 1)


@njit
def count_features(t: Tables, marked: U32, ids: I32, sub_start: I64) -> None:
    """Fill in `sub_start`: how many features the words have, summed up."""
    for word in range(t.sizes.words):
        sub_start[word + 1] = sub_start[word] + word_features(t, word, ids, marked)


@njit
def fill_features(t: Tables, marked: U32, ids: I32, sub_start: I64, sub_ids: I32) -> None:
    """Fill in `sub_ids`: the features of every word."""
    for word in range(t.sizes.words):
        n = word_features(t, word, ids, marked)
        sub_ids[sub_start[word] : sub_start[word] + n] = ids[:n]


@inlined
def is_label(data: U8, start: int, stop: int) -> bool:
    """Tell whether a token starts with `__label__`."""
    if stop - start < 9 or data[start] != 95 or data[start + 1] != 95:
        return False
    return bool(fnv(data, start, start + 9) == _LABEL_HASH)


@inlined
def separates(byte: np.uint8) -> bool:
    """Tell whether fastText ends a word here; a newline counts as a space."""
    return bool(byte <= 32 and (byte == 32 or byte == 0 or 9 <= byte <= 13))


@inlined
def tokenise(data: U8, at: int, stop: int, slots: U64, hashes: I32, spans: I32) -> int:
    """Write the hash of every token and where it lies after `at`; return their number.

    Asks for the slots already: looking them up right away would wait for each.
    """
    begin, tokens, mask = at, 0, len(slots) - 1
    while at < stop:
        if separates(data[at]):
            at += 1
            continue
        h, first = _BASIS, at
        while at < stop and not separates(data[at]):
            h = np.uint32(np.uint32(h ^ sign_extended(data[at])) * _PRIME)
            at += 1
        prefetch(slots, np.int64(h) & mask)
        hashes[tokens], spans[2 * tokens], spans[2 * tokens + 1] = np.int32(h), first - begin, at - begin
        tokens += 1
    hashes[tokens] = np.int32(_EOS_HASH)
    return tokens


@njit
def features(t: Tables, data: U8, begin: int, stop: int, hashes: I32, spans: I32, marked: U32, ids: I32) -> int:
    """Write the rows of one document's features to `ids`, in fastText's order; return their number.

    Arrays are taken out of the tuple here, once per document: every access counts references.
    """
    z, slots, text, starts, stops = t.sizes, t.slots, t.text, t.start, t.stop
    sub_start, sub_ids, present, row_of = t.sub_start, t.sub_ids, t.present, t.row_of
    tokens = tokenise(data, begin, stop, slots, hashes, spans)
    n = words = 0
    for i in range(tokens + 1):
        first, last, h = begin + spans[2 * i], begin + spans[2 * i + 1], np.uint32(hashes[i])
        head = packed(data, first, last) if i < tokens else _EOS_HEAD
        entry = find(slots, text, starts, stops, data, first, last if i < tokens else first + 4, h, head)
        ends = head == _EOS_HEAD  # the end of the line is the word </s>, and so is a token with that text
        if entry >= z.words or (entry < 0 and not ends and is_label(data, first, last)):
            continue
        if entry >= 0 and z.maxn <= 0:
            ids[n] = entry
            n += 1
        elif entry >= 0:
            for k in range(sub_start[entry], sub_start[entry + 1]):
                ids[n] = sub_ids[k]
                n += 1
        elif not ends and z.maxn > 0:
            length = mark(data, first, last, marked)
            n = push_subwords(z, present, row_of, marked, length, ids, n)
        hashes[words] = np.int32(h)
        words += 1
        if ends:
            break
    if z.word_ngrams > 1 and z.bucket > 0:
        n = push_word_ngrams(z, present, row_of, hashes, words, ids, n)
    return n


@njit
def most_features(z: Sizes, longest: int) -> int:
    """Return a bound on the features of a text of `longest` bytes."""
    tokens = longest // 2 + 2
    lengths = max(0, z.maxn - max(z.minn, 1) + 1)
    return tokens * (1 + 2 * lengths + z.word_ngrams) + longest * lengths
