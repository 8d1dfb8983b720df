"""Exact deduplication: drop documents whose text equals another's, as bytes or after a normalisation.

Guarantees: of each group the first in the total order is kept; two texts are equal when 128 bits of SHA-256 of
their bytes are (text_digest.py), which nobody can forge. First 16 bytes of each document are exchanged, half of its
digest and its doc_id; of documents whose half occurs twice, candidates follow. Memory: `KEYS_PER_DESTINATION` such
keys, or the candidates of one exchange destination.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import ClassVar, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from cluster.engines import Engine, Growth, TaskCost
from cluster.exchange import Exchange
from cluster.files.arrow_files import count_rows, read_arrow
from cluster.scale import scaled
from stages.core.arrays import array, whole
from stages.core.costs import DOCUMENTS, Quantity, per_bundle, per_group
from stages.core.exchange_stage import SMALL, destinations_for, is_complete, mark_complete
from stages.core.run import Run, StageRun
from stages.core.stage import ShardStage, Stage, param
from stages.core.view import View
from stages.dedup import kept, promotion
from stages.dedup.dedup_stage import (
    EXACT,
    DedupStage,
    candidate_schema,
    candidates,
    chosen_among,
    verdicts,
    write_decisions,
    write_decisions_anew,
)
from stages.dedup.kept import Kept
from stages.kernels.hashes.hashing import buffers
from stages.kernels.hashes.text_digest import text_digest
from stages.kernels.similarity.bands import repeated, shared_records, sorted_records
from stages.kernels.survivors.bucket_survivors import exact_survivors
from stages.kernels.text.normalise import HOW, normalise
from stages.kernels.text.normalise import problem as normalisation_problem

I64 = npt.NDArray[np.int64]
U64 = npt.NDArray[np.uint64]
KEYS_PER_DESTINATION = scaled(2_000_000)
KEYS_HOP = "keys"
REPEATED = 0.2  # share of documents with a copy that costs are declared for

HASHES = pa.schema([("n1", pa.uint64()), ("n2", pa.uint64())])
KEYS = pa.schema([("key", pa.uint64()), ("doc", pa.int64())])  # the first half of a digest is uniformly distributed
REPEATED_DOCUMENTS = pa.schema([("destination", pa.int32()), ("doc", pa.int64())])


@dataclass(frozen=True, kw_only=True)
class NormalisedHash(ShardStage):
    """Reads text / Writes the digest of the normalised text / Drops nothing."""

    normalise: str = param("none", "normalisation before hashing", fact=True)

    use: ClassVar[str] = "normalised_hash"
    version: ClassVar[int] = 2  # 1 wrote two XXH64
    hidden: ClassVar[bool] = True
    schema: ClassVar[pa.Schema] = HASHES

    def annotate(self, documents: pa.Table) -> pa.Table:
        text = normalise(whole(documents.column("text")), self.normalise)
        n1, n2 = text_digest(*buffers(text))
        return pa.table([pa.array(n1), pa.array(n2)], schema=HASHES)


@dataclass(frozen=True, kw_only=True)
class ExactDedup(DedupStage):
    """Reads digests of texts / Writes representatives / Drops copies of a document before it in the total order."""

    normalise: str = param("none", "what to even out before texts are compared: " + HOW, fact=True)

    use: ClassVar[str] = "exact_dedup"
    version: ClassVar[int] = 2  # 1 took texts of equal content hashes for equal
    summary: ClassVar[str] = "drop documents whose text is a copy of another's"
    drop_reason: ClassVar[str] = "exact_duplicate"

    def validate(self) -> None:
        if wrong := normalisation_problem(self.normalise):
            raise self.error("normalise", self.normalise, wrong)

    def companions(self) -> tuple[Stage, ...]:
        return () if self.normalise == "none" else self.companions_after_repair()

    def companions_after_repair(self) -> tuple[Stage, ...]:
        name = f"{self.name}.hash"
        return (NormalisedHash(name=name, datasets=self.datasets, normalise=self.normalise),)

    def resolve(self, engine: Engine, stage_run: StageRun[Self]) -> None:
        if is_complete(stage_run):
            return
        in_rounds = promotion.is_needed(stage_run)
        old = kept.find(engine, stage_run)
        way = kept.begin(stage_run, old)
        keys = _key_hop(stage_run, way, old)
        groups, repeated = _repeated_documents(engine, stage_run, keys, old)
        hop = Exchange(
            folder=stage_run.folder("candidates" if in_rounds else "verdicts"),
            destinations=destinations_for(repeated),
            schema=_schema(stage_run.run),
        )
        receive = _receive if in_rounds else partial(_resolve, stage_run)
        emit, cost = partial(_emit, stage_run, old is not None), RECEIVE if in_rounds else DECIDE
        received = hop.run(engine, groups, emit, receive, emit_cost=EMIT, receive_cost=cost)
        found: Sequence[str | None] = received
        if in_rounds:
            decide = partial(_decide, stage_run)
            found = promotion.decide_in_rounds(engine, stage_run, received, decide, cost=DECIDE)
        if old is None:
            write_decisions(engine, stage_run, found, ROUTE_VERDICTS)
        else:
            before = kept.old_verdicts(stage_run, old)
            write_decisions_anew(engine, stage_run, before, found, keys.outputs().present, ROUTE_VERDICTS)
        mark_complete(stage_run, engine)
        kept.keep(engine, stage_run, way, old, {KEYS_HOP: (keys, len(stage_run.positions))})


def key_destinations(rows: float) -> int:
    """Return the number of destinations for the keys of `rows` documents; depends on the data alone."""
    return 1 if rows <= SMALL else max(4, math.ceil(rows / KEYS_PER_DESTINATION))


def _schema(run: Run) -> pa.Schema:
    return pa.schema([("key", pa.uint64()), ("other", pa.uint64()), *candidate_schema(run)])


def _candidate_tasks(rows: float) -> float:
    return destinations_for(round(rows * REPEATED))


CANDIDATE_TASKS = Growth(quantity=Quantity.ROWS, law=_candidate_tasks)
SEND_KEYS = per_bundle("send keys")
KEY_TASKS = Growth(quantity=Quantity.ROWS, law=key_destinations)
FIND = TaskCost(name="find repeated keys", tasks=KEY_TASKS, work=DOCUMENTS)
ROUTE = TaskCost(name="route repeated documents", tasks=KEY_TASKS, work=DOCUMENTS)
SORT = per_group("sort repeated documents")
COUNT = per_group("count repeated documents")
EMIT = per_group("send candidates")
RECEIVE = TaskCost(name="keep repeated hashes", tasks=CANDIDATE_TASKS, work=DOCUMENTS)
DECIDE = TaskCost(name="choose survivors", tasks=CANDIDATE_TASKS, work=DOCUMENTS)
ROUTE_VERDICTS = TaskCost(name="route verdicts", tasks=CANDIDATE_TASKS, work=DOCUMENTS)


def _key_hop(stage_run: StageRun[ExactDedup], way: str, old: Kept | None) -> Exchange:
    """Return the hop of the keys of all documents, or of those to be looked up in what is kept."""
    rows = stage_run.run.manifest.rows()
    count = old.of(KEYS_HOP)[0].destinations if old else key_destinations(rows)
    folder = kept.layer_folder(stage_run, way, KEYS_HOP)
    return Exchange(folder=folder, destinations=count, schema=KEYS)


def _repeated_documents(
    engine: Engine, stage_run: StageRun[ExactDedup], keys: Exchange, old: Kept | None
) -> tuple[list[tuple[int, str]], int]:
    """Return (group of bundles, file of its documents whose key occurs elsewhere too) and how many there are.

    old : what is kept of an earlier run; then only documents are returned that share a key with one looked up.
    """
    run = stage_run.run
    send, receive = partial(_emit_keys, stage_run, old), partial(_receive_keys, stage_run, keys, old)
    found = keys.run(engine, stage_run.positions, send, receive, emit_cost=SEND_KEYS, receive_cost=FIND)
    home = Exchange(
        folder=stage_run.folder("repeated"),
        destinations=len(run.manifest.groups),
        schema=REPEATED_DOCUMENTS,
        route="destination",
    )
    sources, route = found.present, partial(_route, run)
    by_group = home.run(engine, sources, route, _receive_repeated, emit_cost=ROUTE, receive_cost=SORT)
    groups = by_group.numbered
    return groups, sum(engine.map(count_rows, [path for _, path in groups], cost=COUNT))


def _digests(stage_run: StageRun[ExactDedup], view: View, rows: I64) -> tuple[U64, U64]:
    """Return the digests of rows of a bundle, of their texts after the stage's normalisation, both (rows,)."""
    run, stage = stage_run.run, stage_run.stage
    hashes = next((place for place, s in enumerate(run.stages) if s.name == f"{stage.name}.hash"), None)
    if hashes is None:
        found = array(view.read, "d1")[rows], array(view.read, "d2")[rows]
    else:
        facts = view.facts(hashes, rows)
        found = array(facts, "n1"), array(facts, "n2")
    return found[0].astype(np.uint64, copy=False), found[1].astype(np.uint64, copy=False)


