"""The ledger: one row per input document with its verdict, reason and representative.

Guarantees: one Parquet file per shard, rows in row order; the first stage that drops a document is the
one that is named; the counts of the rows equal the manifest's or the run stops. Memory: one bundle.
"""

from __future__ import annotations

import contextlib
import io
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from cluster import storage
from cluster.errors import LedgerError
from cluster.files.digesting import Digesting
from cluster.files.parquet_columns import replace_columns
from cluster.files.records import read_record
from cluster.files.sealed import Sealing, write_json
from stages.core.arrays import BoolArray, array
from stages.core.costs import per_bundle
from stages.core.digests import DATA_FORMAT
from stages.core.exchange_stage import ExchangeStage
from stages.core.run import Run
from stages.core.shard import ROW_BITS
from stages.dedup.dedup_stage import KINDS
from stages.outcome import lineage
from stages.outcome.by_language import ByLanguage, count_by_language
from stages.outcome.draw import Draw, Drawn, drawn
from stages.outcome.holdout import held_out
from stages.outcome.mixing import Mix, content_sum
from stages.outcome.old_ledger import OldLedger
from stages.outcome.verdicts import Outcome, group_columns, lookup, num_tokens, outcome

I64 = npt.NDArray[np.int64]

SCHEMA = pa.schema(
    [
        ("doc_id", pa.int64()),
        ("dataset", pa.string()),
        ("path", pa.string()),
        ("row", pa.int64()),
        ("id", pa.large_string()),
        ("kept", pa.bool_()),
        ("copies", pa.int32()),
        ("stage", pa.string()),
        ("reason", pa.string()),
        ("value", pa.float64()),
        ("threshold", pa.float64()),
        ("representative", pa.int64()),
        ("representative_dataset", pa.string()),
        ("similarity", pa.float32()),
        ("similarity_kind", pa.string()),
        ("survivor", pa.int64()),
        ("group_size", pa.int32()),
        ("group_datasets", pa.large_string()),
        ("num_tokens", pa.int64()),
        ("evidence", pa.string()),
    ],
    metadata={"winnow.format": str(DATA_FORMAT)},
)
# Families of columns that change together (made_from.py): what is read, what deduplication says, what it says of groups
READ_COLUMNS = ("doc_id", "dataset", "path", "row", "id")
GROUP_COLUMNS = ("group_size", "group_datasets")
VERDICT_COLUMNS = tuple(name for name in SCHEMA.names if name not in READ_COLUMNS + GROUP_COLUMNS)
FAMILIES = (READ_COLUMNS, VERDICT_COLUMNS, GROUP_COLUMNS)
WITHOUT_GROUPS = 2  # families: the first so many


@dataclass(frozen=True)
class Tally:
    """Counts of one bundle, small enough to return from a task."""

    dataset: str
    rows: int
    dropped: dict[tuple[str, str], int]  # (stage, reason) -> documents
    kept: int
    mixable: tuple[int, int]  # (documents, tokens) that survived and are not held out
    text_bytes: int  # of the survivors
    content: int = 0  # sum of hashes of the documents that can be mixed, modulo 2^64
    languages: ByLanguage = field(default_factory=ByLanguage)
    tokens: int = 0  # of the survivors, held-out ones included


TALLY = per_bundle("count outcomes")
WRITE = per_bundle("write ledger")


def tally(run: Run, mix: Mix, position: int) -> Tally:
    """Return the counts of the bundle at `position`."""
    found = outcome(run, position)
    kept = found.kept
    read = found.view.read
    h1 = array(read, "h1").astype(np.uint64)
    mixable = kept & ~held_out(mix, position, found)
    tokens = num_tokens(found.view)
    names: Counter[tuple[str, str]] = Counter()
    for index, stage in enumerate(run.stages):
        codes = found.reason[found.stage == index]
        for code, count in zip(*np.unique(codes, return_counts=True), strict=True):
            names[stage.name, found.reasons[index][int(code)]] += int(count)
    return Tally(
        dataset=found.view.bundle.dataset,
        rows=found.view.bundle.rows,
        dropped=dict(names),
        kept=int(kept.sum()),
        mixable=(int(mixable.sum()), int(tokens[mixable].sum())),
        text_bytes=int(array(read, "num_bytes")[kept].sum(dtype=np.int64)),
        content=content_sum(h1[mixable]),
        languages=count_by_language(found.view),
        tokens=int(tokens[kept].sum()),
    )


