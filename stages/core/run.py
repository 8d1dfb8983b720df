"""`Run` and `StageRun`: a run as its tasks see it: datasets, stages, paths of artefacts. Small, frozen, picklable."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar, Generic, TypeVar, cast

import pyarrow as pa

from cluster import storage
from cluster.errors import RecipeError
from stages.core import manifest
from stages.core.digests import digest
from stages.core.extractor import extractor
from stages.core.shard import Bundle, Dataset, Shard
from stages.core.sidecar import Sidecars
from stages.core.stage import ShardStage, Stage
from stages.core.types import cached_schema

S_co = TypeVar("S_co", bound=Stage, covariant=True)
STAGED = 2  # version of staged copies


@dataclass(frozen=True, kw_only=True)
class Run:
    """One execution of a recipe in a run folder. `stages` starts with `read`.

    guesses: unscored documents pass deferred stages and none is scored: an estimate for `winnow plan`, not a run.
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
    code: str = ""  # digest of the code whose unfinished exchanges it goes on with
    stays: bool = True  # whether the folder stays when the run is finished, so that data may be added to it
    settled: str = ""  # names the call in which all stages have decided: verdicts may be kept in memory; "": not yet

    @property
    def manifest(self) -> manifest.Manifest:
        return manifest.cached_manifest(self.root, self.manifest_digest)

    def dataset(self, name: str) -> Dataset:
        """Return a dataset, with the types of its input columns once they are known."""
        found = next(d for d in self.datasets if d.name == name)
        known = self.types(name)
        return found if known is None else dataclasses.replace(found, types=known)

    def wanted(self, name: str) -> tuple[str, ...]:
        """Return the input columns to be known of a dataset besides text, id and url."""
        columns = next(d.columns for d in self.datasets if d.name == name)
        more = ("content",) if columns.null_ids == "unless_column" else ()
        return tuple(sorted({*self.extra_columns, *more}))

    def types(self, name: str) -> pa.Schema | None:
        """Return the types of a dataset's input columns; None before it is frozen, or where none are read."""
        names = self.wanted(name)
        if not self.manifest_digest or not names:
            return None
        return cached_schema(self.root, name, self.manifest.address(name), names)

    def reading(self, dataset: str) -> str:
        """Digest of a dataset's column mapping and format, part of the name of every sidecar."""
        return self._readings[dataset]

    @functools.cached_property
    def _readings(self) -> dict[str, str]:
        archives = self.manifest.archives if self.manifest_digest else frozenset()
        return {d.name: self._reading_of(d, "warc" if d.name in archives else "") for d in self.datasets}

    @staticmethod
    def _reading_of(dataset: Dataset, kind: str) -> str:
        """Digest of how files are read; of WARC files, the extractor and its version too."""
        more = (extractor(dataset.extract),) if kind == "warc" else ()
        return digest(dataset.columns.reading(), dataset.format, *more)[:8]

    @functools.cached_property
    def _decision_digests(self) -> dict[int, str]:
        """Digests that were asked for: every path of every task names one, and one costs 0.1 ms."""
        return {}

    def index(self, name: str) -> int:
        return next(i for i, stage in enumerate(self.stages) if stage.name == name)

    def staged_path(self, shard: Shard) -> str | None:
        """Return the path of the Parquet copy of an input that is read from its start; None for other inputs."""
        if not shard.staged:
            return None
        dataset = next(d for d in self.datasets if d.name == shard.dataset)
        reading = self._reading_of(dataset, shard.format.partition(".")[0])
        name = f"{shard.fingerprint}-{digest(reading, self.wanted(shard.dataset), STAGED)[:8]}.parquet"
        return storage.join(self.root, "staged", shard.dataset, name)

    def text_from(self, index: int) -> int | None:
        """Return the place of the stage whose edits are applied to the texts that stage `index` judges, if any is."""
        return next((place for place in range(index - 1, -1, -1) if self.stages[place].hands_on_text), None)

    def facts_from(self, index: int) -> dict[str, int]:
        """Return the place of the stage that has each fact which stage `index` needs, by the fact's name.

        Raises RecipeError where no stage before it has one for all its datasets.
        """
        stage, found = self.stages[index], {}
        mine = [d.name for d in self.datasets if stage.applies_to(d.name)]
        for name in stage.facts_needed() if isinstance(stage, ShardStage) else ():
            found[name] = next((i for i in range(index - 1, -1, -1) if has_fact(self.stages[i], name, mine)), -1)
            if found[name] < 0:
                raise lacks_fact(stage, name)
        return found

    def facts(self, stage: Stage) -> Sidecars:
        """Return where a stage's facts lie: addressed by its parameters, the repair of what it judges, facts it needs.

        Where its column became text in a dataset, facts of numbers are not used again.
        """
        index = self.index(stage.name)
        if stage is not self.stages[index]:
            return self._facts_of(stage, index)
        if index not in self._sidecars:
            self._sidecars[index] = self._facts_of(stage, index)
        return self._sidecars[index]

    @functools.cached_property
    def _sidecars(self) -> dict[int, Sidecars]:
        """Where facts lie that were asked for: every view of a bundle asks, and one answer costs .2 ms."""
        return {}

    def _facts_of(self, stage: Stage, index: int) -> Sidecars:
        place = self.text_from(index)
        mine, texts = stage.fact_digest(), self._texts_of(stage)
        address = mine if place is None else digest(mine, self.stages[place].fact_digest())
        if needed := self.facts_from(index):
            address = digest(address, [self.stages[i].fact_digest() for i in needed.values()])
        if isinstance(stage, ShardStage) and stage.by_population:
            address = digest(address, self._population_digest(index))
        return Sidecars(storage.join(self.root, "facts", stage.use, digest(address, texts) if texts else address))

    def _texts_of(self, stage: Stage) -> list[tuple[str, str]]:
        """Return (dataset, column) where a stage reads values of several kinds as text."""
        names = stage.columns() if isinstance(stage, ShardStage) else ()
        paths = [name.removeprefix("column:") for name in names if name.startswith("column:")]
        known = [(d.name, self.types(d.name)) for d in self.datasets] if paths else []
        return [
            (name, path)
            for name, schema in known
            for path in paths
            if schema is not None and path in schema.names and schema.field(path).metadata
        ]

    def decisions(self, index: int) -> Sidecars:
        stage = self.stages[index]
        return Sidecars(storage.join(self.root, "decisions", stage.name, self.decision_digest(index)))

    def exchange_folder(self, index: int, hop: str) -> str:
        """Return the folder of one hop of a stage: nobody goes on with what other code left unfinished."""
        name = f"{self.stages[index].name}-{self.decision_digest(index)}.{self.code}"
        return storage.join(self.root, "exchange", name, hop)

    def deferred(self, index: int) -> bool:
        """Tell whether a stage is deferred, scoring live documents only: costly after a deduplication, or it asks."""
        stage = self.stages[index]
        if not isinstance(stage, ShardStage):
            return False
        earlier = (s.drops for s in self.stages[:index] if s.exchanges)
        return stage.asks or (stage.costly and any(earlier))

    def decision_digest(self, index: int) -> str:
        """Digest of everything that an exchange stage's verdicts depend on.

        Earlier stages decide which documents are live; with `orphans: promote` later ones, which are eligible.
        """
        if index not in self._decision_digests:
            self._decision_digests[index] = self._digest_of_decisions(index)
        return self._decision_digests[index]

    def _population_digest(self, index: int) -> str:
        """Digest of everything that decides which documents reach a stage."""
        earlier = self.stages[:index]
        promotes = any(getattr(stage, "orphans", "allow") == "promote" for stage in earlier)
        later = self.stages[index + 1 :] if promotes else ()
        filters = [s.digest() for s in later if isinstance(s, ShardStage) and s.drops and not s.by_population]
        readings = [(d.name, d.role, self.reading(d.name)) for d in self.datasets]
        made = [s.digest() for s in earlier], filters, self.priority, self.prefer, readings
        return digest(*made, self.manifest_digest)

    def _digest_of_decisions(self, index: int) -> str:
        stage = self.stages[index]
        later = self.stages[index + 1 :] if getattr(stage, "orphans", "allow") == "promote" else ()
        filters = [s.digest() for s in later if isinstance(s, ShardStage) and (s.drops or s.hands_on_text)]
        earlier = [s.digest() for s in self.stages[: index + 1]]
        readings = [(d.name, d.role, self.reading(d.name)) for d in self.datasets]
        return digest(earlier, filters, self.priority, self.prefer, readings, self.manifest_digest)


