"""Lazy scoring for `orphans: promote`: representatives must pass every later filter, and costly ones run in rounds.

Unscored documents are assumed to pass. Each round scores the current representatives, and the next 1, 3, 7, …
documents that lost to each; a representative that fails is dropped, and survivors are chosen again until every
representative has passed. Survivors are chosen greedily in a total order, each by earlier kept, eligible documents
alone, so the outcome equals that of scoring every document first. Guarantees: scores are stored as facts; a round
that was interrupted resumes. Memory: the candidates of one destination, and the facts of one bundle.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from cluster import storage
from cluster.engines import Engine, TaskCost
from cluster.exchange import Exchange
from cluster.files.arrow_files import read_arrow, read_arrow_if_there, write_arrow
from cluster.outputs import Outputs
from stages.core.arrays import BoolArray, array, whole
from stages.core.costs import per_destination, per_group
from stages.core.run import Run, StageRun
from stages.core.stage import Stage
from stages.core.view import View
from stages.dedup.dedup_stage import survivor_order
from stages.kernels.survivors.candidates import Buckets
from stages.kernels.survivors.pair_answers import UNKNOWN
from stages.passes import judge_later

I64 = npt.NDArray[np.int64]
REQUESTS = pa.schema([("destination", pa.int32()), ("doc", pa.int64()), ("home", pa.int32())])  # home: who requests
ELIGIBILITY = pa.schema([("destination", pa.int32()), ("doc", pa.int64()), ("eligible", pa.uint8())])
UNLIMITED_FROM = 20  # round from which every unscored document that lost to an unscored one is scored with it


@dataclass(frozen=True, eq=False)
class Decided:
    """Survivors among one table of candidates, given the scores so far.

    winner: (rows,) the representative that drops each row, by row; -1 where the row is kept. unit: (rows,) a label;
    rows of different units do not influence each other. verdicts: dropped rows in the schema `VERDICTS`, in row order.
    """

    winner: I64
    unit: npt.NDArray[np.generic]
    verdicts: pa.Table


Decide = Callable[[pa.Table], Decided]  # candidates in `candidate_schema`, with more columns


def is_needed(stage_run: StageRun[Stage]) -> bool:
    """Tell whether the survivors of a dedup stage depend on deferred filters, which are unscored when it begins."""
    return bool(judge_later.filters_to_pass(stage_run))


def representatives(winner: I64) -> BoolArray:
    """Mark the representatives, documents that another one lost to, (docs,) bool."""
    found = np.zeros(len(winner), np.bool_)
    found[winner[winner >= 0]] = True
    return found


def blocks_later_members(buckets: Buckets, winner: I64, representatives_per_bucket: int) -> BoolArray:
    """Mark documents whose failure would let a later member of their bucket become a representative, (docs,) bool.

    So it is in buckets with more kept, eligible members than `representatives_per_bucket`.
    """
    able = ((winner < 0) & buckets.eligible)[buckets.member]
    count = np.bincount(buckets.of_member[able], minlength=len(buckets.start) - 1)
    found = np.zeros(len(winner), np.bool_)
    found[buckets.member[able & (count > representatives_per_bucket)[buckets.of_member]]] = True
    return found


def rows_to_score(run: Run, table: pa.Table, winner: I64, needed: BoolArray, next_candidates: int) -> I64:
    """Return the unscored rows of `needed`, and the next candidates in the total order that lost to each, (found,).

    needed : (rows,) rows that must pass for the outcome to be final.
    """
    unscored = array(table, "eligible") == UNKNOWN
    first = needed & unscored & (winner < 0)
    lost = np.flatnonzero(unscored & (winner >= 0))
    lost = lost[first[winner[lost]]]
    if next_candidates and len(lost):
        order = survivor_order(run, table.take(pa.array(lost)))
        lost = lost[np.lexsort([order, winner[lost]])]
        begins = np.flatnonzero(np.diff(winner[lost], prepend=-1))
        place = np.arange(len(lost)) - np.repeat(begins, np.diff(np.r_[begins, len(lost)]))
        return np.concatenate([np.flatnonzero(first), lost[place < next_candidates]])
    return np.flatnonzero(first)


def next_candidates(round_: int) -> int:
    """Return how many documents that lost to a representative are scored with it: 0, 1, 3, 7, … by round."""
    return (1 << round_) - 1 if round_ < UNLIMITED_FROM else 1 << 62


def with_eligibility(table: pa.Table, files: Iterable[str | None]) -> pa.Table:
    """Return the candidates with column `eligible` updated from these files in the schema `ELIGIBILITY`."""
    paths = [path for path in files if path]
    if not paths:
        return table
    eligible = array(table, "eligible").astype(np.uint8)
    for path in paths:
        known = read_arrow(path)
        at = pc.index_in(whole(table.column("doc")), whole(known.column("doc")))
        hit = at.is_valid().to_numpy(zero_copy_only=False)
        eligible[hit] = array(known, "eligible")[at.drop_null().to_numpy()]
    return table.set_column(table.schema.get_field_index("eligible"), "eligible", pa.array(eligible))


# --- scoring what destinations request ------------------------------------------------------------------


def _path(stage_run: StageRun[Stage], kind: str, round_: int, destination: int) -> str:
    return storage.join(stage_run.folder(f"{kind}-{round_}"), f"{destination}.arrow")


def write_requests(stage_run: StageRun[Stage], round_: int, destination: int, doc: I64) -> None:
    """Write the doc_ids that a destination needs scored in a round."""
    write_arrow(_path(stage_run, "questions", round_, destination), pa.table({"doc": doc}), scratch=True)


def _listed(stage_run: StageRun[Stage], kind: str, round_: int) -> list[int]:
    """Return the destinations that wrote a file of this kind in a round, ascending, by one listing."""
    names = storage.names(stage_run.folder(f"{kind}-{round_}"))
    return sorted(int(name.removesuffix(".arrow")) for name in names)


def rounds_with_requests(stage_run: StageRun[Stage], round_: int) -> Counter[int]:
    """Return in how many rounds before `round_` each destination requested scores."""
    rounds = range(round_ if is_needed(stage_run) else 0)
    return Counter(d for r in rounds for d in _listed(stage_run, "questions", r))


def count_requests(stage_run: StageRun[Stage], round_: int, destination: int) -> int:
    """Return how many documents a destination needs scored in a round."""
    found = read_arrow_if_there(_path(stage_run, "questions", round_, destination))
    return 0 if found is None else int(found.num_rows)


def score_requests(engine: Engine, stage_run: StageRun[Stage], round_: int, destinations: int) -> Outputs:
    """Score the documents that destinations requested in a round; return the file of eligibility of each."""
    requests = [(d, _path(stage_run, "questions", round_, d)) for d in _listed(stage_run, "questions", round_)]
    run = stage_run.run
    hop = Exchange(
        folder=stage_run.folder(f"asked-{round_}"),
        destinations=len(run.manifest.groups),
        schema=REQUESTS,
        route="destination",
    )
    emit = partial(_emit_requests, run)
    by_group = hop.run(engine, requests, emit, sort_requests, emit_cost=ASK, receive_cost=SORT)
    sources = by_group.numbered
    folder = stage_run.folder(f"answers-{round_}")
    answers = Exchange(folder=folder, destinations=destinations, schema=ELIGIBILITY, route="destination")
    if not answers.is_done():
        tasks = [task for found in engine.map(partial(_bundles, run), sources, cost=LIST) for task in found]
        judge_later.score_requested(engine, stage_run, _purpose(stage_run, round_), tasks)
    answer = partial(_emit_eligibility, stage_run)
    return answers.run(engine, sources, answer, _receive_eligibility, emit_cost=ANSWER, receive_cost=RECEIVE)


def _purpose(stage_run: StageRun[Stage], round_: int) -> str:
    """Return the name of a round of requests, different for other survivors."""
    run, index = stage_run.run, stage_run.index
    return f"{stage_run.stage.name}-{run.decision_digest(index)}-{round_}"


ASK = per_destination("request scores")
SORT = per_group("sort requests")
LIST = per_group("list requested bundles")
ANSWER = per_group("send eligibility")
RECEIVE = per_destination("receive eligibility")


def _emit_requests(run: Run, source: tuple[int, str]) -> Iterable[pa.Table]:
    home, path = source
    yield requests_of(run, array(read_arrow(path), "doc").astype(np.int64), home)


def requests_of(run: Run, doc: I64, home: int) -> pa.Table:
    """Return the requests of destination `home` for documents, routed to their groups of bundles, in `REQUESTS`."""
    columns = [run.manifest.group_of(doc).astype(np.int32), doc, np.full(len(doc), home, np.int32)]
    return pa.table([pa.array(c) for c in columns], schema=REQUESTS)


def sort_requests(_: int, table: pa.Table) -> pa.Table | None:
    """Return the requests to one group of bundles by doc_id, which need not be the row order of a bundle."""
    return table.combine_chunks().sort_by("doc") if table.num_rows else None


def _bundles(run: Run, source: tuple[int, str]) -> list[tuple[int, str]]:
    """Return (position, file of requests) of every bundle of a group with a requested document."""
    _, path = source
    position, _ = run.manifest.locate(array(read_arrow(path), "doc").astype(np.int64))
    return [(here, path) for here in np.unique(position).tolist()]


def _emit_eligibility(stage_run: StageRun[Stage], source: tuple[int, str]) -> Iterable[pa.Table]:
    group, path = source
    table, run = read_arrow(path), stage_run.run
    doc, home = array(table, "doc").astype(np.int64), array(table, "home").astype(np.int32)
    position, row = run.manifest.locate(doc)
    for here in run.manifest.groups[group]:
        mine = position == here
        if mine.any():
            eligible = View.at(run, here).eligible(stage_run.index)[row[mine]]
            assert not (eligible == UNKNOWN).any()
            yield pa.table([pa.array(home[mine]), pa.array(doc[mine]), pa.array(eligible)], schema=ELIGIBILITY)


def _receive_eligibility(_: int, table: pa.Table) -> pa.Table | None:
    return table.select(["doc", "eligible"]).combine_chunks() if table.num_rows else None


# --- rounds of a stage that needs no texts to compare its candidates ----------------------------------------


def decide_in_rounds(
    engine: Engine, stage_run: StageRun[Stage], tables: Outputs, decide: Decide, *, cost: TaskCost
) -> list[str]:
    """Choose survivors in each file of candidates, round by round until all pass; return the files of verdicts.

    cost : of `decide` for one file.
    """
    eligibility: list[Outputs] = []
    settled: list[str] = []
    for round_ in range(1 << 16):
        open_ = _listed(stage_run, "questions", round_ - 1) if round_ else [d for d, _ in tables.numbered]
        done = set(_listed(stage_run, "settled", round_))
        attempt = partial(_attempt, stage_run, tables, eligibility, decide, round_)
        requested = sum(engine.map(attempt, [d for d in open_ if d not in done], cost=cost))
        requested += sum(count_requests(stage_run, round_, d) for d in done)  # of a run that was interrupted
        settled += [_path(stage_run, "settled", round_, d) for d in open_]
        if not requested:
            break
        eligibility.append(score_requests(engine, stage_run, round_, len(tables)))
    return settled


def _attempt(
    stage_run: StageRun[Stage],
    tables: Outputs,
    eligibility: Sequence[Outputs],
    decide: Decide,
    round_: int,
    d: int,
) -> int:
    """Decide the units of destination `d` whose representatives pass; return how many documents must be scored."""
    table = read_arrow(tables.path(d))
    if round_:
        undecided = read_arrow(_path(stage_run, "left", round_ - 1, d))
        table = table.filter(pc.is_in(whole(table.column("doc")), whole(undecided.column("doc"))))
    table = with_eligibility(table, [files[d] for files in eligibility])
    found = decide(table)
    needed = representatives(found.winner)
    to_score = rows_to_score(stage_run.run, table, found.winner, needed, next_candidates(round_))
    doc = array(table, "doc").astype(np.int64)
    open_ = np.isin(found.unit, found.unit[to_score])
    if len(to_score):
        write_arrow(_path(stage_run, "left", round_, d), pa.table({"doc": doc[open_]}), scratch=True)
        write_requests(stage_run, round_, d, doc[to_score])
    final = ~open_[found.winner >= 0]
    write_arrow(_path(stage_run, "settled", round_, d), found.verdicts.filter(pa.array(final)), scratch=True)
    return len(to_score)
