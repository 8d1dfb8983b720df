"""Inference of supervised fastText models over Arrow text buffers, compiled by numba.

Guarantees: features are those of fastText's `Dictionary::getLine` followed by an end of line, rows are added
in its order in float32 without fused operations, so hidden layers are equal bit by bit. Bytes up to 0x20 and
0x7F separate words. Holds the model and one document's word hashes.
"""

from __future__ import annotations

import math
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

LONG = (
    3000  # features; up to here projected rows are within 4e-7 of the package (2026-11, 16 to 100 dimensions)
)
HIERARCHICAL, NEGATIVE, SOFTMAX, ONE_VS_ALL = 1, 2, 3, 4  # fastText's loss_name
MARGIN = np.float32(1e-3)  # closer leaves of the tree are compared in fastText's own order
FLOOR = np.float32(math.log(1e-5))  # fastText leaves out labels below this

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
    reciprocal: np.uint64  # 2**shift // bucket, below 2**32
    shift: np.uint64
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


class Output(NamedTuple):
    """The output layer. `weights` is transposed: (dimensions, outputs); a tree has labels - 1 outputs."""

    loss: int
    labels: int
    weights: F32
    scale: F32  # (outputs,) norms of a quantised matrix, else ones
    left: I32  # (2 * labels - 1,) children in the tree, -1 at leaves
    right: I32
    sigmoid: F32  # table of 513 values


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


@intrinsic
def load64(typing: Any, data: Any, index: Any) -> Any:
    """Read eight bytes at any position as a little-endian number; the caller keeps inside the array."""

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        array = context.make_array(signature.args[0])(context, builder, arguments[0])
        place = builder.gep(array.data, [arguments[1]])
        return builder.load(
            builder.bitcast(place, context.get_value_type(types.uint64).as_pointer()), align=1
        )

    return types.uint64(data, types.int64), build


@intrinsic
def prefetch(typing: Any, rows: Any, row: Any) -> Any:
    """Ask for the cache line where `rows[row]` begins; changes no result."""

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        array = context.make_array(signature.args[0])(context, builder, arguments[0])
        place = builder.gep(array.data, [builder.mul(arguments[1], builder.extract_value(array.shape, 1))])
        number, pointer = ir.IntType(32), ir.IntType(8).as_pointer()
        kind = ir.FunctionType(ir.VoidType(), [pointer, number, number, number])
        function = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
        builder.call(
            function, [builder.bitcast(place, pointer), *(ir.Constant(number, x) for x in (0, 3, 1))]
        )
        return context.get_dummy_value()

    return types.void(rows, types.int64), build


@inlined
def packed(data: U8, start: int, stop: int) -> np.uint64:
    """Return the first eight bytes as a number; words hold no zero byte, so shorter ones are told apart."""
    if start + 8 <= len(data):
        found = load64(data, start)
        return (
            found
            if stop - start >= 8
            else found & ((np.uint64(1) << np.uint64(8 * (stop - start))) - np.uint64(1))
        )
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


@inlined
def bucket_of(z: Sizes, h: np.uint32) -> np.int64:
    """Return `h % bucket` without a division: the quotient by reciprocal is right or one too low."""
    bucket = np.uint64(z.bucket)
    rest = np.uint64(h) - ((np.uint64(h) * z.reciprocal) >> z.shift) * bucket
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
                bucket = bucket_of(z, h)
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
                bucket = bucket_of(z, h)
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
            bucket = np.int64(h % np.uint64(z.bucket))
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
def tokenise(data: U8, at: int, stop: int, slots: U64, hashes: I32, spans: I32) -> int:
    """Write the hash of every token and where it lies after `at`; return their number.

    Asks for the slots already: looking them up right away would wait for each.
    """
    begin, tokens, mask = at, 0, len(slots) - 1
    while at < stop:
        if data[at] <= 32 or data[at] == 127:
            at += 1
            continue
        h, first = _BASIS, at
        while at < stop and data[at] > 32 and data[at] != 127:
            h = np.uint32(np.uint32(h ^ sign_extended(data[at])) * _PRIME)
            at += 1
        prefetch(slots, np.int64(h) & mask)
        hashes[tokens], spans[2 * tokens], spans[2 * tokens + 1] = np.int32(h), first - begin, at - begin
        tokens += 1
    hashes[tokens] = np.int32(_EOS_HASH)
    return tokens


