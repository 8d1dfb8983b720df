"""From signatures to groups of candidates: band keys, buckets, components, one destination per component.

Memory: one bundle's signatures in a map task; one destination's band records in a reduce task; what
joining components takes is said in components.py.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from cluster.engines import Engine
from cluster.errors import RecipeError
from cluster.exchange import Exchange, read_arrow
from stages.core.arrays import array
from stages.core.run import Run
from stages.core.view import View
from stages.dedup.dedup_stage import candidate_schema, candidates
from stages.dedup.near.components import Labels, component_keys, join_buckets
from stages.kernels.similarity.bands import band_keys, band_records, shared_records
from stages.kernels.similarity.minhash import slots8
from stages.minhash import signature_matrix
from stages.near_dedup import minhash_index, minhash_stage, near_stage

I64 = npt.NDArray[np.int64]
U64 = npt.NDArray[np.uint64]
BAND_BYTES = 4 << 30  # band records written by one batch of bands
RECORDS_PER_DESTINATION = 2_000_000
DOCUMENTS_PER_DESTINATION = 100_000
MAX_DESTINATIONS = 4096

RECORDS = pa.schema([("key", pa.uint64()), ("doc", pa.int64())])
MEMBERS = pa.schema([("key", pa.uint64()), ("bucket", pa.uint64()), ("doc", pa.int64())])


@dataclass(frozen=True, kw_only=True)
class Groups:
    """Where the candidates of each destination lie: bucket members and documents."""

    labels: Labels
    members: list[str | None]
    documents: list[str | None]

    @property
    def destinations(self) -> int:
        return len(self.members)


def group(engine: Engine, run: Run, index: int) -> Groups | None:
    """Return the groups of candidates; None when no two documents share a bucket."""
    buckets = _buckets(engine, run, index)
    labels = join_buckets(engine, run, index, buckets)
    _check_largest(run, index, labels.largest)
    if labels.documents == 0:
        return None
    count = min(MAX_DESTINATIONS, max(1, -(-labels.documents // DOCUMENTS_PER_DESTINATION)))
    if labels.documents > DOCUMENTS_PER_DESTINATION // 10:
        count = max(count, 4)
    documents_hop = Exchange(
        folder=run.exchange_folder(index, "documents"), destinations=count, schema=document_schema(run, index)
    )
    positions = range(len(run.manifest.bundles))
    emit = partial(_emit_documents, run, index, labels)
    by_document = documents_hop.run(engine, positions, emit, _receive_documents)
    by_bucket = _members(engine, run, index, labels, [path for path in buckets if path], count)
    return Groups(labels=labels, members=by_bucket, documents=by_document)


def _members(engine: Engine, run: Run, index: int, labels: Labels, buckets: list[str], count: int) -> list[str | None]:
    """Bring the members of every bucket to their component's destination.

    Where labels lie with the bundles, so do the sources: keys are made again and lone ones left out on arrival.
    """
    hop = Exchange(folder=run.exchange_folder(index, "members"), destinations=count, schema=MEMBERS)
    if labels.by_group:
        positions = range(len(run.manifest.bundles))
        return hop.run(engine, positions, partial(_emit_all_keys, run, index, labels), _receive_shared)
    return hop.run(engine, buckets, partial(_emit_members, labels), _receive_members)


def _check_largest(run: Run, index: int, largest: int) -> None:
    stage = near_stage(run, index)
    if stage.max_component is not None and largest > stage.max_component:
        raise RecipeError(
            f"{stage.name} connected {largest:,} documents, more than max_component {stage.max_component:,}: a sign "
            "of templates or short shingles. Use longer shingles or more rows_per_band, or raise max_component."
        )


def _buckets(engine: Engine, run: Run, index: int) -> list[str | None]:
    """Return the files of buckets with two or more members, a few bands at a time."""
    bands, rows_per_band = near_stage(run, index).banding(minhash_stage(run, index).num_permutations)
    rows = run.manifest.rows()
    batch = max(1, min(bands, BAND_BYTES // max(1, rows * 16)))
    found: list[str | None] = []
    for first in range(0, bands, batch):
        count = min(batch, bands - first)
        records = rows * count
        hop = Exchange(
            folder=run.exchange_folder(index, f"bands-{first}"),
            destinations=1 if records < 100_000 else max(4, -(-records // RECORDS_PER_DESTINATION)),
            schema=RECORDS,
        )
        emit = partial(_emit_keys, run, index, (bands, rows_per_band, first, count))
        found += hop.run(engine, range(len(run.manifest.bundles)), emit, _receive_keys)
    return found


def _emit_keys(run: Run, index: int, banding: tuple[int, int, int, int], position: int) -> Iterable[pa.Table]:
    view = View(run, run.manifest.bundles[position])
    if not near_stage(run, index).applies_to(view.bundle.dataset):
        return
    rows = np.flatnonzero(view.live(index))
    if not len(rows):
        return
    signatures = signature_matrix(view.facts(minhash_index(run, index), rows))
    keys, doc = band_records(signatures, view.doc_ids[rows], *banding)
    yield pa.table([pa.array(keys), pa.array(doc)], schema=RECORDS)


def _receive_keys(_: int, table: pa.Table) -> pa.Table | None:
    """Keep the records whose key occurs twice or more, sorted by key."""
    keys, doc = shared_records(array(table, "key").astype(np.uint64, copy=False), array(table, "doc"))
    return pa.table([pa.array(keys), pa.array(doc)], schema=RECORDS) if len(keys) else None


def _emit_all_keys(run: Run, index: int, labels: Labels, position: int) -> Iterable[pa.Table]:
    view = View(run, run.manifest.bundles[position])
    key, member = component_keys(labels.at(run, position), view.doc_ids)
    rows = np.flatnonzero(member)
    if not len(rows):
        return
    bands, rows_per_band = near_stage(run, index).banding(minhash_stage(run, index).num_permutations)
    signatures = signature_matrix(view.facts(minhash_index(run, index), rows))
    keys = band_keys(signatures, bands, rows_per_band)
    columns = [np.repeat(key[rows], bands), keys.reshape(-1), np.repeat(view.doc_ids[rows], bands)]
    yield pa.table([pa.array(c) for c in columns], schema=MEMBERS)


def _receive_shared(destination: int, table: pa.Table) -> pa.Table | None:
    """Leave out buckets of one member, then do as for members of known buckets."""
    bucket = array(table, "bucket").astype(np.uint64, copy=False)
    _, place = shared_records(bucket, np.arange(len(bucket), dtype=np.int64))
    return _receive_members(destination, table.take(pa.array(place)))


def _emit_members(labels: Labels, source: str) -> Iterable[pa.Table]:
    table = read_arrow(source)
    bucket, doc = array(table, "key"), array(table, "doc").astype(np.int64, copy=False)
    starts = np.flatnonzero(np.r_[True, bucket[1:] != bucket[:-1]])  # a bucket lies in one component
    key, _ = component_keys(labels.of_group(0), doc[starts])
    key = np.repeat(key, np.diff(np.r_[starts, len(bucket)]))
    yield pa.table([pa.array(key), table.column("key"), table.column("doc")], schema=MEMBERS)


def _receive_members(_: int, table: pa.Table) -> pa.Table | None:
    """Put the members of a bucket side by side; they came that way, but from several bands' files."""
    bucket = array(table, "bucket")
    if not len(bucket):
        return None
    order = np.argsort(bucket, kind="stable")
    return pa.table([pa.array(array(table, name)[order]) for name in MEMBERS.names], schema=MEMBERS)


