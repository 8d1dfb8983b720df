"""Known pair similarities while survivors are chosen, as a hash table, and the pairs still undecided.

Guarantees: a pair is looked up once; a known answer costs one probe of the table. Memory: about
40 bytes per pair.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numba
import numpy as np
import numpy.typing as npt

I64 = npt.NDArray[np.int64]
U8 = npt.NDArray[np.uint8]
BoolArray = npt.NDArray[np.bool_]
Verdict = Callable[[I64, I64], U8]  # (earlier, later) documents -> 0 not similar, 1 similar, 2 unknown

NO, YES, UNKNOWN, MISSING = 0, 1, 2, 3
_EMPTY = np.int64(-1)


@dataclass(frozen=True, eq=False)
class Result:
    """Survivors of a set of candidates. lost_to: (docs,) representative, -1 where kept; final if nothing is unknown.

    unknown_left, unknown_right: pairs (earlier, later) whose similarity must be computed first.
    open_group: (docs,) whether an unknown pair can still change a document's lost_to.
    """

    lost_to: I64
    unknown_left: I64
    unknown_right: I64
    open_group: BoolArray


class Answers:
    """Answers for pairs so far (NO, YES, UNKNOWN), an open-addressing hash table."""

    def __init__(self, documents: int) -> None:
        self._documents = np.int64(documents)
        self.left = np.empty(0, np.int64)
        self.right = np.empty(0, np.int64)
        self.answer = np.empty(0, np.uint8)
        self._make_room(0)

    def table(self) -> tuple[I64, U8]:
        return self._keys, self._values

    def look_up(self, left: I64, right: I64, verdict: Verdict) -> None:
        """Call `verdict` for new pairs and store its answers."""
        key = np.unique(left * self._documents + right)
        left, right = key // self._documents, key % self._documents
        answer = np.asarray(verdict(left, right), np.uint8)
        self.left = np.concatenate([self.left, left])
        self.right = np.concatenate([self.right, right])
        self.answer = np.concatenate([self.answer, answer])
        if 2 * len(self.left) > len(self._keys):
            self._make_room(4 * len(self.left))
        else:
            _fill(self._keys, self._values, key, answer)

    def _make_room(self, slots: int) -> None:
        size = 16
        while size < slots:
            size *= 2
        self._keys = np.full(size, _EMPTY, np.int64)
        self._values = np.zeros(size, np.uint8)
        _fill(self._keys, self._values, self.left * self._documents + self.right, self.answer)


def result_of(lost_to: I64, answers: Answers, undecided: BoolArray, group: I64) -> Result:
    """Return the result of a choice: undecided documents and the unknown pairs that they wait for."""
    unknown = (answers.answer == UNKNOWN) & undecided[answers.right]
    still = np.zeros(len(group), np.bool_)
    still[group[undecided]] = True
    return Result(lost_to, answers.left[unknown], answers.right[unknown], still[group])


@numba.njit(cache=True, nogil=True, inline="always")
def _slot(key, mask):  # type: ignore[no-untyped-def]
    h = np.uint64(key) * np.uint64(0x9E3779B97F4A7C15)
    return np.int64((h ^ (h >> np.uint64(32))) & np.uint64(mask))


@numba.njit(cache=True, nogil=True)
def _fill(keys, values, new, answer):  # type: ignore[no-untyped-def]
    mask = len(keys) - 1
    for i in range(len(new)):
        at = _slot(new[i], mask)
        while keys[at] != -1:
            at = (at + 1) & mask
        keys[at] = new[i]
        values[at] = answer[i]


@numba.njit(cache=True, nogil=True)
def known(keys, values, key):  # type: ignore[no-untyped-def]
    mask = len(keys) - 1
    at = _slot(key, mask)
    while keys[at] != -1:
        if keys[at] == key:
            return values[at]
        at = (at + 1) & mask
    return np.uint8(3)
