"""Survivors of each group of candidates, with true similarities where the estimate does not settle it.

A destination decides as far as it can from 8-bit signature slots and names the pairs whose true Jaccard
it needs; one pass over the bundles brings just those texts, and it decides again. Guarantees: a pair is
computed once and kept as a fact, so another threshold reads no text for it. Memory: one destination's
candidates and TEXT_BYTES of the texts of its open pairs, which lie in mapped files; texts over `LONGEST`
bytes are never fetched, their estimate decides and the ledger says so. Verdicts of filters that have not judged
everybody are asked for in the same turns (promotion.py).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from functools import partial

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from cluster import storage
from cluster.engines import Engine, Growth
from cluster.errors import LedgerError
from cluster.exchange import Exchange, read_arrow, write_arrow
from stages.core.arrays import BoolArray, array, whole
from stages.core.costs import CANDIDATES, Quantity, per_group
from stages.core.view import View
from stages.dedup import promotion
from stages.dedup.dedup_stage import VERDICTS, chosen_in_buckets, verdicts
from stages.dedup.near.buckets import Groups, per_candidates
from stages.dedup.near.job import NearJob, Shingling
from stages.dedup.near.judge import PAIRS, Judge
from stages.dedup.near.known_pairs import SIMILARITIES, TEXTS, recall_pairs, texts_hop
from stages.kernels.hashes.hashing import buffers
from stages.kernels.similarity.jaccard import exact_pairs
from stages.kernels.survivors.bucket_survivors import representative_survivors
from stages.kernels.survivors.candidates import Buckets
from stages.kernels.survivors.component_survivors import component_survivors
from stages.kernels.survivors.pair_answers import Result
from stages.kernels.text.normalise import normalise
from stages.passes.annotate import read_rows

I64 = npt.NDArray[np.int64]
F64 = npt.NDArray[np.float64]
TEXT_BYTES = 64 << 20  # of text compared at a time


TRY = per_candidates("try candidates")
NAME = per_candidates("name wanted texts")
SORT = per_group("sort wanted texts", CANDIDATES, rare=True)
READ = per_group("read wanted texts", Growth(quantity=Quantity.CANDIDATE_TEXTS), rare=True)
COMPARE = per_candidates("compute similarities", Growth(quantity=Quantity.CANDIDATE_PAIRS))


def choose_survivors(engine: Engine, near: NearJob, groups: Groups) -> list[str | None]:
    """Return the files of verdicts, one per destination."""
    known, answers = [recall_pairs(engine, near, groups)], list[list[str | None]]()
    for turn in range(1 << 16):
        task = partial(_attempt, near, groups, known, answers, turn)
        if not sum(engine.map(task, range(groups.destinations), cost=TRY)):
            break
        known.append(_compare(engine, near, groups.destinations, turn))
        if promotion.is_needed(near.stage_run):
            answers.append(promotion.ask(engine, near.stage_run, turn, groups.destinations))
    return [_verdicts_path(near, d) for d in range(groups.destinations)]


def _verdicts_path(near: NearJob, destination: int) -> str:
    return storage.join(near.folder("verdicts"), f"{destination}.arrow")


def _open_path(near: NearJob, turn: int, destination: int) -> str:
    return storage.join(near.folder(f"open-{turn}"), f"{destination}.arrow")


def _settled_path(near: NearJob, turn: int, destination: int) -> str:
    return storage.join(near.folder(f"settled-{turn}"), f"{destination}.arrow")


def _undecided_path(near: NearJob, turn: int, destination: int) -> str:
    return storage.join(near.folder(f"left-{turn}"), f"{destination}.arrow")


def _attempt(
    near: NearJob,
    groups: Groups,
    known: list[list[str | None]],
    answers: list[list[str | None]],
    turn: int,
    d: int,
) -> int:
    """Decide destination `d` or write down the pairs and verdicts it has to know; return how many those are."""
    members, documents = groups.members[d], groups.documents[d]
    if storage.exists(_verdicts_path(near, d)):
        return 0
    if storage.exists(_open_path(near, turn, d)):
        asked = promotion.count_questions(near.stage_run, turn, d)
        return asked + int(read_arrow(_open_path(near, turn, d)).num_rows)
    settled = [read_arrow(_settled_path(near, t, d)) for t in range(turn)]
    if members is None or documents is None:
        write_arrow(_verdicts_path(near, d), VERDICTS.empty_table())
        return 0
    table, buckets = read_arrow(documents), read_arrow(members)
    if turn:
        table, buckets = _still_open(table, buckets, read_arrow(_undecided_path(near, turn - 1, d)))
    table = promotion.answered(table, [paths[d] for paths in answers])
    judge = Judge(near, table, [paths[d] for paths in known])
    grouped = bucketed(near, judge, buckets)
    result = decide_groups(near, judge, grouped)
    asks, open_ = _questions(near, judge, grouped, result, promotion.asked_before(near.stage_run, turn, d))
    result = dataclasses.replace(result, open_group=open_)
    now = settled_verdicts(judge, result)
    if not len(result.unknown_left) and not len(asks):
        write_arrow(_verdicts_path(near, d), pa.concat_tables([*settled, now]))
        return 0
    if len(result.unknown_left):
        asks = asks[:0]  # first all pairs, then verdicts: the groups of a destination look ahead in step
    _write_turn(near, turn, d, judge, result, now)
    if len(asks):
        promotion.write_questions(near.stage_run, turn, d, judge.doc[asks])
    pairs = [pa.array(judge.doc[side]) for side in (result.unknown_left, result.unknown_right)]
    write_arrow(_open_path(near, turn, d), pa.table(pairs, schema=PAIRS))
    return len(result.unknown_left) + len(asks)


def _write_turn(near: NearJob, turn: int, d: int, judge: Judge, result: Result, now: pa.Table) -> None:
    """Write down what this turn settled, and who is left for the next."""
    write_arrow(_settled_path(near, turn, d), now)
    left = pa.table([pa.array(judge.doc[result.open_group])], names=["doc"])
    write_arrow(_undecided_path(near, turn, d), left)


def _questions(near: NearJob, judge: Judge, buckets: Buckets, result: Result, turn: int) -> tuple[I64, BoolArray]:
    """Return the rows whose verdict groups without open pairs depend on, and who is in a group that is open."""
    open_ = result.open_group
    if not promotion.is_needed(near.stage_run):
        return np.empty(0, np.int64), open_
    winner = np.where(open_, -1, result.lost_to)
    needed = promotion.representatives(winner)
    if near.mode == "representative":
        needed |= promotion.blocks_later_members(buckets, result.lost_to, 1 + near.further_tries)
    asks = promotion.questions(near.run, judge.table, winner, needed & ~open_, promotion.ahead(turn))
    return asks, open_ | np.isin(buckets.groups, buckets.groups[asks])


def _still_open(table: pa.Table, buckets: pa.Table, left: pa.Table) -> tuple[pa.Table, pa.Table]:
    """Return the candidates and bucket members of the groups that are not settled."""
    wanted = whole(left.column("doc"))
    return tuple(t.filter(pc.is_in(whole(t.column("doc")), wanted)) for t in (table, buckets))


def bucketed(near: NearJob, judge: Judge, members: pa.Table) -> Buckets:
    """Return the candidates of one destination in their buckets, whose members lie side by side in a table."""
    bucket = array(members, "bucket")
    starts = np.flatnonzero(np.r_[True, bucket[1:] != bucket[:-1]])
    member = pc.index_in(whole(members.column("doc")), pa.array(judge.doc)).to_numpy().astype(np.int64)
    return chosen_in_buckets(near.run, judge.table, np.r_[starts, len(bucket)].astype(np.int64), member)


def decide_groups(near: NearJob, judge: Judge, buckets: Buckets) -> Result:
    """Decide the candidates of one destination as far as the judge's answers go."""
    decide = representative_survivors if near.mode == "representative" else component_survivors
    return decide(buckets, judge, keep_all=near.keeps_all_within, further_tries=near.further_tries)


