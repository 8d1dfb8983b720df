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

F = TypeVar("F", bound=Callable[..., Any])
U8 = npt.NDArray[np.uint8]
U32 = npt.NDArray[np.uint32]
U64 = npt.NDArray[np.uint64]
I32 = npt.NDArray[np.int32]
I64 = npt.NDArray[np.int64]
F32 = npt.NDArray[np.float32]

njit = cast(Callable[[F], F], numba.njit(cache=True, nogil=True, error_model="numpy"))

HIERARCHICAL, NEGATIVE, SOFTMAX, ONE_VS_ALL = 1, 2, 3, 4  # fastText's loss_name
WAITING = 1024  # features collected before their rows are added
MARGIN = np.float32(1e-3)  # closer leaves of the tree are compared in fastText's own order
FLOOR = np.float32(math.log(1e-5))  # fastText leaves out labels below this

_BASIS = np.uint32(2166136261)  # 32-bit FNV-1a
_PRIME = np.uint32(16777619)
_EOS_HASH = np.uint32(3617362777)  # of "</s>"
_MIX = np.uint64(116049371)
EOS = np.frombuffer(b"</s>", np.uint8)


class Tables(NamedTuple):
    """A model as arrays. `rows` is the input matrix, the rest says which rows a word means."""

    minn: int
    maxn: int
    bucket: int
    word_ngrams: int
    words: int  # entries before this one are words, the others labels
    slots: I32  # open addressing by hash, a power of two long, -1 where free
    slot_hash: U32
    text: U8  # holds the bytes of entry i from start[i] to stop[i]
    start: I64
    stop: I64
    sub_start: I64  # (words + 1,) features of each word: itself and its character n-grams
    sub_ids: I32
    pruned: int  # 0: every bucket has a row; 1: those in `present`; 2: none
    present: U64  # bit per bucket
    row_of: I32  # bucket to position behind the words
    rows: F32  # (rows, dimensions)


class Output(NamedTuple):
    """The output layer. `weights` is transposed: (dimensions, outputs); a tree has labels - 1 outputs."""

    loss: int
    labels: int
    weights: F32
    scale: F32  # (outputs,) norms of a quantised matrix, else ones
    left: I32  # (2 * labels - 1,) children in the tree, -1 at leaves
    right: I32
    sigmoid: F32  # table of 513 values


@njit
def sign_extended(byte: int) -> np.uint32:
    """fastText hashes signed characters: bytes from 0x80 fill the upper 24 bits."""
    return np.uint32(byte | 0xFFFFFF00) if byte >= 0x80 else np.uint32(byte)


@njit
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


@njit
def fill_slots(text: U8, start: I64, stop: I64, slots: I32, slot_hash: U32) -> None:
    """Enter every word into the open-addressing table."""
    mask = len(slots) - 1
    for i in range(len(start)):
        h = fnv(text, start[i], stop[i])
        slot = np.int64(h) & mask
        while slots[slot] >= 0:
            slot = (slot + 1) & mask
        slots[slot], slot_hash[slot] = i, h


@njit
def find(t: Tables, data: U8, start: int, stop: int, h: np.uint32) -> int:
    """Return the entry with these bytes, or -1."""
    mask = len(t.slots) - 1
    slot = np.int64(h) & mask
    while t.slots[slot] >= 0:
        entry = t.slots[slot]
        if t.slot_hash[slot] == h:
            first = t.start[entry]
            if t.stop[entry] - first == stop - start:
                same = True
                for i in range(stop - start):
                    if t.text[first + i] != data[start + i]:
                        same = False
                        break
                if same:
                    return entry
        slot = (slot + 1) & mask
    return -1


@njit
def bucket_row(t: Tables, bucket: int) -> int:
    """Return the row of an n-gram's bucket, or -1 if it was pruned."""
    if t.pruned == 0:
        return t.words + bucket
    if t.pruned == 2 or not (t.present[bucket >> 6] >> np.uint64(bucket & 63)) & np.uint64(1):
        return -1
    return t.words + t.row_of[bucket]


@njit
def add_rows(rows: F32, ids: I32, count: int, hidden: F32) -> None:
    """Add the rows of features to the hidden layer, in order."""
    for i in range(count):
        row = rows[ids[i]]
        for d in range(len(hidden)):
            hidden[d] += row[d]


