"""Hold-out by group: what shares a band of its MinHash signature with a held-out document is held out as well.

Documents are drawn by content; then those that share a band of `ROWS` slots with a held-out one follow, round by round,
until nobody does (`MOST_ROUNDS` at most), so that near copies that deduplication left lie on one side.

Guarantees: the held-out documents do not depend on order or partitioning. Memory: the band keys of one destination of
an exchange; the documents that followed in one group of bundles.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from cluster import storage
from cluster.engines import Engine
from cluster.exchange import Exchange
from cluster.files.arrow_files import read_arrow
from cluster.files.records import read_record
from cluster.files.sealed import write_json
from stages.core.arrays import BoolArray, array
from stages.core.costs import per_bundle, per_destination, per_group
from stages.core.digests import digest
from stages.core.exchange_stage import destinations_for
from stages.core.run import Run
from stages.dedup.near.signatures import signature_matrix, signatures_before
from stages.kernels.similarity.bands import band_keys
from stages.outcome.lineage import lineage_digest
from stages.outcome.mixing import Mix, is_held_out
from stages.outcome.verdicts import Outcome, outcome

I64 = npt.NDArray[np.int64]
GROUP = "group"
ROWS = 8  # slots of a band: two texts of Jaccard similarity .8 share one of 16 bands with probability .95, of .3 .001
MOST_ROUNDS = 10
RECORDS = pa.schema([("key", pa.uint64()), ("doc", pa.int64()), ("held", pa.bool_())])
FOLLOWED = pa.schema([("destination", pa.int32()), ("doc", pa.int64())])
SEND = per_bundle("send bands")
MARK = per_destination("mark what shares a band")
ROUTE = per_destination("route what follows")
SORT = per_group("sort what follows")


def hold_out_groups(engine: Engine, run: Run, mix: Mix) -> None:
    """Find the documents that are held out because of others, unless that was done."""
    if mix.holdout <= 0 or mix.holdout_by != GROUP:
        return
    done = _done(run, mix)
    if storage.exists(done):
        return
    for round_ in range(MOST_ROUNDS):
        hop = _hop(run, mix, "bands", round_)
        emit, mark = partial(_emit, run, mix, round_), partial(_mark, run)
        positions = range(len(run.manifest.bundles))
        paths = [p for p in hop.run(engine, positions, emit, mark, emit_cost=SEND, receive_cost=MARK) if p]
        home = _hop(run, mix, "followed", round_)
        home.run(engine, paths, _route, _distinct, emit_cost=ROUTE, receive_cost=SORT)
        if not paths:
            break
    write_json(done, {"rounds": round_ + 1})
    for n in range(round_ + 1):
        storage.remove(_hop(run, mix, "bands", n).folder)


def groups_folder(run: Run, mix: Mix) -> str:
    """Return where the answers lie, if there are any."""
    address = digest("hold out groups", 1, ROWS, lineage_digest(run), mix.holdout, mix.seed)
    return storage.join(run.root, "decisions", "holdout_groups", address)


def _done(run: Run, mix: Mix) -> str:
    return storage.join(groups_folder(run, mix), "complete.json")


def _hop(run: Run, mix: Mix, what: str, round_: int) -> Exchange:
    folder = storage.join(groups_folder(run, mix), f"{what}-{round_}")
    if what == "bands":
        return Exchange(folder=folder, destinations=destinations_for(run.manifest.rows()), schema=RECORDS)
    groups = len(run.manifest.groups)
    return Exchange(folder=folder, destinations=groups, schema=FOLLOWED, route="destination", scratch=False)


def held_with_groups(mix: Mix, position: int, found: Outcome) -> BoolArray:
    """Mark the kept rows that are held out: drawn, or in the group of one that is, (rows,) bool."""
    run = found.view.run
    rounds = read_record(_done(run, mix), dict[str, int]).get("rounds", 0)
    return _held_after(run, mix, rounds, position, found)


def _held_after(run: Run, mix: Mix, rounds: int, position: int, found: Outcome) -> BoolArray:
    held = found.kept & is_held_out(array(found.view.read, "h1").astype(np.uint64), mix)
    group, docs = run.manifest.group_at(position), found.view.doc_ids
    for round_ in range(rounds):
        path = _hop(run, mix, "followed", round_).output_path(group)
        if storage.exists(path):
            followed = array(read_arrow(path), "doc").astype(np.int64)
            held |= found.kept & np.isin(docs, followed)
    return held


def _emit(run: Run, mix: Mix, round_: int, position: int) -> Iterable[pa.Table]:
    index, stage = signatures_before(run.stages, "", "output.holdout")
    dataset = run.manifest.bundles[position].dataset
    if run.dataset(dataset).role == "reference" or not run.stages[index].applies_to(dataset):
        return
    found = outcome(run, position)
    view = found.view
    rows = np.flatnonzero(found.kept)
    held = _held_after(run, mix, round_, position, found)[rows]
    matrix = signature_matrix(view.facts(index, rows))
    bands = max(1, stage.num_permutations // ROWS)
    width = min(ROWS, stage.num_permutations)
    keys = band_keys(matrix, bands, width)
    columns = [
        pa.array(keys.reshape(-1)),
        pa.array(np.repeat(view.doc_ids[rows], bands)),
        pa.array(np.repeat(held, bands)),
    ]
    yield pa.table(columns, schema=RECORDS)


def _mark(run: Run, _: int, table: pa.Table) -> pa.Table | None:
    """Return the documents that are not held out and share a key with one that is, routed to their group."""
    key, doc = array(table, "key").astype(np.uint64), array(table, "doc").astype(np.int64)
    held = array(table, "held").astype(np.bool_)
    follows = ~held & np.isin(key, np.unique(key[held]))
    if not follows.any():
        return None
    docs = np.unique(doc[follows])
    return pa.table([pa.array(run.manifest.group_of(docs).astype(np.int32)), pa.array(docs)], schema=FOLLOWED)


def _route(path: str) -> Iterable[pa.Table]:
    yield read_arrow(path)


def _distinct(_: int, table: pa.Table) -> pa.Table | None:
    docs = np.unique(array(table, "doc").astype(np.int64)) if table.num_rows else np.empty(0, np.int64)
    return pa.table({"doc": pa.array(docs)}) if len(docs) else None
