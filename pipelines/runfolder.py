"""Read a finished run folder: manifest, recipe, ledger, mix, and single documents.

    from pipelines.runfolder import open_run
    for table in open_run("RUN").ledger("dclm", columns=["doc_id", "stage", "reason"]): ...

Guarantees: tables come a batch at a time, so memory does not grow with the run; a ledger file that is
missing or short is a LedgerError, never an empty answer; nothing is written, except that `texts` makes a
deleted Parquet copy of a compressed input again.
"""

from __future__ import annotations

import contextlib
import functools
import warnings
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from classifiers.foreign_code import trusting
from cluster import storage
from cluster.credentials import check_place
from cluster.errors import RecipeError, WinnowError
from cluster.files.sealed import read_public_json
from cluster.options import available_cores
from pipelines.artefacts import LedgerRow, MixDataset, MixManifest, ShardRow
from pipelines.document_counts import Counts, check_counts, counts_of
from pipelines.records import mix_manifest_if_there
from pipelines.run_tables import Tables, from_input, interleaved_tables, joined, ledger_rows, ledger_tables, mix_tables
from pipelines.stage_facts import bundles_with_facts, facts_of_bundle
from pipelines.staleness import Stale, recipe_of_ledger, stale_parts, stale_sentences
from pipelines.written_texts import Document, as_written

if TYPE_CHECKING:
    from stages.core.run import Run

__all__ = ["Counts", "Document", "RunFolder", "StageInfo", "open_run"]

ROW_MASK = (1 << 32) - 1
SHARDS_AT_ONCE = 8  # read by threads of this process
FIRST_STAGE = "read"
LAST_STAGE = "rewrite"  # of a run whose stages rewrite texts


@dataclass(frozen=True, kw_only=True)
class StageInfo:
    """A stage as the recipe states it. parameters: only those the recipe gives."""

    name: str
    use: str
    datasets: tuple[str, ...] = ()  # empty: all
    parameters: dict[str, Any] = field(default_factory=dict)

    def applies_to(self, dataset: str) -> bool:
        """Tell whether the stage works on documents of this dataset."""
        return not self.datasets or dataset in self.datasets


