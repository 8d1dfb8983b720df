"""Exact deduplication: drop documents whose text equals another's, as bytes or after a normalisation.

Guarantees: of each group the first in the total order is kept; two texts are equal when 128 bits of SHA-256 of
their bytes are (text_digest.py), which nobody can forge. Memory: the candidates of one exchange destination.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import ClassVar, Self

import numpy as np
import pyarrow as pa

from cluster.engines import Engine
from cluster.exchange import Exchange
from stages.core.arrays import array, whole
from stages.core.costs import per_bundle, per_destination
from stages.core.exchange_stage import destinations_for, is_complete, mark_complete
from stages.core.run import Run, StageRun
from stages.core.stage import ShardStage, Stage, param
from stages.core.view import View
from stages.dedup import promotion
from stages.dedup.dedup_stage import (
    EXACT,
    DedupStage,
    candidate_schema,
    candidates,
    chosen_among,
    verdicts,
    write_decisions,
)
from stages.kernels.hashes.hashing import buffers, mix64
from stages.kernels.hashes.text_digest import text_digest
from stages.kernels.survivors.bucket_survivors import exact_survivors
from stages.kernels.text.normalise import HOW, normalise
from stages.kernels.text.normalise import problem as normalisation_problem

HASHES = pa.schema([("n1", pa.uint64()), ("n2", pa.uint64())])
KEY_SEED = 1


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
        hop = Exchange(
            folder=stage_run.folder("candidates" if in_rounds else "groups"),
            destinations=destinations_for(stage_run.run.manifest.rows()),
            schema=_schema(stage_run.run),
        )
        receive = _receive if in_rounds else partial(_resolve, stage_run)
        emit, cost = partial(_emit, stage_run), RECEIVE if in_rounds else DECIDE
        received = hop.run(engine, stage_run.positions, emit, receive, emit_cost=EMIT, receive_cost=cost)
        found: Sequence[str | None] = received
        if in_rounds:
            decide = partial(_decide, stage_run)
            found = promotion.decide_in_rounds(engine, stage_run, received, decide, cost=DECIDE)
        write_decisions(engine, stage_run, found)
        mark_complete(stage_run, engine)


def _schema(run: Run) -> pa.Schema:
    return pa.schema([("key", pa.uint64()), ("g1", pa.uint64()), ("g2", pa.uint64()), *candidate_schema(run)])


EMIT = per_bundle("send candidates")
RECEIVE = per_destination("keep repeated hashes")
DECIDE = per_destination("choose survivors")


def _emit(stage_run: StageRun[ExactDedup], position: int) -> Iterable[pa.Table]:
    run, stage = stage_run.run, stage_run.stage
    view = View.at(run, position)
    if not stage.applies_to(view.bundle.dataset):
        return
    rows = np.flatnonzero(view.live(stage_run.index))
    table = candidates(stage_run, view, rows)
    hashes = next((place for place, s in enumerate(run.stages) if s.name == f"{stage.name}.hash"), None)
    if hashes is None:
        g1, g2 = array(view.read, "d1")[rows], array(view.read, "d2")[rows]
    else:
        facts = view.facts(hashes, rows)
        g1, g2 = array(facts, "n1"), array(facts, "n2")
    key = mix64(g1.astype(np.uint64), KEY_SEED)
    yield pa.table([pa.array(key), pa.array(g1), pa.array(g2), *table.columns], schema=_schema(run))


def _receive(_: int, table: pa.Table) -> pa.Table | None:
    """Return the candidates whose content hash occurs more than once; None if there are none."""
    table = table.filter(pa.array(_repeated(array(table, "g1").astype(np.uint64))))
    return table.combine_chunks() if table.num_rows else None


def _resolve(stage_run: StageRun[ExactDedup], d: int, table: pa.Table) -> pa.Table | None:
    found = _receive(d, table)
    return None if found is None else _decide(stage_run, found).verdicts


def _decide(stage_run: StageRun[ExactDedup], table: pa.Table) -> promotion.Decided:
    winner = exact_survivors(
        array(table, "g1").astype(np.uint64),
        array(table, "g2").astype(np.uint64),
        chosen_among(stage_run.run, table),
        keep_all=stage_run.stage.keeps_all_within,
    )
    doc = array(table, "doc").astype(np.int64)
    lost = np.flatnonzero(winner >= 0)
    ones = np.ones(len(lost))
    found = verdicts(doc[lost], doc[winner[lost]], ones, np.full(len(lost), EXACT))
    return promotion.Decided(winner, array(table, "g1"), found)


def _repeated(
    keys: np.ndarray[tuple[int], np.dtype[np.uint64]],
) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """Mark the values that occur more than once, (keys,) bool."""
    order = np.argsort(keys)
    ordered = keys[order]
    same = ordered[1:] == ordered[:-1]
    marks = np.zeros(len(keys), np.bool_)
    marks[order[1:][same]] = True
    marks[order[:-1][same]] = True
    return marks
