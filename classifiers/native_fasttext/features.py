"""The features of a text as fastText sees it: words, character n-grams, word n-grams; compiled by numba.

Guarantees: the rows that fastText's `Dictionary::getLine` names for the text and an end of line, in order.
What separates words is fastText's white space: NUL, tab to carriage return, space. No Python object per text.
"""

# numba has no types for mypy and knows no difference between Python's and numpy's numbers:
# mypy: disable-error-code="no-any-return, arg-type, return-value, assignment"

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from classifiers.native_fasttext.met_words import (
    APART,
    KEPT,
    MET,
    TOO_MANY,
    Met,
    copy_met,
    fnv,
    forget,
    packed,
    prefetch,
    read_block,
    remember,
    separates,
)
from classifiers.native_fasttext.subwords import (
    BASIS,
    CHUNK,
    F32,
    I32,
    I64,
    PRIME,
    U8,
    U32,
    U64,
    Sizes,
    bucket_kept,
    bucket_of,
    inlined,
    mark,
    njit,
    plain_buckets,
    push_plain_subwords,
    push_subwords,
    sign_extended,
    to_rows,
)

EOS_HASH = np.uint32(3617362777)  # of "</s>"
EOS_HEAD = np.uint64(int.from_bytes(b"</s>", "little"))
_LABEL_HASH = np.uint32(713211737)  # of "__label__"
_MIX = np.uint64(116049371)


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
    rank: I32  # buckets that have a row before each word of `present`
    row_of: I32  # position behind the words, of the buckets that have a row, ascending
    rows: F32  # (rows, dimensions)
    projected: F32  # (rows, labels): rows times the output layer, where labels are few; else empty


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


@inlined
def push_word_ngrams(z: Sizes, present: U64, rank: I32, row_of: I32, hashes: I32, count: int, ids: I32, n: int) -> int:
    """Append the word n-grams of a document to the features; return their new number."""
    first = n
    for i in range(count):
        h = np.uint64(np.int64(hashes[i]))
        for j in range(i + 1, min(count, i + z.word_ngrams)):
            h = h * _MIX + np.uint64(np.int64(hashes[j]))
            bucket = bucket_of(z, h)
            ids[n] = bucket
            n += bucket_kept(z, present, bucket)
    to_rows(z, present, rank, row_of, ids, first, n)
    return n


@njit
def word_features(t: Tables, word: int, ids: I32, marked: U32) -> int:
    """Write the features of a dictionary word to `ids`; return their number."""
    ids[0] = word
    start, stop = t.start[word], t.stop[word]
    if t.sizes.maxn <= 0 or (stop - start == 4 and fnv(t.text, start, stop) == EOS_HASH):
        return 1
    length = mark(t.text, start, stop, marked)
    return push_subwords(t.sizes, t.present, t.rank, t.row_of, marked, length, ids, np.int64(1))


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
        for i in range(n):
            sub_ids[sub_start[word] + i] = ids[i]


@inlined
def is_label(data: U8, start: int, stop: int) -> bool:
    """Tell whether a token starts with `__label__`."""
    if stop - start < 9 or data[start] != 95 or data[start + 1] != 95:
        return False
    return bool(fnv(data, start, start + 9) == _LABEL_HASH)


class Room(NamedTuple):
    """What `features` needs for one text after the other; `ids` are the features of the last."""

    hashes: I32  # of every word of the text
    spans: I32  # where they lie, after the text's begin, in models without character n-grams
    ids: I32
    wide: U32  # one word, sign-extended
    state: U32
    buckets: U32
    kept: U8
    met: Met


@njit
def make_room(z: Sizes, longest: int, met: Met) -> Room:
    """Allocate room for texts of up to `longest` bytes."""
    lengths, tokens = max(1, z.maxn - max(z.minn, 1) + 1), longest // 2 + 2
    return Room(
        np.empty(tokens, np.int32),
        np.zeros(2 * tokens if z.maxn <= 0 else 0, np.int32),
        np.empty(most_features(z, longest) + KEPT, np.int32),
        np.empty(longest + 2, np.uint32),
        np.empty(CHUNK, np.uint32),
        np.empty((lengths, CHUNK), np.uint32),
        np.zeros(CHUNK + 8, np.uint8),
        met,
    )