def _emit_keys(stage_run: StageRun[ExactDedup], old: Kept | None, position: int) -> Iterable[pa.Table]:
    view = View.at(stage_run.run, position)
    if not stage_run.stage.applies_to(view.bundle.dataset):
        return
    if old is None:
        rows = np.flatnonzero(view.live(stage_run.index))
    else:
        rows, _, _ = kept.rows_to_look_up(stage_run, old, view)  # copies of what is not there any more too
        if not len(rows):
            return
    key, _ = _digests(stage_run, view, rows)
    yield pa.table([pa.array(key), pa.array(view.doc_ids[rows])], schema=KEYS)


def _receive_keys(
    stage_run: StageRun[ExactDedup], hop: Exchange, old: Kept | None, destination: int, table: pa.Table
) -> pa.Table | None:
    """Return the documents whose key occurs more than once, None if there are none; keep all keys."""
    key, doc = array(table, "key").astype(np.uint64, copy=False), array(table, "doc").astype(np.int64, copy=False)
    if kept.keeps_keys(stage_run):
        key, doc = sorted_records(key, doc)
        kept.keep_keys(hop, destination, key, doc)
        doc = (
            repeated(key, doc)[1]
            if old is None
            else kept.found_with(stage_run.run, old.of(KEYS_HOP), destination, key, doc)
        )
    else:
        doc = shared_records(key, doc)[1]
    return pa.table([pa.array(doc)], names=["doc"]) if len(doc) else None


