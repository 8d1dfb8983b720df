"""Asking about every live document, or about those that a round of promotion requests.

Guarantees: documents that have facts are not asked about; hops are removed once the facts are written.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa

from cluster.engines import Engine
from cluster.errors import LedgerError
from cluster.exchange import remove_hops
from stages.asking.population import ask_population, live_rows
from stages.asking.texts import I64, AskJob, RowsOf, Source, ask_rows, write_facts
from stages.core.costs import per_bundle
from stages.core.run import StageRun
from stages.core.view import View
from stages.kernels.survivors.pair_answers import UNKNOWN
from stages.passes.judge_later import requested_rows

COUNT = per_bundle("count documents to ask about")


def ask_live(engine: Engine, stage_run: StageRun[Any]) -> None:
    """Write the facts of every live document: all of them asked about, or those that sample and budget reach."""
    sources: list[Source] = [(position, "") for position in stage_run.positions]
    job = AskJob(stage_run, "live")
    if not any(engine.map(partial(_lacks, stage_run), sources, cost=COUNT)):
        return
    if stage_run.stage.by_population:
        ask_population(engine, job)
    else:
        _ask(engine, job, sources, uncovered)
    remove_hops(engine, stage_run.folder("").rstrip("/"), len(sources))


def ask_requested(
    engine: Engine, stage_run: StageRun[Any], purpose: str, requests: Sequence[Source], place: int
) -> None:
    """Write the facts of requested documents, which dedup stage `place` needs to choose survivors."""
    _ask(engine, AskJob(stage_run, purpose), list(requests), partial(_requested, place))


def _ask(engine: Engine, job: AskJob, sources: Sequence[Source], rows_of: RowsOf) -> None:
    documents = sum(engine.map(partial(_count, job, rows_of), sources, cost=COUNT))
    files = ask_rows(engine, job, sources, rows_of, documents)
    write_facts(engine, job, files, sources, rows_of, _none_missing)


def _count(job: AskJob, rows_of: RowsOf, source: Source) -> int:
    return len(rows_of(job.stage_run, source))


def _lacks(stage_run: StageRun[Any], source: Source) -> bool:
    """Tell whether a bundle has live documents without facts, or no sidecar at all."""
    view = View.at(stage_run.run, source[0])
    if not stage_run.stage.applies_to(view.bundle.dataset):
        return False
    sidecars = stage_run.run.facts(stage_run.stage)
    return not sidecars.parts(view.bundle, view.reading) or bool(len(uncovered(stage_run, source)))


def uncovered(stage_run: StageRun[Any], source: Source) -> I64:
    """Return the live rows of a bundle that have no facts of the stage."""
    view = View.at(stage_run.run, source[0])
    rows = live_rows(stage_run, view)
    return rows[~view.covered(stage_run.index)[rows]]


def _requested(place: int, stage_run: StageRun[Any], source: Source) -> I64:
    """Return the rows that a file of requests asks for and on which the verdict of the stage is still to come."""
    view = View.at(stage_run.run, source[0])
    rows = requested_rows(stage_run.run, source)
    if not stage_run.stage.applies_to(view.bundle.dataset):
        return rows[:0]
    open_ = (view.eligible(place)[rows] == UNKNOWN) & ~view.covered(stage_run.index)[rows]
    return np.asarray(rows[open_], np.int64)


def _none_missing(stage_run: StageRun[Any], source: Source, rows: I64) -> pa.Table:
    if len(rows):
        bundle = stage_run.run.manifest.bundles[source[0]]
        raise LedgerError(
            f"stage {stage_run.stage.name} has no answers for {len(rows):,} documents of bundle {bundle.number} "
            f"({bundle.dataset}). Remove exchange/ in the run folder and run again; answers are kept."
        )
    found: pa.Table = stage_run.stage.facts_without([])
    return found