def check_funnel(run: Run, tallies: list[Tally]) -> None:
    """Raise LedgerError unless rows in = kept + dropped per reason, per dataset, and equal the manifest's rows."""
    for dataset in run.datasets:
        mine = [t for t in tallies if t.dataset == dataset.name]
        kept = sum(t.kept for t in mine)
        dropped = sum(n for t in mine for n in t.dropped.values())
        rows = run.manifest.rows(dataset.name)
        if kept + dropped != rows:
            raise LedgerError(
                f"the funnel of {dataset.name} does not close: {rows:,} rows in the manifest, {kept:,} kept + "
                f"{dropped:,} dropped. The mix is not written; report this with the run folder."
            )


@dataclass(frozen=True)
class LedgerFile:
    """One finished file of the ledger. path is relative to the ledger folder; made_from: digest, empty if not told."""

    path: str
    rows: int
    bytes: int
    sha256: str
    made_from: str = ""


def unit_path(records: str, unit: int) -> str:
    """Return the path of the list of a unit's files; it is there once they all are."""
    return storage.join(records, f"{unit}.json")


def files_of_unit(records: str, unit: int) -> list[LedgerFile]:
    """Return the files of a unit of bundles. Raises FileNotFoundError, DamagedError."""
    return read_record(unit_path(records, unit), list[LedgerFile])


def write_ledger(
    run: Run,
    draws: Sequence[Draw],
    folder: str,
    records: str,
    unit: int,
    made_from: str = "",
    before: Sequence[LedgerFile] = (),
    names: Sequence[str] = (),
) -> dict[str, int]:
    """Write the ledger files of one unit of bundles into `folder`, then their list into `records`; return counts.

    before : the unit's files as they lie there, of which all columns but `names` are copied. Raises NoParquet where
    they do not fit.
    """
    counts = {"documents": 0, "bytes": 0}
    files: list[LedgerFile] = []
    there = {file.path for file in before}
    old = OldLedger(folder)
    only_groups = bool(names) and set(names) <= set(GROUP_COLUMNS)
    with contextlib.closing(old), contextlib.ExitStack() as stack:
        writer: _File | None = None
        for position in run.manifest.units[unit]:
            if only_groups:
                table = groups_of_rows(run, position, old.kept(run.manifest.bundles[position]))
            else:
                table = rows_of(run, draws, position, names)
            for ordinal, part in _pieces(run, position, table):
                if writer is None or writer.ordinal != ordinal:
                    stack.close()
                    copied = f"{ordinal}.parquet" in there
                    writer = stack.enter_context(_open(folder, ordinal, files, part.schema, copied=copied))
                writer.write(part)
                counts["documents"] += part.num_rows
    write_json(unit_path(records, unit), [asdict(replace(file, made_from=made_from)) for file in files])
    counts["bytes"] = sum(file.bytes for file in files)
    return counts


@dataclass
class _File:
    """A ledger file that is being written."""

    ordinal: int
    writer: pq.ParquetWriter
    rows: int = 0

    def write(self, table: pa.Table) -> None:
        self.writer.write_table(table)
        self.rows += table.num_rows


