"""Cells of a mix: which documents belong together, how much of them is wanted, which are repeated more often.

A document belongs to the first cell all of whose conditions hold. Conditions are values, never code.

Guarantees: plain frozen values that pickle and digest; a condition whose value is missing does not hold, but for
`none_of` and `known: false`; quantiles stand as they were written until `settle_cells.py` finds their values.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from stages.core.arrays import BoolArray, FloatArray

Scalar = str | float | bool
COMBINATIONS = ("max", "mean", "rank_mean")
BUCKETS = 20  # of a curve: vigintiles, as in Olmo 3 (arXiv:2512.13961, appendix A.2.4)
STEEPEST = 8.0  # exponent of a curve whose greatest factor nothing limits


@dataclass(frozen=True, eq=False)
class Values:
    """Values of one field for some documents, (rows,) each; which of the three are there is the field's kind.

    number: NaN where missing. text: null where missing. time: seconds since 1970 in UTC, NaN where missing.
    """

    number: FloatArray | None = None
    text: pa.Array | None = None
    time: FloatArray | None = None

    @property
    def known(self) -> BoolArray:
        """Mark the documents that have a value, (rows,) bool."""
        found = [~np.isnan(v) for v in (self.number, self.time) if v is not None]
        if self.text is not None:
            found.append(np.asarray(self.text.is_valid().to_numpy(zero_copy_only=False), np.bool_))
        return np.asarray(np.logical_or.reduce(found), np.bool_)


@dataclass(frozen=True, kw_only=True)
class Condition:
    """What must hold of one field; every bound that is given must.

    any_of, none_of: values. at_least <= value <= at_most, above < value < below. since <= time < before: dates in
    ISO 8601. min_quantile, max_quantile: from (inclusive) and to (exclusive, but for 1) these quantiles of the
    documents that meet the cell's other conditions. known: whether there is a value.
    """

    field: str
    any_of: tuple[Scalar, ...] = ()
    none_of: tuple[Scalar, ...] = ()
    at_least: float | None = None
    at_most: float | None = None
    above: float | None = None
    below: float | None = None
    since: float | None = None
    before: float | None = None
    min_quantile: float | None = None
    max_quantile: float | None = None
    known: bool | None = None

    @property
    def quantiles(self) -> tuple[float, ...]:
        """The quantiles whose values are to be found."""
        named = (self.min_quantile, self.max_quantile if self.max_quantile != 1 else None)
        return tuple(q for q in named if q is not None)

    def holds(self, values: Values) -> BoolArray:
        """Mark the documents of which it holds, quantiles left aside, (rows,) bool."""
        known = values.known
        found: BoolArray = known.copy() if self._asks_for_a_value() else np.ones(len(known), np.bool_)
        if self.known is not None:
            found &= known == self.known
        if self.any_of:
            found &= _is_in(values, self.any_of)
        if self.none_of:
            found &= ~_is_in(values, self.none_of)
        found &= _compared(values.number, self.at_least, np.greater_equal)
        found &= _compared(values.number, self.at_most, np.less_equal)
        found &= _compared(values.number, self.above, np.greater)
        found &= _compared(values.number, self.below, np.less)
        found &= _compared(values.time, self.since, np.greater_equal)
        found &= _compared(values.time, self.before, np.less)
        return found

    def within(self, values: Values, limits: Mapping[float, float]) -> BoolArray:
        """Mark the documents between its quantiles, of which `limits` holds the values, (rows,) bool."""
        lowest = limits.get(self.min_quantile) if self.min_quantile is not None else None
        highest = limits.get(self.max_quantile) if self.max_quantile not in (None, 1) else None
        found = _compared(values.number, lowest, np.greater_equal) & _compared(values.number, highest, np.less)
        return found & values.known

    def _asks_for_a_value(self) -> bool:
        bounds = (self.at_least, self.at_most, self.above, self.below, self.since, self.before)
        return bool(self.any_of) or any(bound is not None for bound in bounds)


def _compared(values: FloatArray | None, bound: float | None, test: np.ufunc) -> npt.NDArray[np.bool_]:
    if bound is None:
        return np.ones(1, np.bool_)
    assert values is not None, "a bound on a field of another kind is refused when the recipe is read"
    with np.errstate(invalid="ignore"):
        return np.asarray(test(values, bound), np.bool_)


def _is_in(values: Values, wanted: tuple[Scalar, ...]) -> BoolArray:
    """Mark the values that are one of `wanted`; a field that is text and number is looked at as either."""
    found = np.zeros(len(values.known), np.bool_)
    texts = [w for w in wanted if isinstance(w, str)]
    numbers = [float(w) for w in wanted if not isinstance(w, str)]
    if texts and values.text is not None:
        hit = pc.is_in(values.text, pa.array(texts, values.text.type), skip_nulls=True)
        found |= np.asarray(hit.to_numpy(zero_copy_only=False), np.bool_)
    if numbers and values.number is not None:
        found |= np.isin(values.number, np.array(numbers, np.float64))
    return found


@dataclass(frozen=True, kw_only=True)
class Upsample:
    """How much more often some documents of a cell are repeated than others: a factor by one field.

    steps: (from, factor), ascending; from is a value, or with `quantiles` a share of the cell's tokens. Below the first
    step, and where there is no value, the factor is 1. curve: 0 up to the share `discard` of the cell's tokens,
    then C * (x - discard) ** exponent; without an exponent the steepest that max_epochs allows.
    """

    by: str
    steps: tuple[tuple[float, float], ...] = ()
    quantiles: bool = False
    curve: bool = False
    discard: float = 0.0
    exponent: float | None = None

    @property
    def shares(self) -> tuple[float, ...]:
        """The shares of the cell's tokens at which a step begins that are to be found."""
        if self.curve:
            return tuple(n / BUCKETS for n in range(1, BUCKETS))
        return tuple(at for at, _ in self.steps if at > 0) if self.quantiles else ()

    @property
    def levels(self) -> int:
        """How many factors there are, that of documents without a value (level 0) included."""
        return 1 + (BUCKETS if self.curve else len(self.steps))

    def factors(self, exponent: float = 1.0) -> tuple[float, ...]:
        """Return the factor of each level."""
        if self.curve:
            return (1.0, *curve_factors(self.discard, self.exponent if self.exponent is not None else exponent))
        return (1.0, *(factor for _, factor in self.steps))

    def level(self, values: Values, limits: Mapping[float, float]) -> npt.NDArray[np.int16]:
        """Return the level of each document: 0 without a value or below the first step, else 1 + its step."""
        if self.quantiles or self.curve:
            starts = [-math.inf, *(limits.get(share, math.inf) for share in self.shares)]
        else:
            starts = [at for at, _ in self.steps]
        number = values.number
        assert number is not None
        found = np.searchsorted(np.array(starts, np.float64), number, side="right")
        return np.where(np.isnan(number), 0, found).astype(np.int16)


