"""Document frequency of 64-bit keys: counted through the exchange, frequent keys routed back to their bundles.

Guarantees: counts do not depend on bundles, files or workers; a document counts once per key. Memory: the distinct
keys of one bundle; the keys of one destination.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from cluster import storage
from cluster.engines import Engine
from cluster.exchange import Exchange
from cluster.files.arrow_files import read_arrow
from stages.core.arrays import array, places_in, whole
from stages.core.costs import per_bundle, per_destination, per_group
from stages.core.exchange_stage import destinations_for, is_complete, mark_complete
from stages.core.run import Run, StageRun
from stages.core.stage import Stage
from stages.core.view import View
from stages.kernels.hashes.hashing import mix64, unmix64

U64 = npt.NDArray[np.uint64]
I64 = npt.NDArray[np.int64]
COUNTS = pa.schema([("key", pa.uint64()), ("position", pa.int32()), ("documents", pa.uint32())])
HOME = pa.schema([("destination", pa.int32()), ("position", pa.int32()), ("hash", pa.uint64())])
KEY_SEED = 7
Lists = Callable[[View], tuple[I64, pa.Array]]  # live rows and, of each, list<struct<hash: uint64, …>>
Decide = Callable[[View, U64], pa.Table]  # from a bundle's frequent hashes, ascending, to its sidecar


def decide_by_frequent_keys(
    engine: Engine, stage_run: StageRun[Stage], lists: Lists, over: int, decide: Decide, beside: str | None = None
) -> None:
    """Write the stage's decisions, given the hashes that occur in more than `over` documents.

    beside : folder in that of the decisions in which `decide` leaves files that belong to them.
    """
    if is_complete(stage_run):
        return
    run = stage_run.run
    counting = Exchange(
        folder=stage_run.folder("counts"),
        destinations=destinations_for(run.manifest.rows()),
        schema=COUNTS,
    )
    emit, count = partial(_emit, stage_run, lists), partial(_count, over)
    found = counting.run(engine, stage_run.positions, emit, count, emit_cost=EMIT, receive_cost=COUNT)
    home = Exchange(
        folder=stage_run.folder("frequent"),
        destinations=len(run.manifest.groups),
        schema=HOME,
        route="destination",
    )
    sources = [path for path in found if path]
    route, write = partial(_route, run), partial(_write, stage_run, decide)
    home.run(engine, sources, route, write, emit_cost=ROUTE, receive_cost=WRITE)
    names = [] if beside is None else storage.names(storage.join(stage_run.decisions.folder, beside))
    mark_complete(stage_run, engine, [f"{beside}/{name}" for name in names])


EMIT = per_bundle("send keys")
COUNT = per_destination("count keys")
ROUTE = per_destination("route frequent keys")
WRITE = per_group("write what frequent keys decide")


def hashes_of(lists: pa.Array) -> tuple[I64, U64]:
    """Return (place of the list, hash) of every struct in a column of lists, (structs,) each."""
    place = pc.list_parent_indices(lists).to_numpy(zero_copy_only=False).astype(np.int64)
    values = pc.struct_field(pc.list_flatten(lists), "hash").to_numpy(zero_copy_only=False)
    return place, np.asarray(values, np.uint64)


def _emit(stage_run: StageRun[Stage], lists: Lists, position: int) -> Iterable[pa.Table]:
    view = View.at(stage_run.run, position)
    if not stage_run.stage.applies_to(view.bundle.dataset):
        return
    places, hashes = hashes_of(lists(view)[1])
    order = np.lexsort([places, hashes])
    places, hashes = places[order], hashes[order]
    fresh = np.ones(len(hashes), np.bool_)
    fresh[1:] = (hashes[1:] != hashes[:-1]) | (places[1:] != places[:-1])
    distinct, documents = np.unique(hashes[fresh], return_counts=True)
    where = np.full(len(distinct), position, np.int32)
    columns = [mix64(distinct, KEY_SEED), where, documents.astype(np.uint32)]
    yield pa.table([pa.array(c) for c in columns], schema=COUNTS)


def _count(over: int, _: int, table: pa.Table) -> pa.Table | None:
    """Return (position, hash) of the rows whose hash occurs in more than `over` documents."""
    keys = array(table, "key").astype(np.uint64, copy=False)
    order = np.argsort(keys)
    starts = np.flatnonzero(np.r_[True, keys[order][1:] != keys[order][:-1]]) if len(keys) else order
    documents = array(table, "documents").astype(np.int64)[order]
    total = np.add.reduceat(documents, starts) if len(keys) else documents
    frequent = order[np.repeat(total > over, np.diff(np.r_[starts, len(keys)]))]
    if not len(frequent):
        return None
    columns = [pa.array(array(table, "position")[frequent]), pa.array(unmix64(keys[frequent], KEY_SEED))]
    return pa.table(columns, names=["position", "hash"])


def _route(run: Run, source: str) -> Iterable[pa.Table]:
    table = read_arrow(source)
    groups = np.array([run.manifest.group_at(p) for p in range(len(run.manifest.bundles))], np.int32)
    yield table.add_column(0, "destination", pa.array(groups[array(table, "position")]))


def _write(stage_run: StageRun[Stage], decide: Decide, group: int, table: pa.Table) -> None:
    position, hashes = array(table, "position"), array(table, "hash").astype(np.uint64)
    for here in stage_run.run.manifest.groups[group]:
        view = View.at(stage_run.run, here)
        if stage_run.stage.applies_to(view.bundle.dataset):
            frequent = np.sort(hashes[position == here])
            stage_run.decisions.write(view.bundle, view.reading, decide(view, frequent))


def fact_lists(stage_run: StageRun[Stage], companion: str, column: str, view: View) -> tuple[I64, pa.Array]:
    """Return (live rows of a bundle, their lists in a column of the stage's companion)."""
    rows = np.flatnonzero(view.live(stage_run.index))
    facts = view.facts(view.run.index(companion), rows, [column])
    return rows, whole(facts.column(column))


def is_in(hashes: U64, ascending: U64) -> npt.NDArray[np.bool_]:
    """Mark the hashes that occur in `ascending`, (hashes,) bool."""
    return places_in(ascending, hashes) >= 0
