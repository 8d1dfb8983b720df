"""Rounds of a destination that is cut into windows: each is decided given what earlier ones kept, or waits.

Mode representative: a window's verdicts are final once its pairs are compared and whoever holds a seat in it has passed
the filters to come, which deferred ones say in rounds (promotion.py). Mode component: a window joins its members to the
leaders of their buckets; verdicts follow from the components of all windows. Guarantees: the verdicts, and the pairs
whose texts are compared, are those of no cut. Memory: a window, and the seats in its buckets; in mode component about
200 bytes for every candidate of the destination (keys of the total order) at the end.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from cluster import storage
from cluster.engines import InlineEngine, give_back
from cluster.exchange import Exchange
from cluster.files.arrow_files import read_arrow, scan_arrow, write_arrow
from stages.core.arrays import BoolArray, array, places_in
from stages.dedup import promotion
from stages.dedup.dedup_stage import candidate_schema, chosen_among, verdicts
from stages.dedup.near.job import NearJob
from stages.dedup.near.judge import Judge
from stages.dedup.near.rounds import (
    NO_PAIRS,
    Place,
    bucketed,
    decide_groups,
    final_verdicts,
    place_of,
    write_decided,
    write_open,
    write_verdicts,
)
from stages.dedup.near.windows import Windows
from stages.kernels.survivors.candidates import Buckets
from stages.kernels.survivors.component_survivors import Led, lead, lose_in_components
from stages.kernels.survivors.components import components
from stages.kernels.survivors.pair_answers import Result, result_of

I64 = npt.NDArray[np.int64]
Files = Sequence[str | None]
JOINED = pa.schema([("left", pa.int64()), ("right", pa.int64())])


def attempt_windows(near: NearJob, cut: Windows, known: Files, eligibility: Files, round_: int) -> int:
    """Decide the windows of a destination in turn, up to the first that must wait; return on how much.

    known : the files of verified pairs: of earlier runs, then of each round. eligibility : of scores, of each round.
    """
    place = place_of(near, round_ - 1, cut.destination) if round_ else Place()
    give_back()  # what the cut took
    if near.mode == "component":
        return _attempt_component(near, cut, known, eligibility, round_, place)
    found: list[pa.Table] = []
    for number in range(place.window, cut.count):
        here = place if number == place.window else Place(number, round_, 0)
        tried = _attempt_window(near, cut, number, known, eligibility, here)
        give_back()
        if isinstance(tried, _Waiting):
            write_decided(near, round_, cut.destination, found)
            return _wait(near, cut.destination, round_, tried, here)
        found.append(tried)
    write_verdicts(near, round_, cut.destination, found)
    return 0


class _Waiting(NamedTuple):
    """Documents of the pairs that must be compared, or documents to score first."""

    left: I64
    right: I64
    to_score: I64


def _attempt_window(
    near: NearJob, cut: Windows, number: int, known: Files, eligibility: Files, here: Place
) -> pa.Table | _Waiting:
    """Return the verdicts of a window, or what it waits for; what it held is freed with that."""
    table, members, kept = cut.load(number)
    judge = Judge(near, promotion.with_eligibility(table, eligibility), [known[0], *known[here.since + 1 :]])
    carried = np.isin(judge.doc, kept)
    grouped = bucketed(near, judge, members)
    grouped = dataclasses.replace(grouped, protected=grouped.protected | carried)
    result = decide_groups(near, judge, grouped)
    to_score = _rows_to_score(near, judge, grouped, result, carried, last=number + 1 == cut.count, asked=here.asked)
    if len(result.unknown_left) or len(to_score):
        return _waiting(judge, result, to_score)
    cut.keep(number, judge.table, result.lost_to, carried)
    return final_verdicts(judge, result)


def _waiting(judge: Judge, result: Result, to_score: I64) -> _Waiting:
    return _Waiting(judge.doc[result.unknown_left], judge.doc[result.unknown_right], judge.doc[to_score])


def _wait(near: NearJob, d: int, round_: int, waiting: _Waiting, here: Place) -> int:
    """Write down what a window waits for: all pairs first, then scores; return for how many."""
    if len(waiting.left):
        write_open(near, round_, d, waiting.left, waiting.right, here)
        return len(waiting.left)
    promotion.write_requests(near.stage_run, round_, d, waiting.to_score)
    write_open(near, round_, d, waiting.left, waiting.right, here._replace(asked=here.asked + 1))
    return len(waiting.to_score)


def _rows_to_score(
    near: NearJob, judge: Judge, buckets: Buckets, result: Result, carried: BoolArray, *, last: bool, asked: int
) -> I64:
    """Return the rows that must be scored before the next window: whoever may represent a document there, too."""
    if not promotion.is_needed(near.stage_run) or len(result.unknown_left):
        return NO_PAIRS
    needed = promotion.representatives(result.lost_to)
    needed |= promotion.blocks_later_members(buckets, result.lost_to, 1 + near.further_tries)
    if not last:
        needed |= result.lost_to < 0
    next_candidates = promotion.next_candidates(asked)
    return promotion.rows_to_score(near.run, judge.table, result.lost_to, needed & ~carried, next_candidates)


# --- mode component --------------------------------------------------------------------------------------


def _attempt_component(near: NearJob, cut: Windows, known: Files, eligibility: Files, round_: int, place: Place) -> int:
    """Join the windows that are left; then choose a survivor of each component, or request scores."""
    d = cut.destination
    for number in range(place.window, cut.count):
        here = place if number == place.window else Place(number, round_, 0)
        waiting = _join_window(near, cut, number, known, here)
        give_back()
        if waiting:
            write_decided(near, round_, d, [])
            return _wait(near, d, round_, waiting, here)
    here = place if place.window == cut.count else Place(cut.count, round_, 0)
    return _choose(near, cut, known, eligibility, round_, here)


def _join_window(near: NearJob, cut: Windows, number: int, known: Files, here: Place) -> _Waiting | None:
    """Join the members of a window to the leaders of their buckets; return the pairs it waits for, if any."""
    table, members, kept = cut.load(number)
    judge = Judge(near, table, [known[0], *known[here.since + 1 :]])
    carried = np.isin(judge.doc, kept)
    grouped = bucketed(near, judge, members)
    led = lead(grouped, judge, further_tries=near.further_tries, carried=carried)
    result = result_of(np.full(len(judge.doc), -1, np.int64), led.answers, led.undecided, grouped.groups)
    if len(result.unknown_left):
        return _waiting(judge, result, NO_PAIRS)
    _keep_joined(cut, number, judge, grouped, members, led)
    return None


def _keep_joined(cut: Windows, number: int, judge: Judge, grouped: Buckets, members: pa.Table, led: Led) -> None:
    """Write the pairs that a window joined, a star for each component, and the leaders that it found."""
    label = components(led.ends[0], led.ends[1], len(judge.doc))
    tied = np.flatnonzero(label != np.arange(len(label)))
    pairs = pa.table([pa.array(judge.doc[label[tied]]), pa.array(judge.doc[tied])], schema=JOINED)
    write_arrow(cut.path("joined", number), pairs, scratch=True)
    keys = array(members, "bucket").astype(np.uint64)[grouped.start[:-1]] if len(members) else np.empty(0, np.uint64)
    leads = np.flatnonzero(led.leads)
    cut.keep_leaders(number, judge.table, keys[grouped.of_member[leads]], judge.doc[led.ordered[leads]])


def _choose(near: NearJob, cut: Windows, known: Files, eligibility: Files, round_: int, place: Place) -> int:
    """Choose the survivor of every component of a destination; return how many documents must be scored first."""
    d = cut.destination
    names = candidate_schema(near.run).names
    table = pa.Table.from_batches(list(scan_arrow(cut.documents, names)))
    table = promotion.with_eligibility(table.sort_by("doc"), eligibility)
    doc = array(table, "doc").astype(np.int64)
    joined = pa.concat_tables([read_arrow(cut.path("joined", number)) for number in range(cut.count)])
    left, right = (np.searchsorted(doc, array(joined, side).astype(np.int64)) for side in JOINED.names)
    chosen = chosen_among(near.run, table)
    lost_to = lose_in_components(components(left, right, len(doc)), chosen, keep_all=near.keeps_all_within)
    if promotion.is_needed(near.stage_run):
        needed, more = promotion.representatives(lost_to), promotion.next_candidates(place.asked)
        to_score = promotion.rows_to_score(near.run, table, lost_to, needed, more)
        if len(to_score):
            write_decided(near, round_, d, [])
            promotion.write_requests(near.stage_run, round_, d, doc[to_score])
            write_open(near, round_, d, NO_PAIRS, NO_PAIRS, place._replace(asked=place.asked + 1))
            return len(to_score)
    lost = np.flatnonzero(lost_to >= 0)
    write_verdicts(near, round_, d, list(_with_similarity(near, cut, known, doc[lost], doc[lost_to[lost]])))
    return 0


def _with_similarity(near: NearJob, cut: Windows, known: Files, lost: I64, winner: I64) -> Iterable[pa.Table]:
    """Yield the verdicts, window by window of the documents that lost; their winners are fetched from all windows.

    lost, winner : documents, `lost` ascending.
    """
    order = read_arrow(cut.order_path)
    window = array(order, "window").astype(np.int64)[places_in(array(order, "doc").astype(np.int64), lost)]
    pairs = np.unique(np.stack([winner, window], axis=1), axis=0)  # (winner, window where it is asked for)
    hop = Exchange(
        folder=storage.join(cut.folder, "winners"),
        destinations=cut.count,
        schema=pa.schema([("destination", pa.uint32()), *cut.document_schema]),
        route="destination",
    )
    written = hop.scatter(InlineEngine(), range(cut.count), partial(_emit_winners, cut, pairs))
    for number in range(cut.count):
        mine = np.flatnonzero(window == number)
        tables = [hop.gather(written, number).drop_columns(["destination"]), cut.documents_of(number)]
        table = pa.concat_tables(tables).combine_chunks()
        _, first = np.unique(array(table, "doc").astype(np.int64), return_index=True)
        judge = Judge(near, table.take(pa.array(first)), list(known))
        left, right = (np.searchsorted(judge.doc, docs[mine]) for docs in (winner, lost))
        similarity, kind = judge.similarity(left, right)
        yield verdicts(lost[mine], winner[mine], similarity, kind)


def _emit_winners(cut: Windows, pairs: I64, number: int) -> Iterable[pa.Table]:
    """Yield the winners among the documents of a window, once for each window where they are asked for."""
    table = cut.documents_of(number)
    at = places_in(np.unique(pairs[:, 0]), array(table, "doc").astype(np.int64))
    table = table.filter(pa.array(at >= 0)).sort_by("doc")
    doc = array(table, "doc").astype(np.int64)
    place = places_in(doc, pairs[:, 0]) if len(doc) else np.full(len(pairs), -1)
    some = place >= 0
    rows = table.take(pa.array(place[some]))
    yield rows.add_column(0, "destination", pa.array(pairs[some, 1].astype(np.uint32)))
