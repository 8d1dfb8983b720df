"""The draw of a mix: how often each document is in it, from its cell, its level and the copies of its text.

Guarantees: follows from facts and a few numbers, so ledger and mix agree; held-out documents and those of
excluded mixes are in none. Memory: the facts of one bundle.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from stages.core.arrays import BoolArray, array
from stages.core.run import Run
from stages.outcome import copy_numbers
from stages.outcome.holdout import held_out
from stages.outcome.membership import Documents, Settled
from stages.outcome.mixing import Mix, copies
from stages.outcome.verdicts import Outcome

I16 = npt.NDArray[np.int16]
I32 = npt.NDArray[np.int32]


@dataclass(frozen=True, kw_only=True)
class Draw:
    """All that a task needs to know of one mix.

    epochs : of each cell, or dataset where there are no cells, at each of its levels. excluded : draws of the mixes of
    which no document is taken. numbered : address of the copy numbers; empty where none are needed.
    """

    mix: Mix
    epochs: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    settled: Settled = field(default_factory=Settled)
    excluded: tuple[Draw, ...] = ()
    numbered: str = ""

    def names(self, run: Run) -> list[str]:
        """Return the names of its cells, or of the datasets where there are none, in the order of their codes."""
        return [cell.name for cell in self.mix.cells] or [d.name for d in run.datasets]

    def address(self) -> tuple[object, ...]:
        """Return what the ledger's address is made of; of a plain mix by datasets as it was before there were cells."""
        if self.mix.cells or self.numbered or self.mix.name:
            return (self.values(),)
        return self.mix.values(), {name: epochs[0] for name, epochs in self.epochs.items()}

    def values(self) -> dict[str, object]:
        """Return what digests are made of."""
        found: dict[str, object] = {"mix": self.mix.values(), "epochs": dict(self.epochs)}
        if self.mix.cells:
            found["settled"] = self.settled
        return {**found, "numbered": self.numbered} if self.numbered else found


def draw_by_dataset(mix: Mix, epochs: Mapping[str, float]) -> Draw:
    """Return the draw of a mix by datasets, each text of which is there once."""
    return Draw(mix=mix, epochs={name: (number,) for name, number in epochs.items()})


@dataclass(frozen=True, eq=False)
class Drawn:
    """Of one bundle, (rows,) each: copies in the mix, cell (-1: none), whether a row is held out."""

    number: I32
    cell: I16
    held: BoolArray


def drawn(run: Run, draw: Draw, position: int, found: Outcome, known: dict[str, Drawn] | None = None) -> Drawn:
    """Return what a mix takes of the bundle at `position`.

    known : by name what mixes of the run take of it; filled, so that one which several exclude is drawn once.
    """
    known = {} if known is None else known
    name = draw.mix.name
    if name not in known:
        known[name] = _drawn(run, draw, position, found, known)
    return known[name]


def _drawn(run: Run, draw: Draw, position: int, found: Outcome, known: dict[str, Drawn]) -> Drawn:
    dataset = found.view.bundle.dataset
    number = np.zeros(len(found.kept), np.int32)
    cell = np.full(len(found.kept), -1, np.int16)
    if run.dataset(dataset).role == "reference":
        return Drawn(number, cell, np.zeros(len(number), np.bool_))
    held = held_out(draw.mix, position, found)
    rows = np.flatnonzero(eligible(run, draw, position, found, held, known))
    cell[rows], epochs = _cells_and_epochs(run, draw, position, found, rows)
    numbers = copy_numbers.numbers_of(run, draw.numbered, position) if draw.numbered else None
    h1 = array(found.view.read, "h1").astype(np.uint64)
    number[rows] = copies(h1[rows], epochs, draw.mix.draw_seed, None if numbers is None else numbers[rows])
    return Drawn(number, cell, held)


def eligible(
    run: Run, draw: Draw, position: int, found: Outcome, held: BoolArray, known: dict[str, Drawn] | None = None
) -> BoolArray:
    """Mark the kept rows that are not held out and in no excluded mix, (rows,) bool. known: see `drawn`."""
    known = {} if known is None else known
    left = found.kept & ~held
    for other in draw.excluded:
        left &= drawn(run, other, position, found, known).number == 0
    return left


def _cells_and_epochs(
    run: Run, draw: Draw, position: int, found: Outcome, rows: npt.NDArray[np.int64]
) -> tuple[I16, npt.NDArray[np.float64]]:
    """Return the cell of each of these rows and how many epochs it has there, (rows,) each."""
    if not draw.mix.cells:
        name = found.view.bundle.dataset
        epochs = draw.epochs.get(name, (0.0,))[0]
        return np.full(len(rows), draw.names(run).index(name), np.int16), np.full(len(rows), epochs)
    documents = Documents(draw.mix, draw.settled, position, found, rows)
    cells = documents.cells()
    levels = documents.levels(cells)
    table = np.zeros((len(draw.mix.cells) + 1, max(cell.levels for cell in draw.mix.cells)))  # last row: no cell
    for place, cell in enumerate(draw.mix.cells):
        mine = draw.epochs.get(cell.name, ())
        table[place, : len(mine)] = mine
    return cells, table[cells, levels]
