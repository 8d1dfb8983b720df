"""Parts of a mix of which nothing but the size of groups changes: that column is written anew, the others are copied.

Where added documents are copies of ones that are in the mix, these stay, and stand for more. Guarantees: a part is
changed only where its files are, to the byte, those that its list names; else it is written whole. Memory: the
survivors with duplicates of one part, and the column of one row group.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from cluster import storage
from cluster.engines import Engine, Growth, TaskCost
from cluster.exchange import Exchange, Written
from cluster.files.digesting import Digesting, is_that
from cluster.files.parquet_columns import NoParquet, replace_values
from cluster.routing import destinations
from pipelines.mix.documents import schema_of
from pipelines.mix.files import MixFile
from pipelines.mix.job import MixJob, Part
from stages.core.arrays import array, places_in
from stages.core.costs import Quantity, per_bundle
from stages.core.view import View
from stages.kernels.hashes.hashing import mix64
from stages.outcome import lineage
from stages.outcome.mixing import SHUFFLE_SALT

COLUMN = "group_size"
SIZES = pa.schema([("destination", pa.int32()), ("doc", pa.int64()), ("size", pa.int32())])
MIX_PARTS = Growth(quantity=Quantity.MIX_PARTS)
SEND = per_bundle("send sizes of groups", rare=True)
WRITE = TaskCost(name="write sizes of groups", tasks=MIX_PARTS, work=MIX_PARTS, rare=True)
I64 = npt.NDArray[np.int64]
I32 = npt.NDArray[np.int32]


def is_written(job: MixJob, dataset: str) -> bool:
    """Tell whether files of the mix depend on the size of groups at all."""
    return COLUMN in schema_of(job, dataset).names or _in_facts(job)


def is_apart(job: MixJob, dataset: str) -> bool:
    """Tell whether the size of groups is one column of the files, and nothing else depends on it."""
    plain = job.output.format == "parquet" and not job.interleaved and not job.output.repeat
    return plain and COLUMN in schema_of(job, dataset).names and not _in_facts(job)


def _in_facts(job: MixJob) -> bool:
    return any(field.name == COLUMN for field in job.output.facts(job.run.stages).values())


@dataclass(frozen=True, kw_only=True)
class Before:
    """A part of a mix and its files as they were."""

    part: Part
    files: tuple[MixFile, ...]


def write_group_sizes(engine: Engine, job: MixJob, todo: Sequence[Before], parts: int) -> list[list[MixFile] | None]:
    """Write the size of groups anew in parts of one dataset; return the files of each, None of which it cannot be done.

    parts : of the dataset, where each is a range of the order of its documents; 0: each is some bundles.
    """
    if not parts:
        return engine.map(partial(_write_part, job, None), todo, cost=WRITE)
    dataset = todo[0].part.dataset
    positions = [p for p, bundle in enumerate(job.run.manifest.bundles) if bundle.dataset == dataset]
    folder = storage.join(job.exchange, "sizes", dataset)
    hop = Exchange(folder=folder, destinations=parts, schema=SIZES, route="destination")
    sent = hop.scatter(engine, positions, partial(_emit, job, parts), cost=SEND)
    tasks = [replace(before, part=replace(before.part, positions=())) for before in todo]
    return engine.map(partial(_write_part, job, (hop, sent)), tasks, cost=WRITE)


def _emit(job: MixJob, parts: int, position: int) -> Iterable[pa.Table]:
    """Yield the documents of a bundle that stand for several, with the part that each is in."""
    doc, size = lineage.group_sizes(job.run, position)
    if len(doc):
        _, row = job.run.manifest.locate(doc)
        content = array(View.at(job.run, position).read, "h1").astype(np.uint64)[row]
        where = destinations(mix64(content, job.mix.seed ^ SHUFFLE_SALT), parts, ranged=True)
        yield pa.table([pa.array(where.astype(np.int32)), pa.array(doc), pa.array(size)], schema=SIZES)


def _write_part(job: MixJob, sent: tuple[Exchange, Written] | None, before: Before) -> list[MixFile] | None:
    """Write the files of a part with sizes as they are now; None where they are not those that were written."""
    paths = [storage.join(job.root, file.path) for file in before.files]
    try:
        if not all(is_that(path, file.bytes, file.sha256) for path, file in zip(paths, before.files, strict=True)):
            return None
        doc, size = _sizes(job, sent, before.part)
        return [_write_file(path, file, doc, size) for path, file in zip(paths, before.files, strict=True)]
    except (FileNotFoundError, NoParquet):
        return None


def _sizes(job: MixJob, sent: tuple[Exchange, Written] | None, part: Part) -> tuple[I64, I32]:
    """Return (documents, ascending, size of the group of each): those of a part that stand for several."""
    if sent is None:
        found = [lineage.group_sizes(job.run, position) for position in part.positions]
        doc = np.concatenate([np.empty(0, np.int64), *(docs for docs, _ in found)])
        size = np.concatenate([np.empty(0, np.int32), *(sizes for _, sizes in found)])
    else:
        hop, written = sent
        table = hop.gather(written, part.number)
        doc, size = array(table, "doc"), array(table, "size")
    order = np.argsort(doc)
    return doc[order], size[order]


def _write_file(path: str, file: MixFile, doc: I64, size: I32) -> MixFile:
    with storage.open_read(path) as old:
        parquet = pq.ParquetFile(old)

        def sizes(group: int, before: I32) -> I32:
            mine = array(parquet.read_row_group(group, ["doc_id"]), "doc_id")
            at = places_in(doc, mine)
            return np.where(at >= 0, size[at], 1).astype(np.int32) if len(doc) else np.ones(len(mine), np.int32)

        with storage.open_read(path) as copied, storage.commit(path) as raw:
            out = Digesting(raw)
            replace_values(copied, COLUMN, "<i4", sizes, out)
    return replace(file, bytes=out.size, sha256=out.digest.hexdigest())
