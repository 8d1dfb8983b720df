"""Deferred stages: costly stages after a deduplication, which score the documents that it keeps and no others.

They read the live rows a second time and skip rows that have facts. Deferred stages with no exchange stage between
them share one read; each scores the rows that the stages before it keep. Memory: as annotate.py.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any, Protocol, cast

import numpy as np
import numpy.typing as npt

from cluster import storage
from cluster.engines import Engine, Growth
from cluster.files.arrow_files import read_arrow
from stages.core.arrays import BoolArray, array
from stages.core.costs import Quantity, per_bundle
from stages.core.exchange_stage import ExchangeStage
from stages.core.run import Run, StageRun
from stages.core.stage import ShardStage, Stage
from stages.core.view import View
from stages.passes.annotate import annotate_batch, check_texts, columns_of, missing, read_rows, tracks_of


class _Asking(Protocol):
    """Protocol of a stage that asks: it writes the facts of live documents, or of those that a round requests."""

    def ask_live(self, engine: Engine, stage_run: StageRun[Any]) -> None: ...

    def ask_requested(
        self, engine: Engine, stage_run: StageRun[Any], purpose: str, requests: Sequence[tuple[int, str]], place: int
    ) -> None: ...


def judged_together(run: Run, first: int) -> list[int]:
    """Return the places of the deferred stages from `first` to the next exchange stage: they share one read."""
    found: list[int] = []
    for index in range(first, len(run.stages)):
        stage = run.stages[index]
        if isinstance(stage, ExchangeStage) or (found and asks(stage)):
            break
        if run.deferred(index):
            found.append(index)
        if asks(stage):
            break
    return found


def asks(stage: Stage) -> bool:
    """Tell whether a stage asks models behind endpoints, by steps of its own."""
    return isinstance(stage, ShardStage) and stage.asks


def judge_living(engine: Engine, run: Run, indexes: list[int]) -> None:
    """Score the live documents of every bundle by these deferred stages, in one read; or by one that asks."""
    if asks(run.stages[indexes[0]]):
        asking = cast("_Asking", run.stages[indexes[0]])
        asking.ask_live(engine, StageRun(run, indexes[0]))
    else:
        neural = any(isinstance(stage := run.stages[index], ShardStage) and stage.neural for index in indexes)
        bundles = range(len(run.manifest.bundles))
        engine.map(partial(_judge_living_of, run, indexes), bundles, cost=JUDGE, on_device=neural)
    for index in indexes:
        storage.write_bytes(_marker(StageRun(run, index)), b"")


JUDGE = per_bundle("judge what lives", Growth(quantity=Quantity.JUDGED), rare=True)


def is_resolved(stage_run: StageRun[Stage]) -> bool:
    """Tell whether a deferred stage has scored every live document."""
    return storage.exists(_marker(stage_run))


def was_resolved(stage_run: StageRun[Stage]) -> bool:
    """Tell whether a deferred stage has ever scored every document live at that time, in this run folder."""
    folder = storage.join(stage_run.run.root, "decisions", stage_run.stage.name)
    return any(storage.exists(storage.join(folder, name, "complete")) for name in storage.names(folder))


def _marker(stage_run: StageRun[Stage]) -> str:
    return storage.join(stage_run.decisions.folder, "complete")


def _judge_living_of(run: Run, indexes: list[int], position: int) -> dict[str, Any]:
    view = View.at(run, position)
    return judge_rows(view, range(indexes[0], indexes[-1] + 1), view.live(indexes[0]))


def judge_rows(view: View, indexes: Iterable[int], among: BoolArray) -> dict[str, Any]:
    """Write the missing facts of deferred stages for some rows of a bundle; return counts as `annotate` does.

    indexes : places of stages, ascending; verdicts of those that are not deferred follow from their facts.
    among : (rows,) bool, rows live before the first of these stages.
    """
    run, bundle = view.run, view.bundle
    wanted = set(indexes)
    repairs = (run.text_from(index) for index in wanted)
    needed = (at for index in wanted for at in run.facts_from(index).values())
    tracks = tracks_of(run, bundle, sorted(wanted.union(needed, (at for at in repairs if at is not None))))
    rows = missing(tracks, among)
    counts: dict[str, Any] = {"documents": 0, "bytes": 0, "annotated": 0, "parts": {}}
    with contextlib.ExitStack() as stack:
        for track in tracks:
            incomplete = len(rows) and not track.covered[rows].all()
            if run.deferred(track.index) and (incomplete or track.table is None):
                writing = run.facts(track.stage).writer(bundle, view.reading, track.stage.schema)
                track.writer = stack.enter_context(writing)
        for batch, at in read_rows(run, bundle, rows, ["text", *columns_of(tracks)]):
            place = rows[at]
            check_texts(view, place, batch.table)
            counts["documents"] += len(place)
            counts["bytes"] += batch.text.nbytes
            counts["annotated"] += annotate_batch(run, tracks, place, batch)
    parts = {t.stage.name: {"documents": t.documents, "seconds": t.seconds} for t in tracks if t.documents}
    return {**counts, "parts": parts}


def filters_to_pass(stage_run: StageRun[Stage]) -> list[int]:
    """Return the deferred filters, by place, that representatives of a dedup stage must pass (`orphans: promote`)."""
    run = stage_run.run
    if run.guesses or getattr(stage_run.stage, "orphans", "allow") != "promote":
        return []
    later = range(stage_run.index + 1, len(run.stages))
    return [i for i in later if run.deferred(i) and run.stages[i].drops and not _by_population(run.stages[i])]


def _by_population(stage: Stage) -> bool:
    return isinstance(stage, ShardStage) and stage.by_population


def score_requested(
    engine: Engine, stage_run: StageRun[Stage], purpose: str, requests: Sequence[tuple[int, str]]
) -> None:
    """Score requested rows by the filters that representatives must pass: those that ask one by one, others together.

    purpose : names what the requests belong to. requests : position of a bundle and the file of requests, a task each.
    """
    plain: list[int] = []
    filters = filters_to_pass(stage_run)
    for place, index in enumerate(filters):
        if not asks(stage_run.run.stages[index]):
            plain.append(index)
        if plain and (asks(stage_run.run.stages[index]) or place == len(filters) - 1):
            engine.map(partial(_judge_requested, stage_run, tuple(plain)), requests, cost=JUDGE_REQUESTED)
            plain = []
        if asks(stage_run.run.stages[index]):
            asking = cast("_Asking", stage_run.run.stages[index])
            asking.ask_requested(engine, StageRun(stage_run.run, index), purpose, requests, stage_run.index)


JUDGE_REQUESTED = per_bundle("score requested documents", Growth(quantity=Quantity.JUDGED), rare=True)


def requested_rows(run: Run, request: tuple[int, str]) -> npt.NDArray[np.int64]:
    """Return the rows of a bundle that a file of requests asks for, ascending."""
    here, path = request
    position, row = run.manifest.locate(array(read_arrow(path), "doc").astype(np.int64))
    return np.unique(row[position == here])


def _judge_requested(stage_run: StageRun[Stage], indexes: tuple[int, ...], request: tuple[int, str]) -> dict[str, Any]:
    """Score the requested rows of a bundle; return time and documents per filter, no counts of the dedup step."""
    view = View.at(stage_run.run, request[0])
    among = np.zeros(view.bundle.rows, np.bool_)
    among[requested_rows(stage_run.run, request)] = True
    return {"parts": judge_rows(view, indexes, among)["parts"]}
