"""Score cut: keep the best part of a population by another stage's score: a quantile, or GPT-3's Pareto draw.

Guarantees: the population is the documents that live before this stage, so thresholds are frozen there and do not
depend on partitioning; the draw depends on the content's hash and the seed alone; reads no text. Memory: the scores of
one bundle, the distinct values of the population's open part.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from typing import ClassVar, Self

import numpy as np
import numpy.typing as npt
from typing_extensions import TypedDict  # pydantic reads it, and needs this one before Python 3.12

from cluster import storage
from cluster.engines import Engine
from cluster.errors import RecipeError
from cluster.files.records import read_record
from cluster.files.sealed import write_json
from cluster.seed import DEFAULT_SEED
from stages.core.arrays import array
from stages.core.costs import per_bundle
from stages.core.exchange_stage import ExchangeStage, is_complete, mark_complete
from stages.core.run import StageRun
from stages.core.stage import Decisions, ShardStage, param
from stages.core.view import View
from stages.implicit.read import unit_interval

I64 = npt.NDArray[np.int64]
U64 = npt.NDArray[np.uint64]
F64 = npt.NDArray[np.float64]
PER = ("dataset", "language", "all")
THRESHOLDS = "thresholds.json"
REASONS = ("no_score", "below_quantile", "not_drawn", "above_quantile")
_DIGIT_BITS = 16  # a pass settles so many bits of every threshold
PARETO_SALT = 0x9A3E70


class _Limits(TypedDict):
    """thresholds.json where there are two for each group."""

    low: dict[str, float]
    high: dict[str, float]


@dataclass(frozen=True, kw_only=True)
class ScoreCut(ExchangeStage):
    """Keep the documents above a quantile of a score, or draw them so that better ones come more often.

    Reads: the score of stage `of`. Writes: nothing (one threshold per dataset or language). Drops: `below_quantile`
    (the score is below the population's `min_quantile`: the smallest score that at least this share of it does not
    exceed), `above_quantile` (above that of `max_quantile`), `not_drawn` (Brown et al. 2020, appendix A: kept if a
    Lomax draw exceeds 1 - score), `no_score`.
    """

    use: ClassVar[str] = "score_cut"
    summary: ClassVar[str] = "keep the best share by a stage's score, or draw by GPT-3's Pareto rule"
    keeps_verdicts: ClassVar[bool] = False

    of: str = param("quality", "stage before this one whose score counts")
    column: str = param("quality_score", "its fact that is the score")
    min_quantile: float | None = param(None, "drop documents below this quantile of the population", ge=0, le=1)
    max_quantile: float | None = param(None, "drop documents above this quantile of the population", ge=0, le=1)
    per: str = param("dataset", "what has a quantile of its own; language is that of stage language_id", choices=PER)
    pareto_alpha: float | None = param(None, "shape of the Pareto draw (GPT-3: 9); scores in [0, 1]")
    seed: int = param(DEFAULT_SEED, "seed of the draw")
    keep_missing: bool = param(False, "documents without a score stay")

    def validate(self) -> None:
        low, high = self.min_quantile, self.max_quantile
        if (low is None and high is None) == (self.pareto_alpha is None):
            raise self.error("min_quantile", low, "given (or max_quantile), or pareto_alpha, and not both")
        if low is not None and high is not None and low > high:
            raise self.error("min_quantile", low, f"at most max_quantile ({high})")
        if self.pareto_alpha is not None and not self.pareto_alpha > 0:
            raise self.error("pareto_alpha", self.pareto_alpha, "above 0")

    def resolve(self, engine: Engine, stage_run: StageRun[Self]) -> None:
        """Find every group's threshold: 16 bits of it per pass over the scores, most significant first."""
        _source(stage_run)
        if is_complete(stage_run) and storage.exists(_path(stage_run)):
            return
        low = _thresholds(engine, stage_run, self.min_quantile)
        high = _thresholds(engine, stage_run, self.max_quantile)
        write_json(_path(stage_run), low if self.max_quantile is None else {"low": low, "high": high})
        mark_complete(stage_run, beside=[THRESHOLDS])

    def _limits(self, here: StageRun[Self]) -> tuple[dict[str, float], dict[str, float]]:
        """Return each group's lowest and highest score that stays. Raises FileNotFoundError, DamagedError."""
        if self.max_quantile is None:
            return read_record(_path(here), dict[str, float]), {}
        both = read_record(_path(here), _Limits)
        return both["low"], both["high"]

    def verdicts(self, view: View, index: int) -> tuple[I64, Decisions]:
        here: StageRun[ScoreCut] = StageRun(view.run, index)
        rows, score = scores(here, view)
        reason = np.full(len(rows), -1, np.int16)
        if self.pareto_alpha is not None:
            value = score
            h1 = array(view.read, "h1").astype(np.uint64)[rows]
            threshold = 1 - pareto_draw(h1, self.seed, self.pareto_alpha)
            reason[~(score > threshold)] = 2
        else:
            value = score
            low, high = self._limits(here)
            names, place = groups(here, view, rows)
            threshold = np.array([low.get(name, math.nan) for name in names], np.float64)[place]
            most = np.array([high.get(name, math.nan) for name in names], np.float64)[place]
            reason[score < threshold] = 1
            reason[score > most] = 3
            threshold = np.where((reason == 3) | np.isnan(threshold), most, threshold)
        reason[np.isnan(score)] = -1 if self.keep_missing else 0
        return rows, Decisions(reason, REASONS, value, threshold)


def pareto_draw(h1: U64, seed: int, alpha: float) -> F64:
    """Return Lomax draws of shape alpha, as `numpy.random.pareto` has them, one per content hash."""
    uniform = unit_interval(h1, seed ^ PARETO_SALT)
    found: F64 = np.power(1 - uniform, -1 / alpha) - 1
    return found