def settled_verdicts(judge: Judge, result: Result) -> pa.Table:
    """Return the documents that settled groups lose."""
    lost = np.flatnonzero((result.lost_to >= 0) & ~result.open_group)
    winner = result.lost_to[lost]
    similarity, kind = judge.similarity(winner, lost)
    return verdicts(judge.doc[lost], judge.doc[winner], similarity, kind)


def _compare(engine: Engine, near: NearJob, destinations: int, turn: int) -> list[str | None]:
    """Fetch the texts of all open pairs and return the files of their true similarities."""
    wanted = Exchange(
        folder=near.folder(f"wanted-{turn}"),
        destinations=len(near.run.manifest.groups),
        schema=promotion.WANTED,
        route="destination",
    )
    opened = [(d, path) for d in range(destinations) if storage.exists(path := _open_path(near, turn, d))]
    name = partial(_emit_wanted, near, turn)
    lists = wanted.run(engine, opened, name, promotion.receive_wanted, emit_cost=NAME, receive_cost=SORT)
    texts = texts_hop(near, destinations, turn)
    sources = [(group, path) for group, path in enumerate(lists) if path]
    receive = partial(_receive_texts, near, destinations, turn)
    return texts.run(engine, sources, partial(_emit_texts, near), receive, emit_cost=READ, receive_cost=COMPARE)