@dataclass(frozen=True)
class RunFolder:
    """One run folder. Use `open_run`, which checks that it is one."""

    root: str
    trust: bool = False  # import the code that it names, wherever that lies
    originals: bool = False  # show texts as the input has them, not as they are written
    mix_name: str = ""  # of several mixes the one that is read; see `of_mix`
    _settled: str = ""  # the call of a run that opened it at its end, whose verdicts are still in memory: Run.settled

    @functools.cached_property
    def manifest(self) -> pa.Table:
        """The manifest: one row per shard that is part of the run (ordinal, dataset, path, rows, bytes …)."""
        from stages.core import manifest

        table = manifest.read_manifest_table(self.root)
        table = table.select([name for name in table.schema.names if name != manifest.PIECES.name])
        if "retired" in table.schema.names:
            table = table.filter(pc.invert(table.column("retired")))
        return table

    @functools.cached_property
    def recipe(self) -> dict[str, Any]:
        """The recipe that the ledger was made with (recipe.lock.yaml, while there is none), as plain values."""
        from pipelines.recipe.lock import read_lock

        return read_lock(recipe_of_ledger(self.root))

    @functools.cached_property
    def stale(self) -> list[Stale]:
        """What of the folder is not up to date, why, and the command that helps."""
        with trusting(self.trust):
            return stale_parts(self.root)

    @functools.cached_property
    def mixes(self) -> list[str]:
        """The names of the mixes, in the recipe's order; one empty name where the recipe has one mix."""
        return list(self.recipe.get("mixes") or {}) or [""]

    def of_mix(self, name: str) -> RunFolder:
        """Return the same folder for reading one of several mixes. Raises RecipeError where none has the name."""
        if name not in self.mixes:
            there = ", ".join(filter(None, self.mixes)) or "one without a name"
            raise RecipeError(f"no mix is called {name!r} in {self.root}; there is {there}.")
        return replace(self, mix_name=name)

    @property
    def mix_folder(self) -> str:
        """Where the mix lies: RUN/mix, or RUN/mixes/NAME of one of several."""
        from pipelines.run_state import mix_root

        return mix_root(self.root, self.mix_name)

    @functools.cached_property
    def mix_manifest(self) -> MixManifest:
        """manifest.json of the mix: files, targets, epochs; empty when there is no mix yet."""
        return mix_manifest_if_there(storage.join(self.mix_folder, "manifest.json")) or MixManifest()

    def mix_dataset(self, dataset: str) -> MixDataset:
        """Return what mix/manifest.json says of one dataset; empty when it says nothing."""
        return (self.mix_manifest.get("datasets") or {}).get(dataset) or {}

    @functools.cached_property
    def run(self) -> Run:
        """The run as its tasks know it, for facts and texts. Raises WinnowError when it cannot be rebuilt."""
        from pipelines.run_state import reopen

        with trusting(self.trust):
            return replace(reopen(self.root, recipe_of_ledger(self.root)).run, settled=self._settled)

    def check_code(self) -> None:
        """Raise RecipeError where the recipe names code that opening this folder must not import."""
        from pipelines.recipe.code_named import check_code

        with trusting(self.trust):
            check_code(recipe_of_ledger(self.root))
            check_code(self.path("recipe.lock.yaml"))

    @property
    def datasets(self) -> list[str]:
        """Names of the datasets, in the recipe's order."""
        return list(self.recipe.get("datasets") or {})

    def licence(self, dataset: str) -> str | None:
        """Return a dataset's licence: as the recipe states it, else as its preset does."""
        from stages.inputs.presets import PRESETS

        entry = self.recipe["datasets"].get(dataset) or {}
        known = PRESETS.get(entry.get("preset") or "")
        return entry.get("licence") or (known.licence if known else None)

    @property
    def tokens_are(self) -> str:
        """Whether tokens were counted or estimated, in words."""
        counted = (self.recipe.get("mix") or {}).get("tokenizer")
        return self.mix_manifest.get("tokens_are") or ("counted" if counted else "estimated as UTF-8 bytes / 4")

    @functools.cached_property
    def stages(self) -> list[StageInfo]:
        """The stages in order, beginning with `read`; where texts are rewritten, `rewrite` is the last."""
        self.check_code()
        from stages.registry import is_stage, stage_class

        found = [StageInfo(name=FIRST_STAGE, use=FIRST_STAGE)]
        for entry in self.recipe.get("stages") or []:
            rest = {k: v for k, v in entry.items() if k not in ("use", "name", "datasets")}
            name = str(entry.get("name") or entry["use"])
            found.append(
                StageInfo(name=name, use=entry["use"], datasets=tuple(entry.get("datasets") or ()), parameters=rest)
            )
        if any(is_stage(s.use) and stage_class(s.use).rewrites() for s in found):
            found.append(StageInfo(name=LAST_STAGE, use=LAST_STAGE))
        return found

    @functools.cached_property
    def counts(self) -> dict[str, Counts]:
        """Documents per dataset, counted from the ledger in this process. Raises LedgerError unless they add up."""
        found = {name: Counts() for name in self.datasets}
        for name in found:
            for table in self.ledger(name, ["kept", self.copies_column, "stage", "reason"]):
                found[name] = found[name].plus(counts_of(table, self.copies_column))
            check_counts(self.root, name, found[name])
        return found

    @property
    def copies_column(self) -> str:
        """The ledger's column of copies in the mix that is read, in all of them where none is named."""
        return f"copies_{self.mix_name}" if self.mix_name else "copies"

    def path(self, *parts: str) -> str:
        """Return a path inside the run folder."""
        return storage.join(self.root, *parts)

    def json(self, *parts: str) -> dict[str, Any] | None:
        """Return a JSON file of the run folder, or None when it is not there."""
        return self._json(self.path(*parts))

    @staticmethod
    def _json(path: str) -> dict[str, Any] | None:
        from stages.core.formats import check_format

        if not storage.exists(path):
            return None
        found = read_public_json(path)
        check_format(found.get("format"), path)
        return found

    def ledger(self, dataset: str | None = None, columns: Sequence[str] | None = None) -> Tables:
        """Return the ledger in order, in tables of at most 131,072 rows; tables of small shards are joined.

        Going through them holds one at a time; `.arrow()`, `.pandas()` and `.polars()` make one table of all.

        Parameters
        ----------
        dataset : only this one's shards; all when None. A table never spans two datasets.
        columns : names of ledger columns; all when None.

        Raises
        ------
        RecipeError
            There is no such dataset.
        LedgerError
            A shard's file is missing or has another number of rows than the manifest says.
        """
        return Tables(self._ledger(dataset, columns))

    def _ledger(self, dataset: str | None, columns: Sequence[str] | None) -> Iterator[pa.Table]:
        self._check_dataset(dataset)
        for name in self.datasets if dataset is None else [dataset]:
            yield from self.ledger_of((s for s in self.manifest.to_pylist() if s["dataset"] == name), columns)

    def facts(self, stage: str, columns: Sequence[str] | None = None) -> Tables:
        """Return a stage's facts (of deduplication, its verdicts), a table for each bundle: doc_id, row, its columns.

        columns : names of columns; all when None.

        Raises
        ------
        RecipeError
            There is no such stage, it keeps no facts, or the folder names code that is not trusted.
        LedgerError
            The stage is not finished.
        """
        return Tables(self._facts(stage, columns))

    def _facts(self, stage: str, columns: Sequence[str] | None) -> Iterator[pa.Table]:
        from pipelines.run_state import from_home, reopen

        with from_home(self.root) as root, trusting(self.trust):
            run = reopen(root).run
            bundles = bundles_with_facts(run, stage)
        for bundle in bundles:
            with from_home(self.root), trusting(self.trust):
                table = facts_of_bundle(run, stage, bundle)
            yield table if columns is None else table.select(list(columns))

    def ledger_of(self, shards: Iterable[ShardRow], columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
        """Yield the ledger of these shards (rows of the manifest, all of one dataset) as `ledger` does."""
        named = ((self.path("ledger", f"{shard['ordinal']}.parquet"), shard) for shard in shards)
        return joined(table for path, shard in named for table in ledger_tables(path, shard, columns))

    def _check_dataset(self, dataset: str | None) -> None:
        if dataset is not None and dataset not in self.datasets:
            raise RecipeError(f"no dataset is called {dataset!r} in {self.root}; there are {', '.join(self.datasets)}.")

    def row(self, doc_id: int | None) -> LedgerRow | None:
        """Return the ledger row of a document; None where there is no such document."""
        return None if doc_id is None else self.rows([doc_id]).get(doc_id)

    def rows(self, doc_ids: Iterable[int]) -> dict[int, LedgerRow]:
        """Return the ledger rows of these documents by doc_id, NaN as None; unknown ids are left out.

        Memory: one row group of one ledger file.
        """
        found: dict[int, LedgerRow] = {}
        known = set(self.manifest.column("ordinal").to_pylist())
        wanted: dict[int, list[int]] = {}
        for doc in sorted(set(doc_ids)):
            if doc >> 32 in known:
                wanted.setdefault(doc >> 32, []).append(doc & ROW_MASK)
        for ordinal, rows in wanted.items():
            for row in ledger_rows(self.path("ledger", f"{ordinal}.parquet"), np.array(rows, np.int64)):
                found[row["doc_id"]] = row
        return found

    @property
    def files(self) -> list[str]:
        """The paths of the mix's files in order, held-out files excluded, whatever the layout."""
        if self.interleaved:
            return self._training(file["path"] for file in self.mix_manifest.get("files") or [])
        return [path for name in self.datasets for path in self.mix_files(name)]

    @property
    def interleaved(self) -> bool:
        """Whether each file of the mix holds a sample of all of it."""
        return self.mix_manifest.get("layout") == "interleaved"

    def _training(self, names: Iterable[str]) -> list[str]:
        return [storage.join(self.mix_folder, n) for n in names if n.rsplit("/", 1)[-1].startswith("part-")]

    def mix_files(self, dataset: str) -> list[str]:
        """Return the paths of a dataset's files in the mix, held-out files excluded; none of an interleaved mix."""
        names = [file["path"] for file in self.mix_dataset(dataset).get("files", [])]
        if "files" not in self.mix_dataset(dataset):
            folder = storage.join(self.mix_folder, dataset)
            names = [f"{dataset}/{name}" for name in sorted(storage.names(folder))]
        return self._training(names)

    def mix(self, dataset: str | None = None, columns: Sequence[str] | None = None) -> Tables:
        """Return the mix in tables of at most 131,072 rows, file by file, as `ledger` does.

        Of an interleaved mix a table holds rows of all datasets, or those of `dataset`. Of several mixes all are read,
        one after the other, unless one was chosen by `of_mix`.
        """
        return Tables(self._mix(dataset, columns))

    def _mix(self, dataset: str | None, columns: Sequence[str] | None) -> Iterator[pa.Table]:
        self._check_dataset(dataset)
        if self.mix_name not in self.mixes:
            for name in self.mixes:
                yield from self.of_mix(name).mix(dataset, columns)
            return
        if self.interleaved:
            yield from interleaved_tables(self.files, dataset, columns)
            return
        for name in self.datasets if dataset is None else [dataset]:
            for path in self.mix_files(name):
                yield from mix_tables(path, columns)

    def texts(self, doc_ids: Iterable[int]) -> dict[int, Document]:
        """Return text, id and url of these documents, from the input where it can be read, else from the mix.

        Documents found in neither are left out. Memory: the texts, and a batch of each of SHARDS_AT_ONCE shards.
        """
        missing = set(doc_ids)
        found = self._from_inputs(missing)
        return found | self._from_mix(sorted(missing - found.keys()))

    def _from_inputs(self, missing: set[int]) -> dict[int, Document]:
        """Return documents by their input, several shards at a time."""
        shards: dict[int, list[int]] = {}
        for doc in sorted(missing):
            shards.setdefault(doc >> 32, []).append(doc & ROW_MASK)
        if not shards:
            return {}
        run = self.run

        def read(ordinal: int) -> dict[int, Document]:
            with contextlib.suppress(WinnowError, OSError):  # moved input: the mix still has the survivors
                return from_input(run, ordinal, shards[ordinal])
            return {}

        with ThreadPoolExecutor(min(SHARDS_AT_ONCE, available_cores())) as threads:
            return {doc: found for part in threads.map(read, shards) for doc, found in part.items()}

    def shown_texts(self, doc_ids: Iterable[int]) -> dict[int, Document]:
        """Return these documents as pages show them: redacted as the recipe says, unless `originals` is set."""
        if self.originals:
            return self.texts(doc_ids)
        wanted = set(doc_ids)
        read = self._from_inputs(wanted)
        found = as_written(self.run, read) if read else {}
        return found | self._from_mix(sorted(wanted - found.keys()))

    def _from_mix(self, wanted: list[int]) -> dict[int, Document]:
        found: dict[int, Document] = {}
        names = ["doc_id", "text", "id", "url"]
        for table in self.mix(columns=names) if wanted else ():
            hit = table.filter(pc.is_in(table.column("doc_id"), pa.array(wanted, pa.int64())))
            found.update({row["doc_id"]: Document(**row) for row in hit.to_pylist()})
        return found


def open_run(path: str, *, trust: bool = False, warn: bool = True) -> RunFolder:
    """Open a run folder for reading; `warn`: a UserWarning tells what of it is stale.

    trust : import code that its recipe names (`python:MODULE:NAME`, stages of others) from the working folder too.

    Raises
    ------
    RecipeError
        It holds no recipe.lock.yaml or no manifest.parquet.
    DamagedError
        One of them is not what was written.
    """
    from pipelines.recipe import lock

    check_place(str(path), "the run folder")
    run = RunFolder(str(path).rstrip("/"), trust)
    for name in ("recipe.lock.yaml", "manifest.parquet"):
        if not storage.exists(run.path(name)):
            raise RecipeError(f"{run.root} is not a run folder: it has no {name}. Run `winnow run` first.")
    lock.check_lock(run.path("recipe.lock.yaml"))
    with contextlib.suppress(WinnowError):  # what cannot be told here, the first question says
        if warn and run.stale:
            warnings.warn(f"{run.root}: {' '.join(stale_sentences(run.stale))}", stacklevel=2)
    return run
