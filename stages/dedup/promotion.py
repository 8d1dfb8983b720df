"""Survivors that pass every later filter (`orphans: promote`) where a costly filter has not judged everybody.

A document that nobody has judged yet counts as passing; who represents others on that account is judged, with the
next 1, 3, 7 … of those that lost to it; who fails may no longer represent, and all is decided again, until every
representative is known to pass. Survivors are chosen greedily in a total order and depend on earlier kept,
eligible documents alone, so the outcome is that of judging everybody first. Guarantees: answers are kept as facts;
every turn is resumable. Memory: the candidates of one destination, and one bundle's facts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from cluster import storage
from cluster.engines import Engine, Growth, TaskCost
from cluster.exchange import Exchange, read_arrow, write_arrow
from stages.core.arrays import BoolArray, array, whole
from stages.core.costs import Quantity, per_bundle, per_destination, per_group
from stages.core.run import Run, StageRun
from stages.core.stage import Stage
from stages.core.view import View
from stages.dedup.dedup_stage import survivor_order
from stages.kernels.survivors.candidates import Buckets
from stages.kernels.survivors.pair_answers import UNKNOWN
from stages.passes import judge_later

I64 = npt.NDArray[np.int64]
WANTED = pa.schema([("destination", pa.int32()), ("doc", pa.int64()), ("home", pa.int32())])
ANSWERS = pa.schema([("destination", pa.int32()), ("doc", pa.int64()), ("eligible", pa.uint8())])
LAST = 20  # turn from which everybody who lost to an unknown one is asked about


@dataclass(frozen=True, eq=False)
class Decided:
    """What one attempt at a table of candidates came to.

    winner: (rows,) row that each one loses to, -1 where it stays. unit: (rows,) a label; units do not influence each
    other. verdicts: of the rows that lost, in the schema `VERDICTS`, in row order.
    """

    winner: I64
    unit: npt.NDArray[np.generic]
    verdicts: pa.Table


Decide = Callable[[pa.Table], Decided]  # of candidates in `candidate_schema` and more columns


def is_needed(stage_run: StageRun[Stage]) -> bool:
    """Tell whether survivors of a dedup stage depend on verdicts that are not known when it begins."""
    return bool(judge_later.asked(stage_run))


def representatives(winner: I64) -> BoolArray:
    """Return which documents somebody lost to, (docs,) bool."""
    found = np.zeros(len(winner), np.bool_)
    found[winner[winner >= 0]] = True
    return found


def blocks_later_members(buckets: Buckets, winner: I64, representatives_per_bucket: int) -> BoolArray:
    """Return which documents keep later members of a bucket from representing others, (docs,) bool.

    They do where the bucket has more kept, eligible members than may represent.
    """
    able = ((winner < 0) & buckets.eligible)[buckets.member]
    count = np.bincount(buckets.of_member[able], minlength=len(buckets.start) - 1)
    found = np.zeros(len(winner), np.bool_)
    found[buckets.member[able & (count > representatives_per_bucket)[buckets.of_member]]] = True
    return found


def questions(run: Run, table: pa.Table, winner: I64, needed: BoolArray, ahead: int) -> I64:
    """Return the rows to be judged: the needed ones nobody has judged, and the next `ahead` that lost to each.

    needed : (rows,) whose verdict must be known for the outcome to be final.
    """
    unknown = array(table, "eligible") == UNKNOWN
    first = needed & unknown & (winner < 0)
    lost = np.flatnonzero(unknown & (winner >= 0))
    lost = lost[first[winner[lost]]]
    if ahead and len(lost):
        order = survivor_order(run, table.take(pa.array(lost)))
        lost = lost[np.lexsort([order, winner[lost]])]
        begins = np.flatnonzero(np.diff(winner[lost], prepend=-1))
        place = np.arange(len(lost)) - np.repeat(begins, np.diff(np.r_[begins, len(lost)]))
        return np.concatenate([np.flatnonzero(first), lost[place < ahead]])
    return np.flatnonzero(first)


def ahead(turn: int) -> int:
    """Return how many of those that lost to an asked one are judged with it in the given turn of questions."""
    return (1 << turn) - 1 if turn < LAST else 1 << 62


def answered(table: pa.Table, answers: Iterable[str | None]) -> pa.Table:
    """Return the candidates with `eligible` as these files of answers have it."""
    paths = [path for path in answers if path]
    if not paths:
        return table
    eligible = array(table, "eligible").astype(np.uint8)
    for path in paths:
        known = read_arrow(path)
        at = pc.index_in(whole(table.column("doc")), whole(known.column("doc")))
        hit = at.is_valid().to_numpy(zero_copy_only=False)
        eligible[hit] = array(known, "eligible")[at.drop_null().to_numpy()]
    return table.set_column(table.schema.get_field_index("eligible"), "eligible", pa.array(eligible))


# --- asking ----------------------------------------------------------------------------------------------


def _path(stage_run: StageRun[Stage], kind: str, turn: int, destination: int) -> str:
    return storage.join(stage_run.folder(f"{kind}-{turn}"), f"{destination}.arrow")


def write_questions(stage_run: StageRun[Stage], turn: int, destination: int, doc: I64) -> None:
    """Write down the documents that a destination has to know the verdict of."""
    write_arrow(_path(stage_run, "questions", turn, destination), pa.table({"doc": doc}))


def asked_before(stage_run: StageRun[Stage], turn: int, destination: int) -> int:
    """Return in how many turns before this one a destination asked."""
    return sum(storage.exists(_path(stage_run, "questions", t, destination)) for t in range(turn))


def count_questions(stage_run: StageRun[Stage], turn: int, destination: int) -> int:
    """Return how many documents a destination asks for in a turn."""
    path = _path(stage_run, "questions", turn, destination)
    return int(read_arrow(path).num_rows) if storage.exists(path) else 0


def ask(engine: Engine, stage_run: StageRun[Stage], turn: int, destinations: int) -> list[str | None]:
    """Have the documents judged that the destinations ask for; return the file of answers of each."""
    paths = [_path(stage_run, "questions", turn, d) for d in range(destinations)]
    opened = [(d, path) for d, path in enumerate(paths) if storage.exists(path)]
    run = stage_run.run
    hop = Exchange(
        folder=stage_run.folder(f"asked-{turn}"),
        destinations=len(run.manifest.groups),
        schema=WANTED,
        route="destination",
    )
    emit = partial(_emit_questions, run)
    lists = hop.run(engine, opened, emit, receive_wanted, emit_cost=ASK, receive_cost=SORT)
    sources = [(group, path) for group, path in enumerate(lists) if path]
    folder = stage_run.folder(f"answers-{turn}")
    answers = Exchange(folder=folder, destinations=destinations, schema=ANSWERS, route="destination")
    if not {f"done-{d}" for d in range(destinations)} <= storage.names(folder):
        tasks = [task for found in engine.map(partial(_bundles, run), sources, cost=LIST) for task in found]
        engine.map(partial(_judge, stage_run), tasks, cost=JUDGE)
    answer = partial(_emit_answers, stage_run)
    return answers.run(engine, sources, answer, _receive_answers, emit_cost=ANSWER, receive_cost=HEAR)


ASK = per_destination("ask for verdicts")
SORT = per_group("sort what is asked for")
LIST = per_group("list bundles that are asked about")
JUDGE = per_bundle("judge what is asked for", Growth(quantity=Quantity.JUDGED), rare=True)
ANSWER = per_group("answer with verdicts")
HEAR = per_destination("receive verdicts")


def _emit_questions(run: Run, source: tuple[int, str]) -> Iterable[pa.Table]:
    home, path = source
    yield wanted(run, array(read_arrow(path), "doc").astype(np.int64), home)


def wanted(run: Run, doc: I64, home: int) -> pa.Table:
    """Return documents that a destination wants something of, routed to the groups of bundles they lie in."""
    columns = [run.manifest.group_of(doc).astype(np.int32), doc, np.full(len(doc), home, np.int32)]
    return pa.table([pa.array(c) for c in columns], schema=WANTED)


def receive_wanted(_: int, table: pa.Table) -> pa.Table | None:
    """Return what is wanted of one group of bundles, in doc_id order, which need not be that of a bundle's rows."""
    return table.combine_chunks().sort_by("doc") if table.num_rows else None


