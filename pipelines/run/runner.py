"""Run a recipe in a run folder: freeze, annotate, deduplicate, decide, materialize, report.

Guarantees: whatever an earlier, interrupted run finished is used and not done again; the funnel closes or
the run stops; ledger, mix and manifest do not depend on interruptions, workers or the clock (timings lie
apart, in timings.json).
"""

from __future__ import annotations

import contextlib
import dataclasses
import secrets
from collections.abc import Callable, Sequence

from classifiers.foreign_code import trusting
from cluster import storage
from cluster.errors import RecipeError
from cluster.files.sealed import write_public_json
from cluster.start import start
from pipelines.artefacts import Timings
from pipelines.mix.documents import check_masks
from pipelines.mix.dropped import FOLDER, write_dropped
from pipelines.mix.job import check_columns, mix_job
from pipelines.recipe.output import Output
from pipelines.recipe.recipe import Recipe
from pipelines.recipe.to_run import Prepared, prepare
from pipelines.run.finished import note_finished, result_if_finished
from pipelines.run.healing import until_whole
from pipelines.run.ledger_folder import write_ledger_folder
from pipelines.run.little_work import where_to_work
from pipelines.run.mixes import check_names, mix_manifests, plan_mixes, write_mix
from pipelines.run.progress import Progress, Silent
from pipelines.run.result import RunResult as RunResult
from pipelines.run.scratch import drop_scratch_of_before
from pipelines.run.tallies import DatasetTally as DatasetTally
from pipelines.run.tallies import tallies_of
from pipelines.run.watched import Watched
from pipelines.run_state import only_one, write_lock
from pipelines.staleness import note_ledger
from stages.core.digests import DATA_FORMAT
from stages.core.exchange_stage import ExchangeStage
from stages.core.run import Run, StageRun
from stages.core.stage import ShardStage, Stage
from stages.dedup.dedup_stage import DedupStage, check_removed
from stages.inputs.files.discover import check_paths
from stages.outcome import ledger, lineage
from stages.outcome.draw import Draw
from stages.outcome.holdout_groups import GROUP, hold_out_groups
from stages.outcome.holdout_similarity import measure
from stages.outcome.kept_tallies import tally_all
from stages.outcome.ledger import Tally
from stages.outcome.made_from import made_from
from stages.passes import judge_later
from stages.passes.freeze import freeze, passed_over
from stages.passes.lost_shards import annotate_all
from stages.passes.quarantine_limit import check_quarantined


def run(
    recipe: Recipe,
    run_dir: str,
    *,
    limit: int | None = None,
    sample: float | None = None,
    refresh: bool = False,
    until: str | None = None,
    workers: int | None = None,
    progress: Progress | None = None,
    output: Output | None = None,
    with_report: bool = True,
    mixes: Sequence[str] = (),
    finished: Callable[[RunResult], None] | None = None,
) -> RunResult:
    """Run a recipe, or what is still missing of it, and return what it came to.

    Parameters
    ----------
    limit : work on the first so many rows of each dataset.
    sample : work on this share of the documents, chosen by content hash.
    refresh : take changed input files in instead of stopping.
    until : name of the stage after which to stop.
    output : how to write the mix, instead of as the recipe says.
    mixes : names of the mixes to write; none: all that the recipe has.
    finished : called with the result as soon as there is one, before the workers end.

    Raises
    ------
    WinnowError
        of the kind that tells what to do; what was finished stays and is used by the next call.
    """
    prepared = prepare(recipe, run_dir, sample=sample, workers=workers, output=output)
    check_names(prepared, mixes)
    if until is not None:
        _check_stage(prepared.run, until)
    with storage.failures_named(), only_one(prepared.run.root):
        if until is None and with_report and (done := result_if_finished(prepared, limit=limit, mixes=mixes)):
            write_lock(prepared)
            if finished is not None:
                finished(done)
            return done
        drop_scratch_of_before(prepared.run.root)
        write_lock(prepared)
        check_paths(prepared.run.datasets)
        with contextlib.closing(_started(prepared, progress or Silent())) as engine:

            def attempt() -> RunResult:
                frozen = _freeze(engine, prepared, limit=limit, refresh=refresh)
                if until is None:
                    return _whole(engine, frozen, mixes, with_report=with_report)
                _decide(engine, frozen, until)
                return RunResult(root=frozen.run.root)

            result = until_whole(prepared.run.root, attempt)
            if finished is not None:
                finished(result)
            return result


def _started(prepared: Prepared, display: Progress) -> Watched:
    """Start the engine that the recipe asks for, or threads of this process for little input, which is said."""
    chosen, why = where_to_work(prepared)
    if why:
        display.note(why)
        return Watched(start(chosen, prepared.run.root), display)
    with display.step("start"):
        started = start(chosen, prepared.run.root)
    return Watched(started, display)


def _whole(engine: Watched, frozen: Prepared, mixes: Sequence[str], *, with_report: bool) -> RunResult:
    """Do every step of a run whose manifest is written; note that it is finished, where nothing was left out."""
    check_columns(frozen.run, frozen.output)
    for mix in frozen.mixes:
        check_masks(mix_job(frozen, Draw(mix=mix)))
    _decide(engine, frozen)
    settled = dataclasses.replace(frozen.run, settled=secrets.token_hex(8))
    found = _finish(engine, dataclasses.replace(frozen, run=settled), mixes, with_report=with_report)
    if with_report and not mixes:
        note_finished(frozen, found)
    return found


def _check_stage(run: Run, name: str) -> None:
    """Raise RecipeError where the recipe has no such stage."""
    names = [stage.name for stage in run.stages if stage.use != "read" and not stage.hidden]
    if name not in names:
        raise RecipeError(f"no stage is called {name!r}; there are {', '.join(names)}.")


