"""The documents of a mix, for an export: from the mix's files, or from ledger and inputs where the mix is gone.

`open_source` is the one place that knows where a mix lies. Both ways give the same documents with the same copies, so
an export has the same bytes. Memory: one batch of text (`BATCH_ROWS` rows, in Parquet one row group of 32 MB).
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from cluster import storage
from cluster.engines import Engine
from cluster.errors import LedgerError, RecipeError
from cluster.files.sealed import batches, damaged, open_parquet, reading
from pipelines.artefacts import MixFileEntry, files_of_mix
from pipelines.export.settings import SPLITS
from pipelines.runfolder import RunFolder
from stages.core.arrays import array, whole
from stages.core.digests import digest
from stages.core.run import Run
from stages.core.view import View
from stages.inputs.ids import sound
from stages.outcome.holdout import held_out
from stages.outcome.mixing import Mix
from stages.outcome.verdicts import outcome

I64 = npt.NDArray[np.int64]
BATCH_ROWS = 1024
COLUMNS = ("text", "doc_id", "copies")
SCHEMA = pa.schema([("text", pa.large_string()), ("doc_id", pa.int64()), ("copies", pa.int32())])
READ = pa.schema([*SCHEMA, ("source", pa.string())])


@dataclass(frozen=True, kw_only=True)
class Unit:
    """What one task reads: a file of the mix, or a bundle of the inputs. rows : of the file."""

    path: str = ""
    position: int = -1
    rows: int = 0


@dataclass(frozen=True, kw_only=True)
class Source:
    """Documents of a mix. digest : of everything that they depend on; tokens : as the mix counts or estimates them.

    repeated : whether a document with n copies stands in the files n times.
    """

    units: tuple[Unit, ...]
    digest: str
    tokens: int
    split: str
    repeated: bool = False
    dataset: str | None = None  # of which the rows are wanted; None: of all that the files hold
    run: Run | None = None
    mix: Mix | None = None

    def read(self, unit: Unit) -> Iterator[pa.Table]:
        """Yield the documents of a unit in `SCHEMA`: each once, with its copies, or where `repeated` each copy."""
        if unit.position >= 0:
            yield from _from_inputs(self, unit.position)
            return
        parquet = unit.path.endswith(".parquet")
        names = [*COLUMNS, "source"]
        found = map(_as_read, batches(unit.path, BATCH_ROWS, names)) if parquet else _from_lines(unit.path)
        for table in map(self._wanted, found):
            if self.split == "holdout":  # which counts no copies
                once = pa.array(np.ones(table.num_rows, np.int32))
                table = table.set_column(COLUMNS.index("copies"), "copies", once)
            yield table

    def read_names(self, unit: Unit) -> Iterator[pa.Table]:
        """Yield doc_id and copies of the documents in a file of the mix, as `read` does."""
        names = ["doc_id", "copies", "source"]
        parquet = unit.path.endswith(".parquet")
        found = batches(unit.path, 1 << 17, names) if parquet else _from_lines(unit.path)
        yield from (self._wanted(table).select(names[:2]) for table in found)

    def _wanted(self, table: pa.Table) -> pa.Table:
        """Return the rows of the dataset that is wanted, in a table without their dataset."""
        if self.dataset is not None:
            table = table.filter(pc.equal(table.column("source"), self.dataset))
        return table.drop_columns(["source"])


def open_source(
    engine: Engine, folder: RunFolder, split: str, *, mix: str | None = None, dataset: str | None = None
) -> Source:
    """Return the documents of a run's mix, or of one dataset in it. Raises RecipeError where there is none."""
    folder = folder.of_mix(mix or "")
    if dataset is not None and dataset not in folder.datasets:
        raise RecipeError(f"--dataset must be one of {', '.join(folder.datasets)}, got {dataset!r}.")
    root = folder.mix_folder
    entries = files_of_mix(folder.mix_manifest)
    whole_mix = entries and storage.have_sizes(root, ((entry["path"], entry["bytes"]) for entry in entries))
    found = _of_files(root, entries, split, dataset) if whole_mix else None
    found = found or _of_inputs(engine, folder, split, dataset)
    if not found.units:
        remedy = "set output.holdout in the recipe" if split == "holdout" else "look at `winnow report`"
        raise RecipeError(f"the mix of {folder.root} has no {split} documents; {remedy}.")
    return found


def _of_files(root: str, entries: list[MixFileEntry], split: str, dataset: str | None) -> Source:
    """Return the documents of a mix's files; where a file may hold several datasets, each row says which is its own."""
    mine = [e for e in entries if e["path"].rpartition("/")[2].startswith(SPLITS[split])]
    apart = dataset is not None and any(dataset in e["path"].split("/")[:-1] for e in mine)
    if apart:
        mine = [e for e in mine if dataset in e["path"].split("/")[:-1]]
    units = tuple(Unit(path=storage.join(root, e["path"]), rows=e["rows"]) for e in mine)
    for unit in units[:1]:
        _check_columns(unit.path)
    return Source(
        units=units,
        digest=digest("mix files", sorted((e["path"], e["sha256"]) for e in mine), "" if apart else dataset or ""),
        tokens=sum(e["tokens"] for e in mine),
        split=split,
        repeated=any(e["rows"] != e["documents"] for e in mine),
        dataset=None if apart else dataset,
    )