@contextlib.contextmanager
def _open(folder: str, ordinal: int, files: list[LedgerFile], schema: pa.Schema, *, copied: bool) -> Iterator[_File]:
    """Open a shard's ledger file; it is added to `files` once it is whole. copied: other columns are as they were."""
    name = f"{ordinal}.parquet"
    columns = io.BytesIO()
    with storage.commit(storage.join(folder, name)) as raw:
        out = Digesting(raw)
        sealing = Sealing(out)
        with pq.ParquetWriter(
            columns if copied else sealing, schema, compression="zstd", compression_level=1, write_page_checksum=True
        ) as writer:
            file = _File(ordinal, writer)
            yield file
        if copied:
            with storage.open_read(storage.join(folder, name)) as old:
                replace_columns(old, columns, sealing)
        sealing.finish()
    files.append(LedgerFile(path=name, rows=file.rows, bytes=out.size, sha256=out.digest.hexdigest()))


def _pieces(run: Run, position: int, table: pa.Table) -> Iterator[tuple[int, pa.Table]]:
    """Yield (ordinal, rows) of each piece of a bundle."""
    offset = 0
    for piece in run.manifest.bundles[position].pieces:
        # one chunk for each column: pages of Parquet end where chunks do, and how facts are chunked tells of the past
        yield piece.shard.ordinal, table.slice(offset, piece.rows).combine_chunks()
        offset += piece.rows


def groups_of_rows(run: Run, position: int, kept: BoolArray) -> pa.Table:
    """Return the columns of groups of a bundle's rows. kept: which rows live, (rows,)."""
    schema = pa.schema([SCHEMA.field(name) for name in GROUP_COLUMNS], SCHEMA.metadata)
    return pa.table(list(group_columns(run, position, kept)), schema=schema)


def rows_of(run: Run, draws: Sequence[Draw], position: int, names: Sequence[str] = ()) -> pa.Table:
    """Return the ledger rows of the bundle at `position`, in the ledger's schema; of these columns, or of all.

    `copies` counts those of all mixes. Behind the columns of every ledger stand, for a mix with cells, the cell of each
    document, and for each named mix its cell and copies.
    """
    found = outcome(run, position)
    wanted = [name for name in SCHEMA.names if not names or name in names]
    columns: dict[str, pa.Array | pa.ChunkedArray] = {}
    fields: list[pa.Field] = []
    for family, make in zip(FAMILIES, (_of_reading, _of_verdicts, _of_groups), strict=True):
        if any(name in wanted for name in family):
            more = make(run, draws, position, found)
            columns |= more
            fields += [pa.field(name, column.type) for name, column in more.items() if name not in SCHEMA.names]
    schema = pa.schema([*(SCHEMA.field(name) for name in wanted), *fields], metadata=SCHEMA.metadata)
    return pa.table([columns[name] for name in schema.names], schema=schema)


def _of_reading(run: Run, draws: Sequence[Draw], position: int, found: Outcome) -> dict[str, pa.Array]:
    """Return the columns that deduplication does not touch."""
    bundle, doc = found.view.bundle, found.view.doc_ids
    paths = [pa.array([], pa.string()), *(_constant(p.shard.path, p.rows) for p in bundle.pieces)]
    return {
        "doc_id": pa.array(doc),
        "dataset": _constant(bundle.dataset, bundle.rows),
        "path": pa.concat_arrays(paths),
        "row": pa.array(doc & ((1 << ROW_BITS) - 1)),
        "id": found.view.read.column("id"),
    }


def _of_verdicts(run: Run, draws: Sequence[Draw], position: int, found: Outcome) -> dict[str, pa.Array]:
    """Return what the stages say of each row and what the mixes take of it."""
    view, doc = found.view, found.view.doc_ids
    names, reasons = _names(run, found)
    survivor = lookup(*lineage.survivors_of(run, run.manifest.group_at(position)), doc)
    survivor[found.kept] = doc[found.kept]
    by_dedup = found.kind >= 0
    known: dict[str, Drawn] = {}
    taken = [drawn(run, draw, position, found, known) for draw in draws]
    return {
        "kept": pa.array(found.kept),
        "copies": pa.array(sum((each.number for each in taken), np.zeros(len(doc), np.int32)), pa.int32()),
        "stage": names,
        "reason": reasons,
        "value": pa.array(found.value, mask=np.isnan(found.value)),
        "threshold": pa.array(found.threshold, mask=np.isnan(found.threshold)),
        "representative": pa.array(found.representative, mask=found.representative < 0),
        "representative_dataset": _datasets(run, found.representative),
        "similarity": pa.array(found.value.astype(np.float32), mask=~by_dedup),
        "similarity_kind": _choose(KINDS, found.kind),
        "survivor": pa.array(survivor, mask=survivor < 0),
        "num_tokens": pa.array(num_tokens(view)),
        "evidence": _evidence(run, found),
        **_of_mixes(run, draws, taken),
    }


