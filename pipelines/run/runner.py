"""Run a recipe in a run folder: freeze, annotate, deduplicate, decide, materialize, report.

Guarantees: whatever an earlier, interrupted run finished is used and not done again; the funnel closes or
the run stops; ledger, mix and manifest do not depend on interruptions, workers or the clock (timings lie
apart, in timings.json).
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from cluster import storage
from cluster.engines import Engine
from cluster.errors import RecipeError
from cluster.start import start
from pipelines.mix.files import MixFile
from pipelines.mix.job import check_columns
from pipelines.mix.materialize import Job, Output, materialize
from pipelines.recipe.recipe import Recipe
from pipelines.recipe.to_run import (
    OWN_COLUMNS,
    build,
    cluster_of,
    limit_of,
    mix_address,
    mix_of,
    only_one,
    output_of,
    reopen,
    sample_of,
    stage_counts,
    write_lock,
)
from pipelines.run.progress import Progress, silent
from pipelines.run.watched import Watched
from stages.core.digests import DATA_FORMAT, digest
from stages.core.exchange_stage import ExchangeStage
from stages.core.run import Run, StageRun
from stages.core.stage import ShardStage, Stage
from stages.dedup.dedup_stage import DedupStage, check_removed
from stages.outcome import ledger, lineage
from stages.outcome.ledger import Tally
from stages.outcome.mixing import Mix, Portion, portions
from stages.passes import judge_later
from stages.passes.freeze import freeze
from stages.passes.lost_shards import annotate_all

__all__ = [
    "RunResult",
    "Watched",
    "build",
    "cluster_of",
    "limit_of",
    "mix_address",
    "mix_of",
    "output_of",
    "reopen",
    "run",
    "sample_of",
    "stage_counts",
]


@dataclass(frozen=True, kw_only=True)
class RunResult:
    """What a run came to: documents and tokens per dataset, and where the report is."""

    root: str
    tallies: dict[str, dict[str, Any]] = field(default_factory=dict)
    report: str | None = None


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
) -> RunResult:
    """Run a recipe, or what is still missing of it, and return what it came to.

    Parameters
    ----------
    limit : work on the first so many rows of each dataset.
    sample : work on this share of the documents, chosen by content hash.
    refresh : take changed input files in instead of stopping.
    until : name of the stage after which to stop.

    Raises
    ------
    WinnowError
        of the kind that tells what to do; what was finished stays and is used by the next call.
    """
    job = build(recipe, run_dir, sample)
    out = output or output_of(recipe)
    extra = {*job.extra_columns, *out.columns}
    job = dataclasses.replace(job, extra_columns=tuple(sorted(extra if out.everything else extra - OWN_COLUMNS)))
    if until is not None and until not in [s.name for s in job.stages]:
        raise RecipeError(f"no stage is called {until!r}; there are {', '.join(s.name for s in recipe.stages)}.")
    with only_one(job.root):
        write_lock(recipe, job.root, sample)
        engine = Watched(start(cluster_of(recipe, workers), job.root), progress or silent())
        try:
            return _run(engine, recipe, job, limit, refresh, until, out, with_report)
        finally:
            engine.close()


def _run(
    engine: Watched,
    recipe: Recipe,
    job: Run,
    limit: int | None,
    refresh: bool,
    until: str | None,
    output: Output,
    with_report: bool,
) -> RunResult:
    with engine.stage("freeze"):
        frozen = freeze(engine, job, limit=limit, refresh=refresh)
    job = dataclasses.replace(job, manifest_digest=frozen.digest)
    if until is None:
        check_columns(job, output)
    work = job if until is None else dataclasses.replace(job, stages=_up_to(job, until))
    total = sum(s.bytes for s in frozen.live_shards)
    with engine.stage("annotate", documents=frozen.rows(), bytes=total):
        annotate_all(engine, work)
    _in_turn(engine, job, len(job.stages) if until is None else job.index(until) + 1)
    if until is not None:
        return RunResult(root=job.root)
    return _finish(engine, recipe, job, output, with_report)


def _in_turn(engine: Watched, job: Run, end: int) -> None:
    """Do, in order, what the first read could not: exchange stages, and deferred ones on what is left."""
    judged = 0  # stages before this one
    for index, stage in enumerate(job.stages[:end]):
        if isinstance(stage, ExchangeStage) and not stage.hidden:
            with engine.stage(stage.name):
                stage.resolve(engine, StageRun(job, index))
                if isinstance(stage, DedupStage):
                    check_removed(engine, StageRun(job, index))
        elif index >= judged and job.deferred(index):
            together = [i for i in judge_later.judged_together(job, index) if i < end]
            with engine.stage(", ".join(job.stages[i].name for i in together)):
                judge_later.judge_living(engine, job, together)
            judged = together[-1] + 1


def _up_to(job: Run, until: str) -> tuple[Stage, ...]:
    """Return the stages up to and with the one called `until`.

    Later filters stay when a dedup stage needs to know who passes them (orphans: promote).
    """
    last = job.index(until)
    promotes = any(getattr(s, "orphans", "") == "promote" for s in job.stages[: last + 1])
    rest = [s for s in job.stages[last + 1 :] if promotes and isinstance(s, ShardStage)]
    return (*job.stages[: last + 1], *rest)


def _finish(engine: Watched, recipe: Recipe, job: Run, output: Output, with_report: bool) -> RunResult:
    """Decide, write ledger and mix, report."""
    mix = mix_of(recipe)
    with engine.stage("lineage"):
        lineage.trace(engine, job)
    positions = range(len(job.manifest.bundles))
    with engine.stage("tally"):
        tallies = engine.map(partial(ledger.tally, job, mix), positions, cost=ledger.TALLY)
    ledger.check_funnel(job, tallies)
    shares = portions(mix, _mixable(job, tallies))
    epochs = {name: portion.epochs for name, portion in shares.items()}
    with engine.stage("ledger", documents=job.manifest.rows()):
        _write_ledger(engine, job, mix, epochs)
    address = mix_address(job, mix, output)
    work = Job(
        run=job,
        mix=mix,
        output=output,
        epochs=epochs,
        root=storage.join(job.root, "mix"),
        records=storage.join(job.root, "decisions", "mix", address),
    )
    wanted = sum(t.kept for t in tallies)
    with engine.stage("materialize", documents=wanted):
        files = materialize(
            engine,
            work,
            [t.text_bytes for t in tallies],
            storage.join(job.root, "exchange", f"mix-{address}"),
        )
    _write_mix_manifest(recipe, work, shares, tallies, files)
    storage.remove(storage.join(job.root, "exchange", f"mix-{address}"))
    report = _report(engine, job) if with_report else None
    return RunResult(root=job.root, tallies=_summary(tallies, shares), report=report)


def _mixable(job: Run, tallies: list[Tally]) -> dict[str, tuple[int, int]]:
    """Return (documents, tokens) that survived and are not held out, per dataset that is written."""
    found = {d.name: (0, 0) for d in job.datasets if d.role != "reference"}
    for t in tallies:
        if t.dataset in found:
            documents, tokens = found[t.dataset]
            found[t.dataset] = documents + t.mixable[0], tokens + t.mixable[1]
    return found


def _write_ledger(engine: Engine, job: Run, mix: Mix, epochs: dict[str, float]) -> None:
    """Write the ledger folder; one that other decisions made is replaced."""
    folder = storage.join(job.root, "ledger")
    marker = storage.join(job.root, "decisions", "ledger-made-by")
    mine = digest(lineage.lineage_digest(job), mix, epochs).encode()
    if not storage.exists(marker) or storage.read_bytes(marker) != mine:
        storage.remove(folder)
        storage.write_bytes(marker, mine)
    write = partial(ledger.write_ledger, job, mix, epochs, folder)
    engine.map(write, range(len(job.manifest.units)), cost=ledger.WRITE)


def _write_mix_manifest(
    recipe: Recipe,
    job: Job,
    shares: dict[str, Portion],
    tallies: list[Tally],
    files: dict[str, list[MixFile]],
) -> None:
    """Commit mix/manifest.json: what lies in the mix, with digests; no times, so that it can be compared."""
    datasets: dict[str, Any] = {}
    for name, portion in shares.items():
        written = [f for f in files[name] if "/part-" in f.path]
        tokens = sum(f.tokens for f in written)
        target = portion.target_tokens
        datasets[name] = {
            "documents": sum(f.documents for f in written),
            "rows": sum(f.rows for f in written),
            "tokens": tokens,
            "bytes": sum(f.bytes for f in written),
            "epochs": portion.epochs,
            "weight": portion.weight,
            "target_tokens": target,
            "shortfall_tokens": None if target is None else max(0, target - tokens),
            "survivors": {"documents": portion.documents, "tokens": portion.tokens},
            "holdout_documents": sum(f.documents for f in files[name] if "/holdout-" in f.path),
            "files": [f.to_json() for f in files[name]],
        }
    data = {
        "format": DATA_FORMAT,
        "name": recipe.name,
        "recipe_digest": recipe.digest(),
        "manifest_digest": job.run.manifest_digest,
        "tokens_are": "counted" if recipe.mix.tokenizer else "estimated as UTF-8 bytes / 4",
        "mode": job.mix.mode,
        "datasets": datasets,
    }
    path = storage.join(job.root, "manifest.json")
    storage.write_bytes(path, (json.dumps(data, indent=2) + "\n").encode())


def _report(engine: Watched, job: Run) -> str:
    from pipelines.mix import card
    from pipelines.report import report

    card.write(job.root)
    peak = max((t["peak_memory_bytes"] or 0 for t in engine.timings), default=0) or None
    timings = {
        "format": DATA_FORMAT,
        "workers": engine.workers,
        "peak_memory_bytes": peak,
        "stages": engine.timings,
    }
    storage.write_bytes(storage.join(job.root, "timings.json"), json.dumps(timings, indent=2).encode())
    with engine.stage("report"):
        return str(report.write(job.root, engine))


def _summary(tallies: list[Tally], shares: dict[str, Portion]) -> dict[str, dict[str, Any]]:
    """Return rows, dropped per stage and kept, per dataset, for the terminal."""
    found: dict[str, dict[str, Any]] = {}
    for t in tallies:
        entry = found.setdefault(t.dataset, {"rows": 0, "dropped": {}, "kept": 0, "tokens": 0, "epochs": 1.0})
        entry["rows"] += t.rows
        entry["kept"] += t.kept
        entry["tokens"] += t.mixable[1]
        for (stage, _), count in t.dropped.items():
            entry["dropped"][stage] = entry["dropped"].get(stage, 0) + count
        if t.dataset in shares:
            entry["epochs"] = shares[t.dataset].epochs
    return found
