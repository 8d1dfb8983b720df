"""Survivors where a document belongs to two clusters: its nearest and its second-nearest centroid.

A document is dropped iff a kept, eligible document before it in the total order, in a cluster they share, is similar to
it. Each round a cluster votes on its undecided documents: DROP, where a kept one before it is similar; FREE, where no
document before it that may yet be kept is; else WAIT. A document is dropped by one DROP and kept by FREE of both
clusters. The first undecided document of all is decided in every round, so it ends, after a few rounds as a rule.
Guarantees: the outcome is that of going through all documents in order. Memory: the documents of one destination.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from cluster import storage
from cluster.engines import Engine, TaskCost
from cluster.exchange import Exchange
from cluster.files.arrow_files import open_arrow, read_arrow, write_arrow
from cluster.outputs import Outputs
from stages.core.arrays import array, places_in
from stages.core.run import StageRun
from stages.dedup import promotion
from stages.dedup.dedup_stage import EXACT, DedupStage, chosen_among, verdicts
from stages.inputs.vectors import to_matrix
from stages.kernels.dispatch.space import space
from stages.kernels.similarity import cosine
from stages.kernels.similarity.votes import DROP, FREE, WAIT, votes
from stages.kernels.survivors.pair_answers import UNKNOWN

I64 = npt.NDArray[np.int64]
UNDECIDED, KEPT, DROPPED = 0, 1, 2
FIELDS = [("home", pa.bool_()), ("other", pa.int32()), ("elsewhere", pa.int32())]  # other: the document's other cluster
VOTES = pa.schema(
    [
        ("destination", pa.int32()),
        ("cluster", pa.int32()),
        ("doc", pa.int64()),
        ("vote", pa.int8()),
        ("representative", pa.int64()),
        ("similarity", pa.float64()),
    ]
)
BALLOT = VOTES.names[3:]
SEND = "send votes across borders"


def sides(mine: npt.NDArray[np.int32], other: npt.NDArray[np.int32], count: int, *, home: bool) -> list[pa.Array]:
    """Return the columns `FIELDS` of documents in cluster `mine`, whose other cluster lies in one of `count` files."""
    return [pa.array(np.full(len(mine), home)), pa.array(other), pa.array(other % np.int32(count))]


def decide(
    engine: Engine, stage_run: StageRun[DedupStage], tables: Outputs, threshold: float, *, cost: TaskCost
) -> list[str]:
    """Choose survivors among the candidates of all destinations; return the files of verdicts.

    cost : of comparing the documents of each cluster.
    """
    eligible = _score_all(engine, stage_run, tables) if promotion.is_needed(stage_run) else None
    ballots: list[Outputs] = []
    while not ballots or any(engine.map(_undecided, ballots[-1].present, cost=cost)):
        before = ballots[-1] if ballots else None
        folder = stage_run.folder(f"votes-{len(ballots)}")
        hop = Exchange(folder=folder, destinations=len(tables), schema=VOTES, route="destination")
        receive = partial(_vote, stage_run, tables, eligible, before, threshold)
        sources = before.numbered if before is not None else []
        ballots.append(hop.run(engine, sources, partial(_send, tables), receive, emit_cost=cost, receive_cost=cost))
    folder = stage_run.folder("verdicts")
    mine = [d for d, _ in ballots[-1].numbered]
    engine.map(partial(_write_verdicts, tables, ballots[-1], folder), mine, cost=cost)
    return [storage.join(folder, f"{d}.arrow") for d in mine]


def _score_all(engine: Engine, stage_run: StageRun[DedupStage], tables: Outputs) -> Outputs:
    """Score every document whose later filters have not seen it; return the files of eligibility."""
    engine.map(partial(_ask, stage_run, tables), [d for d, _ in tables.numbered], cost=promotion.ASK)
    return promotion.score_requests(engine, stage_run, 0, len(tables))


def _ask(stage_run: StageRun[DedupStage], tables: Outputs, d: int) -> None:
    table = read_arrow(tables.path(d))
    unknown = array(table, "doc").astype(np.int64)[array(table, "eligible") == UNKNOWN]
    promotion.write_requests(stage_run, 0, d, np.unique(unknown))


def _send(tables: Outputs, source: tuple[int, str]) -> Iterable[pa.Table]:
    """Yield the votes of the last round on undecided documents, routed to their other clusters."""
    d, path = source
    ballots = read_arrow(path)
    rows = pa.array(np.flatnonzero(array(ballots, "state") == UNDECIDED))
    table, ballots = read_arrow(tables.path(d)).take(rows), ballots.take(rows)
    columns = [table.column("elsewhere"), table.column("other"), table.column("doc")]
    away = pc.not_equal(table.column("other"), table.column("centroid"))
    yield pa.table([*columns, *(ballots.column(n) for n in BALLOT)], schema=VOTES).filter(away)


def _vote(
    stage_run: StageRun[DedupStage],
    tables: Outputs,
    eligible: Outputs | None,
    before: Outputs | None,
    threshold: float,
    d: int,
    received: pa.Table,
) -> pa.Table | None:
    """Decide what the votes of both clusters suffice for, then vote on the rest; one row for each candidate."""
    path = tables[d]
    if path is None:
        return None
    table = read_arrow(path)
    if eligible is not None:
        table = promotion.with_eligibility(table, [eligible[d]])
    state = np.zeros(table.num_rows, np.int8)
    vote, winner = np.full(table.num_rows, WAIT, np.int8), np.full(table.num_rows, -1, np.int64)
    similarity = np.zeros(table.num_rows)
    if before is not None:
        ballots = read_arrow(before.path(d))
        state, vote, winner, similarity = _counted(table, ballots, received)
    doc, centroid = array(table, "doc").astype(np.int64), array(table, "centroid")
    order = np.argsort(centroid, kind="stable")
    for rows in np.split(order, np.flatnonzero(np.diff(centroid[order])) + 1):
        if (state[rows] == UNDECIDED).any():
            mine = table.take(pa.array(rows))
            at, lost_to, cosines = _votes_of_cluster(stage_run, mine, state[rows], threshold)
            vote[rows[at]], similarity[rows[at]] = lost_to[1], cosines
            winner[rows[at]] = np.where(lost_to[0] >= 0, doc[rows[lost_to[0]]], -1)
    columns = [pa.array(state), pa.array(vote), pa.array(winner), pa.array(similarity)]
    found = pa.table(columns, names=["state", *BALLOT])
    return found.replace_schema_metadata({"open": str(int((state == UNDECIDED).sum()))})


def _votes_of_cluster(
    stage_run: StageRun[DedupStage], table: pa.Table, state: npt.NDArray[np.int8], threshold: float
) -> tuple[I64, tuple[I64, npt.NDArray[np.int8]], npt.NDArray[np.float64]]:
    """Return (undecided rows, (kept row that drops each or -1, vote), similarities to those rows)."""
    vectors = to_matrix(table.column("embedding"))
    undecided, winner, vote = votes(
        vectors,
        chosen_among(stage_run.run, table),
        undecided=state == UNDECIDED,
        kept=state == KEPT,
        keep_all=stage_run.stage.keeps_all_within,
        threshold=threshold,
        space=space(),
    )
    similarity = np.zeros(len(undecided))
    lost = np.flatnonzero(winner >= 0)
    similarity[lost] = cosine.pair_cosines(vectors, winner[lost], undecided[lost])
    return undecided, (winner, vote), similarity


def _counted(
    table: pa.Table, ballots: pa.Table, received: pa.Table
) -> tuple[npt.NDArray[np.int8], npt.NDArray[np.int8], I64, npt.NDArray[np.float64]]:
    """Return (state, vote, representative, similarity) of every candidate after the votes of its other cluster."""
    state, vote = (array(ballots, name).astype(np.int8).copy() for name in ("state", "vote"))
    winner = array(ballots, "representative").astype(np.int64).copy()
    similarity = array(ballots, "similarity").astype(np.float64).copy()
    theirs = _place_in(table, received)
    has = theirs >= 0
    other = vote.copy()
    other[has] = array(received, "vote")[theirs[has]]
    open_ = state == UNDECIDED
    dropped = open_ & ((vote == DROP) | (other == DROP))
    home = array(table, "home").astype(np.bool_)
    by_other = dropped & has & (other == DROP) & ((vote != DROP) | ~home)  # where both do, the nearest cluster's counts
    winner[by_other] = array(received, "representative").astype(np.int64)[theirs[by_other]]
    similarity[by_other] = array(received, "similarity")[theirs[by_other]]
    state[dropped] = DROPPED
    state[open_ & (vote == FREE) & (other == FREE)] = KEPT
    return state, vote, winner, similarity


def _place_in(table: pa.Table, received: pa.Table) -> I64:
    """Return the row in `received` of each candidate's vote, by document and cluster, -1 where there is none."""
    if not received.num_rows:
        return np.full(table.num_rows, -1, np.int64)
    keys = [
        np.stack([array(t, "doc").astype(np.int64), array(t, name).astype(np.int64)], axis=1)
        for t, name in ((table, "centroid"), (received, "cluster"))
    ]
    pairs = [np.ascontiguousarray(k).view(np.dtype((np.void, 16))).reshape(-1) for k in keys]
    order = np.argsort(pairs[1])
    at = places_in(pairs[1][order], pairs[0])
    return np.where(at >= 0, order[at], -1)


def _undecided(path: str) -> bool:
    return bool(open_arrow(path).schema.metadata[b"open"] != b"0")


def _write_verdicts(tables: Outputs, ballots: Outputs, folder: str, d: int) -> None:
    """Write the verdicts on the documents whose nearest cluster lies in destination `d`."""
    table, found = read_arrow(tables.path(d)), read_arrow(ballots.path(d))
    lost = np.flatnonzero((array(found, "state") == DROPPED) & array(table, "home").astype(np.bool_))
    doc = array(table, "doc").astype(np.int64)[lost]
    winner, similarity = array(found, "representative").astype(np.int64)[lost], array(found, "similarity")[lost]
    path = storage.join(folder, f"{d}.arrow")
    write_arrow(path, verdicts(doc, winner, similarity, np.full(len(lost), EXACT)), scratch=True)
