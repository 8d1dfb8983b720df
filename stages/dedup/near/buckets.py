"""From signatures to groups of candidates: band keys, buckets, components, one destination per component.

Memory: one bundle's signatures and EMITTED_RECORDS in a map task; one destination's band records in a reduce task;
what joining components takes is stated in components.py.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from cluster.engines import Engine, Growth, TaskCost
from cluster.errors import RecipeError
from cluster.exchange import Batches, Exchange, Streamed, Written, as_they_come
from cluster.files.arrow_files import read_arrow
from cluster.routing import destinations
from cluster.scale import scaled
from stages.core.arrays import array, rows_of
from stages.core.costs import CANDIDATES, DOCUMENTS, Quantity, per_bundle
from stages.core.view import View
from stages.dedup import kept
from stages.dedup.dedup_stage import candidate_schema, candidates
from stages.dedup.near.components import Labels, component_keys, join_buckets
from stages.dedup.near.job import NearJob
from stages.kernels.similarity.bands import band_keys, band_records, repeated, shared_records, sorted_records
from stages.kernels.similarity.minhash import is_sparse, slots8

I64 = npt.NDArray[np.int64]
U64 = npt.NDArray[np.uint64]
BANDS_AT_ONCE = 64  # in one hop, of 16 bytes a document each
MOST_BAND_HOPS = 4  # however many bands there are
MEMBERS_AT_ONCE = scaled(2_000_000)  # of one destination that are sorted together: 150 MB
EMITTED_RECORDS = scaled(4_000_000)  # band records that a source makes at a time: 64 MB
RECORDS_PER_DESTINATION = scaled(2_000_000)
DOCUMENTS_PER_DESTINATION = scaled(100_000)
MAX_DESTINATIONS = 4096  # enough tasks for any cluster; more only where each would have over MOST_DOCUMENTS
MOST_DOCUMENTS = scaled(200_000)  # of one destination on average: larger ones are cut into windows
LARGE_COMPONENT = scaled(1_000_000)  # documents connected from which on there is a warning: some 300 MB in one task

DIGEST = ("d1", "d2")  # facts of `read`: the digest by which texts are equal
RECORDS = pa.schema([("key", pa.uint64()), ("doc", pa.int64())])
MEMBERS = pa.schema([("key", pa.uint64()), ("bucket", pa.uint64()), ("doc", pa.int64())])


@dataclass(frozen=True, kw_only=True)
class Groups:
    """Files of the candidates of each destination: bucket members and documents."""

    labels: Labels
    members: Sequence[str | None]
    documents: Sequence[str | None]

    @property
    def destinations(self) -> int:
        return len(self.members)


def group_candidates(engine: Engine, near: NearJob) -> Groups | None:
    """Find buckets and their connected components; return the files of candidates, None if no two share a bucket."""
    buckets = find_buckets(engine, near, near.folder)
    return groups_of(engine, near, join_buckets(engine, near.stage_run, buckets), buckets)


def groups_of(engine: Engine, near: NearJob, labels: Labels, buckets: Sequence[str | None]) -> Groups | None:
    """Return the files of candidates of each component of these buckets, None if no two documents share one."""
    _check_largest(near, labels.largest)
    if labels.documents == 0:
        return None
    count = candidate_destinations(labels.documents)
    documents_hop = Exchange(folder=near.folder("documents"), destinations=count, schema=_document_schema(near))
    emit = partial(_emit_documents, near, labels)
    by_document = documents_hop.run(
        engine,
        near.stage_run.positions,
        emit,
        Streamed(as_they_come),
        emit_cost=SEND_CANDIDATES,
        receive_cost=SORT_CANDIDATES,
    )
    by_bucket = _members(engine, near, labels, [path for path in buckets if path], count)
    return Groups(labels=labels, members=by_bucket, documents=by_document)


def _members(engine: Engine, near: NearJob, labels: Labels, buckets: list[str], count: int) -> Sequence[str | None]:
    """Route the members of every bucket to the destination of their component; return its files.

    With labels per group of bundles the sources are bundles: band keys are computed again, and buckets of one member
    are dropped on arrival.
    """
    hop = Exchange(folder=near.folder("members"), destinations=count, schema=MEMBERS)
    receive = Streamed(partial(_sorted_members, labels.by_group))
    if labels.by_group:
        positions, emit = near.stage_run.positions, partial(_emit_all_keys, near, labels)
        return hop.run(engine, positions, emit, receive, emit_cost=SEND_KEYS, receive_cost=SORT_MEMBERS)
    send = partial(_emit_members, labels)
    return hop.run(engine, buckets, send, receive, emit_cost=SEND_MEMBERS, receive_cost=SORT_MEMBERS)


def _check_largest(near: NearJob, largest: int) -> None:
    if near.max_component is None and largest > LARGE_COMPONENT:
        logging.getLogger("winnow.near_dedup").warning(
            "%s connected %s documents, which one task compares: a sign of templates or short shingles. Use longer "
            "shingles or more rows_per_band; max_component stops a run that connects more than it says.",
            near.name,
            f"{largest:,}",
        )
    if near.max_component is not None and largest > near.max_component:
        raise RecipeError(
            f"{near.name} connected {largest:,} documents, more than max_component {near.max_component:,}: a sign "
            "of templates or short shingles. Use longer shingles or more rows_per_band, or raise max_component."
        )


def find_buckets(
    engine: Engine, near: NearJob, folder: Callable[[str], str], *, keep: bool = False
) -> list[str | None]:
    """Return the files of buckets with two or more members; all bands go through one hop, or few where there are many.

    So the signatures of a bundle are read here once, whatever the number of documents. folder: of a hop by name.
    keep: whether the keys of all documents are kept, for data to be added.
    """
    found: list[str | None] = []
    for first, count, hop in _hops(near, folder):
        positions, emit = near.stage_run.positions, partial(_emit_keys, near, first, count)
        receive = partial(_receive_keys, hop if keep else None)
        found += hop.run(engine, positions, emit, receive, emit_cost=EMIT_KEYS, receive_cost=FIND_BUCKETS)
    return found


def keep_all_keys(engine: Engine, near: NearJob, folder: Callable[[str], str]) -> None:
    """Keep the keys of all documents as `find_buckets` would have: from the files that its sources left."""
    for _, _, hop in _hops(near, folder):
        written = hop.written(len(near.stage_run.positions))
        engine.map(partial(_keep_keys_of, hop, written), range(hop.destinations), cost=KEEP_KEYS)


def _keep_keys_of(hop: Exchange, written: Written, destination: int) -> None:
    table = hop.gather(written, destination)
    keys, doc = array(table, "key").astype(np.uint64, copy=False), array(table, "doc").astype(np.int64, copy=False)
    kept.keep_keys(hop, destination, *sorted_records(keys, doc))


def _hops(near: NearJob, folder: Callable[[str], str]) -> Iterator[tuple[int, int, Exchange]]:
    """Yield (first band, number of bands, hop) of the hops of band keys. folder: of a hop by name."""
    documents = near.run.manifest.rows() if near.documents is None else near.documents
    for first, count in band_hops(near.bands):
        name, many = bands_name(first), record_destinations(documents * count)
        yield first, count, Exchange(folder=folder(name), destinations=many, schema=RECORDS)


def bands_name(first: int) -> str:
    """Return the name of the hop of the bands from `first` on."""
    return f"bands-{first}"


def band_hops(bands: int) -> list[tuple[int, int]]:
    """Return (first band, number of bands) of each hop of band keys."""
    batch = bands_per_hop(bands)
    return [(first, min(batch, bands - first)) for first in range(0, bands, batch)]


def bands_per_hop(bands: int) -> int:
    """Return how many bands go through the exchange at a time; their records take a kilobyte for each document.

    Examples
    --------
    >>> [bands_per_hop(bands) for bands in (16, 64, 128, 4096)]
    [64, 64, 64, 1024]
    """
    return max(BANDS_AT_ONCE, -(-bands // MOST_BAND_HOPS))


def record_destinations(records: int) -> int:
    """Return the number of destinations for a number of band records; depends on the data alone."""
    return 1 if records < scaled(100_000) else max(4, -(-records // RECORDS_PER_DESTINATION))


def candidate_destinations(documents: int) -> int:
    """Return the number of destinations for a number of candidates (documents that share a bucket).

    Examples
    --------
    >>> [candidate_destinations(documents) for documents in (5_000, 50_000, 10**8, 5 * 10**8, 5 * 10**9)]
    [1, 4, 1000, 4096, 25000]
    """
    most = max(MAX_DESTINATIONS, -(-documents // MOST_DOCUMENTS))
    count = min(most, max(1, -(-documents // DOCUMENTS_PER_DESTINATION)))
    return max(count, 4) if documents > DOCUMENTS_PER_DESTINATION // 10 else count


# --- what it costs ---------------------------------------------------------------------------------------


def _record_tasks(records: float) -> float:
    return record_destinations(round(records))


def _candidate_tasks(documents: float) -> float:
    return candidate_destinations(round(documents))


CANDIDATE_TASKS = Growth(quantity=Quantity.CANDIDATES, law=_candidate_tasks)
RECORD_TASKS = Growth(quantity=Quantity.BAND_RECORDS, law=_record_tasks)


def per_candidates(name: str, work: Growth = CANDIDATES) -> TaskCost:
    """Return the cost of tasks, one per destination of candidates; a sample of the input has few candidates."""
    return TaskCost(name=name, tasks=CANDIDATE_TASKS, work=work, rare=True)


EMIT_KEYS = per_bundle("send band keys")
# Linear: what is sorted at a time does not grow beyond RECORDS_PER_DESTINATION.
FIND_BUCKETS = TaskCost(name="find buckets", tasks=RECORD_TASKS, work=DOCUMENTS)
KEEP_KEYS = TaskCost(name="keep band keys", tasks=RECORD_TASKS, work=DOCUMENTS, rare=True)
SEND_CANDIDATES = per_bundle("send candidates", CANDIDATES, rare=True)
SORT_CANDIDATES = per_candidates("sort candidates")
SEND_KEYS = per_bundle("send keys of candidates", CANDIDATES, rare=True)
SEND_MEMBERS = TaskCost(name="send members", tasks=RECORD_TASKS, work=CANDIDATES, rare=True)
SORT_MEMBERS = per_candidates("sort members")


def _emit_keys(near: NearJob, first: int, count: int, position: int) -> Iterable[pa.Table]:
    """Yield the band records (key, doc_id) of a bundle's live documents, for bands first … first + count - 1."""
    view = View.at(near.run, position)
    if not near.applies_to(view.bundle.dataset):
        return
    yield from band_tables(near, view, near.rows(view, position), first, count)


