"""What a language brings to the measuring of words: its stop words, and words that another tool has found.

Holds the stop words of the languages of one batch, and where the words of its texts in spaceless scripts start and
stop.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

U64 = npt.NDArray[np.uint64]
I64 = npt.NDArray[np.int64]
I32 = npt.NDArray[np.int32]

ENGLISH, UNKNOWN = -1, -2  # the kernel's own eight words; no list of the language is known


class Known(NamedTuple):
    """Arrays of a batch of documents, as the kernel takes them."""

    language: I32  # (documents,) place among the lists of stop words, or ENGLISH or UNKNOWN
    stop_hashes: U64  # hashes of all lists in lower case, each sorted
    stop_bounds: I64  # (lists + 1,)
    shortest: I64  # (lists,) characters of each list's shortest and longest word
    longest: I64
    starts: I64  # code points at which given words start, of all documents
    stops: I64
    bounds: I64  # (documents + 1,) of `starts`; a document without given words is split by the kernel


def nothing_known(documents: int) -> Known:
    """Return what the measuring of English texts needs besides: nothing."""
    none = np.empty(0, np.int64)
    language = np.full(documents, ENGLISH, np.int32)
    bounds = np.zeros(documents + 1, np.int64)
    return Known(language, np.empty(0, np.uint64), np.zeros(1, np.int64), none, none, none, none, bounds)
