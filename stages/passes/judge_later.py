"""Costly stages behind a stage that drops documents: they judge what is left, not everything.

A second read of just those rows; what is judged already is not judged again. Deferred stages with no exchange between
them share the read, and each judges what those before it keep. Memory: as annotate.py.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from cluster import storage
from cluster.engines import Engine, Growth
from stages.core.arrays import BoolArray
from stages.core.costs import Quantity, per_bundle
from stages.core.exchange_stage import ExchangeStage
from stages.core.run import Run, StageRun
from stages.core.stage import Stage
from stages.core.view import View
from stages.passes.annotate import annotate_batch, check_texts, columns_of, missing, read_rows, tracks_of


def judged_together(run: Run, first: int) -> list[int]:
    """Return the deferred stages from `first` up to the next exchange: those that are judged in one read."""
    found = []
    for index in range(first, len(run.stages)):
        if isinstance(run.stages[index], ExchangeStage):
            break
        if run.deferred(index):
            found.append(index)
    return found


def judge_living(engine: Engine, run: Run, indexes: list[int]) -> None:
    """Judge what lives before each of these deferred stages, in one read."""
    engine.map(partial(_judge_living_of, run, indexes), range(len(run.manifest.bundles)), cost=JUDGE)
    for index in indexes:
        storage.write_bytes(_marker(StageRun(run, index)), b"")


JUDGE = per_bundle("judge what lives", Growth(quantity=Quantity.JUDGED), rare=True)


def is_resolved(stage_run: StageRun[Stage]) -> bool:
    """Tell whether a deferred stage judged all that lives before it."""
    return storage.exists(_marker(stage_run))


def was_resolved(stage_run: StageRun[Stage]) -> bool:
    """Tell whether the stage did so at any time, of whatever lived then."""
    folder = storage.join(stage_run.run.root, "decisions", stage_run.stage.name)
    return any(storage.exists(storage.join(folder, name, "complete")) for name in storage.names(folder))


def _marker(stage_run: StageRun[Stage]) -> str:
    return storage.join(stage_run.decisions.folder, "complete")


def _judge_living_of(run: Run, indexes: list[int], position: int) -> dict[str, Any]:
    view = View.at(run, position)
    return judge_rows(view, range(indexes[0], indexes[-1] + 1), view.live(indexes[0]))


def judge_rows(view: View, indexes: Iterable[int], among: BoolArray) -> dict[str, Any]:
    """Write the missing facts of the deferred ones of these stages for some rows; return counts as `annotate`.

    indexes : ascending; verdicts of stages that are not deferred are taken from their facts.
    among : (rows,) rows that live before the first of them.
    """
    run, bundle = view.run, view.bundle
    wanted = set(indexes)
    repairs = (run.text_from(index) for index in wanted)
    tracks = tracks_of(run, bundle, sorted(wanted.union(at for at in repairs if at is not None)))
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


def asked(stage_run: StageRun[Stage]) -> list[int]:
    """Return the deferred stages that a dedup stage's survivors have to pass (orphans: promote)."""
    run = stage_run.run
    if run.guesses or getattr(stage_run.stage, "orphans", "allow") != "promote":
        return []
    later = range(stage_run.index + 1, len(run.stages))
    return [i for i in later if run.deferred(i) and run.stages[i].drops]


def judge_asked(stage_run: StageRun[Stage], view: View, rows: npt.NDArray[np.int64]) -> dict[str, Any]:
    """Have these rows judged by every deferred stage that the survivors of a dedup stage have to pass."""
    among = np.zeros(view.bundle.rows, np.bool_)
    among[rows] = True
    return judge_rows(view, asked(stage_run), among)