@njit
def features(t: Tables, data: U8, begin: int, stop: int, room: Room) -> int:
    """Write the rows of one document's features to room's `ids`, in fastText's order; return their number."""
    if t.sizes.maxn > 0:
        return features_by_characters(t, data, begin, stop, room)
    return features_by_words(t, data, begin, stop, room)


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
        h, first = BASIS, at
        while at < stop and not separates(data[at]):
            h = np.uint32(np.uint32(h ^ sign_extended(data[at])) * PRIME)
            at += 1
        prefetch(slots, np.int64(h) & mask)
        hashes[tokens], spans[2 * tokens], spans[2 * tokens + 1] = np.int32(h), first - begin, at - begin
        tokens += 1
    hashes[tokens] = np.int32(EOS_HASH)
    return tokens


@njit
def features_by_words(t: Tables, data: U8, begin: int, stop: int, room: Room) -> int:
    """Do what `features` does for a model without character n-grams."""
    z, slots, text, starts, stops = t.sizes, t.slots, t.text, t.start, t.stop
    hashes, spans, ids = room.hashes, room.spans, room.ids
    tokens, n, words = tokenise(data, begin, stop, slots, hashes, spans), 0, 0
    for i in range(tokens + 1):
        first, last, h = begin + spans[2 * i], begin + spans[2 * i + 1], np.uint32(hashes[i])
        head = packed(data, first, last) if i < tokens else EOS_HEAD
        entry = find(slots, text, starts, stops, data, first, last if i < tokens else first + 4, h, head)
        ends = head == EOS_HEAD  # the end of the line is the word </s>, and so is a token with that text
        if entry >= z.words or (entry < 0 and not ends and is_label(data, first, last)):
            continue
        if entry >= 0:
            ids[n] = entry
            n += 1
        hashes[words] = np.int32(h)
        words += 1
        if ends:
            break
    if z.word_ngrams > 1 and z.bucket > 0:
        n = push_word_ngrams(z, t.present, t.rank, t.row_of, hashes, words, ids, n)
    return n


@njit
def features_by_characters(t: Tables, data: U8, begin: int, stop: int, room: Room) -> int:
    """Do what `features` does for a model with character n-grams.

    Most words were met before in other texts: their features are copied. Arrays are taken out of the
    tuples here, once per document: every access counts references.
    """
    z, slots, text, starts, stops = t.sizes, t.slots, t.text, t.start, t.stop
    sub_start, sub_ids, present, rank, row_of = t.sub_start, t.sub_ids, t.present, t.rank, t.row_of
    hashes, _, ids, wide, state, buckets, kept, met = room
    keys, rows, fresh, spans, places, mine, marked = met
    n, words, at, ends, vectors = np.int64(0), np.int64(0), begin, False, len(buckets) <= 8
    while not ends:
        tokens, size, at = read_block(met, data, begin, at, stop)
        if size and vectors:
            plain_buckets(z, present, marked, 0, size, state, buckets, kept)
        for i in range(tokens + (at >= stop)):
            place, slot, h, first, last, head = APART, -1, EOS_HASH, begin, begin + 4, EOS_HEAD
            if i < tokens:
                place, slot, h = places[i], mine[i], np.uint32(fresh[i])
                if place == MET and rows[slot, 0] >= 0:
                    n = copy_met(rows, slot, ids, n)
                    hashes[words] = fresh[i]
                    words += 1
                    continue
                first, last = begin + spans[2 * i], begin + spans[2 * i + 1]
                head = packed(data, first, last)
            ends = head == EOS_HEAD  # the end of the line is the word </s>, and so is a token with that text
            entry = find(slots, text, starts, stops, data, first, last, h, head)
            if entry >= z.words or (entry < 0 and not ends and is_label(data, first, last)):
                if slot >= 0:
                    rows[slot, 0] = TOO_MANY
                continue
            before = n
            if entry >= 0:
                for k in range(sub_start[entry], sub_start[entry + 1]):
                    ids[n] = sub_ids[k]
                    n += 1
            elif vectors and place >= 0 and not ends:
                n = push_plain_subwords(z, buckets, kept, place, last - first + 2, ids, n)
                to_rows(z, present, rank, row_of, ids, before, n)
            elif not ends:
                n = push_subwords(z, present, rank, row_of, wide, mark(data, first, last, wide), ids, n)
            hashes[words] = np.int32(h)
            words += 1
            if ends:
                forget(keys, mine, i, tokens)
                break
            if slot >= 0:
                remember(rows, slot, ids, before, n)
    if z.word_ngrams > 1 and z.bucket > 0:
        n = push_word_ngrams(z, present, rank, row_of, hashes, words, ids, n)
    return n


@njit
def most_features(z: Sizes, longest: int) -> int:
    """Return a bound on the features of a text of `longest` bytes."""
    tokens = longest // 2 + 2
    lengths = max(0, z.maxn - max(z.minn, 1) + 1)
    return tokens * (1 + 2 * lengths + z.word_ngrams) + longest * lengths
