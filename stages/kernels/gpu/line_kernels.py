"""Calls of winnow's own CUDA kernels for line rules and repair: lines, marks of texts to be repaired, pieces of texts.

Guarantees: the integers, marks and bytes of the host's kernels. Documents longer than LONGEST bytes are the host's: a
thread has one document. Memory, on the device: a row of whole numbers for every line, and tables of Unicode (21 MB).
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import numpy.typing as npt

from cluster.device import cuda_source
from stages.kernels.dispatch.space import Space
from stages.kernels.gpu.cuda_kernels import FOLDER
from stages.kernels.text import line_counts, repair_signs, word_tokens

I64 = npt.NDArray[np.int64]
U8 = npt.NDArray[np.uint8]

THREADS = 64  # of a block
LONGEST = 1 << 18  # bytes of a document: not measured
MOST_BLOCKS = 1 << 16  # that copy pieces


@functools.lru_cache(maxsize=1)
def _classes(place: Space) -> Any:
    return place.put(word_tokens.classes())


@functools.lru_cache(maxsize=1)
def _repair_tables(place: Space) -> tuple[Any, ...]:
    return tuple(place.put(table) for table in repair_signs.tables())


def line_rows(place: Space, data: Any, sizes: I64, places: Any) -> I64:
    """Return what is counted in every line, (lines, COLUMNS) int64, of documents of at most LONGEST bytes.

    Parameters
    ----------
    data, places : (bytes,) uint8 and (docs + 1,) int64 offsets on the device; texts are valid UTF-8.
    sizes : (docs,) int64, bytes of each document, on the host. Column text counts from the first of them.
    """
    docs, width = len(sizes), len(line_counts.COLUMNS)
    starts = np.where(sizes <= LONGEST, np.int64(0), np.int64(-1))
    lines = place.put(np.zeros(docs, np.int64))
    given = (data, places, np.int64(docs), _classes(place))
    _call("line_rows", docs, (*given, place.put(starts), np.int32(0), lines, lines))
    many = place.get(lines)
    starts[starts == 0] = (np.cumsum(many) - many)[starts == 0]
    rows = place.xp.repeat(place.put(np.zeros(1, np.int64)), int(many.sum()) * width)
    _call("line_rows", docs, (*given, place.put(starts), np.int32(1), lines, rows))
    return place.get(rows).reshape(-1, width)


def repair_marks(place: Space, data: Any, places: Any, wanted: int) -> npt.NDArray[np.bool_]:
    """Mark the documents that may hold something to repair, (docs,) bool; unmarked where longer than LONGEST."""
    docs = places.shape[0] - 1
    out = place.put(np.zeros(docs, np.uint8))
    given = (data, places, np.int64(docs), np.int64(LONGEST), *_repair_tables(place), np.int32(wanted), out)
    _call("repair_marks", docs, given)
    return place.get(out).astype(np.bool_)


def copied(place: Space, data: Any, starts: I64, places: I64) -> U8:
    """Return pieces of texts one behind the other, as `pieces.copied` does."""
    out = place.xp.repeat(place.put(np.zeros(1, np.uint8)), int(places[-1]))
    given = (data, place.put(starts), place.put(places), np.int64(len(starts)), out)
    if len(starts):
        cuda_source.kernel(FOLDER / "copied.cu")((min(MOST_BLOCKS, len(starts)),), (THREADS,), given)
    return place.get(out)


def _call(name: str, docs: int, arguments: tuple[Any, ...]) -> None:
    if docs:
        cuda_source.kernel(FOLDER / f"{name}.cu")((-(-docs // THREADS),), (THREADS,), arguments)