def has_fact(stage: Stage, name: str, datasets: Iterable[str]) -> bool:
    """Tell whether a stage has a fact of this name for the documents of all these datasets."""
    if not isinstance(stage, ShardStage) or name not in stage.hands_on:
        return False
    return all(stage.applies_to(dataset) for dataset in datasets)


def lacks_fact(stage: Stage, name: str) -> RecipeError:
    """Build the error for a stage that needs a fact which no stage before it has."""
    maker = "language_id" if name == "language" else f"that has the fact {name}"
    return RecipeError(
        f"stage {stage.name} needs the {name} of every document: put a stage {maker} before it, for the same datasets"
        + (", or name it, for instance language: en." if name == "language" else ".")
    )


@dataclass(frozen=True)
class StageRun(Generic[S_co]):
    """One stage in its run: the context of the stage's tasks. Small, frozen, picklable."""

    run: Run
    index: int  # place in `run.stages`

    @property
    def stage(self) -> S_co:
        """The stage itself."""
        return cast("S_co", self.run.stages[self.index])

    @property
    def positions(self) -> range:
        """The bundles of the run, by position in the manifest."""
        return range(len(self.run.manifest.bundles))

    @property
    def decisions(self) -> Sidecars:
        """The decisions sidecars of the stage."""
        return self.run.decisions(self.index)

    def folder(self, hop: str) -> str:
        """Return the folder of one hop of the stage's exchange; of all hops for an empty name."""
        return self.run.exchange_folder(self.index, hop)

    def facts(self, bundle: Bundle, columns: list[str] | None = None) -> pa.Table:
        """Return the stage's facts of a bundle, sparse: column `row` names the rows that have facts."""
        return self.run.facts(self.stage).read(bundle, self.run.reading(bundle.dataset), columns)


def stage_runs(run: Run, kind: type[S_co]) -> list[StageRun[S_co]]:
    """Return the stages of a class in recipe order, each with its run."""
    return [StageRun(run, index) for index, stage in enumerate(run.stages) if isinstance(stage, kind)]
