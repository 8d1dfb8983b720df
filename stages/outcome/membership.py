"""Which cell of a mix, and which of its levels, each document of a bundle belongs to.

Guarantees: follows from the document's own fields and from the few numbers in `Settled`; a document belongs to
the first cell that it meets. Memory: the facts of one bundle.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from stages.core.arrays import BoolArray, FloatArray, array
from stages.outcome.cells import Cell, Combined, Values
from stages.outcome.fields import find_field, values_of
from stages.outcome.mixing import Mix
from stages.outcome.verdicts import Outcome

I64 = npt.NDArray[np.int64]
I16 = npt.NDArray[np.int16]


@dataclass(frozen=True)
class Settled:
    """What the documents of a run say of a mix's cells; small, so that every task is given it.

    ranks: values of a field at even steps of rank, ascending. limits: cell -> field -> quantile -> value.
    steps: cell -> share of its tokens -> value.
    """

    ranks: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    limits: Mapping[str, Mapping[str, Mapping[float, float]]] = field(default_factory=dict)
    steps: Mapping[str, Mapping[float, float]] = field(default_factory=dict)


class Documents:
    """Some kept rows of one bundle with the fields that are asked for, each read once."""

    def __init__(self, mix: Mix, settled: Settled, position: int, found: Outcome, rows: I64) -> None:
        self.rows = rows
        self._mix, self._settled = mix, settled
        self._position, self._found = position, found
        self._combined = {score.name: score for score in mix.scores}
        self._values: dict[str, Values] = {}

    def __len__(self) -> int:
        return len(self.rows)

    def hashes(self) -> npt.NDArray[np.uint64]:
        """Return the content hash of each document, (rows,)."""
        return array(self._found.view.read, "h1").astype(np.uint64)[self.rows]

    def values(self, name: str) -> Values:
        """Return the values of a field or a combined score."""
        if name not in self._values:
            combined = self._combined.get(name)
            self._values[name] = self._combine(combined) if combined else self._read(name)
        return self._values[name]

    def number(self, name: str) -> FloatArray:
        """Return the numbers of a field, NaN where it has none."""
        found = self.values(name).number
        return np.full(len(self), np.nan) if found is None else found

    def _read(self, name: str) -> Values:
        field_ = find_field(name, self._found.view.run.stages)
        return values_of(field_, self._position, self._found, self.rows)

    def _combine(self, score: Combined) -> Values:
        parts = [self.number(name) for name in score.of]
        if score.how == "rank_mean":
            ranks = self._settled.ranks
            parts = [rank_of(part, ranks.get(name, ())) for part, name in zip(parts, score.of, strict=True)]
        stacked = np.stack(parts)
        if score.how == "max":
            return Values(number=np.fmax.reduce(stacked))
        there = ~np.isnan(stacked)
        count = there.sum(axis=0)
        total = np.where(there, stacked, 0.0).sum(axis=0)
        return Values(number=np.where(count > 0, total / np.maximum(count, 1), np.nan))

    def meets(self, cell: Cell) -> BoolArray:
        """Mark the documents that meet the conditions of a cell, quantiles left aside, (rows,) bool."""
        inside = np.ones(len(self), np.bool_)
        for condition in cell.where:
            if inside.any():
                inside &= condition.holds(self.values(condition.field))
        return inside

    def within(self, cell: Cell) -> BoolArray:
        """Mark the documents that meet all conditions of a cell, (rows,) bool."""
        inside = self.meets(cell)
        limits = self._settled.limits.get(cell.name, {})
        for condition in cell.where:
            if condition.quantiles and inside.any():
                inside &= condition.within(self.values(condition.field), limits.get(condition.field, {}))
        return inside

    def cells(self) -> I16:
        """Return the place of each document's cell, -1 where it has none, (rows,)."""
        found = np.full(len(self), -1, np.int16)
        for place, cell in enumerate(self._mix.cells):
            if not (found < 0).any():
                break
            found[(found < 0) & self.within(cell)] = place
        return found

    def levels(self, cells: I16) -> I16:
        """Return the level of each document within its cell, (rows,)."""
        found = np.zeros(len(self), np.int16)
        for place, cell in enumerate(self._mix.cells):
            mine = cells == place
            if cell.upsample and mine.any():
                values = Values(number=self.number(cell.upsample.by))
                found[mine] = cell.upsample.level(values, self._settled.steps.get(cell.name, {}))[mine]
        return found


def rank_of(values: FloatArray, steps: tuple[float, ...]) -> FloatArray:
    """Return the share of steps that each value is not below, in [0, 1]; NaN stays NaN, (rows,)."""
    found = np.searchsorted(np.array(steps, np.float64), values, side="right") / max(1, len(steps))
    return np.where(np.isnan(values), np.nan, found)
