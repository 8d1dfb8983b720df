"""Passes over the facts that tell what the cells of a mix hold: ranks, quantiles, and documents and tokens per level.

    ranks of fields (rank_mean) -> quantiles in conditions -> shares in upsampling -> tally of every cell and level

Guarantees: whole numbers added up, so nothing depends on the cut into tasks; no text is read. Memory: the facts of one
bundle in a task, and what `quantiles.py` says.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt

from cluster.engines import Engine
from stages.core.arrays import FloatArray
from stages.core.costs import per_bundle
from stages.core.run import Run
from stages.outcome.draw import Draw, eligible
from stages.outcome.holdout import held_out
from stages.outcome.membership import Documents, Settled
from stages.outcome.mixing import Mix, content_sum
from stages.outcome.quantiles import chunks, quantiles
from stages.outcome.verdicts import num_tokens, outcome

RANKS = 1000  # steps of a rank: a rank is exact to a thousandth
MASK64 = (1 << 64) - 1
MEASURE = per_bundle("measure quantiles of cells")
TALLY = per_bundle("count cells")
Weighted = dict[str, tuple[FloatArray, npt.NDArray[np.int64]]]


def settle(engine: Engine, run: Run, draw: Draw) -> Settled:
    """Return what the documents say of a mix's cells. draw: with its excluded mixes; its epochs are not looked at."""
    mix, positions = draw.mix, range(len(run.manifest.bundles))
    named = sorted({name for score in mix.scores if score.how == "rank_mean" for name in score.of})
    at = [n / RANKS for n in range(1, RANKS)]
    found = quantiles(engine, partial(_of_fields, run, mix, named), positions, dict.fromkeys(named, at), MEASURE)
    settled = Settled(ranks={name: tuple(values[q] for q in at) for name, values in found.items()})
    limits = quantiles(engine, partial(_of_conditions, run, mix, settled), positions, _asked(mix), MEASURE)
    settled = dataclasses.replace(settled, limits=_by_cell(mix, limits))
    steps = {cell.name: cell.upsample.shares for cell in mix.cells if cell.upsample and cell.upsample.shares}
    draw = dataclasses.replace(draw, settled=settled)
    return dataclasses.replace(
        settled, steps=quantiles(engine, partial(_of_cells, run, draw), positions, steps, MEASURE)
    )


def _asked(mix: Mix) -> dict[str, tuple[float, ...]]:
    """Return the quantiles in conditions, by the number of their cell and condition."""
    return {
        f"{c}.{n}": condition.quantiles
        for c, cell in enumerate(mix.cells)
        for n, condition in enumerate(cell.where)
        if condition.quantiles
    }


def _by_cell(mix: Mix, found: Mapping[str, Mapping[float, float]]) -> dict[str, dict[str, Mapping[float, float]]]:
    limits: dict[str, dict[str, Mapping[float, float]]] = {}
    for key, values in found.items():
        c, n = map(int, key.split("."))
        limits.setdefault(mix.cells[c].name, {})[mix.cells[c].where[n].field] = values
    return limits


def _documents(run: Run, mix: Mix, settled: Settled, position: int) -> Documents:
    """Return the kept documents of a bundle that are not held out; none of reference data."""
    found = outcome(run, position)
    mixed = run.dataset(found.view.bundle.dataset).role != "reference"
    rows = np.flatnonzero(found.kept & ~held_out(mix, position, found) & mixed)
    return Documents(mix, settled, position, found, rows)


def _of_fields(run: Run, mix: Mix, names: list[str], position: int) -> Weighted:
    documents = _documents(run, mix, Settled(), position)
    ones = np.ones(len(documents), np.int64)
    return {name: (documents.number(name), ones) for name in names} if len(documents) else {}


def _of_conditions(run: Run, mix: Mix, settled: Settled, position: int) -> Weighted:
    documents = _documents(run, mix, settled, position)
    found: Weighted = {}
    for c, cell in enumerate(mix.cells):
        asked = [(n, condition) for n, condition in enumerate(cell.where) if condition.quantiles]
        inside = documents.meets(cell) if asked and len(documents) else np.zeros(0, np.bool_)
        for n, condition in asked:
            if inside.any():
                values = documents.number(condition.field)[inside]
                found[f"{c}.{n}"] = values, np.ones(len(values), np.int64)
    return found


