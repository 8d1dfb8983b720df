"""Histograms of what shard stages judged: quality scores and languages, kept against dropped.

Guarantees: with the run's facts at hand every judged document is counted once; without them (a run folder
that was cut down) the dropped ones come from the ledger and the kept ones from the mix, and the result says
so. Counted by tasks of a group of bundles each, whose sums are added. Memory: the facts of one bundle in a task.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow.compute as pc

from cluster.engines import Engine
from cluster.errors import WinnowError
from pipelines.report import tree
from pipelines.report.judged import (
    SCORES,
    Judged,
    judged_from_facts,
    judged_from_file,
    parts_of_files,
    scores_from_facts,
    scores_of,
)
from pipelines.report.ledger_sums import Amount
from pipelines.runfolder import RunFolder, StageInfo

F64 = npt.NDArray[np.float64]
I64 = npt.NDArray[np.int64]
BINS = 40
NEAR = 0.01  # of the range of scores: a document this near to a threshold may fall on the other side elsewhere
LANGUAGES = 25  # shown by name, the rest in one line
UNNAMED = "(not recorded)"
FACTS, SIDE = "facts", "ledger and mix"


@dataclass(frozen=True)
class Histograms:
    """Quality scores and languages, one entry per stage, and where they come from: facts, or ledger and mix."""

    scores: list[tree.Scores]
    languages: list[tree.Languages]
    source: str


def score_histograms(folder: RunFolder, engine: Engine) -> Histograms:
    """Return the histograms of every quality and language stage of a run."""
    stages = [s for s in folder.stages if s.use in SCORES]
    if not stages:
        return Histograms([], [], FACTS)
    try:
        run = folder.run
        groups = range(len(run.manifest.groups))
        values, judged = (
            partial(scores_from_facts, run),
            partial(judged_from_facts, run, {s.name: s for s in stages}),
        )
        return Histograms(*count_judged(engine, stages, groups, values, judged), FACTS)
    except (WinnowError, OSError):
        parts = parts_of_files(folder)
        stages = [s for s in stages if s.use != "llm_judge"]  # whose scores are in no file but its own
        judged_there = partial(judged_from_file, folder.root, stages)
        return Histograms(*count_judged(engine, stages, parts, partial(scores_of, judged_there), judged_there), SIDE)


def count_judged(
    engine: Engine,
    stages: list[StageInfo],
    parts: Sequence[Any],
    values: Callable[[Any], Iterator[tuple[str, F64]]],
    judged: Callable[[Any], Iterator[Judged]],
) -> tuple[list[tree.Scores], list[tree.Languages]]:
    """Go through the scores for their range, then through the documents to count; a task for each part, both times.

    values : yields stage and scores of a part; judged : yields its documents.
    """
    ranges = _Ranges()
    for some in engine.map(partial(_ranges_of, values), parts):
        ranges.merge(some)
    edges = {s.name: ranges.edges(s.name) for s in stages if s.use != "language_id"}
    total = _Tables.empty(stages, edges)
    for found in engine.map(partial(_tables_of, stages, edges, judged), parts):
        total.merge(found)
    return [s.as_tree() for s in total.scores.values()], [s.as_tree() for s in total.languages.values()]


def _ranges_of(values: Callable[[Any], Iterator[tuple[str, F64]]], part: Any) -> _Ranges:
    ranges = _Ranges()
    for name, found in values(part):
        ranges.add(name, found)
    return ranges


def _tables_of(
    stages: list[StageInfo], edges: Mapping[str, F64], judged: Callable[[Any], Iterator[Judged]], part: Any
) -> _Tables:
    tables = _Tables.empty(stages, edges)
    for some in judged(part):
        if some.languages is None:
            tables.scores[some.stage.name].add(some)
        else:
            tables.languages[some.stage.name].add(some)
    return tables


@dataclass
class _Tables:
    """The histograms of every stage over a part of the documents."""

    scores: dict[str, _Scores]
    languages: dict[str, _Languages]

    @classmethod
    def empty(cls, stages: list[StageInfo], edges: Mapping[str, F64]) -> _Tables:
        scores = {s.name: _Scores(s, edges[s.name]) for s in stages if s.use != "language_id"}
        return cls(scores, {s.name: _Languages(s) for s in stages if s.use == "language_id"})

    def merge(self, other: _Tables) -> None:
        for name, scores in other.scores.items():
            self.scores[name].merge(scores)
        for name, languages in other.languages.items():
            self.languages[name].merge(languages)


@dataclass
class _Ranges:
    """Least and greatest score of every stage, and whether all are whole numbers."""

    low: dict[str, float] = field(default_factory=dict)
    high: dict[str, float] = field(default_factory=dict)
    fractions: set[str] = field(default_factory=set)

    def add(self, name: str, scores: F64) -> None:
        values = scores[np.isfinite(scores)]
        if len(values):
            self._widen(name, float(values.min()), float(values.max()))
            if (values != np.floor(values)).any():
                self.fractions.add(name)

    def _widen(self, name: str, low: float, high: float) -> None:
        self.low[name] = min(self.low.get(name, np.inf), low)
        self.high[name] = max(self.high.get(name, -np.inf), high)

    def merge(self, other: _Ranges) -> None:
        for name in other.low:
            self._widen(name, other.low[name], other.high[name])
        self.fractions |= other.fractions

    def edges(self, name: str) -> F64:
        """Return the edges of the bins, (bins + 1,); whole numbers get a bin each."""
        low, high = self.low.get(name, np.inf), self.high.get(name, -np.inf)
        if low > high:
            low, high = 0.0, 1.0
        if name not in self.fractions and high - low <= BINS:
            return np.arange(low, high + 2)
        if low >= 0 and high <= 1:
            low, high = 0.0, 1.0
        return np.linspace(low, high, BINS + 1)


@dataclass
class _Scores:
    """The histogram of one quality stage."""

    stage: StageInfo
    edges: F64
    kept: dict[str, I64] = field(default_factory=dict)
    dropped: dict[str, I64] = field(default_factory=dict)
    unscored: int = 0
    near: int = 0
    passing: Amount = field(default_factory=Amount)  # at or above min_score

    @property
    def minimum(self) -> float | None:
        value = self.stage.parameters.get("min_score")
        return None if value is None else float(value)

    @property
    def whole_numbers(self) -> bool:
        return bool((self.edges == np.floor(self.edges)).all()) and len(self.edges) > 2

    def add(self, judged: Judged) -> None:
        known = np.isfinite(judged.values)
        self.unscored += int((~known).sum())
        for target, mine in ((self.dropped, judged.dropped), (self.kept, ~judged.dropped)):
            at = np.searchsorted(self.edges, judged.values[known & mine], side="right") - 1
            at = np.clip(at, 0, len(self.edges) - 2)
            counts = np.bincount(at, minlength=len(self.edges) - 1)
            target[judged.dataset] = target.get(judged.dataset, 0) + counts
        if self.minimum is not None:
            above = judged.values >= self.minimum
            self.passing.add(above.sum(), judged.tokens[above].sum())
            margin = NEAR * (self.edges[-1] - self.edges[0])
            self.near += int((np.abs(judged.values - self.minimum) <= margin).sum())

    def merge(self, other: _Scores) -> None:
        """Count what another part of the documents counted."""
        self.unscored += other.unscored
        self.near += other.near
        self.passing += other.passing
        for mine, theirs in ((self.kept, other.kept), (self.dropped, other.dropped)):
            for name, counts in theirs.items():
                mine[name] = mine.get(name, 0) + counts

    def as_tree(self) -> tree.Scores:
        """Return the histogram as report.json has it."""
        empty = np.zeros(len(self.edges) - 1, np.int64)
        kept, dropped = sum(self.kept.values(), empty), sum(self.dropped.values(), empty)
        scored = int((kept + dropped).sum())
        judged = scored + self.unscored
        above = np.cumsum((kept + dropped)[::-1])[::-1].tolist()
        sweep = [(float(edge), int(n)) for edge, n in zip(self.edges[:-1], above, strict=True)]
        if self.minimum is not None:
            sweep = sorted({*sweep, (self.minimum, self.passing.documents)})
        return {
            "stage": self.stage.name,
            "model": self.stage.parameters.get("model") or ", ".join(self.stage.parameters.get("models") or []) or None,
            "min_score": self.minimum,
            "max_score": self.stage.parameters.get("max_score"),
            "whole_numbers": self.whole_numbers,
            "edges": [float(e) for e in self.edges],
            "kept": kept.tolist(),
            "dropped": dropped.tolist(),
            "datasets": {
                name: {"kept": self.kept[name].tolist(), "dropped": self.dropped[name].tolist()}
                for name in sorted(self.kept)
            },
            "judged": judged,
            "unscored": self.unscored,
            "near_threshold": None if self.minimum is None or self.whole_numbers else self.near,
            "near_margin": NEAR * float(self.edges[-1] - self.edges[0]),
            "thresholds": [{"threshold": t, "documents": n, "share": n / judged if judged else 0.0} for t, n in sweep],
        }


@dataclass
class _Languages:
    """Documents per language that one stage judged."""

    stage: StageInfo
    kept: dict[str, Amount] = field(default_factory=dict)
    dropped: dict[str, Amount] = field(default_factory=dict)
    unwanted: Amount = field(default_factory=Amount)
    scores: _Scores | None = None
    datasets: dict[str, Counter[str]] = field(default_factory=dict)

    def add(self, judged: Judged) -> None:
        assert judged.languages is not None
        codes = pc.fill_null(judged.languages, UNNAMED).dictionary_encode()
        names = codes.dictionary.to_pylist()
        index = np.asarray(codes.indices.to_numpy())
        for number, name in enumerate(names):
            mine = index == number
            self.datasets.setdefault(name, Counter())[judged.dataset] += int(mine.sum())
            for target, rows in ((self.dropped, mine & judged.dropped), (self.kept, mine & ~judged.dropped)):
                target.setdefault(name, Amount()).add(rows.sum(), judged.tokens[rows].sum())
        if judged.wanted is not None:
            self._add_scores(judged, judged.wanted)

    def _add_scores(self, judged: Judged, wanted: npt.NDArray[np.bool_]) -> None:
        self.unwanted.add((~wanted).sum(), judged.tokens[~wanted].sum())
        if self.scores is None:
            self.scores = _Scores(self.stage, np.linspace(0.0, 1.0, BINS + 1))
        self.scores.add(
            Judged(
                stage=judged.stage,
                dataset=judged.dataset,
                values=judged.values[wanted],
                languages=None,
                dropped=judged.dropped[wanted],
                tokens=judged.tokens[wanted],
            )
        )

    def merge(self, other: _Languages) -> None:
        """Count what another part of the documents counted."""
        self.unwanted += other.unwanted
        for mine, theirs in ((self.kept, other.kept), (self.dropped, other.dropped)):
            for name, amount in theirs.items():
                mine[name] = mine.get(name, Amount()) + amount
        for name, counts in other.datasets.items():
            self.datasets.setdefault(name, Counter()).update(counts)
        if other.scores is not None:
            if self.scores is None:
                self.scores = other.scores
            else:
                self.scores.merge(other.scores)

    def as_tree(self) -> tree.Languages:
        """Return the table as report.json has it."""

        def size(name: str) -> tuple[int, str]:
            return -(self.kept[name] + self.dropped[name]).documents, name

        ordered = sorted(self.datasets, key=size)
        rows = [self._row(name, [name]) for name in ordered[:LANGUAGES]]
        if ordered[LANGUAGES:]:
            rows.append(self._row(f"{len(ordered) - LANGUAGES} others", ordered[LANGUAGES:]))
        return {
            "stage": self.stage.name,
            "languages": len(ordered),
            "wanted": list(self.stage.parameters.get("languages") or []),
            "judged": sum((a for side in (self.kept, self.dropped) for a in side.values()), Amount()).as_tree(),
            "unwanted": self.unwanted.as_tree() if self.scores else None,
            "scores": self.scores.as_tree() if self.scores else None,
            "rows": rows,
        }

    def _row(self, label: str, names: list[str]) -> tree.Language:
        datasets: Counter[str] = Counter()
        for name in names:
            datasets.update(self.datasets[name])
        return {
            "language": label,
            "kept": sum((self.kept[n] for n in names), Amount()).as_tree(),
            "dropped": sum((self.dropped[n] for n in names), Amount()).as_tree(),
            "datasets": dict(sorted(datasets.items())),
        }