def document_schema(run: Run, index: int) -> pa.Schema:
    """Columns of the documents at a component's destination."""
    width = minhash_stage(run, index).num_permutations
    return pa.schema(
        [
            ("key", pa.uint64()),
            *candidate_schema(run),
            ("num_bytes", pa.uint32()),
            ("slots", pa.binary(width)),
        ]
    )


def _emit_documents(run: Run, index: int, labels: Labels, position: int) -> Iterable[pa.Table]:
    view = View(run, run.manifest.bundles[position])
    if not near_stage(run, index).applies_to(view.bundle.dataset):
        return
    key, member = component_keys(labels.at(run, position), view.doc_ids)
    rows = np.flatnonzero(member)
    if not len(rows):
        return
    table = candidates(view, index, rows)
    slots = slots8(signature_matrix(view.facts(minhash_index(run, index), rows)))
    width = slots.shape[1]
    packed = pa.FixedSizeBinaryArray.from_buffers(
        pa.binary(width), len(rows), [None, pa.py_buffer(np.ascontiguousarray(slots))]
    )
    size = view.read.column("num_bytes").take(pa.array(rows))
    columns = [pa.array(key[rows]), *table.columns, size, packed]
    yield pa.table(columns, schema=document_schema(run, index))


def _receive_documents(_: int, table: pa.Table) -> pa.Table | None:
    if not table.num_rows:
        return None
    return table.combine_chunks().take(pa.array(np.argsort(array(table, "doc"), kind="stable")))