def band_tables(near: NearJob, view: View, rows: I64, first: int, count: int) -> Iterable[pa.Table]:
    """Yield the band records (key, doc_id) of these rows of a bundle, for bands first … first + count - 1."""
    if not len(rows):
        return
    signatures, doc = near.signatures(view, rows), view.doc_ids[rows]
    at_once = max(1, EMITTED_RECORDS // len(rows))
    for begin in range(first, first + count, at_once):
        some = min(at_once, first + count - begin)
        keys, docs = band_records(signatures, doc, near.bands, near.rows_per_band, begin, some)
        yield pa.table([pa.array(keys), pa.array(docs)], schema=RECORDS)


def _receive_keys(keep: Exchange | None, destination: int, table: pa.Table) -> pa.Table | None:
    """Return the band records whose key occurs twice or more, sorted by key. keep: the hop whose keys are all kept."""
    keys, doc = array(table, "key").astype(np.uint64, copy=False), array(table, "doc").astype(np.int64, copy=False)
    if keep is None:
        keys, doc = shared_records(keys, doc)
    else:
        keys, doc = sorted_records(keys, doc)
        kept.keep_keys(keep, destination, keys, doc)
        keys, doc = repeated(keys, doc)
    return pa.table([pa.array(keys), pa.array(doc)], schema=RECORDS) if len(keys) else None


def _emit_all_keys(near: NearJob, labels: Labels, position: int) -> Iterable[pa.Table]:
    view = View.at(near.run, position)
    key, member = component_keys(labels.at(near.run, position), view.doc_ids)
    rows = np.flatnonzero(member)
    if not len(rows):
        return
    keys = band_keys(near.signatures(view, rows), near.bands, near.rows_per_band)
    columns = [np.repeat(key[rows], near.bands), keys.reshape(-1), np.repeat(view.doc_ids[rows], near.bands)]
    yield pa.table([pa.array(c) for c in columns], schema=MEMBERS)


def _emit_members(labels: Labels, source: str) -> Iterable[pa.Table]:
    table = read_arrow(source)
    bucket, doc = array(table, "key"), array(table, "doc").astype(np.int64, copy=False)
    starts = np.flatnonzero(np.r_[True, bucket[1:] != bucket[:-1]])  # a bucket lies in one component
    key, _ = component_keys(labels.of_group(0), doc[starts])
    key = np.repeat(key, np.diff(np.r_[starts, len(bucket)]))
    yield pa.table([pa.array(key), table.column("key"), table.column("doc")], schema=MEMBERS)


def _sorted_members(shared: bool, _: int, batches: Batches) -> Iterator[pa.Table]:
    """Yield the members of one destination by bucket, MEMBERS_AT_ONCE at a time, cut by ranges of the bucket's key.

    shared : drop buckets of one member.
    """
    total, held = 0, list[pa.RecordBatch]()
    for batch in batches():
        total += batch.num_rows
        held.append(batch)
        if total > MEMBERS_AT_ONCE:
            held.clear()
    ranges = max(1, -(-total // MEMBERS_AT_ONCE))
    for number in range(ranges):
        mine = held if ranges == 1 else [_in_range(batch, ranges, number) for batch in batches()]
        table = pa.Table.from_batches(mine, schema=MEMBERS)
        bucket, doc = array(table, "bucket").astype(np.uint64, copy=False), array(table, "doc")
        if shared:
            bucket, doc = shared_records(bucket, doc)
        else:
            order = np.argsort(bucket, kind="stable")  # they arrive sorted within each band's file
            bucket, doc = bucket[order], doc[order]
        if len(bucket):
            yield pa.table([pa.array(bucket), pa.array(doc)], names=["bucket", "doc"])


def _in_range(batch: pa.RecordBatch, ranges: int, number: int) -> pa.RecordBatch:
    where = destinations(batch.column("bucket").to_numpy(), ranges, ranged=True)
    return batch.filter(pa.array(where == number))


def _document_schema(near: NearJob) -> pa.Schema:
    """Return the schema of candidates at a destination: `candidate_schema`, size of the text, 8-bit signature slots.

    Where the sketch makes a difference, `sparse` marks texts of so few shingles that estimates deviate more.
    """
    fields = [
        ("key", pa.uint64()),
        *candidate_schema(near.run),
        *((name, pa.uint64()) for name in DIGEST),
        ("num_bytes", pa.uint32()),
        ("slots", pa.binary(near.num_permutations)),
    ]
    return pa.schema([*fields, ("sparse", pa.bool_())] if near.marks_sparse else fields)


def _emit_documents(near: NearJob, labels: Labels, position: int) -> Iterable[pa.Table]:
    view = View.at(near.run, position)
    if not near.applies_to(view.bundle.dataset):
        return
    key, member = component_keys(labels.at(near.run, position), view.doc_ids)
    rows = np.flatnonzero(member)
    if not len(rows):
        return
    table = candidates(near.stage_run, view, rows)
    signatures = near.signatures(view, rows)
    slots = slots8(signatures)
    width = slots.shape[1]
    packed = pa.FixedSizeBinaryArray.from_buffers(
        pa.binary(width), len(rows), [None, pa.py_buffer(np.ascontiguousarray(slots))]
    )
    read = rows_of(view.read.select([*DIGEST, "num_bytes"]), rows)
    marks = [pa.array(is_sparse(signatures))] if near.marks_sparse else []
    columns = [pa.array(key[rows]), *table.columns, *read.columns, packed, *marks]
    yield pa.table(columns, schema=_document_schema(near))