def _bundles(run: Run, source: tuple[int, str]) -> list[tuple[int, str]]:
    """Return the bundles of a group that somebody asks about, each with the group's list."""
    _, path = source
    position, _ = run.manifest.locate(array(read_arrow(path), "doc").astype(np.int64))
    return [(here, path) for here in np.unique(position).tolist()]


def _judge(stage_run: StageRun[Stage], task: tuple[int, str]) -> dict[str, Any]:
    """Return the judges' parts alone: who is asked about is not what the step of the deduplication counts."""
    here, path = task
    position, row = stage_run.run.manifest.locate(array(read_arrow(path), "doc").astype(np.int64))
    view = View.at(stage_run.run, here)
    return {"parts": judge_later.judge_asked(stage_run, view, row[position == here])["parts"]}


def _emit_answers(stage_run: StageRun[Stage], source: tuple[int, str]) -> Iterable[pa.Table]:
    group, path = source
    table, run = read_arrow(path), stage_run.run
    doc, home = array(table, "doc").astype(np.int64), array(table, "home").astype(np.int32)
    position, row = run.manifest.locate(doc)
    for here in run.manifest.groups[group]:
        mine = position == here
        if mine.any():
            eligible = View.at(run, here).eligible(stage_run.index)[row[mine]]
            assert not (eligible == UNKNOWN).any()
            yield pa.table([pa.array(home[mine]), pa.array(doc[mine]), pa.array(eligible)], schema=ANSWERS)