def curve_factors(discard: float, exponent: float) -> tuple[float, ...]:
    """Return the mean factor of each bucket of a curve, the mean over all of them 1.

    The curve is 0 below `discard` and proportional to (x - discard) ** exponent above it, x the share of tokens.

    Examples
    --------
    >>> [round(f, 2) for f in curve_factors(0.4, 0.0)][6:10]
    [0.0, 0.0, 1.67, 1.67]
    """

    def below(x: float) -> float:
        return float(max(0.0, (x - discard) / (1 - discard)) ** (exponent + 1)) if x > discard else 0.0

    edges = [below(n / BUCKETS) for n in range(BUCKETS + 1)]
    return tuple((after - before) * BUCKETS for before, after in itertools.pairwise(edges))


@dataclass(frozen=True, kw_only=True)
class Combined:
    """A score made of several: the greatest, the mean, or the mean of ranks; of those that a document has."""

    name: str
    how: str  # one of COMBINATIONS
    of: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One cell of a mix. weight, tokens: how much is wanted; neither: what there is, once times its factor."""

    name: str
    where: tuple[Condition, ...] = ()
    weight: float | None = None
    tokens: int | None = None
    max_epochs: float = 1.0
    upsample: Upsample | None = None

    @property
    def levels(self) -> int:
        """How many factors its documents have."""
        return self.upsample.levels if self.upsample else 1