def _route(run: Run, source: str) -> Iterable[pa.Table]:
    doc = array(read_arrow(source), "doc").astype(np.int64)
    yield pa.table([pa.array(run.manifest.group_of(doc).astype(np.int32)), pa.array(doc)], schema=REPEATED_DOCUMENTS)


def _receive_repeated(_: int, table: pa.Table) -> pa.Table | None:
    return table.select(["doc"]).combine_chunks() if table.num_rows else None


def _emit(stage_run: StageRun[ExactDedup], again: bool, source: tuple[int, str]) -> Iterable[pa.Table]:
    """Yield the candidates of one group of bundles, routed by the half of their digest that is repeated.

    again : some of the documents may not be there any more.
    """
    group, path = source
    run = stage_run.run
    position, row = run.manifest.locate(array(read_arrow(path), "doc").astype(np.int64))
    for here in run.manifest.groups[group]:
        rows = np.sort(row[position == here])
        if len(rows):
            view = View.at(run, here)
            if again:
                rows = rows[view.live(stage_run.index)[rows]]
            key, other = _digests(stage_run, view, rows)
            table = candidates(stage_run, view, rows)
            yield pa.table([pa.array(key), pa.array(other), *table.columns], schema=_schema(run))


def _receive(_: int, table: pa.Table) -> pa.Table | None:
    """Return the candidates whose digest occurs more than once; None if there are none."""
    key, other = (array(table, name).astype(np.uint64, copy=False) for name in ("key", "other"))
    order = np.lexsort([other, key])
    same = (key[order][1:] == key[order][:-1]) & (other[order][1:] == other[order][:-1])
    marks = np.zeros(len(key), np.bool_)
    marks[order[1:][same]] = True
    marks[order[:-1][same]] = True
    table = table.filter(pa.array(marks))
    return table.combine_chunks() if table.num_rows else None


def _resolve(stage_run: StageRun[ExactDedup], d: int, table: pa.Table) -> pa.Table | None:
    found = _receive(d, table)
    return None if found is None else _decide(stage_run, found).verdicts


def _decide(stage_run: StageRun[ExactDedup], table: pa.Table) -> promotion.Decided:
    winner = exact_survivors(
        array(table, "key").astype(np.uint64),
        array(table, "other").astype(np.uint64),
        chosen_among(stage_run.run, table),
        keep_all=stage_run.stage.keeps_all_within,
    )
    doc = array(table, "doc").astype(np.int64)
    lost = np.flatnonzero(winner >= 0)
    ones = np.ones(len(lost))
    found = verdicts(doc[lost], doc[winner[lost]], ones, np.full(len(lost), EXACT))
    return promotion.Decided(winner, array(table, "key"), found)
