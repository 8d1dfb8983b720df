"""fastText inference on a GPU: the device adds up the rows of a text's features, the host judges the sums.

Guarantees: labels and scores have the bits of kernels.py. What takes the time are two CUDA kernels. fasttext_words.cu
finds the rows of every word and n-gram, each by a thread of its own; fasttext_sums.cu adds them up in the host's order.
The output layer, a few thousand products a text, is the host's own code. Memory on the device: the model as arrays, one
batch of texts, and SCRATCH bytes for the rows of their features, or those of one text.
"""

# numba has no types for mypy and knows no difference between Python's and numpy's numbers:
# mypy: disable-error-code="no-any-return, arg-type, return-value, assignment"

from __future__ import annotations

import functools
import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from classifiers.native_fasttext.features import EOS_HASH, EOS_HEAD, Tables
from classifiers.native_fasttext.format import Loaded
from classifiers.native_fasttext.kernels import (
    CLEAR,
    HIERARCHICAL,
    LONG,
    Output,
    best_leaf,
    best_probability,
    clipped,
    from_hidden,
    leaf_scores,
    softmax,
    std_log,
)
from classifiers.native_fasttext.subwords import F32, I32, I64, U8, U64, njit
from cluster.device import cuda_source, turns
from cluster.device.halving import in_parts

WORDS, SUMS = (Path(__file__).parent / "cuda" / f"fasttext_{name}.cu" for name in ("words", "sums"))
MOST_NGRAMS = 16  # longest word n-gram of the kernel
MOST_THREADS = 256
LETTERS = Path(__file__).parent / "cuda" / "has_letters.cu"
THREADS = 64  # of a block, each with a document
THREADS_OF_WORDS = 128  # of a block, which has a document; as many as in fasttext_words.cu
ARRAYS = ("slots", "text", "start", "stop", "present", "row_of")
SCRATCH = 1 << 30  # bytes at once
NEVER = 0xFFFFFFFF  # no word of a text ends its line
UNKNOWN, LABEL = -2, -3  # as in fasttext.h


def fits(loaded: Loaded) -> bool:
    """Tell whether the kernel knows a model of this kind."""
    return loaded.tables.sizes.word_ngrams <= MOST_NGRAMS


def end_of_line(tables: Tables) -> int:
    """Return the row of the word that ends each line; UNKNOWN where there is none, LABEL where it is no word."""
    slots, mask = tables.slots, len(tables.slots) - 1
    at = int(EOS_HASH) & mask
    while slots[at, 0]:
        hash_, entry = divmod(int(slots[at, 0]), 1 << 32)
        if hash_ == EOS_HASH and slots[at, 1] == EOS_HEAD:
            return LABEL if entry > tables.sizes.words else entry - 1
        at = (at + 1) & mask
    return UNKNOWN


def places_of(offsets: I64, max_chars: int) -> I64:
    """Return where the slots of each document begin, (docs + 1,): one for each byte of at most `max_chars` characters.

    >>> places_of(np.array([0, 3, 100]), 2).tolist()
    [0, 4, 13]
    """
    sizes = np.diff(offsets)
    looked_at = np.minimum(sizes, min(4 * max_chars, int(sizes.max(initial=0))))
    return np.concatenate([np.zeros(1, np.int64), np.cumsum(looked_at + 1)])


def shares(places: I64, room: int) -> Iterator[tuple[int, int]]:
    """Yield [start, stop) of documents that take at most SCRATCH bytes, `room` for each slot, or of single ones.

    >>> list(shares(np.array([0, 10, 20, SCRATCH + 1, SCRATCH + 50]), 1))
    [(0, 2), (2, 3), (3, 4)]
    """
    ends = places * room
    start = 0
    while start < len(places) - 1:
        stop = int(np.searchsorted(ends, ends[start] + SCRATCH, "right")) - 1
        yield start, max(stop, start + 1)
        start = max(stop, start + 1)