@njit
def push_subwords(t: Tables, marked: U32, length: int, ids: I32, n: int, hidden: F32) -> tuple[int, int]:
    """Collect the character n-grams of `<word>`; return (features waiting, features flushed)."""
    flushed = 0
    for i in range(length):
        if marked[i] & 0xC0 == 0x80:
            continue
        if n + t.maxn > len(ids):
            add_rows(t.rows, ids, n, hidden)
            flushed, n = flushed + n, 0
        h, j, k = _BASIS, i, 1
        while j < length and k <= t.maxn:
            h = np.uint32(np.uint32(h ^ marked[j]) * _PRIME)
            j += 1
            while j < length and marked[j] & 0xC0 == 0x80:
                h = np.uint32(np.uint32(h ^ marked[j]) * _PRIME)
                j += 1
            if k >= t.minn and not (k == 1 and (i == 0 or j == length)):
                row = bucket_row(t, np.int64(h) % t.bucket)
                if row >= 0:
                    ids[n] = row
                    n += 1
            k += 1
    return n, flushed


@njit
def mark(data: U8, start: int, stop: int, marked: U32) -> int:
    """Write `<word>` as sign-extended characters; return its length."""
    marked[0] = 60
    for i in range(start, stop):
        marked[i - start + 1] = sign_extended(data[i])
    marked[stop - start + 1] = 62
    return stop - start + 2


@njit
def count_subwords(t: Tables, marked: U32, ids: I32, sub_start: I64) -> None:
    """Fill in `sub_start`: how many features the words have, summed up."""
    for word in range(t.words):
        sub_start[word + 1] = sub_start[word] + word_subwords(t, word, ids, marked)


@njit
def fill_subwords(t: Tables, marked: U32, ids: I32, sub_start: I64, sub_ids: I32) -> None:
    """Fill in `sub_ids`: the features of every word."""
    for word in range(t.words):
        n = word_subwords(t, word, ids, marked)
        sub_ids[sub_start[word] : sub_start[word] + n] = ids[:n]


@njit
def word_subwords(t: Tables, word: int, ids: I32, marked: U32) -> int:
    """Return how many features a dictionary word has; they are in `ids`, which must be long enough."""
    ids[0] = word
    start, stop = t.start[word], t.stop[word]
    if t.maxn <= 0 or (stop - start == 4 and fnv(t.text, start, stop) == _EOS_HASH):
        return 1
    length = mark(t.text, start, stop, marked)
    n, _ = push_subwords(t, marked, length, ids, 1, np.empty(0, np.float32))
    return n


@njit
def is_label(data: U8, start: int, stop: int) -> bool:
    """Tell whether a token starts with `__label__`."""
    if stop - start < 9 or data[start] != 95 or data[start + 1] != 95:
        return False
    return fnv(data, start, start + 9) == np.uint32(713211737)


@njit
def push_word(
    t: Tables, data: U8, start: int, stop: int, entry: int, ids: I32, n: int, hidden: F32, marked: U32
) -> tuple[int, int]:
    """Collect the features of one token; return (features waiting, features flushed)."""
    if entry < 0:
        length = mark(data, start, stop, marked)
        return push_subwords(t, marked, length, ids, n, hidden)
    flushed = 0
    for i in range(t.sub_start[entry], t.sub_start[entry + 1]):
        if n == len(ids):
            add_rows(t.rows, ids, n, hidden)
            flushed, n = flushed + n, 0
        ids[n] = t.sub_ids[i]
        n += 1
    return n, flushed


@njit
def push_word_ngrams(t: Tables, hashes: I32, count: int, ids: I32, n: int, hidden: F32) -> tuple[int, int]:
    """Collect the word n-grams of a document; return (features waiting, features flushed)."""
    flushed = 0
    for i in range(count):
        h = np.uint64(np.int64(hashes[i]))
        for j in range(i + 1, min(count, i + t.word_ngrams)):
            h = h * _MIX + np.uint64(np.int64(hashes[j]))
            row = bucket_row(t, np.int64(h % np.uint64(t.bucket)))
            if row >= 0:
                if n == len(ids):
                    add_rows(t.rows, ids, n, hidden)
                    flushed, n = flushed + n, 0
                ids[n] = row
                n += 1
    return n, flushed


