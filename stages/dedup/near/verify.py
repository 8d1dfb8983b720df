"""Survivors among near-duplicate candidates, in rounds: estimated Jaccard first, true Jaccard near the threshold.

In each round a destination decides what the estimates from 8-bit signature slots suffice for, and lists the
undecided pairs; one pass over the bundles fetches the texts of those pairs, their true Jaccard is computed, and the
next round decides again. Large destinations are decided in windows (windows.py). Unscored representatives are scored
in the same rounds (promotion.py). Guarantees: a pair is computed once and stored as a fact, so another threshold reads
no text for it. Memory: one destination's candidates, or a window of them, and TEXT_BYTES of the texts of its undecided
pairs, which lie in mapped files. Texts over `LONGEST` bytes are never fetched: their estimate decides, and the ledger
says so.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from functools import partial

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from cluster import storage
from cluster.engines import Engine, Growth
from cluster.errors import LedgerError
from cluster.exchange import Exchange
from cluster.files.arrow_files import read_arrow, read_arrow_if_there, write_arrow
from cluster.scale import scaled
from stages.core.arrays import BoolArray, array, whole
from stages.core.costs import CANDIDATES, Quantity, per_group
from stages.core.view import View
from stages.dedup import promotion
from stages.dedup.dedup_stage import VERDICTS
from stages.dedup.near import windows
from stages.dedup.near.buckets import Groups, per_candidates
from stages.dedup.near.job import NearJob, Shingling
from stages.dedup.near.judge import PAIRS, Judge
from stages.dedup.near.known_pairs import SIMILARITIES, TEXTS, recall_pairs, texts_hop
from stages.dedup.near.rounds import (
    bucketed,
    decide_groups,
    decided_path,
    final_verdicts,
    open_path,
    place_of,
    undecided_path,
    verdicts_path,
    write_open,
    write_verdicts,
)
from stages.dedup.near.window_rounds import attempt_windows
from stages.kernels.hashes.hashing import buffers
from stages.kernels.similarity.jaccard import exact_pairs
from stages.kernels.survivors.candidates import Buckets
from stages.kernels.survivors.pair_answers import Result
from stages.kernels.text.normalise import normalise
from stages.passes.annotate import read_rows

I64 = npt.NDArray[np.int64]
F64 = npt.NDArray[np.float64]
TEXT_BYTES = scaled(64 << 20)  # of text compared at a time


TRY = per_candidates("try candidates")
NAME = per_candidates("name wanted texts")
SORT = per_group("sort wanted texts", CANDIDATES, rare=True)
READ = per_group("read wanted texts", Growth(quantity=Quantity.CANDIDATE_TEXTS), rare=True)
COMPARE = per_candidates("compute similarities", Growth(quantity=Quantity.CANDIDATE_PAIRS))


def choose_survivors(engine: Engine, near: NearJob, groups: Groups) -> list[str]:
    """Choose survivors in rounds until every pair is decided; return the files of verdicts, one per destination."""
    known, eligibility = [recall_pairs(engine, near, groups)], list[Sequence[str | None]]()
    for round_ in range(1 << 16):
        if not _try_all(engine, near, groups, known, eligibility, round_):
            break
        known.append(_compare(engine, near, groups.destinations, round_))
        if promotion.is_needed(near.stage_run):
            eligibility.append(promotion.score_requests(engine, near.stage_run, round_, groups.destinations))
    return [verdicts_path(near, d) for d in range(groups.destinations)]


def _try_all(
    engine: Engine,
    near: NearJob,
    groups: Groups,
    known: Sequence[Sequence[str | None]],
    eligibility: Sequence[Sequence[str | None]],
    round_: int,
) -> int:
    """Try the destinations without verdicts; return how many pairs and documents are waited for.

    Two listings tell which of them were tried by a run that was interrupted.
    """
    done = storage.names(near.folder("verdicts"))
    left = [d for d in range(groups.destinations) if f"{d}.arrow" not in done]
    tried = storage.names(near.folder(f"open-{round_}"))
    asked = promotion.rounds_with_requests(near.stage_run, round_)
    tasks = [(d, asked[d]) for d in left if f"{d}.arrow" not in tried]
    waiting = sum(engine.map(partial(_attempt, near, groups, known, eligibility, round_), tasks, cost=TRY))
    again = [d for d in left if f"{d}.arrow" in tried]
    return waiting + sum(engine.map(partial(_count_open, near, round_), again, cost=TRY))


def _count_open(near: NearJob, round_: int, d: int) -> int:
    """Return how many pairs and documents a destination that was tried before waits for."""
    pairs = read_arrow(open_path(near, round_, d)).num_rows
    return int(pairs) + promotion.count_requests(near.stage_run, round_, d)


def _attempt(
    near: NearJob,
    groups: Groups,
    known: Sequence[Sequence[str | None]],
    eligibility: Sequence[Sequence[str | None]],
    round_: int,
    task: tuple[int, int],
) -> int:
    """Decide the candidates of destination `d`; return how many pairs and documents it must wait for, and list them.

    task : `d`, and in how many rounds it requested scores.
    """
    d, asked = task
    members, documents = groups.members[d], groups.documents[d]
    if members is None or documents is None:
        write_arrow(verdicts_path(near, d), VERDICTS.empty_table(), scratch=True)
        return 0
    if windows.are_needed(documents):
        cut = windows.cut(near, d, documents, members)
        return attempt_windows(near, cut, [paths[d] for paths in known], [paths[d] for paths in eligibility], round_)
    table, buckets = read_arrow(documents), read_arrow(members)
    if round_:
        table, buckets = _still_open(table, buckets, read_arrow(undecided_path(near, round_ - 1, d)))
    table = promotion.with_eligibility(table, [paths[d] for paths in eligibility])
    judge = Judge(near, table, [paths[d] for paths in known])
    grouped = bucketed(near, judge, buckets)
    result = decide_groups(near, judge, grouped)
    to_score, open_ = _rows_to_score(near, judge, grouped, result, asked)
    result = dataclasses.replace(result, open_group=open_)
    now = final_verdicts(judge, result)
    if not len(result.unknown_left) and not len(to_score):
        write_verdicts(near, round_, d, [now])
        return 0
    if len(result.unknown_left):
        to_score = to_score[:0]  # all pairs first, then scores: so the groups of a destination advance together
    _write_round(near, round_, d, judge, result, now)
    if len(to_score):
        promotion.write_requests(near.stage_run, round_, d, judge.doc[to_score])
    write_open(near, round_, d, judge.doc[result.unknown_left], judge.doc[result.unknown_right])
    return len(result.unknown_left) + len(to_score)


def _write_round(near: NearJob, round_: int, d: int, judge: Judge, result: Result, now: pa.Table) -> None:
    """Write the verdicts that are final after this round, and the undecided documents for the next."""
    write_arrow(decided_path(near, round_, d), now, scratch=True)
    left = pa.table([pa.array(judge.doc[result.open_group])], names=["doc"])
    write_arrow(undecided_path(near, round_, d), left, scratch=True)


def _rows_to_score(near: NearJob, judge: Judge, buckets: Buckets, result: Result, round_: int) -> tuple[I64, BoolArray]:
    """Return (rows to score, (docs,) mask of undecided groups); groups with undecided pairs are scored later."""
    open_ = result.open_group
    if not promotion.is_needed(near.stage_run):
        return np.empty(0, np.int64), open_
    winner = np.where(open_, -1, result.lost_to)
    needed = promotion.representatives(winner)
    if near.mode == "representative":
        needed |= promotion.blocks_later_members(buckets, result.lost_to, 1 + near.further_tries)
    next_candidates = promotion.next_candidates(round_)
    to_score = promotion.rows_to_score(near.run, judge.table, winner, needed & ~open_, next_candidates)
    return to_score, open_ | np.isin(buckets.groups, buckets.groups[to_score])


def _still_open(table: pa.Table, buckets: pa.Table, left: pa.Table) -> tuple[pa.Table, pa.Table]:
    """Return the candidates and bucket members of the undecided groups; `left` lists their documents."""
    wanted = whole(left.column("doc"))
    return tuple(t.filter(pc.is_in(whole(t.column("doc")), wanted)) for t in (table, buckets))


def _compare(engine: Engine, near: NearJob, destinations: int, round_: int) -> Sequence[str | None]:
    """Fetch the texts of undecided pairs; return the files of their true Jaccard similarities, in `SIMILARITIES`."""
    wanted = Exchange(
        folder=near.folder(f"wanted-{round_}"),
        destinations=len(near.run.manifest.groups),
        schema=promotion.REQUESTS,
        route="destination",
    )
    listed = storage.names(near.folder(f"open-{round_}"))
    opened = [d for d in range(destinations) if f"{d}.arrow" in listed]
    name = partial(_emit_wanted, near, round_)
    lists = wanted.run(engine, opened, name, promotion.sort_requests, emit_cost=NAME, receive_cost=SORT)
    texts = texts_hop(near, destinations, round_)
    receive = partial(_receive_texts, near, destinations, round_)
    return texts.run(engine, lists.numbered, partial(_emit_texts, near), receive, emit_cost=READ, receive_cost=COMPARE)


def _emit_wanted(near: NearJob, round_: int, home: int) -> Iterable[pa.Table]:
    """Yield requests for the texts of undecided pairs that no earlier round fetched."""
    since = place_of(near, round_, home).since
    before = [_named(open_path(near, r, home)) for r in range(since, round_)]  # it was open in all of them
    doc = np.setdiff1d(_named(open_path(near, round_, home)), np.concatenate([np.empty(0, np.int64), *before]))
    yield promotion.requests_of(near.run, doc, home)


def _named(path: str) -> I64:
    """Return the distinct doc_ids of a file of pairs, ascending, (docs,)."""
    table = read_arrow(path)
    return np.unique(np.concatenate([array(table, side) for side in PAIRS.names])).astype(np.int64)


def _emit_texts(near: NearJob, source: tuple[int, str]) -> Iterable[pa.Table]:
    """Read the requested texts of one group of bundles, by bundle and row; yield them in the schema `TEXTS`."""
    group, path = source
    wanted = read_arrow(path)
    doc, home = array(wanted, "doc").astype(np.int64), array(wanted, "home").astype(np.int32)
    run = near.run
    position, row = run.manifest.locate(doc)
    for here in run.manifest.groups[group]:
        mine = np.flatnonzero(position == here)
        mine = mine[np.argsort(row[mine])]  # requests come by doc_id, and a bundle's ordinals need not ascend
        if len(mine):
            view = View.at(run, here)
            for batch, at in read_rows(run, view.bundle, row[mine], ["text"]):
                judged = view.as_judged(near.signatures_at, row[mine][at], whole(batch.table.column("text")))
                text = normalise(judged, near.shingling.normalise)
                columns = [pa.array(home[mine][at]), pa.array(doc[mine][at]), text]
                yield pa.table(columns, schema=TEXTS)


def _receive_texts(near: NearJob, destinations: int, round_: int, d: int, table: pa.Table) -> pa.Table | None:
    """Return the true Jaccard similarity of every undecided pair of destination `d`, in `SIMILARITIES`."""
    path = open_path(near, round_, d)
    pairs = read_arrow_if_there(path)  # a destination that is decided has none
    if pairs is None or not pairs.num_rows:
        return None
    named = pa.array(_named(path))
    for before in range(place_of(near, round_, d).since, round_):
        known = texts_hop(near, destinations, before).gathered(d)
        table = pa.concat_tables([table, known.filter(pc.is_in(known.column("doc"), named))])
    left, right = (_rows_of(table, pairs.column(side), path) for side in PAIRS.names)
    value = _similarities(near.shingling, table.column("text"), left, right)
    columns = [pairs.column("left"), pairs.column("right"), pa.array(value)]
    return pa.table(columns, schema=SIMILARITIES)


def _rows_of(texts: pa.Table, doc: pa.ChunkedArray, path: str) -> I64:
    """Return the row in `texts` of every document, (docs,). Raises LedgerError where a text is missing."""
    found = pc.index_in(whole(doc), whole(texts.column("doc")))
    if found.null_count:
        first = doc.filter(found.is_null())[0].as_py()
        raise LedgerError(
            f"{found.null_count:,} texts of the pairs in {path} did not come (first: doc_id {first}). Remove the "
            "folder exchange from the run folder and run again; if that does not help, report this with the run folder."
        )
    return np.asarray(found.to_numpy(), np.int64)


def _similarities(how: Shingling, text: pa.ChunkedArray, left: I64, right: I64) -> F64:
    """Return the true Jaccard of pairs of rows, (pairs,), in blocks of TEXT_BYTES; texts lie in mapped files."""
    size = np.asarray(pc.binary_length(text), np.int64)
    order = np.lexsort((right, left))
    block = np.cumsum(size[left[order]] * (np.diff(left[order], prepend=-1) != 0) + size[right[order]]) // TEXT_BYTES
    value = np.empty(len(left), np.float64)
    for pairs in np.split(order, np.flatnonzero(np.diff(block)) + 1):
        rows, place = np.unique(np.r_[left[pairs], right[pairs]], return_inverse=True)
        data, offsets = buffers(take_ascending(text, rows))
        ends = place[: len(pairs)], place[len(pairs) :]
        value[pairs] = exact_pairs(data, offsets, *ends, how.width, words=how.unit == "words")
    return value


def take_ascending(text: pa.ChunkedArray, rows: I64) -> pa.Array:
    """Return ascending rows of a chunked array as one array; `take` on chunks would first copy all of them."""
    starts = np.cumsum([0, *map(len, text.chunks)])
    bounds = np.searchsorted(rows, starts)
    parts = [
        chunk.take(pa.array(rows[first:last] - start))
        for chunk, start, first, last in zip(text.chunks, starts, bounds, bounds[1:], strict=False)
        if last > first
    ]
    return pa.concat_arrays(parts) if parts else pa.array([], text.type)
