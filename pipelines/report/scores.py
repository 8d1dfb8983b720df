"""Histograms of what shard stages judged: quality scores and languages, kept against dropped.

Guarantees: with the run's facts at hand every judged document is counted once; without them (a run folder
that was cut down) the dropped ones come from the ledger and the kept ones from the mix, and the result says
so. Memory: the facts of one bundle.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from cluster.errors import WinnowError
from pipelines.report import tree
from pipelines.report.ledger_sums import Amount
from pipelines.runfolder import RunFolder, StageInfo
from stages.core.arrays import array

F64 = npt.NDArray[np.float64]
I64 = npt.NDArray[np.int64]
BINS = 40
NEAR = 0.01  # of the range of scores: a document this near to a threshold may fall on the other side elsewhere
LANGUAGES = 25  # shown by name, the rest in one line
UNNAMED = "(not recorded)"
OTHER_LANGUAGE = 0  # the number of reason `language` of stage language_id
FACTS, SIDE = "facts", "ledger and mix"


@dataclass(frozen=True, eq=False)
class Judged:
    """Documents of one dataset that one stage judged, arrays of shape (rows,). values: NaN for none."""

    stage: StageInfo
    dataset: str
    values: F64
    languages: pa.Array | None
    dropped: npt.NDArray[np.bool_]
    tokens: I64
    wanted: npt.NDArray[np.bool_] | None = None  # in a language that the stage keeps; None: not to be had


@dataclass(frozen=True)
class Histograms:
    """Quality scores and languages, one entry per stage, and where they come from: facts, or ledger and mix."""

    scores: list[tree.Scores]
    languages: list[tree.Languages]
    source: str


def score_histograms(folder: RunFolder) -> Histograms:
    """Return the histograms of every quality and language stage of a run."""
    stages = [s for s in folder.stages if s.use in ("quality", "language_id")]
    if not stages:
        return Histograms([], [], FACTS)
    try:
        return Histograms(*count_judged(stages, _scores_judged(folder), _from_facts(folder)), FACTS)
    except (WinnowError, OSError):
        scores = ((some.stage.name, some.values) for some in _from_files(folder) if some.languages is None)
        return Histograms(*count_judged(stages, scores, _from_files(folder)), SIDE)


def count_judged(
    stages: list[StageInfo], values: Iterable[tuple[str, F64]], judged: Iterable[Judged]
) -> tuple[list[tree.Scores], list[tree.Languages]]:
    """Go through the scores for their range (values: stage and scores), then through the documents to count."""
    ranges = _Ranges()
    for name, found in values:
        ranges.add(name, found)
    scores = {s.name: _Scores(s, ranges.edges(s.name)) for s in stages if s.use == "quality"}
    languages = {s.name: _Languages(s) for s in stages if s.use == "language_id"}
    for some in judged:
        if some.languages is None:
            scores[some.stage.name].add(some)
        else:
            languages[some.stage.name].add(some)
    return [s.as_tree() for s in scores.values()], [s.as_tree() for s in languages.values()]


@dataclass
class _Ranges:
    """Least and greatest score of every stage, and whether all are whole numbers."""

    low: dict[str, float] = field(default_factory=lambda: defaultdict(lambda: np.inf))
    high: dict[str, float] = field(default_factory=lambda: defaultdict(lambda: -np.inf))
    fractions: set[str] = field(default_factory=set)

    def add(self, name: str, scores: F64) -> None:
        values = scores[np.isfinite(scores)]
        if len(values):
            self.low[name] = min(self.low[name], float(values.min()))
            self.high[name] = max(self.high[name], float(values.max()))
            if (values != np.floor(values)).any():
                self.fractions.add(name)

    def edges(self, name: str) -> F64:
        """Return the edges of the bins, (bins + 1,); whole numbers get a bin each."""
        low, high = self.low[name], self.high[name]
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
            "model": self.stage.parameters.get("model"),
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
    kept: dict[str, Amount] = field(default_factory=lambda: defaultdict(Amount))
    dropped: dict[str, Amount] = field(default_factory=lambda: defaultdict(Amount))
    unwanted: Amount = field(default_factory=Amount)
    scores: _Scores | None = None
    datasets: dict[str, dict[str, int]] = field(default_factory=lambda: defaultdict(lambda: defaultdict(int)))

    def add(self, judged: Judged) -> None:
        assert judged.languages is not None
        codes = pc.fill_null(judged.languages, UNNAMED).dictionary_encode()
        names = codes.dictionary.to_pylist()
        index = np.asarray(codes.indices.to_numpy())
        for number, name in enumerate(names):
            mine = index == number
            self.datasets[name][judged.dataset] += int(mine.sum())
            for target, rows in ((self.dropped, mine & judged.dropped), (self.kept, mine & ~judged.dropped)):
                target[name].add(rows.sum(), judged.tokens[rows].sum())
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
        datasets: dict[str, int] = defaultdict(int)
        for name in names:
            for dataset, count in self.datasets[name].items():
                datasets[dataset] += count
        return {
            "language": label,
            "kept": sum((self.kept[n] for n in names), Amount()).as_tree(),
            "dropped": sum((self.dropped[n] for n in names), Amount()).as_tree(),
            "datasets": dict(sorted(datasets.items())),
        }


def _scores_judged(folder: RunFolder) -> Iterator[tuple[str, F64]]:
    """Yield the scores of the documents that reached each quality stage; more may be stored, of earlier recipes."""
    from stages.core.view import View

    run = folder.run
    for bundle in run.manifest.bundles:
        view = View(run, bundle)
        for index, stage in enumerate(run.stages):
            if stage.use == "quality" and stage.applies_to(bundle.dataset):
                table = view.facts(index, np.flatnonzero(view.live(index)), ["quality_score"])
                yield stage.name, _floats(table, "quality_score")


def _from_facts(folder: RunFolder) -> Iterator[Judged]:
    """Yield what the stages judged, bundle by bundle, out of the sidecars."""
    from stages.core.view import View
    from stages.outcome.verdicts import num_tokens

    run = folder.run
    infos = {s.name: s for s in folder.stages}
    for bundle in run.manifest.bundles:
        view = View(run, bundle)
        tokens = num_tokens(view)
        for index, stage in enumerate(run.stages):
            if stage.use not in ("quality", "language_id") or not stage.applies_to(bundle.dataset):
                continue
            rows, decisions = view.decided(index)
            table = view.facts(index, rows)
            is_language = stage.use == "language_id"
            yield Judged(
                stage=infos[stage.name],
                dataset=bundle.dataset,
                values=_floats(table, "language_score" if is_language else "quality_score"),
                languages=_strings(table, "language") if is_language else None,
                dropped=decisions.dropped,
                tokens=tokens[rows],
                wanted=decisions.reason != OTHER_LANGUAGE if is_language else None,
            )


def _from_files(folder: RunFolder) -> Iterator[Judged]:
    """Yield the dropped documents out of the ledger and the kept ones out of the mix."""
    for stage in folder.stages:
        if stage.use not in ("quality", "language_id"):
            continue
        for dataset in filter(stage.applies_to, folder.datasets):
            later = [s for s in folder.stages if s.use == stage.use and s.applies_to(dataset)]
            for table in folder.ledger(dataset, ["stage", "value", "num_tokens"]):
                mine = table.filter(pc.fill_null(pc.equal(table.column("stage"), stage.name), False))
                yield _judged(stage, dataset, mine, "value", None, dropped=True)
            if later[-1].name == stage.name:  # the mix holds the scores of the last such stage
                score = "language_score" if stage.use == "language_id" else "quality_score"
                names = [score, "language", "num_tokens"]
                for table in folder.mix(dataset, names):
                    yield _judged(stage, dataset, table, score, "language", dropped=False)


def _judged(
    stage: StageInfo, dataset: str, table: pa.Table, value: str, language: str | None, *, dropped: bool
) -> Judged:
    languages = None
    if stage.use == "language_id":
        languages = _strings(table, language) if language else pa.nulls(table.num_rows, pa.string())
    return Judged(
        stage=stage,
        dataset=dataset,
        values=_floats(table, value),
        languages=languages,
        dropped=np.full(table.num_rows, dropped),
        tokens=array(table, "num_tokens").astype(np.int64),
    )


def _strings(table: pa.Table, name: str) -> pa.Array:
    return table.column(name).cast(pa.string()).combine_chunks()


def _floats(table: pa.Table, name: str) -> F64:
    return np.asarray(pc.fill_null(table.column(name).cast(pa.float64()), np.nan).to_numpy())