def _receive_answers(_: int, table: pa.Table) -> pa.Table | None:
    return table.select(["doc", "eligible"]).combine_chunks() if table.num_rows else None


# --- rounds of a stage whose candidates are decided at one go -----------------------------------------------


def decide_with_questions(
    engine: Engine, stage_run: StageRun[Stage], tables: Sequence[str | None], decide: Decide, *, cost: TaskCost
) -> list[str | None]:
    """Decide each file of candidates, asking for verdicts until none is missing; return the files of verdicts.

    cost : of `decide` for one file.
    """
    answers: list[list[str | None]] = []
    for turn in range(1 << 16):
        attempt = partial(_attempt, stage_run, tables, answers, decide, turn)
        open_ = engine.map(attempt, range(len(tables)), cost=cost)
        if not sum(open_):
            break
        answers.append(ask(engine, stage_run, turn, len(tables)))
    return [
        path
        for t in range(turn + 1)
        for d in range(len(tables))
        if storage.exists(path := _path(stage_run, "settled", t, d))
    ]


def _attempt(
    stage_run: StageRun[Stage],
    tables: Sequence[str | None],
    answers: list[list[str | None]],
    decide: Decide,
    turn: int,
    d: int,
) -> int:
    """Decide destination `d` as far as it goes; return how many verdicts it asks for."""
    path = tables[d]
    if path is None or (turn and not storage.exists(_path(stage_run, "questions", turn - 1, d))):
        return 0
    if storage.exists(_path(stage_run, "settled", turn, d)):
        return count_questions(stage_run, turn, d)
    table = read_arrow(path)
    if turn:
        left = read_arrow(_path(stage_run, "left", turn - 1, d))
        table = table.filter(pc.is_in(whole(table.column("doc")), whole(left.column("doc"))))
    table = answered(table, [files[d] for files in answers])
    found = decide(table)
    asks = questions(stage_run.run, table, found.winner, representatives(found.winner), ahead(turn))
    doc = array(table, "doc").astype(np.int64)
    open_ = np.isin(found.unit, found.unit[asks])
    if len(asks):
        write_arrow(_path(stage_run, "left", turn, d), pa.table({"doc": doc[open_]}))
        write_questions(stage_run, turn, d, doc[asks])
    settled = ~open_[found.winner >= 0]
    write_arrow(_path(stage_run, "settled", turn, d), found.verdicts.filter(pa.array(settled)))
    return len(asks)