@njit
def features(
    t: Tables, data: U8, begin: int, stop: int, hashes: I32, spans: I32, marked: U32, ids: I32
) -> int:
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
def average(rows: F32, ids: I32, count: int, hidden: F32) -> None:
    """Set the hidden layer to the mean of rows, summed up in order."""
    hidden[:] = np.float32(0)
    for i in range(count):
        row = rows[ids[i]]
        for d in range(len(hidden)):
            hidden[d] += row[d]
    share = np.float32(1.0 / max(count, 1))
    for d in range(len(hidden)):
        hidden[d] *= share


@njit
def average_logits(projected: F32, ids: I32, count: int, out: F32) -> None:
    """Set the outputs to the mean of projected rows; sums are float64, two outputs at a time in registers."""
    for k in range(0, len(out), 2):
        last = min(k + 1, len(out) - 1)
        a, b = 0.0, 0.0
        for i in range(count):
            row = ids[i]
            a += projected[row, k]
            b += projected[row, last]
        out[k], out[last] = np.float32(a / count), np.float32(b / count)


@njit
def most_features(z: Sizes, longest: int) -> int:
    """Return a bound on the features of a text of `longest` bytes."""
    tokens = longest // 2 + 2
    lengths = max(0, z.maxn - max(z.minn, 1) + 1)
    return tokens * (1 + 2 * lengths + z.word_ngrams) + longest * lengths


@njit
def cut(data: U8, start: int, stop: int, max_chars: int) -> int:
    """Return where the first `max_chars` characters end."""
    if stop - start <= max_chars:
        return stop
    chars = 0
    for i in range(start, stop):
        if data[i] & 0xC0 != 0x80:
            if chars == max_chars:
                return i
            chars += 1
    return stop


@njit
def std_log(x: float) -> np.float32:
    return np.float32(math.log(x + 1e-5))


@njit
def linear(o: Output, hidden: F32, out: F32) -> None:
    """Multiply the hidden layer with the output matrix; each output is summed in fastText's order."""
    out[:] = np.float32(0)
    for d in range(len(hidden)):
        row, x = o.weights[d], hidden[d]
        for i in range(len(out)):
            out[i] += row[i] * x
    for i in range(len(out)):
        out[i] *= o.scale[i]


@njit
def probabilities(o: Output, rows: F32, projected: F32, ids: I32, count: int, hidden: F32, out: F32) -> None:
    """Compute the probability of every label, without a tree.

    Long documents take the long way: there fastText's own rounding errors add up and must be repeated.
    """
    if len(projected) and count <= LONG:
        average_logits(projected, ids, count, out)
    else:
        average(rows, ids, count, hidden)
        linear(o, hidden, out)
    if o.loss == SOFTMAX:
        z, largest = np.float32(0), out.max()
        for i in range(len(out)):
            out[i] = np.float32(math.exp(np.float64(out[i] - largest)))
            z += out[i]
        for i in range(len(out)):
            out[i] /= z
        return
    for i in range(len(out)):  # fastText looks the logistic function up in a table of 512 steps over [-8, 8]
        x = out[i]
        if x < -8:
            out[i] = np.float32(0)
        elif x > 8:
            out[i] = np.float32(1)
        else:
            out[i] = o.sigmoid[
                np.int64((x + np.float32(8)) * np.float32(512) / np.float32(8) / np.float32(2))
            ]


@njit
def best_probability(out: F32) -> tuple[int, np.float32]:
    """Return the label fastText names first and its score; of equal scores it takes the last."""
    largest = out.max()
    best, score = -1, np.float32(-np.inf)
    for i in range(len(out)):
        if out[i] >= largest * np.float32(0.9999):
            value = std_log(np.float64(out[i]))
            if value >= score:
                best, score = i, value
    return best, score


@njit
def branch(o: Output, hidden: F32, node: int) -> tuple[np.float32, np.float32]:
    """Return the logarithms of going left and right at an inner node of the tree."""
    column = node - o.labels
    total = np.float32(0)
    for d in range(len(hidden)):
        total += o.weights[d, column] * hidden[d]
    f = np.float32(1.0 / (1.0 + math.exp(-np.float64(total * o.scale[column]))))
    return std_log(1.0 - np.float64(f)), std_log(np.float64(f))