def _emit_wanted(near: NearJob, turn: int, source: tuple[int, str]) -> Iterable[pa.Table]:
    """Name the documents of open pairs whose text no earlier turn brought."""
    home, path = source
    before = [p for t in range(turn) if storage.exists(p := _open_path(near, t, home))]
    doc = np.setdiff1d(_named(path), np.concatenate([np.empty(0, np.int64), *map(_named, before)]))
    yield promotion.wanted(near.run, doc, home)


def _named(path: str) -> I64:
    """Return the documents that a file of pairs names, sorted."""
    table = read_arrow(path)
    return np.unique(np.concatenate([array(table, side) for side in PAIRS.names])).astype(np.int64)


def _emit_texts(near: NearJob, source: tuple[int, str]) -> Iterable[pa.Table]:
    """Read the wanted rows of one group of bundles, those of each bundle in row order."""
    group, path = source
    wanted = read_arrow(path)
    doc, home = array(wanted, "doc").astype(np.int64), array(wanted, "home").astype(np.int32)
    run = near.run
    position, row = run.manifest.locate(doc)
    for here in run.manifest.groups[group]:
        mine = np.flatnonzero(position == here)
        mine = mine[np.argsort(row[mine])]  # they come by doc_id, and a bundle's ordinals need not ascend
        if len(mine):
            view = View.at(run, here)
            for batch, at in read_rows(run, view.bundle, row[mine], ["text"]):
                judged = view.as_judged(near.signatures_at, row[mine][at], whole(batch.table.column("text")))
                text = normalise(judged, near.shingling.normalise)
                columns = [pa.array(home[mine][at]), pa.array(doc[mine][at]), text]
                yield pa.table(columns, schema=TEXTS)


def _receive_texts(near: NearJob, destinations: int, turn: int, d: int, table: pa.Table) -> pa.Table | None:
    """Compute the true Jaccard of every open pair of destination `d`."""
    path = _open_path(near, turn, d)
    if not storage.exists(path):
        return None
    pairs = read_arrow(path)
    if not pairs.num_rows:
        return None
    named = pa.array(_named(path))
    for before in range(turn):
        known = texts_hop(near, destinations, before).gathered(d)
        table = pa.concat_tables([table, known.filter(pc.is_in(known.column("doc"), named))])
    left, right = (_rows_of(table, pairs.column(side), path) for side in PAIRS.names)
    value = _similarities(near.shingling, table.column("text"), left, right)
    columns = [pairs.column("left"), pairs.column("right"), pa.array(value)]
    return pa.table(columns, schema=SIMILARITIES)


def _rows_of(texts: pa.Table, doc: pa.ChunkedArray, path: str) -> I64:
    """Return the row in `texts` of every document. Raises LedgerError where one came without its text."""
    found = pc.index_in(whole(doc), whole(texts.column("doc")))
    if found.null_count:
        first = doc.filter(found.is_null())[0].as_py()
        raise LedgerError(
            f"{found.null_count:,} texts of the pairs in {path} did not come (first: doc_id {first}). Remove the "
            "folder exchange from the run folder and run again; if that does not help, report this with the run folder."
        )
    return np.asarray(found.to_numpy(), np.int64)


def _similarities(how: Shingling, text: pa.ChunkedArray, left: I64, right: I64) -> F64:
    """Return the true Jaccard of pairs of rows, a few TEXT_BYTES of text at a time; the texts are mapped files."""
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
    """Return these rows, ascending, and copy no others: `take` on chunks would join all of them first."""
    starts = np.cumsum([0, *map(len, text.chunks)])
    bounds = np.searchsorted(rows, starts)
    parts = [
        chunk.take(pa.array(rows[first:last] - start))
        for chunk, start, first, last in zip(text.chunks, starts, bounds, bounds[1:], strict=False)
        if last > first
    ]
    return pa.concat_arrays(parts) if parts else pa.array([], text.type)
