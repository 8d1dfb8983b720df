"""What a language brings to the measuring of words: its stop words, and words that another tool has found.

Holds the stop words of the languages of one batch, and where the words of its texts in spaceless scripts start and
stop.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from stages.kernels.text.repetition import scalar_hash

U64 = npt.NDArray[np.uint64]
I64 = npt.NDArray[np.int64]
I32 = npt.NDArray[np.int32]

ENGLISH, UNKNOWN = -1, -2  # the kernel's own eight words; no list of the language is known


class Known(NamedTuple):
    """Arrays of a batch of documents, as the kernel takes them."""

    language: I32  # (documents,) place among the lists of stop words, or ENGLISH or UNKNOWN
    stop_slots: U64  # one table after the other, each as `hash_table` makes it of a list in lower case
    stop_bounds: I64  # (lists + 1,) of `stop_slots`
    shortest: I64  # (lists,) characters of each list's shortest and longest word
    longest: I64
    starts: I64  # code points at which given words start, of all documents
    stops: I64
    bounds: I64  # (documents + 1,) of `starts`; a document without given words is split by the kernel


def hash_table(words: Iterable[str]) -> U64:
    """Return the hashes of words by open addressing, a power of two of slots, at most a quarter of them taken."""
    hashes = {scalar_hash(word) for word in words}
    size = 16
    while size < 4 * len(hashes):
        size *= 2
    slots = [0] * size
    for h in sorted(hashes):
        slot = h % size
        while slots[slot]:
            slot = (slot + 1) % size
        slots[slot] = h
    return np.array(slots, np.uint64)


def nothing_known(documents: int) -> Known:
    """Return what the measuring of English texts needs besides: nothing."""
    none = np.empty(0, np.int64)
    language = np.full(documents, ENGLISH, np.int32)
    bounds = np.zeros(documents + 1, np.int64)
    return Known(language, np.empty(0, np.uint64), np.zeros(1, np.int64), none, none, none, none, bounds)


def known_part(known: Known, start: int, stop: int) -> Known:
    """Return what is known of documents [start, stop); nothing is copied."""
    return known._replace(language=known.language[start:stop], bounds=known.bounds[start : stop + 1])
