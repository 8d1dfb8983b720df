"""From what the cells of a mix hold to how often their documents are repeated.

Guarantees: follows from the wish and the tallies alone; what cannot be had is told as tokens under, never hidden.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from stages.core.digests import digest
from stages.outcome.cells import STEEPEST, Cell
from stages.outcome.mixing import Mix, Portion
from stages.outcome.settle_cells import CellTally


@dataclass(frozen=True, kw_only=True)
class CellShare:
    """What one cell gives to a mix.

    wanted : tokens; None where the cell is taken as it is. documents, tokens : there are, per level; factors, epochs :
    of each level. weight : as the recipe has it. content : digest of the documents.
    """

    name: str
    weight: float | None
    wanted: int | None
    documents: tuple[int, ...]
    tokens: tuple[int, ...]
    factors: tuple[float, ...]
    epochs: tuple[float, ...]
    max_epochs: float
    content: str = ""

    @property
    def available(self) -> int:
        """Tokens of its documents, each counted once."""
        return sum(self.tokens)

    @property
    def expected_tokens(self) -> int:
        """Tokens that the draw gives on average."""
        return round(sum(t * e for t, e in zip(self.tokens, self.epochs, strict=True)))

    @property
    def mean_epochs(self) -> float:
        """Expected tokens per token that there is."""
        if len(self.epochs) == 1:
            return self.epochs[0]
        whole = sum(t * e for t, e in zip(self.tokens, self.epochs, strict=True))
        return whole / self.available if self.available else 0.0

    @property
    def under(self) -> int:
        """Tokens that are wanted and cannot be had."""
        return 0 if self.wanted is None else max(0, self.wanted - self.expected_tokens)


def shares_of_datasets(
    mix: Mix, portions: Mapping[str, Portion], contents: Mapping[str, int] | None = None
) -> dict[str, CellShare]:
    """Return the shares of a mix without cells: every dataset is a cell."""
    return {
        name: CellShare(
            name=name,
            weight=portion.weight,
            wanted=portion.target_tokens,
            documents=(portion.documents,),
            tokens=(portion.tokens,),
            factors=(1.0,),
            epochs=(portion.epochs,),
            max_epochs=mix.epochs_allowed(name) if mix.mode == "sample" else 1.0,
            content=_content(name, (contents or {}).get(name, 0), (portion.epochs,)),
        )
        for name, portion in portions.items()
    }


def shares_of_cells(mix: Mix, tallies: Mapping[str, CellTally]) -> dict[str, CellShare]:
    """Return the share of every cell.

    Notes
    -----
    A cell with `tokens` wants these; one with neither takes its documents `factor` times. What the target leaves is
    shared out by the weights; without a target the weights are kept with the most that max_epochs allows. A document
    of factor f is repeated min(max_epochs, c * f) times, with the c that gives the tokens wanted.
    """
    wanted = _wanted(mix, tallies)
    return {cell.name: _share(cell, tallies[cell.name], wanted[cell.name]) for cell in mix.cells}


def _wanted(mix: Mix, tallies: Mapping[str, CellTally]) -> dict[str, int | None]:
    """Return the tokens that each cell wants."""
    found: dict[str, int | None] = {cell.name: cell.tokens for cell in mix.cells}
    weighted = [cell for cell in mix.cells if cell.weight is not None]
    if mix.target_tokens is not None:
        fixed = [cell for cell in mix.cells if cell.weight is None]
        taken = sum(found[c.name] or _share(c, tallies[c.name], None).expected_tokens for c in fixed)
        left = float(max(0, mix.target_tokens - taken))
    else:
        weighted = [cell for cell in weighted if _most(cell, tallies[cell.name])]
        whole = sum(cell.weight or 0.0 for cell in weighted)
        most = [_most(c, tallies[c.name]) * whole / c.weight for c in weighted if c.weight]
        left = min(most, default=0.0)
    whole = sum(cell.weight or 0.0 for cell in weighted)
    for cell in (c for c in mix.cells if c.weight is not None):
        found[cell.name] = round(left * (cell.weight or 0.0) / whole) if cell in weighted and whole else 0
    return found


def _most(cell: Cell, tally: CellTally) -> float:
    """Return the most tokens that a cell can give."""
    factors = _factors(cell, 0.0)
    return cell.max_epochs * sum(t for t, f in zip(tally.tokens, factors, strict=True) if f > 0)


def _factors(cell: Cell, exponent: float) -> tuple[float, ...]:
    return cell.upsample.factors(exponent) if cell.upsample else (1.0,)


def _share(cell: Cell, tally: CellTally, wanted: int | None) -> CellShare:
    factors = _factors(cell, _exponent(cell, tally, wanted))
    scale = 1.0 if wanted is None else _scale(tally.tokens, factors, cell.max_epochs, wanted)
    epochs = tuple(min(cell.max_epochs, scale * f) if f else 0.0 for f in factors)
    return CellShare(
        name=cell.name,
        weight=cell.weight,
        wanted=wanted,
        documents=tuple(tally.documents),
        tokens=tuple(tally.tokens),
        factors=factors,
        epochs=epochs,
        max_epochs=cell.max_epochs,
        content=_content(cell.name, tally.content, epochs),
    )


def _content(name: str, content: int, epochs: Sequence[float]) -> str:
    """Return the digest of what a cell gives: of its documents and how often each is repeated."""
    return digest("cell", name, content, [round(e, 12) for e in epochs])


def _scale(tokens: Sequence[int], factors: Sequence[float], most: float, wanted: float) -> float:
    """Return the c for which the sum of tokens * min(most, c * factor) is `wanted`; inf where no c reaches it."""
    levels = sorted(((f, t) for f, t in zip(factors, tokens, strict=True) if f > 0 and t), reverse=True)
    capped, slope = 0.0, float(sum(f * t for f, t in levels))
    for factor, count in levels:
        scale = (wanted - capped) / slope if slope > 0 else math.inf
        if scale * factor <= most:
            return scale
        capped += most * count
        slope -= factor * count
    return math.inf


def _exponent(cell: Cell, tally: CellTally, wanted: int | None) -> float:
    """Return the exponent of a curve that names none: the steepest of which no bucket is capped by max_epochs."""
    upsample = cell.upsample
    if upsample is None or not upsample.curve or upsample.exponent is not None:
        return 1.0

    def fits(exponent: float) -> bool:
        factors = upsample.factors(exponent)
        scale = 1.0 if wanted is None else _scale(tally.tokens, factors, math.inf, wanted)
        return scale * max(factors[1:]) <= cell.max_epochs * (1 + 1e-12)

    if fits(STEEPEST):
        return STEEPEST
    low, high = 0.0, STEEPEST
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return low
