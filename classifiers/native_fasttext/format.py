"""The binary format of fastText models (.bin and .ftz, versions 11 and 12) as arrays.

Guarantees: reads every supervised model the fasttext package writes, quantised or not, pruned or not; what it
does not know is an `Unsupported` error, never a guess. Holds the model; quantised matrices are expanded to
float32, which adds up in the same bits.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np

from classifiers.native_fasttext import features, structure
from classifiers.native_fasttext.features import Tables
from classifiers.native_fasttext.kernels import HIERARCHICAL, NEGATIVE, ONE_VS_ALL, SOFTMAX, Output
from classifiers.native_fasttext.structure import ENTRY_BYTES
from classifiers.native_fasttext.subwords import F32, I32, I64, U8, Sizes

MAGIC = 793712314
SUPERVISED = 3
CODES = 256  # centroids of a product quantiser's part
FEW_ENTRIES = 20_000  # of a dictionary: read in less time than it takes to load a kernel
FEW_LABELS = 8  # up to so many, rows are projected on the labels
BLOCK = 1 << 16
LARGEST_EXPANDED = 4 << 30  # bytes of float32 that a quantised matrix may become


class Unsupported(ValueError):
    """The file is no fastText model, one this reader does not know, or not whole."""


class TooLarge(Unsupported):
    """The model is whole, but too large to expand: the fasttext package can use it."""


class Broken(Unsupported):
    """The file is cut short or contradicts itself: whoever loads it gets answers that mean nothing."""


@dataclass(frozen=True, eq=False)
class Loaded:
    """A model: labels in fastText's order, tables for the input, the output layer."""

    labels: tuple[str, ...]
    tables: Tables
    output: Output


@dataclass(frozen=True, kw_only=True)
class _Arguments:
    dim: int
    word_ngrams: int
    loss: int
    bucket: int
    minn: int
    maxn: int


@dataclass(frozen=True, eq=False)
class _Dictionary:
    words: int
    text: U8
    start: I64
    stop: I64
    counts: I64  # of the labels
    labels: tuple[str, ...]
    pruned: I32 | None  # (pairs, 2): bucket, position


