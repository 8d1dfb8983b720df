"""What a task knows of its run: datasets, stages and where things lie. Small, frozen, picklable.

`View` is one bundle seen through the sidecars: which rows live before a stage, which would pass every
later filter, in which order documents survive. It holds the facts of one bundle.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from cluster import storage
from cluster.errors import LedgerError
from stages.core import edits, manifest
from stages.core.edits import Edits
from stages.core.shard import Bundle, Dataset, Shard
from stages.core.sidecar import Sidecars, expand
from stages.core.stage import BoolArray, Decisions, ExchangeStage, ShardStage, Stage, array, digest, rewrites, whole
from stages.implicit.read import Read
from stages.implicit.rewrite import Rewrite
from stages.kernels.survivors.pair_answers import NO, UNKNOWN, YES

COMPRESSED = (".gz", ".zst", ".zstd")  # not seekable: staged once as Parquet


@dataclass(frozen=True, kw_only=True)
class Run:
    """One execution of a recipe in a run folder. `stages` starts with `read`.

    guesses: what a deferred stage has not judged passes it, and nobody is judged (an estimate, not a run).
    """

    guesses: ClassVar[bool] = False

    root: str
    datasets: tuple[Dataset, ...]
    stages: tuple[Stage, ...]
    priority: tuple[str, ...]
    prefer: tuple[str, ...] = ()
    on_error: str = "stop"
    manifest_digest: str = ""
    extra_columns: tuple[str, ...] = ()  # input columns that stages and the output read besides text, id, url

    @property
    def manifest(self) -> manifest.Manifest:
        return manifest.cached(self.root, self.manifest_digest)

    def dataset(self, name: str) -> Dataset:
        return next(d for d in self.datasets if d.name == name)

    def reading(self, dataset: str) -> str:
        """Digest of how a dataset's rows are read: part of every sidecar's address."""
        return self._readings[dataset]

    @functools.cached_property
    def _readings(self) -> dict[str, str]:
        return {d.name: digest(d.columns, d.format)[:8] for d in self.datasets}

    @functools.cached_property
    def _decision_digests(self) -> dict[int, str]:
        """Digests that were asked for: every path of every task names one, and one costs 0.1 ms."""
        return {}

    def index(self, name: str) -> int:
        return next(i for i, stage in enumerate(self.stages) if stage.name == name)

    def staged_path(self, shard: Shard) -> str | None:
        """Return where the Parquet copy of a compressed input lies; None for other inputs."""
        if not shard.path.endswith(COMPRESSED):
            return None
        name = f"{shard.fingerprint}-{digest(self.reading(shard.dataset), sorted(self.extra_columns))[:8]}.parquet"
        return storage.join(self.root, "staged", shard.dataset, name)

    def facts(self, stage: Stage) -> Sidecars:
        return Sidecars(storage.join(self.root, "facts", stage.use, stage.fact_digest()))

    def decisions(self, index: int) -> Sidecars:
        stage = self.stages[index]
        return Sidecars(storage.join(self.root, "decisions", stage.name, self.decision_digest(index)))

    def exchange_folder(self, index: int, hop: str) -> str:
        return storage.join(self.root, "exchange", f"{self.stages[index].name}-{self.decision_digest(index)}", hop)

    def deferred(self, index: int) -> bool:
        """Tell whether a stage judges only what the exchange stages before it leave: it is costly, and they drop."""
        stage = self.stages[index]
        earlier = (s.drops for s in self.stages[:index] if isinstance(s, ExchangeStage))
        return isinstance(stage, ShardStage) and stage.costly and any(earlier)

    def decision_digest(self, index: int) -> str:
        """Digest of all that an exchange stage's verdicts depend on.

        Earlier stages decide who takes part; with `orphans: promote` later ones decide who may survive.
        """
        if index not in self._decision_digests:
            self._decision_digests[index] = self._digest_of_decisions(index)
        return self._decision_digests[index]

    def _digest_of_decisions(self, index: int) -> str:
        stage = self.stages[index]
        later = self.stages[index + 1 :] if getattr(stage, "orphans", "allow") == "promote" else ()
        filters = [s.digest() for s in later if isinstance(s, ShardStage) and s.drops]
        earlier = [s.digest() for s in self.stages[: index + 1]]
        readings = [(d.name, d.role, self.reading(d.name)) for d in self.datasets]
        return digest(earlier, filters, self.priority, self.prefer, readings, self.manifest_digest)


class View:
    """One bundle's rows through the sidecars. Holds facts of one bundle, read when first asked for."""

    def __init__(self, run: Run, bundle: Bundle) -> None:
        self.run = run
        self.bundle = bundle
        self._decided: dict[int, tuple[npt.NDArray[np.int64], Decisions]] = {}
        self._live: dict[int, BoolArray] = {}

    @functools.cached_property
    def read(self) -> pa.Table:
        """Facts of stage `read`: every row, in order."""
        stage = self.run.stages[0]
        table = self.run.facts(stage).read(self.bundle, self.reading)
        if table.num_rows != self.bundle.rows:
            raise LedgerError(
                f"bundle {self.bundle.number} of {self.bundle.dataset}: facts of read have {table.num_rows:,} rows,"
                f" the manifest says {self.bundle.rows:,}."
            )
        return table

    @property
    def reading(self) -> str:
        return self.run.reading(self.bundle.dataset)

    @functools.cached_property
    def doc_ids(self) -> npt.NDArray[np.int64]:
        return self.bundle.doc_ids()

    def facts(self, index: int, rows: npt.NDArray[np.int64], columns: list[str] | None = None) -> pa.Table:
        """Return a stage's facts for these bundle rows. Raises LedgerError if one is not covered."""
        stage = self.run.stages[index]
        table = self.read if index == 0 else self.run.facts(stage).read(self.bundle, self.reading, columns)
        if self.run.guesses and self.run.deferred(index):
            return table.take(pc.index_in(pa.array(rows, pa.uint32()), whole(table.column("row"))))
        return expand(table.column("row").to_numpy(), table, rows, f"{stage.name}, bundle {self.bundle.number}")

    def live(self, index: int) -> BoolArray:
        """Return which rows are alive before stage `index`, (rows,) bool."""
        if index not in self._live:
            if index == 0:
                self._live[0] = np.ones(self.bundle.rows, np.bool_)
            else:
                live = self.live(index - 1).copy()
                rows, decisions = self.decided(index - 1)
                live[rows[decisions.dropped]] = False
                self._live[index] = live
        return self._live[index]

    def decided(self, index: int) -> tuple[npt.NDArray[np.int64], Decisions]:
        """Return the rows a ShardStage judged and its verdicts; for an exchange, those it dropped."""
        if index not in self._decided:
            self._decided[index] = self._decide(index, self.live(index))
        return self._decided[index]

    def _decide(self, index: int, among: BoolArray) -> tuple[npt.NDArray[np.int64], Decisions]:
        stage = self.run.stages[index]
        nothing = np.empty(0, np.int64), Decisions.keep_all(0)
        if not stage.applies_to(self.bundle.dataset):
            return nothing
        if isinstance(stage, ShardStage):
            if not stage.drops:
                return nothing
            if self.run.guesses and self.run.deferred(index):
                among = among & self.covered(index)
            rows = np.flatnonzero(among)
            return rows, stage.decide(self.facts(index, rows))
        assert isinstance(stage, ExchangeStage)
        return stage.verdicts(self, index)

    def exchanged(self, index: int) -> pa.Table:
        """Return the decisions sidecar of an exchange stage: one row per dropped document."""
        return self.run.decisions(index).read(self.bundle, self.reading)

    @functools.cached_property
    def edits(self) -> Edits:
        """What is rewritten in the texts that live before `rewrite`, all stages merged; row: bundle row."""
        if not isinstance(self.run.stages[-1], Rewrite):
            return edits.none()
        rows = np.flatnonzero(self.live(len(self.run.stages) - 1))
        found = []
        for index, stage in enumerate(self.run.stages):
            if not rewrites(type(stage)) or not stage.applies_to(self.bundle.dataset):
                continue
            if isinstance(stage, ShardStage):
                found.append(stage.edits(self.facts(index, rows)))
            elif isinstance(stage, ExchangeStage):
                found.append(stage.edits_of(self, index, rows))
        return edits.merge(found).numbered(rows)

    def eligible(self, index: int) -> npt.NDArray[np.uint8]:
        """Return whether rows live before stage `index` and pass every later per-document filter, (rows,) uint8.

        UNKNOWN: no filter that judged the row drops it, and a deferred one has not judged it yet.
        """
        passing = self.live(index).copy()
        unknown = np.zeros(len(passing), np.bool_)
        for later in range(index + 1, len(self.run.stages)):
            stage = self.run.stages[later]
            if not isinstance(stage, ShardStage) or not stage.drops:
                continue
            judged = passing
            if self.run.deferred(later) and stage.applies_to(self.bundle.dataset):
                judged = passing & self.covered(later)
                unknown |= passing & ~judged
            if judged.any():
                rows, decisions = self._decide(later, judged)
                passing[rows[decisions.dropped]] = False
        return np.where(passing, np.where(unknown, UNKNOWN, YES), NO).astype(np.uint8)

    def covered(self, index: int) -> BoolArray:
        """Return the rows that have facts of a stage, (rows,) bool."""
        found = np.zeros(self.bundle.rows, np.bool_)
        sidecars = self.run.facts(self.run.stages[index])
        if sidecars.parts(self.bundle, self.reading):
            found[array(sidecars.read(self.bundle, self.reading, []), "row")] = True
        return found

    def criteria(self, rows: npt.NDArray[np.int64]) -> list[npt.NDArray[np.float64]]:
        """Return one array per entry of `prefer`, smaller is better, (rows,) float64."""
        found: list[npt.NDArray[np.float64]] = []
        for rule in self.run.prefer:
            sign = {"longest": -1.0, "shortest": 1.0}[rule]
            found.append(sign * self.read.column("num_chars").to_numpy()[rows].astype(np.float64))
        return found


def read_stage(run: Run) -> Read:
    """Return the run's first stage."""
    stage = run.stages[0]
    assert isinstance(stage, Read)
    return stage


def options(stage: Stage) -> dict[str, Any]:
    """Return a stage's parameters by name, for the report."""
    return {name: getattr(stage, name) for name in stage.__dataclass_fields__}