def block_of(columns: int) -> tuple[int, int]:
    """Return (threads of a block, threads of a document): few columns leave lanes of a warp to other documents.

    >>> [block_of(columns) for columns in (1, 2, 5, 16, 17, 100, 300)]
    [(64, 1), (64, 2), (64, 5), (64, 16), (32, 32), (128, 128), (256, 256)]
    """
    if columns <= 16:
        return THREADS, max(1, columns)
    threads = min(MOST_THREADS, -(-columns // 32) * 32)
    return threads, threads


def rows_by_bucket(present: U64, row_of: I32) -> I32:
    """Return the row of every bucket, 0 of those without one: the kernel looks it up at once.

    >>> rows_by_bucket(np.array([0b1010], np.uint64), np.array([7, 3], np.int32))[:5].tolist()
    [0, 7, 0, 3, 0]
    """
    bits = np.unpackbits(present.view(np.uint8), bitorder="little").astype(np.bool_)
    found = np.zeros(len(bits), np.int32)
    found[bits] = row_of
    return found


class DeviceTexts(Protocol):
    """Texts that lie on this process's device, one behind the other."""

    offsets: I64  # (docs + 1,) from 0, on the host

    def __len__(self) -> int: ...

    def bytes(self) -> Any:
        """Return their bytes, an array of the device."""

    def host(self, start: int = 0, stop: int | None = None) -> pa.Array:
        """Return documents [start, stop) as an Arrow array."""

    def take(self, rows: I64) -> DeviceTexts:
        """Return these documents."""


@functools.cache
def letters_table() -> U8:
    """Return which code points are letters as Arrow's patterns know them, a bit each, (139264,) uint8."""
    points = [chr(point) if not 0xD800 <= point < 0xE000 else " " for point in range(sys.maxunicode + 1)]
    found = pc.match_substring_regex(pa.array(points), r"\pL").to_numpy(zero_copy_only=False)
    return np.packbits(found, bitorder="little")


@functools.cache
def _letters() -> Any:
    return importlib.import_module("cupy").asarray(letters_table())


def has_letters(texts: DeviceTexts) -> npt.NDArray[np.bool_]:
    """Mark the texts that hold a letter, (texts,) bool."""
    cupy: Any = importlib.import_module("cupy")
    out = cupy.empty(len(texts), np.uint8)
    if len(texts):
        given = texts.bytes(), cupy.asarray(texts.offsets), np.int64(len(texts)), _letters(), out
        with turns.taken():
            cuda_source.kernel(LETTERS)((-(-len(texts) // THREADS),), (THREADS,), given)
    found: npt.NDArray[np.bool_] = cupy.asnumpy(out).astype(np.bool_)
    return found


class DeviceModel:
    """A model's arrays on this process's device."""

    def __init__(self, loaded: Loaded) -> None:
        self._cupy: Any = importlib.import_module("cupy")
        tables: Tables = loaded.tables
        self._sizes = tables.sizes
        z = tables.sizes
        lengths = max(0, z.maxn - max(z.minn, 1) + 1)
        self._hashed = np.int32(1 + lengths if z.word_ngrams > 1 and z.bucket > 0 else 0)  # its place in a slot
        self._stride = 1 + lengths + int(self._hashed > 0)  # whole numbers of a slot, as fasttext.h says
        self._end = np.int32(end_of_line(tables))
        self._output = loaded.output
        self._projected = len(tables.projected) > 0
        if tables.sizes.present_mask:
            tables = tables._replace(row_of=rows_by_bucket(tables.present, tables.row_of))
        slots, text, start, stop, present, row_of = (self._put(getattr(tables, name)) for name in ARRAYS)
        self._words = slots, np.int64(len(slots) - 1), text, start, stop
        ngrams = np.int32(z.minn), np.int32(z.maxn), np.uint64(z.bucket)
        self._buckets = (present, row_of, *ngrams, np.int64(z.words), np.int32(z.pruned), np.int64(z.present_mask))
        self._matrix = self._put(tables.projected if self._projected else tables.rows)

    def _put(self, array: Any) -> Any:
        """Return an array on the device; one that lies there stays as it is."""
        return self._cupy.asarray(np.ascontiguousarray(array) if isinstance(array, np.ndarray) else array)

    def best(self, data: U8, offsets: I64, max_chars: int, label: I32, score: F32) -> I64:
        """Fill in labels and scores as `kernels.best_labels` does; return the texts that it must judge."""
        means, counts = self._means(data, offsets, max_chars)
        again = np.zeros(len(label), np.bool_)
        _best_of_means(self._output, self._projected, means, counts, label, score, again)
        return np.flatnonzero(again)

    def scores(self, data: U8, offsets: I64, max_chars: int, wanted: I64, found: F32) -> I64:
        """Fill in scores as `kernels.label_scores` does; return the texts that it must judge."""
        means, counts = self._means(data, offsets, max_chars)
        again = np.zeros(len(found), np.bool_)
        _scores_of_means(self._output, self._projected, means, counts, wanted, found, again)
        return np.flatnonzero(again)

    def _means(self, data: U8, offsets: I64, max_chars: int) -> tuple[F32, I32]:
        """Return the mean of the rows (or projected rows) of each text's features, and their number."""

        columns = self._matrix.shape[1]
        parts: list[tuple[F32, I32]] = []
        for first, last in shares(places_of(offsets, max_chars), self._stride * 4):

            def work(start: int, stop: int, first: int = first) -> list[tuple[F32, I32]]:
                with turns.taken():
                    return [self._launched(data, offsets[first + start : first + stop + 1], max_chars)]

            parts += in_parts(work, last - first)
        means, counts = zip(*parts, strict=True) if parts else ((), ())
        return (
            np.concatenate([np.empty((0, columns), np.float32), *means]),
            np.concatenate([np.empty(0, np.int32), *counts]),
        )

    def _launched(self, data: U8, offsets: I64, max_chars: int) -> tuple[F32, I32]:
        cupy, columns, docs = self._cupy, self._matrix.shape[1], len(offsets) - 1
        first, last = int(offsets[0]), int(offsets[-1])
        means, counts = cupy.empty((docs, columns), np.float32), cupy.empty(docs, np.int32)
        slots = places_of(offsets, max_chars)
        features = cupy.empty((int(slots[-1]), self._stride), np.int32)
        stops, sizes = self._put(np.full(docs, NEVER, np.uint32)), cupy.empty(docs, np.int64)
        places, most = self._put(slots), np.int64(min(max_chars, last - first))
        texts = self._put(data[first:last]), self._put(offsets - first), places, most
        shape = self._hashed, np.int32(self._stride), features, stops, sizes
        cuda_source.kernel(WORDS)((docs,), (THREADS_OF_WORDS,), (*texts, *self._words, *self._buckets, *shape))
        n = np.int32(self._sizes.word_ngrams)
        rows = self._end, self._matrix, np.int32(columns), np.int32(self._projected)
        order = self._put(np.argsort(-np.diff(slots), kind="stable"))
        threads, lanes = block_of(columns)
        given = (places, *self._buckets, n, *shape, *rows, order, np.int64(docs), np.int32(lanes), means, counts)
        cuda_source.kernel(SUMS)((-(-docs // (threads // lanes)),), (threads,), given)
        return cupy.asnumpy(means), cupy.asnumpy(counts)


@njit
def _probabilities(o: Output, projected: bool, mean: F32, count: int, out: F32) -> bool:
    """Compute the probability of every label; return False where kernels.probabilities would take its long way."""
    if projected:
        out[:] = mean
        softmax(out)
        return count <= LONG or out.max() > CLEAR
    from_hidden(o, mean, out)
    return True


@njit
def _best_of_means(
    o: Output, projected: bool, means: F32, counts: I32, label: I32, score: F32, again: npt.NDArray[np.bool_]
) -> None:
    """Judge texts by their means; `again` marks those that the means do not settle."""
    out = np.empty(o.labels, np.float32)
    nodes, scores = np.empty(2 * o.labels + 2, np.int32), np.empty(2 * o.labels + 2, np.float32)
    for i in range(len(label)):
        label[i], score[i] = -1, np.float32(0)
        if counts[i] == 0:
            continue
        if o.loss == HIERARCHICAL:
            best, value, close = best_leaf(o, means[i], nodes, scores, False)
            if close:
                best, value, close = best_leaf(o, means[i], nodes, scores, True)
        else:
            again[i] = not _probabilities(o, projected, means[i], counts[i], out)
            best, value = best_probability(out)
        label[i], score[i] = best, clipped(value)


@njit
def _scores_of_means(
    o: Output, projected: bool, means: F32, counts: I32, wanted: I64, found: F32, again: npt.NDArray[np.bool_]
) -> None:
    """Fill in the scores of the wanted labels by means; `again` marks texts that the means do not settle."""
    out = np.empty(o.labels, np.float32)
    nodes, scores = np.empty(2 * o.labels + 2, np.int32), np.empty(2 * o.labels + 2, np.float32)
    for i in range(len(found)):
        found[i] = np.float32(0)
        if counts[i] == 0:
            continue
        if o.loss == HIERARCHICAL:
            leaf_scores(o, means[i], out, nodes, scores)
        else:
            again[i] = not _probabilities(o, projected, means[i], counts[i], out)
            for k in range(o.labels):
                out[k] = std_log(np.float64(out[k]))
        for k in range(len(wanted)):
            found[i, k] = clipped(out[wanted[k]])