def read(path: str) -> Loaded:
    """Return the model at `path`. Raises Unsupported."""
    with open(path, "rb") as file:
        try:
            arguments = _read_arguments(file)
            dictionary = _read_dictionary(file, arguments.bucket)
            structure.check_matrices(file, _sizes_of(arguments, dictionary))
            rows, norms = _read_matrix(file, quantised := _flag(file), 0)
            weights, scale = _read_matrix(file, _flag(file) and quantised, 1)
        except Unsupported:
            raise
        except struct.error as error:
            raise Broken("the file is cut short") from error
        except (ValueError, IndexError, MemoryError) as error:
            raise Broken(str(error) or type(error).__name__) from error
    _check_finite(rows, norms, weights, scale)
    if norms is not None:
        rows *= norms[:, None]
    output = _output(arguments, dictionary, weights, scale)
    few = output.loss == SOFTMAX and output.labels <= min(FEW_LABELS, arguments.dim // 2)
    projected = _project(rows, output) if few else np.empty((0, output.labels), np.float32)
    return Loaded(dictionary.labels, _tables(arguments, dictionary, rows, projected), output)


def read_labels(path: str) -> tuple[str, ...]:
    """Return the labels of the model at `path` without reading its matrices. Raises Unsupported."""
    with open(path, "rb") as file:
        try:
            return _read_dictionary(file, _read_arguments(file).bucket).labels
        except Unsupported:
            raise
        except struct.error as error:
            raise Broken("the file is cut short") from error
        except (ValueError, IndexError, MemoryError) as error:
            raise Broken(str(error) or type(error).__name__) from error


def _project(rows: F32, output: Output) -> F32:
    """Multiply the input rows with the output layer once, since the mean of products is the product's mean.

    A document then costs a few bytes per feature instead of a row of `dim` floats. Only for softmax: the
    steps of the other losses' table would turn a difference in the last bit into one of 0.008.
    """
    weights = output.weights.astype(np.float64) * output.scale
    found = np.empty((len(rows), output.labels), np.float32)
    for start in range(0, len(rows), BLOCK):
        found[start : start + BLOCK] = rows[start : start + BLOCK].astype(np.float64) @ weights
    return found


def _sizes_of(arguments: _Arguments, dictionary: _Dictionary) -> structure.Sizes:
    return structure.Sizes(
        dim=arguments.dim,
        word_ngrams=arguments.word_ngrams,
        bucket=arguments.bucket,
        minn=arguments.minn,
        maxn=arguments.maxn,
        words=dictionary.words,
        labels=len(dictionary.labels),
        pruned=-1 if dictionary.pruned is None else len(dictionary.pruned),
    )


def _check_finite(*arrays: F32 | None) -> None:
    for array in arrays:
        flat = np.empty(0, np.float32) if array is None else array.reshape(-1)
        for start in range(0, len(flat), 1 << 22):
            if not np.isfinite(flat[start : start + (1 << 22)]).all():
                raise Broken("its matrices hold numbers that are not finite")


def _unpack(file: BinaryIO, form: str) -> tuple[int, ...]:
    return struct.unpack("<" + form, file.read(struct.calcsize("<" + form)))


def _flag(file: BinaryIO) -> bool:
    return _unpack(file, "B")[0] != 0


def _array(file: BinaryIO, kind: str, count: int) -> np.ndarray:
    found = np.fromfile(file, kind, count)
    if len(found) != count:
        raise Broken("the file is cut short")
    return found


def _read_arguments(file: BinaryIO) -> _Arguments:
    magic, version = _unpack(file, "ii")
    if magic != MAGIC or version not in (11, 12):
        raise Unsupported("it does not start like one of version 11 or 12")
    dim, _, _, _, _, word_ngrams, loss, model, bucket, minn, maxn, _ = _unpack(file, "12i")
    file.read(8)  # sampling threshold
    if model != SUPERVISED:
        raise Unsupported("it holds word vectors, no classifier")
    if loss not in (HIERARCHICAL, NEGATIVE, SOFTMAX, ONE_VS_ALL):
        raise Unsupported(f"its loss has number {loss}")
    structure.check_arguments({"dim": dim, "word_ngrams": word_ngrams, "bucket": bucket, "minn": minn, "maxn": maxn})
    if version == 11:
        maxn = 0  # supervised models of that version have no character n-grams
    return _Arguments(dim=dim, word_ngrams=word_ngrams, loss=loss, bucket=bucket, minn=minn, maxn=maxn)


def _check_pruned(pairs: I32, bucket: int) -> None:
    """Raise Unsupported unless the pairs number some of the buckets from 0 on, each once."""
    inside = pairs.min() >= 0 and pairs[:, 0].max() < bucket and pairs[:, 1].max() < len(pairs)
    if not inside or len(np.unique(pairs[:, 0])) < len(pairs) or len(np.unique(pairs[:, 1])) < len(pairs):
        raise Broken("its list of pruned buckets contradicts itself")


def _read_dictionary(file: BinaryIO, bucket: int) -> _Dictionary:
    size, words, labels, _, pruned = _unpack(file, "iiiqq")
    structure.check_dictionary(file, size, words, labels, pruned)
    start, stop, counts, types, text = _read_entries(file, size)
    if types[:words].any() or not (types[words:] == 1).all():
        raise Broken("its dictionary does not list words before labels")
    names = tuple(bytes(text[start[i] : stop[i]]).decode("utf-8", "replace") for i in range(words, size))
    pairs = _array(file, "<i4", 2 * pruned).reshape(-1, 2) if pruned >= 0 else None
    if len(set(names)) < labels or counts.min(initial=0) < 0:
        raise Broken("its dictionary names a label twice, or counts below zero")
    if pairs is not None and len(pairs):
        _check_pruned(pairs, bucket)
    return _Dictionary(words, text, start, stop, counts[words:], names, pairs)


def _read_entries(file: BinaryIO, size: int) -> tuple[I64, I64, I64, U8, U8]:
    """Return starts, stops, counts, types of the entries and their bytes; the file is then behind them."""
    begin, guess = file.tell(), 64 * size
    while True:  # entries have no length field: read on until all are there
        file.seek(begin)
        data = np.frombuffer(file.read(guess), np.uint8)
        parse = _parse_few if size <= FEW_ENTRIES else features.parse_entries
        start, stop, counts, types, end = parse(data, size)
        if end >= 0:
            break
        if len(data) < guess:
            raise Broken("the file is cut short inside its dictionary")
        guess *= 2
    file.seek(begin + end)
    return start, stop, counts, types, data[:end].copy()


def _parse_few(data: U8, entries: int) -> tuple[I64, I64, I64, U8, int]:
    """Return what `features.parse_entries` returns, sooner than that is loaded where entries are few."""
    text, at = data.tobytes(), 0
    starts, stops = np.empty(entries, np.int64), np.empty(entries, np.int64)
    counts, types = np.zeros(entries, np.int64), np.empty(entries, np.uint8)
    for i in range(entries):
        starts[i], zero = at, text.find(b"\0", at)
        if zero < 0 or zero + ENTRY_BYTES > len(text):
            return starts, stops, counts, types, -1
        stops[i], types[i] = zero, text[zero + 9]
        counts[i] = int.from_bytes(text[zero + 1 : zero + 9], "little", signed=True)
        at = zero + ENTRY_BYTES
    return starts, stops, counts, types, at


def _read_matrix(file: BinaryIO, quantised: bool, axis: int) -> tuple[F32, F32 | None]:
    """Return (rows, norms): float32 (rows, dimensions), and (rows,) where lengths are kept apart."""
    if not quantised:
        rows, columns = _unpack(file, "qq")
        return _array(file, "<f4", rows * columns).reshape(rows, columns), None
    has_norms = _flag(file)
    rows, columns = _unpack(file, "qq")
    codes = _array(file, "u1", _unpack(file, "i")[0])
    if rows * columns * 4 > LARGEST_EXPANDED:
        raise TooLarge(f"its quantised matrix of {rows:,} x {columns} is too large to expand")
    matrix = _expand(file, codes, rows)
    if not has_norms:
        return matrix, None
    norm_codes = _array(file, "u1", rows)
    return matrix, _expand(file, norm_codes, rows)[:, 0]


def _expand(file: BinaryIO, codes: U8, rows: int) -> F32:
    """Read a product quantiser and return what the codes stand for, (rows, dimensions)."""
    dim, parts, width, last = _unpack(file, "4i")
    centroids = _array(file, "<f4", dim * CODES)
    codes = codes.reshape(rows, parts)
    found = np.empty((rows, dim), np.float32)
    for part in range(parts):
        size = last if part == parts - 1 else width
        table = centroids[part * CODES * width :][: CODES * size].reshape(CODES, size)
        found[:, part * width : part * width + size] = table[codes[:, part]]
    return found


def _tables(arguments: _Arguments, d: _Dictionary, rows: F32, projected: F32) -> Tables:
    size = 1 << max(4, int(2 * len(d.start)).bit_length())
    slots = np.zeros((size, 2), np.uint64)
    features.fill_slots(d.text, d.start, d.stop, slots)
    some = d.pruned is not None and len(d.pruned) > 0
    present, row_of = np.full(1, 0 if d.pruned is not None else 2**64 - 1, np.uint64), np.zeros(1, np.int32)
    rank = np.zeros(len(present), np.int32)
    if d.pruned is not None and some:
        bits = np.zeros((arguments.bucket + 64) // 64 * 64, np.bool_)
        every = np.zeros(len(bits), np.int32)
        bits[d.pruned[:, 0]], every[d.pruned[:, 0]] = True, d.pruned[:, 1]
        present = np.packbits(bits, bitorder="little").view(np.uint64)
        counts = np.cumsum(bits.reshape(-1, 64).sum(axis=1), dtype=np.int64)
        rank, row_of = np.concatenate([[0], counts[:-1]]).astype(np.int32), every[bits]
    tables = Tables(
        sizes=sizes(
            minn=arguments.minn,
            maxn=arguments.maxn,
            bucket=arguments.bucket,
            word_ngrams=arguments.word_ngrams,
            words=d.words,
            kept=None if d.pruned is None else len(d.pruned),
        ),
        slots=slots,
        text=d.text,
        start=d.start,
        stop=d.stop,
        sub_start=np.zeros(d.words + 1, np.int64),
        sub_ids=np.zeros(0, np.int32),
        present=present,
        rank=rank,
        row_of=row_of,
        rows=rows,
        projected=projected,
    )
    return _with_features(tables)


def sizes(*, minn: int, maxn: int, bucket: int, word_ngrams: int, words: int, kept: int | None) -> Sizes:
    """Return the numbers of a model; `kept` is how many buckets have a row, None where all have."""
    bits = max(bucket, 1).bit_length()
    return Sizes(
        minn=minn,
        maxn=maxn,
        bucket=bucket,
        reciprocal=np.uint64(min((1 << 64) // max(bucket, 1), (1 << 64) - 1)),
        factor=np.uint64(min((1 << 31 + bits) // max(bucket, 1), (1 << 32) - 1)),
        shift=np.uint64(31 + bits),
        word_ngrams=word_ngrams,
        words=words,
        present_mask=-1 if kept else 0,
        pruned=bool(kept),
    )


def _with_features(tables: Tables) -> Tables:
    longest = int((tables.stop - tables.start).max(initial=0)) + 2
    marked = np.empty(longest, np.uint32)
    ids = np.empty(features.most_features(tables.sizes, longest), np.int32)
    sub_start = np.zeros(tables.sizes.words + 1, np.int64)
    features.count_features(tables, marked, ids, sub_start)
    sub_ids = np.empty(int(sub_start[-1]), np.int32)
    features.fill_features(tables, marked, ids, sub_start, sub_ids)
    return tables._replace(sub_start=sub_start, sub_ids=sub_ids)


def _output(arguments: _Arguments, d: _Dictionary, weights: F32, scale: F32 | None) -> Output:
    left, right = _tree(d.counts) if arguments.loss == HIERARCHICAL else (_none(), _none())
    grid = np.arange(513, dtype=np.float32) * np.float32(16) / np.float32(512) - np.float32(8)
    return Output(
        loss=arguments.loss,
        labels=len(d.labels),
        weights=np.ascontiguousarray(weights.T, np.float32),
        scale=np.ones(len(weights), np.float32) if scale is None else np.ascontiguousarray(scale, np.float32),
        left=left,
        right=right,
        sigmoid=(1 / (1 + np.exp(-grid.astype(np.float64)))).astype(np.float32),
    )


def _none() -> I32:
    return np.full(1, -1, np.int32)


def _tree(counts: I64) -> tuple[I32, I32]:
    """Return the children of the Huffman tree over the labels, (2 * labels - 1,) each, leaves first.

    Labels come most frequent first. Nodes are joined as fastText joins them, ties included.
    """
    labels = len(counts)
    total = [*counts.tolist(), *[10**15] * (labels - 1)]
    left, right = np.full(2 * labels - 1, -1, np.int32), np.full(2 * labels - 1, -1, np.int32)
    leaf, node = labels - 1, labels
    for new in range(labels, 2 * labels - 1):
        pair = []
        for _ in range(2):
            if leaf >= 0 and total[leaf] < total[node]:
                pair.append(leaf)
                leaf -= 1
            else:
                pair.append(node)
                node += 1
        left[new], right[new] = pair
        total[new] = total[pair[0]] + total[pair[1]]
    return left, right