def _thresholds(engine: Engine, stage_run: StageRun[ScoreCut], share: float | None) -> dict[str, float]:
    """Return each group's quantile; nothing where none is asked for."""
    found = {} if share is None else _order_statistics(engine, stage_run, share)
    return {group: from_ordered(np.array([bits], np.uint64))[0].item() for group, bits in found.items()}


def _path(stage_run: StageRun[ScoreCut]) -> str:
    return storage.join(stage_run.decisions.folder, THRESHOLDS)


def _source(stage_run: StageRun[ScoreCut]) -> int:
    """Return the place of the stage that scores. Raises RecipeError if there is none before this one."""
    stage, earlier = stage_run.stage, stage_run.run.stages[: stage_run.index]
    for place, other in enumerate(earlier):
        if other.name == stage.of and isinstance(other, ShardStage):
            if stage.column not in other.schema.names:
                names = ", ".join(other.schema.names)
                raise stage.error("column", stage.column, f"a fact of stage {stage.of}, one of {names}")
            return place
    names = ", ".join(s.name for s in earlier[1:] if isinstance(s, ShardStage)) or "none"
    raise stage.error("of", stage.of, f"a stage before this one that judges single documents ({names})")


def scores(stage_run: StageRun[ScoreCut], view: View) -> tuple[I64, F64]:
    """Return the living rows of a bundle and their scores, NaN where there is none."""
    rows = np.flatnonzero(view.live(stage_run.index))
    source, stage = _source(stage_run), stage_run.stage
    if not view.run.stages[source].applies_to(view.bundle.dataset):
        raise RecipeError(
            f"stage {stage.name} cuts dataset {view.bundle.dataset} by the score of {stage.of}, which does not apply "
            "to it. Limit `datasets` of one to those of the other."
        )
    column = view.facts(source, rows, [stage.column]).column(stage.column)
    return rows, np.asarray(column.cast("float64").to_numpy(), np.float64)


def groups(stage_run: StageRun[ScoreCut], view: View, rows: I64) -> tuple[list[str], I64]:
    """Return (names of the groups in a bundle, group of every row as a place among them)."""
    stage = stage_run.stage
    if stage.per != "language":
        return [view.bundle.dataset if stage.per == "dataset" else ""], np.zeros(len(rows), np.int64)
    for place in range(stage_run.index - 1, -1, -1):
        other = view.run.stages[place]
        if other.use == "language_id" and other.applies_to(view.bundle.dataset):
            names = view.facts(place, rows, ["language"]).column("language").to_pylist()
            distinct = sorted({name or "" for name in names})
            at = {name: i for i, name in enumerate(distinct)}
            return distinct, np.array([at[name or ""] for name in names], np.int64)
    raise stage.error("per", "language", "used after a stage language_id of the same datasets")


def to_ordered(values: F64) -> U64:
    """Return integers in the order of the numbers (IEEE 754: flip the sign bit, or all bits of negative ones)."""
    bits = (values + 0.0).view(np.uint64)  # + 0.0 makes -0.0 equal to 0.0
    negative = bits >> np.uint64(63) == 1
    return np.where(negative, ~bits, bits | np.uint64(1 << 63))


def from_ordered(bits: U64) -> F64:
    """Return the numbers of `to_ordered`."""
    positive = bits >> np.uint64(63) == 1
    return np.where(positive, bits ^ np.uint64(1 << 63), ~bits).view(np.float64)


Counts = dict[str, dict[int, int]]


def _order_statistics(engine: Engine, stage_run: StageRun[ScoreCut], share: float) -> dict[str, int]:
    """Return each group's order statistic as ordered bits; four passes over the scores, exact."""
    found: dict[str, int] = {}
    below: dict[str, int] = {}
    wanted: dict[str, int] = {}
    for shift in range(64 - _DIGIT_BITS, -1, -_DIGIT_BITS):
        count = partial(_count, stage_run, shift, dict(found))
        total = _added(engine.map(count, stage_run.positions, cost=COUNT))
        for group, digits in total.items():
            if group not in wanted:
                wanted[group] = max(1, math.ceil(share * sum(digits.values())))
                below[group] = found[group] = 0
            for digit in sorted(digits):
                if below[group] + digits[digit] >= wanted[group]:
                    found[group] = found[group] << _DIGIT_BITS | digit
                    break
                below[group] += digits[digit]
    return found


COUNT = per_bundle("count scores by digit")


def _count(stage_run: StageRun[ScoreCut], shift: int, known: dict[str, int], position: int) -> Counts:
    """Return how many scores of each group have each next digit, among those that agree with what is known."""
    view = View.at(stage_run.run, position)
    if not stage_run.stage.applies_to(view.bundle.dataset):
        return {}
    rows, score = scores(stage_run, view)
    names, place = groups(stage_run, view, rows)
    valid = ~np.isnan(score)
    bits, place = to_ordered(score[valid]), place[valid]
    found: Counts = {}
    for at, name in enumerate(names):
        mine = bits[place == at]
        if shift + _DIGIT_BITS < 64:
            mine = mine[mine >> np.uint64(shift + _DIGIT_BITS) == np.uint64(known.get(name, 0))]
        digits, counts = np.unique(mine >> np.uint64(shift) & np.uint64(0xFFFF), return_counts=True)
        if len(digits):
            found[name] = dict(zip(digits.tolist(), counts.tolist(), strict=True))
    return found


def _added(parts: Iterable[Counts]) -> Counts:
    total: Counts = {}
    for part in parts:
        for group, digits in part.items():
            mine = total.setdefault(group, {})
            for digit, count in digits.items():
                mine[digit] = mine.get(digit, 0) + count
    return total