@njit
def best_leaf(o: Output, hidden: F32, nodes: I32, scores: F32, exact: bool) -> tuple[int, np.float32, bool]:
    """Return (label, score, whether another leaf is close), the likelier branch first.

    `exact` visits left before right and prunes as fastText does, which decides near ties.
    """
    margin = np.float32(0) if exact else MARGIN
    best, top, second = -1, np.float32(-np.inf), np.float32(-np.inf)
    nodes[0], scores[0], depth = 2 * o.labels - 2, np.float32(0), 1
    while depth:
        depth -= 1
        node, score = nodes[depth], scores[depth]
        if score < FLOOR or score < top - margin:
            continue
        if o.left[node] < 0:
            if score >= top:
                best, top, second = node, score, top
            elif score > second:
                second = score
            continue
        left, right = branch(o, hidden, node)
        first = exact or left > right  # the last one pushed is visited first
        nodes[depth], scores[depth] = (
            (o.right[node], score + right) if first else (o.left[node], score + left)
        )
        depth += 1
        nodes[depth], scores[depth] = (
            (o.left[node], score + left) if first else (o.right[node], score + right)
        )
        depth += 1
    return best, top, second > top - MARGIN


@njit
def leaf_scores(o: Output, hidden: F32, out: F32, nodes: I32, scores: F32) -> None:
    """Compute the score of every leaf of the tree as a logarithm; -inf below fastText's floor."""
    out[:] = np.float32(-np.inf)
    nodes[0], scores[0], depth = 2 * o.labels - 2, np.float32(0), 1
    while depth:
        depth -= 1
        node, score = nodes[depth], scores[depth]
        if score < FLOOR:
            continue
        if o.left[node] < 0:
            out[node] = score
            continue
        left, right = branch(o, hidden, node)
        nodes[depth], scores[depth] = o.left[node], score + left
        nodes[depth + 1], scores[depth + 1] = o.right[node], score + right
        depth += 2


@njit
def clipped(score: np.float32) -> np.float32:
    return min(np.float32(math.exp(np.float64(score))), np.float32(1))


@njit
def best_labels(
    t: Tables,
    o: Output,
    data: U8,
    offsets: I64,
    max_chars: int,
    longest: int,
    label: I32,
    score: F32,
) -> None:
    """Fill in the best label of each document and its score; -1 and 0 for a document without features."""
    hashes, spans = np.empty(longest // 2 + 2, np.int32), np.zeros(longest + 4, np.int32)
    marked = np.empty(longest + 2, np.uint32)
    ids = np.empty(most_features(t.sizes, longest), np.int32)
    rows, projected, out = t.rows, t.projected, np.empty(o.labels, np.float32)
    hidden = np.empty(rows.shape[1], np.float32)
    nodes, scores = np.empty(2 * o.labels + 2, np.int32), np.empty(2 * o.labels + 2, np.float32)
    for i in range(len(label)):
        stop = cut(data, offsets[i], offsets[i + 1], max_chars)
        label[i], score[i] = -1, np.float32(0)
        count = features(t, data, offsets[i], stop, hashes, spans, marked, ids)
        if count == 0:
            continue
        if o.loss == HIERARCHICAL:
            average(rows, ids, count, hidden)
            best, value, close = best_leaf(o, hidden, nodes, scores, False)
            if close:
                best, value, close = best_leaf(o, hidden, nodes, scores, True)
        else:
            probabilities(o, rows, projected, ids, count, hidden, out)
            best, value = best_probability(out)
        label[i], score[i] = best, clipped(value)


@njit
def label_scores(
    t: Tables,
    o: Output,
    data: U8,
    offsets: I64,
    max_chars: int,
    longest: int,
    wanted: I64,
    found: F32,
) -> None:
    """Fill in the scores of the wanted labels, (documents, wanted)."""
    hashes, spans = np.empty(longest // 2 + 2, np.int32), np.zeros(longest + 4, np.int32)
    marked = np.empty(longest + 2, np.uint32)
    ids = np.empty(most_features(t.sizes, longest), np.int32)
    rows, projected, out = t.rows, t.projected, np.empty(o.labels, np.float32)
    hidden = np.empty(rows.shape[1], np.float32)
    nodes, scores = np.empty(2 * o.labels + 2, np.int32), np.empty(2 * o.labels + 2, np.float32)
    for i in range(len(found)):
        stop = cut(data, offsets[i], offsets[i + 1], max_chars)
        found[i] = np.float32(0)
        count = features(t, data, offsets[i], stop, hashes, spans, marked, ids)
        if count == 0:
            continue
        if o.loss == HIERARCHICAL:
            average(rows, ids, count, hidden)
            leaf_scores(o, hidden, out, nodes, scores)
        else:
            probabilities(o, rows, projected, ids, count, hidden, out)
            for k in range(o.labels):
                out[k] = std_log(np.float64(out[k]))
        for k in range(len(wanted)):
            found[i, k] = clipped(out[wanted[k]])