def _freeze(engine: Watched, prepared: Prepared, *, limit: int | None, refresh: bool) -> Prepared:
    """Write the manifest, or check it against the inputs; return the run with the manifest's digest."""
    with engine.step("freeze"):
        frozen = freeze(engine, prepared.run, limit=limit, refresh=refresh)
    return dataclasses.replace(prepared, run=dataclasses.replace(prepared.run, manifest_digest=frozen.digest))


def _decide(engine: Watched, prepared: Prepared, until: str | None = None) -> None:
    """Do the first read, then every exchange stage in turn; up to the stage called `until`, where one is named."""
    run = prepared.run
    first_read = run if until is None else dataclasses.replace(run, stages=_stages_up_to(run, until))
    shards = run.manifest.live_shards
    with engine.step("annotate", documents=run.manifest.rows(), bytes=sum(s.bytes for s in shards)):
        annotate_all(engine, first_read)
        check_quarantined(engine, first_read, prepared.max_quarantined)
    _decide_in_turn(engine, run, len(run.stages) if until is None else run.index(until) + 1)


def _decide_in_turn(engine: Watched, run: Run, end: int) -> None:
    """Do, in order, what the first read could not: exchange stages, and deferred ones on what is left."""
    judged = 0  # stages before this one
    for index, stage in enumerate(run.stages[:end]):
        if isinstance(stage, ExchangeStage) and not stage.hidden:
            with engine.step(stage.name):
                stage.resolve(engine, StageRun(run, index))
                if isinstance(stage, DedupStage):
                    check_removed(engine, StageRun(run, index))
        elif index >= judged and run.deferred(index):
            together = [i for i in judge_later.judged_together(run, index) if i < end]
            with engine.step(", ".join(run.stages[i].name for i in together)):
                judge_later.judge_living(engine, run, together)
            judged = together[-1] + 1


def _stages_up_to(run: Run, until: str) -> tuple[Stage, ...]:
    """Return the stages up to and with the one called `until`.

    Later filters stay when a dedup stage needs to know who passes them (orphans: promote).
    """
    last = run.index(until)
    promotes = any(getattr(s, "orphans", "") == "promote" for s in run.stages[: last + 1])
    rest = [s for s in run.stages[last + 1 :] if promotes and isinstance(s, ShardStage)]
    return (*run.stages[: last + 1], *rest)


def _finish(engine: Watched, prepared: Prepared, only: Sequence[str], *, with_report: bool) -> RunResult:
    """Decide, write ledger and mixes (all, or those that are named), report."""
    run, mix = prepared.run, prepared.mix
    with engine.step("lineage"):
        lineage.trace(engine, run)
    if mix.holdout and mix.holdout_by == GROUP:
        with engine.step("holdout"):
            hold_out_groups(engine, run, mix)
    with engine.step("tally"):
        tallies = tally_all(engine, run, mix)
    ledger.check_funnel(run, tallies)
    planned = plan_mixes(engine, prepared, tallies)
    with engine.step("ledger", documents=run.manifest.rows()):
        draws = [each.draw for each in planned]
        made = made_from(engine, run, draws)
        write_ledger_folder(engine, run, draws, made)
        note_ledger(prepared)
    similarity = None
    if mix.holdout and prepared.output.holdout_folder:
        with engine.step("similarity"):
            similarity = measure(engine, run, mix)
    chosen = [each for each in planned if not only or each.name in only]
    written = [write_mix(engine, prepared, each, tallies, made, similarity) for each in chosen]
    if prepared.dropped or storage.exists(storage.join(run.root, FOLDER)):
        with engine.step("dropped"):
            write_dropped(engine, prepared)
    if with_report:
        _audit_where_cheap(engine, prepared, tallies)
    return RunResult(
        root=run.root,
        name=prepared.name,
        stages=tuple(stage.name for stage in run.stages),
        tallies=tallies_of(tallies, planned[0].portions, mix_manifests(prepared)),
        report=_write_report(engine, run, [each.name for each in chosen]) if with_report else None,
        warnings=tuple(dict.fromkeys(text for warnings, _ in written for text in warnings)),
        passed_over=passed_over(run.root),
        mixes=tuple(each.name for each in chosen if each.name),
        changes=tuple(text for _, changes in written for text in changes),
    )


def _audit_where_cheap(engine: Watched, prepared: Prepared, tallies: Sequence[Tally]) -> None:
    """Measure precision and recall where that costs little of what this call took; else `winnow audit` does."""
    from pipelines.audit.kept_audit import audit_in_run, is_cheap

    dedup = {s.name for s in prepared.run.stages if s.use in ("exact_dedup", "near_dedup")}
    removed = sum(n for t in tallies for (stage, _), n in t.dropped.items() if stage in dedup)
    seconds = sum(timing["seconds"] for timing in engine.timings)
    if dedup and is_cheap(seconds, removed, sum(t.kept for t in tallies)):
        with engine.step("audit"), trusting():
            audit_in_run(engine, prepared.run.root)


def _write_report(engine: Watched, run: Run, mixes: Sequence[str]) -> str:
    """Write dataset card, timings and report; return the path of the page."""
    root = run.root
    from pipelines.mix.card import write_card
    from pipelines.report.report import write_report

    with engine.step("card"), trusting():  # whoever runs a recipe has run its code
        for name in mixes:
            write_card(root, name, engine)
    timings: Timings = {
        "format": DATA_FORMAT,
        "workers": engine.workers,
        "peak_memory_bytes": max((t["peak_memory_bytes"] or 0 for t in engine.timings), default=0) or None,
        "stages": engine.timings,
    }
    write_public_json(storage.join(root, "timings.json"), timings)
    with engine.step("report"), trusting():
        return write_report(root, engine, settled=run.settled)
