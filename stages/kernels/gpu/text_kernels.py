"""Calls of winnow's own CUDA kernels that count what texts are made of: heuristics and scripts.

Guarantees: the integers of the host's kernels. Documents longer than LONGEST bytes are the host's: a thread has one
document, and one that is far longer than the others would be waited for. Memory, on the device: SCRATCH bytes, beside
the tables of Unicode (7 MB).
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from cluster.device import cuda_source
from stages.kernels.dispatch.space import Space
from stages.kernels.gpu.cuda_kernels import FOLDER
from stages.kernels.text import heuristics, scripts
from stages.kernels.text.heuristic_counts import COUNTS
from stages.kernels.text.heuristic_facts import Readings
from stages.kernels.text.known_words import Known

I32 = npt.NDArray[np.int32]
I64 = npt.NDArray[np.int64]
U8 = npt.NDArray[np.uint8]

THREADS = 64  # of a block
LONGEST = 1 << 15  # bytes of a document: a single thread takes about 0.05 s for it, by latency of memory; not measured
SCRATCH = 4 << 30  # bytes at once
SLOTS = 16  # least ones of a table, as in repetition.h


class _Lists(NamedTuple):
    """Lists of stop words as the kernel takes them, the English one last."""

    language: I32
    slots: npt.NDArray[np.uint64]
    bounds: I64
    shortest: I64
    longest: I64


@functools.lru_cache(maxsize=4)
def _characters(place: Space, end_marks: str) -> tuple[Any, Any]:
    """Return classes and lower-case forms of all code points on the device."""
    return place.put(heuristics.classes_with(end_marks)), place.put(heuristics.lowered())


@functools.lru_cache(maxsize=1)
def _scripts(place: Space) -> Any:
    return place.put(scripts.table())


def _lists(known: Known) -> _Lists:
    """Return the lists of stop words of a batch; a document without one is counted by the English one."""
    slots, shortest, longest = heuristics.english_stop_words()
    count = len(known.stop_bounds) - 1
    return _Lists(
        np.where(known.language < 0, np.int32(count), known.language),
        np.concatenate([known.stop_slots, slots]),
        np.append(known.stop_bounds, known.stop_bounds[-1] + len(slots)),
        np.append(known.shortest, shortest),
        np.append(known.longest, longest),
    )


def _room(size: I64, slots: I64) -> I64:
    """Return the bytes of scratch for documents of so many bytes, with so many slots of stop words, (docs,)."""
    table = 2 * (size + 1) + SLOTS
    parts = [(4, size + 1)] * 4 + [(2, size + 1), (8, size + 1), (8, size + 2), (8, table), (4, table)]
    found: I64 = (slots + 63) // 64 * 8 + sum((width * count + 7) // 8 * 8 for width, count in parts)
    return found


def shares(offsets: I64) -> Iterator[tuple[int, int]]:
    """Yield [start, stop) of documents whose scratch fits at once."""
    room = np.cumsum(_room(np.minimum(np.diff(offsets), LONGEST), np.zeros(1, np.int64)))
    start = 0
    while start < len(room):
        before = room[start - 1] if start else 0
        stop = max(start + 1, int(np.searchsorted(room, before + SCRATCH, "right")))
        yield start, stop
        start = stop


def heuristic_counts(place: Space, data: Any, sizes: I64, places: Any, readings: Readings, known: Known) -> I64:
    """Return what is counted of each document, (docs, COUNTS) int64; zeros for those longer than LONGEST.

    Parameters
    ----------
    data, places : (bytes,) uint8 and (docs + 1,) int64 offsets on the device; texts are valid UTF-8.
    sizes : (docs,) int64, bytes of each document, on the host.
    known : of these documents.
    """
    lists = _lists(known)
    order = np.argsort(-sizes, kind="stable")
    order = order[sizes[order] <= LONGEST]
    room = np.concatenate(
        [np.zeros(1, np.int64), np.cumsum(_room(sizes, np.diff(lists.bounds)[lists.language])[order])]
    )
    out = place.put(np.zeros((len(sizes), len(COUNTS)), np.int64))
    first, last = (int(known.bounds[i]) for i in (0, -1))
    given = (known.bounds - first, known.starts[first:last], known.stops[first:last])
    arguments = (
        data,
        places,
        place.put(order),
        np.int64(len(order)),
        *_characters(place, readings.end_marks),
        *(place.put(np.ascontiguousarray(array)) for array in (*lists, *given)),
        np.int32(readings.short_line),
        np.int32(readings.flags),
        place.xp.repeat(place.put(np.zeros(1, np.uint8)), int(room[-1])),
        place.put(room),
        out,
    )
    if len(order):
        _call("heuristic_counts", len(order), arguments)
    return place.get(out)


def script_places(place: Space, data: Any, places: Any) -> U8:
    """Return each document's script as a place in `scripts.NAMES`, (docs,) uint8."""
    docs = places.shape[0] - 1
    out = place.put(np.zeros(docs, np.uint8))
    unknown = len(scripts.NAMES) - 1
    kinds = np.int32(unknown), np.int32(scripts.HANI), np.int32(scripts.JPAN)
    if docs:
        _call("script_places", docs, (data, places, np.int64(docs), _scripts(place), *kinds, out))
    return place.get(out)


def _call(name: str, docs: int, arguments: tuple[Any, ...]) -> None:
    cuda_source.kernel(FOLDER / f"{name}.cu")((-(-docs // THREADS),), (THREADS,), arguments)