@njit
def hide(t: Tables, data: U8, start: int, stop: int, hashes: I32, marked: U32, ids: I32, hidden: F32) -> int:
    """Compute the hidden layer of one document; return its number of features."""
    hidden[:] = np.float32(0)
    n = total = tokens = 0
    at = start
    while True:
        while at < stop and (data[at] <= 32 or data[at] == 127):
            at += 1
        first, h = at, _BASIS
        while at < stop and data[at] > 32 and data[at] != 127:
            h = np.uint32(np.uint32(h ^ sign_extended(data[at])) * _PRIME)
            at += 1
        ends = first == at  # the end of the line is the word </s>, and so is a token with that text
        if ends:
            h = _EOS_HASH
            entry = find(t, EOS, 0, 4, h)
        else:
            entry = find(t, data, first, at, h)
            ends = h == _EOS_HASH and at - first == 4
        if entry < t.words and (entry >= 0 or ends or not is_label(data, first, at)):
            if entry >= 0 or (not ends and t.maxn > 0):
                n, flushed = push_word(t, data, first, at, entry, ids, n, hidden, marked)
                total += flushed
            hashes[tokens] = np.int32(h)
            tokens += 1
        if ends:
            break
    if t.word_ngrams > 1 and t.bucket > 0 and t.pruned < 2:
        n, flushed = push_word_ngrams(t, hashes, tokens, ids, n, hidden)
        total += flushed
    add_rows(t.rows, ids, n, hidden)
    total += n
    if total:
        share = np.float32(1.0 / total)
        for d in range(len(hidden)):
            hidden[d] *= share
    return total


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
def probabilities(o: Output, hidden: F32, out: F32) -> None:
    """Compute the probability of every label, without a tree."""
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
    t: Tables, o: Output, data: U8, offsets: I64, max_chars: int, longest: int, label: I32, score: F32
) -> None:
    """Fill in the best label of each document and its score; -1 and 0 for a document without features."""
    hashes, marked = np.empty(longest // 2 + 2, np.int32), np.empty(longest + 2, np.uint32)
    ids, hidden = np.empty(WAITING + t.maxn, np.int32), np.empty(t.rows.shape[1], np.float32)
    out = np.empty(o.labels, np.float32)
    nodes, scores = np.empty(2 * o.labels + 2, np.int32), np.empty(2 * o.labels + 2, np.float32)
    for i in range(len(label)):
        stop = cut(data, offsets[i], offsets[i + 1], max_chars)
        label[i], score[i] = -1, np.float32(0)
        if not hide(t, data, offsets[i], stop, hashes, marked, ids, hidden):
            continue
        if o.loss == HIERARCHICAL:
            best, value, close = best_leaf(o, hidden, nodes, scores, False)
            if close:
                best, value, close = best_leaf(o, hidden, nodes, scores, True)
        else:
            probabilities(o, hidden, out)
            best, value = best_probability(out)
        label[i], score[i] = best, clipped(value)


@njit
def label_scores(
    t: Tables, o: Output, data: U8, offsets: I64, max_chars: int, longest: int, wanted: I64, found: F32
) -> None:
    """Fill in the scores of the wanted labels, (documents, wanted)."""
    hashes, marked = np.empty(longest // 2 + 2, np.int32), np.empty(longest + 2, np.uint32)
    ids, hidden = np.empty(WAITING + t.maxn, np.int32), np.empty(t.rows.shape[1], np.float32)
    out = np.empty(o.labels, np.float32)
    nodes, scores = np.empty(2 * o.labels + 2, np.int32), np.empty(2 * o.labels + 2, np.float32)
    for i in range(len(found)):
        stop = cut(data, offsets[i], offsets[i + 1], max_chars)
        found[i] = np.float32(0)
        if not hide(t, data, offsets[i], stop, hashes, marked, ids, hidden):
            continue
        if o.loss == HIERARCHICAL:
            leaf_scores(o, hidden, out, nodes, scores)
        else:
            probabilities(o, hidden, out)
            for k in range(o.labels):
                out[k] = std_log(np.float64(out[k]))
        for k in range(len(wanted)):
            found[i, k] = clipped(out[wanted[k]])
