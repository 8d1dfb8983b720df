"""What a search for similar kept documents remembers: of each seed how many it found, and a random part of them.

Guarantees: memory is O(`most`), whatever is found: a seed holds `most` pairs at most, those with the smallest marks (a
hash of both documents), and seeds that can no longer be taken hold none. The result depends on what was found alone,
not on the order or the portions in which it came.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from stages.kernels.hashes.hashing import mix64

I64 = npt.NDArray[np.int64]
FEW_SEEDS = 10  # with fewer seeds than this whose pairs are all taken, more seeds are taken with a part of theirs
LEAST = 10  # pairs that a seed may have, however few are asked for
HELD = 16  # times `most`: pairs held at which the seeds are looked through; those left hold 11 times it at most
FOUND = np.dtype([("mark", np.uint64), ("other", np.int64), ("estimate", np.float64), ("shared", np.bool_)])


@dataclass
class Found:
    """The pairs of one seed. count: of all; rows: FOUND, those held."""

    count: int = 0
    rows: npt.NDArray[np.void] = field(default_factory=lambda: np.empty(0, FOUND))


class Neighbours:
    """Pairs of seeds with other documents, of which `most` in all are to be compared by text."""

    def __init__(self, seeds: I64, most: int, seed: int) -> None:
        self.most = most
        self.part = min(most, max(LEAST, most // FEW_SEEDS))  # of a seed that has more, where few seeds fit whole
        self._seed, self._held = seed, 0
        self._docs = seeds
        self._found = [Found() for _ in range(len(seeds))]

    @property
    def open(self) -> int:
        """Return how many seeds, the first ones, may still be taken."""
        return len(self._found)

    def smallest(self, number: int, others: I64) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.intp]]:
        """Return (marks, places) of those of `others` that a seed may hold: the `most` smallest marks."""
        mark = mix64(others.astype(np.uint64), (self._seed + 2) ^ int(self._docs[number]))
        places = np.arange(len(others))
        if len(others) > self.most:
            places = np.argpartition(mark, self.most)[: self.most]
        return mark[places], places

    def add(self, number: int, count: int, rows: npt.NDArray[np.void]) -> None:
        """Add `count` pairs of a seed, of which `rows` (FOUND) may be held."""
        found, before = self._found[number], len(self._found[number].rows)
        found.count += count
        found.rows = np.concatenate([found.rows, rows])
        if len(found.rows) > self.most:
            found.rows = found.rows[np.argpartition(found.rows["mark"], self.most)[: self.most]]
        self._held += len(found.rows) - before
        if self._held > HELD * self.most:
            self.shrink()

    def shrink(self) -> None:
        """Forget the seeds that cannot be taken any more: those before them have too many pairs already."""
        del self._found[_fitting([min(f.count, self.part) for f in self._found], self.most) :]
        self._held = sum(len(f.rows) for f in self._found)

    def taken(self) -> Iterator[tuple[int, Found]]:
        """Yield (doc_id, pairs) of the seeds taken, the pairs by their other document.

        These are the first seeds whose pairs together are at most `most`; where they are fewer than FEW_SEEDS, and
        there are more, the first ones that fit with `part` pairs of each.
        """
        self.shrink()
        whole = _fitting([f.count for f in self._found], self.most)
        cut = whole < min(FEW_SEEDS, len(self._docs))
        for doc, found in zip(self._docs.tolist(), self._found[: None if cut else whole], strict=False):
            rows = np.sort(found.rows, order="mark")[: self.part if cut else None]
            yield doc, Found(found.count, np.sort(rows, order="other"))


def _fitting(counts: list[int], most: int) -> int:
    """Return how many of the first counts together are at most `most`.

    >>> _fitting([3, 0, 4, 1], 7), _fitting([8], 7)
    (3, 0)
    """
    return int(np.searchsorted(np.cumsum(np.array(counts, np.int64)), most, side="right"))