def _check_columns(path: str) -> None:
    """Raise RecipeError where a mix lacks what an export reads, as that of `winnow dedup` does."""
    if path.endswith(".parquet"):
        with open_parquet(path) as file:
            missing = [name for name in COLUMNS if name not in file.schema_arrow.names]
        if missing:
            raise RecipeError(f"{path} has no column {', '.join(missing)}: only the mix of `winnow run` is exported.")


def _as_read(table: pa.Table) -> pa.Table:
    columns = [table.column(field.name).cast(field.type) for field in READ]
    return pa.table([sound(whole(columns[0])), *columns[1:]], schema=READ)


def _from_lines(path: str) -> Iterator[pa.Table]:
    import zstandard

    with storage.open_read(path) as raw, zstandard.ZstdDecompressor().stream_reader(raw) as stream, reading(path):
        rows: list[dict[str, Any]] = []
        for line in io.BufferedReader(cast("io.RawIOBase", stream), 1 << 20):
            try:
                found = orjson.loads(line)
                rows.append({name: found[name] for name in READ.names})
            except (orjson.JSONDecodeError, KeyError, TypeError) as error:
                raise damaged(path, f"a line is no document of a mix ({error})") from None
            if len(rows) == BATCH_ROWS:
                yield pa.Table.from_pylist(rows, READ)
                rows = []
        if rows:
            yield pa.Table.from_pylist(rows, READ)


# --- ledger and inputs -----------------------------------------------------------------------------------


def _of_inputs(engine: Engine, folder: RunFolder, split: str, dataset: str | None) -> Source:
    from pipelines.run_state import reopen
    from pipelines.staleness import recipe_of_ledger

    prepared = reopen(folder.root, recipe_of_ledger(folder.root))
    run = prepared.run
    mix = next(each for each in prepared.mixes if each.name == folder.mix_name)
    if split == "holdout" and mix.holdout <= 0:
        return Source(units=(), digest="", tokens=0, split=split)
    wanted = {d.name for d in run.datasets if d.role != "reference" and dataset in (None, d.name)}
    places = [p for p, b in enumerate(run.manifest.bundles) if b.dataset in wanted]
    source = Source(units=(), digest="", tokens=0, split=split, run=run, mix=mix)
    found = engine.map(partial(_tokens_of, source), places)
    units = tuple(Unit(position=p) for p, n in zip(places, found, strict=True) if n)
    return Source(
        units=units,
        digest=digest("inputs", run.manifest_digest, prepared.digest, prepared.sample, mix.values(), split, dataset),
        tokens=sum(found),
        split=split,
        run=run,
        mix=mix,
    )


def _tokens_of(source: Source, position: int) -> int:
    """Return the tokens of a bundle's documents, every copy counted."""
    rows, number, ledger = _wanted(source, position)
    tokens = array(ledger, "num_tokens").astype(np.int64)[rows]
    return int((tokens * number[rows]).sum())


def _run(source: Source) -> Run:
    assert source.run is not None
    return source.run


def _wanted(source: Source, position: int) -> tuple[I64, npt.NDArray[np.int32], pa.Table]:
    """Return (rows of the bundle in the split, copies of every row, its ledger). Raises LedgerError."""
    assert source.mix is not None
    column = f"copies_{source.mix.name}" if source.mix.name else "copies"
    ledger = _ledger_of(View.at(_run(source), position), column)
    copies = array(ledger, column).astype(np.int32)
    if source.split == "train":
        return np.flatnonzero(copies > 0), copies, ledger
    held = held_out(source.mix, position, outcome(_run(source), position))
    return np.flatnonzero(held), held.astype(np.int32), ledger


def _ledger_of(view: View, copies: str) -> pa.Table:
    """Return the ledger of a bundle, row by row."""
    names = ["doc_id", copies, "num_tokens"]
    found = []
    for piece in view.bundle.pieces:
        path = storage.join(view.run.root, "ledger", f"{piece.shard.ordinal}.parquet")
        if not storage.exists(path):
            raise LedgerError(f"{path} is missing. `winnow run` again makes it.")
        start = 0
        for table in batches(path, 1 << 17, names):
            first, last = max(piece.start - start, 0), min(piece.start + piece.rows - start, table.num_rows)
            if first < last:
                found.append(table.slice(first, last - first))
            start += table.num_rows
    table = pa.concat_tables(found) if found else pa.table({name: [] for name in names})
    if table.num_rows != view.bundle.rows or not np.array_equal(array(table, "doc_id"), view.doc_ids):
        raise LedgerError(f"the ledger in {view.run.root} does not fit its manifest. `winnow run` again makes it.")
    return table


def _from_inputs(source: Source, position: int) -> Iterator[pa.Table]:
    from stages.core.edits import apply
    from stages.passes.annotate import check_texts, read_rows

    view = View.at(_run(source), position)
    rows, number, _ = _wanted(source, position)
    for batch, at in read_rows(view.run, view.bundle, rows, ["text"]):
        here = rows[at]
        check_texts(view, here, batch.table)
        edits = view.edits.among(here)
        text = whole(batch.table.column("text"))
        text = apply(text, edits) if len(edits) else text
        columns = [sound(text.cast(pa.large_string())), pa.array(view.doc_ids[here]), pa.array(number[here])]
        yield pa.table(columns, schema=SCHEMA)