def _of_groups(run: Run, draws: Sequence[Draw], position: int, found: Outcome) -> dict[str, pa.Array]:
    """Return how many documents each one that lives stands for, and of which datasets."""
    return dict(zip(GROUP_COLUMNS, group_columns(run, position, found.kept), strict=True))


def _of_mixes(run: Run, draws: Sequence[Draw], taken: Sequence[Drawn]) -> dict[str, pa.Array]:
    """Return the columns that only ledgers of cells and of named mixes have."""
    found: dict[str, pa.Array] = {}
    for draw, each in zip(draws, taken, strict=True):
        end = f"_{draw.mix.name}" if draw.mix.name else ""
        if draw.mix.cells:
            found[f"cell{end}"] = _choose(tuple(draw.names(run)), each.cell)
        if end:
            found[f"copies{end}"] = pa.array(each.number)
    return found


def _constant(value: str, rows: int) -> pa.Array:
    return pa.repeat(pa.scalar(value), rows)


def _choose(names: tuple[str, ...], codes: npt.NDArray[Any]) -> pa.Array:
    """Return names[code] as strings, null where the code is negative."""
    indices = pa.array(np.maximum(codes, 0).astype(np.int32), mask=codes < 0)
    return pa.DictionaryArray.from_arrays(indices, pa.array(names, pa.string())).dictionary_decode()


def _names(run: Run, found: Outcome) -> tuple[pa.Array, pa.Array]:
    """Return (stage, reason) columns of the ledger: the stage that dropped each row and why, null where kept."""
    labels: list[str] = []
    codes = np.full(len(found.stage), -1, np.int32)
    for index, reasons in found.reasons.items():
        mine = found.stage == index
        codes[mine] = len(labels) + found.reason[mine]
        labels.extend(reasons)
    stages = tuple(stage.name for stage in run.stages)
    return _choose(stages, found.stage), _choose(tuple(labels) or ("",), codes)


def _evidence(run: Run, found: Outcome) -> pa.Array:
    """Return column evidence: findings of the stage that dropped a row, or of one that cut from it; mostly null."""
    here = found.view.bundle.dataset
    told = [
        (index, *stage.evidence(found.view, index))
        for index, stage in enumerate(run.stages)
        if isinstance(stage, ExchangeStage) and stage.applies_to(here)
    ]
    if not any(len(rows) for _, rows, _ in told):
        return pa.nulls(len(found.stage), pa.string())
    rewrite = len(run.stages) - 1 if run.stages[-1].use == "rewrite" else -1
    texts: npt.NDArray[np.object_] = np.full(len(found.stage), None, object)
    for index, rows, names in told:
        mine = np.isin(found.stage[rows], (index, rewrite, -1))
        texts[rows[mine]] = np.array(names, object)[mine]
    return pa.array(texts, pa.string())


def _datasets(run: Run, doc: I64) -> pa.Array:
    """Return the dataset of each document, null where doc is -1."""
    ordinals = pa.array(doc >> ROW_BITS, mask=doc < 0).dictionary_encode()
    names = [run.manifest.shard(ordinal).dataset for ordinal in ordinals.dictionary.to_pylist()]
    return pa.DictionaryArray.from_arrays(ordinals.indices, pa.array(names, pa.string())).dictionary_decode()