def _of_cells(run: Run, draw: Draw, position: int) -> Weighted:
    documents, cells, tokens = _members(run, draw, position)
    found: Weighted = {}
    for place, cell in enumerate(draw.mix.cells):
        mine = cells == place
        if cell.upsample and cell.upsample.shares and mine.any():
            found[cell.name] = documents.number(cell.upsample.by)[mine], tokens[mine]
    return found


def _members(run: Run, draw: Draw, position: int) -> tuple[Documents, npt.NDArray[np.int16], npt.NDArray[np.int64]]:
    """Return the documents of a bundle that can be in a mix, the cell of each, and its tokens."""
    found = outcome(run, position)
    held = held_out(draw.mix, position, found)
    mixed = run.dataset(found.view.bundle.dataset).role != "reference"
    rows = np.flatnonzero(eligible(run, draw, position, found, held) & mixed)
    documents = Documents(draw.mix, draw.settled, position, found, rows)
    cells = documents.cells() if len(rows) else np.empty(0, np.int16)
    return documents, cells, num_tokens(found.view)[rows]


@dataclass
class CellTally:
    """What one cell holds: documents and tokens at each level; content: sum of hashes of its documents, mod 2^64."""

    documents: list[int]
    tokens: list[int]
    content: int = 0

    def add(self, other: CellTally) -> None:
        self.documents = [a + b for a, b in zip(self.documents, other.documents, strict=True)]
        self.tokens = [a + b for a, b in zip(self.tokens, other.tokens, strict=True)]
        self.content = (self.content + other.content) & MASK64


NO_CELL = ""
Tallies = dict[str, CellTally]  # by cell; NO_CELL: documents that are in none


def tally_cells(engine: Engine, run: Run, draw: Draw) -> Tallies:
    """Return what every cell holds; of a mix without cells every dataset."""
    levels = {cell.name: cell.levels for cell in draw.mix.cells}
    levels |= {} if draw.mix.cells else {d.name: 1 for d in run.datasets if d.role != "reference"}
    total = {name: CellTally([0] * n, [0] * n) for name, n in {**levels, NO_CELL: 1}.items()}
    positions = range(len(run.manifest.bundles))
    for part in engine.map(partial(_tally, run, draw), chunks(positions), cost=TALLY):
        for name, tally in part.items():
            total[name].add(tally)
    return total


def _tally(run: Run, draw: Draw, positions: list[int]) -> Tallies:
    total: Tallies = {}
    for position in positions:
        for name, tally in _tally_one(run, draw, position).items():
            if name in total:
                total[name].add(tally)
            else:
                total[name] = tally
    return total


def _tally_one(run: Run, draw: Draw, position: int) -> Tallies:
    if not draw.mix.cells:
        return _tally_dataset(run, draw, position)
    documents, cells, tokens = _members(run, draw, position)
    if not len(documents):
        return {}
    levels = documents.levels(cells)
    h1 = documents.hashes()
    found: Tallies = {}
    for place, (name, count) in enumerate([*((c.name, c.levels) for c in draw.mix.cells), (NO_CELL, 1)]):
        mine = cells == (place if name else -1)
        if mine.any():
            found[name] = _counted(levels[mine], tokens[mine], h1[mine], count)
    return found


def _tally_dataset(run: Run, draw: Draw, position: int) -> Tallies:
    documents, _, tokens = _members(run, draw, position)
    name = run.manifest.bundles[position].dataset
    zeros = np.zeros(len(documents), np.int16)
    return {name: _counted(zeros, tokens, documents.hashes(), 1)} if len(documents) else {}


def _counted(
    levels: npt.NDArray[np.int16], tokens: npt.NDArray[np.int64], h1: npt.NDArray[np.uint64], count: int
) -> CellTally:
    sums = np.zeros(count, np.int64)
    np.add.at(sums, levels, tokens)
    return CellTally(np.bincount(levels, minlength=count).tolist(), sums.tolist(), content_sum(h1))
