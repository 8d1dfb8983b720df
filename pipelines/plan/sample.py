"""Run a recipe's real stages on a sample, in a folder of its own, and take the time of every task.

Guarantees: the stages, readers and writers are those of a run, one task after the other in this process;
nothing is written outside the folder. Memory: what the stages hold for so few documents.
"""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from classifiers.foreign_code import trusting
from cluster import storage
from cluster.engines import TaskCost
from cluster.files.sealed import write_json
from pipelines.mix.job import MixJob
from pipelines.mix.materialize import materialize
from pipelines.plan.clock import Call, Clock, Stopwatch
from pipelines.plan.disk_use import folder_bytes
from pipelines.plan.second_read import SecondRead, second_read
from pipelines.recipe.lock import sealed_lock
from pipelines.recipe.output import output_of_mix
from pipelines.recipe.recipe import Recipe
from pipelines.recipe.to_run import mix_of_recipe, output_of_recipe, prepare
from stages.core.costs import ONCE
from stages.core.exchange_stage import ExchangeStage
from stages.core.run import Run, StageRun
from stages.core.shard import Dataset
from stages.core.stage import ShardStage
from stages.outcome import ledger, lineage
from stages.outcome.draw import draw_by_dataset
from stages.outcome.mixing import Mix, portions
from stages.passes import judge_later
from stages.passes.annotate import ANNOTATE, annotate
from stages.passes.freeze import INSPECT, freeze

REPORT = TaskCost(name="report", tasks=ONCE, work=ONCE)


@dataclass(kw_only=True)
class Measured:
    """What one sample run showed. seconds and written: per step; `written` in bytes on disk."""

    run: Run
    documents: dict[str, int]  # per dataset
    text_bytes: dict[str, int]
    calls: list[Call]
    annotate: dict[tuple[str, str], float]  # (stage, dataset) -> seconds; stage "read" is the reading itself
    kernels: dict[tuple[str, str, str], float]  # (stage, dataset, kernel) -> seconds in kernels that a GPU has as well
    reached: dict[tuple[str, str], int]  # (stage, dataset) -> bytes of text that the stage was given
    judged: dict[str, tuple[int, float]]  # stage -> documents it judged, in any step, and the seconds that took
    bundles: dict[str, int]
    written: dict[str, int]
    tallies: list[ledger.Tally]
    mixed_bytes: int  # text bytes of the documents that were written to the mix
    seconds: float
    again: SecondRead  # of some texts

    @property
    def rows(self) -> int:
        return sum(self.documents.values())


def run_sample(
    recipe: Recipe, datasets: Sequence[Dataset], folder: str, *, with_report: bool = True, clock: Clock | None = None
) -> Measured:
    """Run the recipe on sampled datasets in `folder` and return what it took.

    clock : the engine to run it with; default: a new one.

    Every survivor is written once, whatever the mix's target, so that the rate of writing is known.
    """
    begin = time.perf_counter()
    clock, watch = clock or Clock(), Stopwatch()
    job = prepare(recipe, folder).run
    job = dataclasses.replace(
        job,
        datasets=tuple(datasets),
        stages=tuple(watch.timed(s.planned()) for s in job.stages),
        on_error="quarantine",
    )
    clock.step = "freeze"
    freezing = time.perf_counter()
    frozen = freeze(clock, job)
    freezing = time.perf_counter() - freezing
    job = dataclasses.replace(job, manifest_digest=frozen.digest)
    written = {"staged": folder_bytes(storage.join(folder, "staged"))}
    spent = _annotate(clock, watch, job)
    for index, stage in enumerate(job.stages):
        clock.step = stage.name
        if isinstance(stage, ExchangeStage) and not stage.hidden:
            written[stage.name] = _resolve(clock, job, index, stage)
        elif job.deferred(index):
            judge_later.judge_living(clock, job, [index])
    written |= {s.name: folder_bytes(job.facts(s).folder) for s in job.stages if isinstance(s, ShardStage)}
    mixed, tallies = _finish(clock, recipe, job, written)
    if with_report:
        _report(clock, recipe, job)
    if not any(c.step == "freeze" for c in clock.calls):
        clock.calls.append(Call(step="freeze", cost=INSPECT, seconds=(freezing,)))
    documents = {d.name: frozen.rows(d.name) for d in datasets}
    text = {d.name: _text_bytes(job, d.name) for d in datasets}
    return Measured(
        run=job,
        documents=documents,
        text_bytes=text,
        calls=clock.calls,
        annotate=spent,
        kernels=watch.kernels,
        reached=watch.read,
        judged=watch.judged,
        bundles={d.name: sum(b.dataset == d.name for b in frozen.bundles) for d in datasets},
        written=written,
        tallies=tallies,
        mixed_bytes=mixed,
        seconds=time.perf_counter() - begin,
        again=second_read(job, sum(text.values())),
    )


def _annotate(clock: Clock, watch: Stopwatch, job: Run) -> dict[tuple[str, str], float]:
    """Annotate bundle by bundle; return seconds by (stage, dataset), reading and `read` itself as stage "read"."""
    clock.step = "annotate"
    whole: dict[str, float] = {}
    for number, bundle in enumerate(job.manifest.bundles):
        watch.dataset = bundle.dataset
        clock.map(partial(annotate, job), [number], cost=ANNOTATE)
        watch.note("read", clock.calls[-1].kernels)
        whole[bundle.dataset] = whole.get(bundle.dataset, 0.0) + clock.calls[-1].seconds[0]
    spent = dict(watch.seconds)
    for dataset, seconds in whole.items():
        spent["read", dataset] = seconds - sum(s for (_, d), s in watch.seconds.items() if d == dataset)
    return spent


def _resolve(clock: Clock, job: Run, index: int, stage: ExchangeStage) -> int:
    """Run an exchange stage; return the bytes it wrote: exchange files, pairs and decisions."""
    clock.growing, clock.largest = job.exchange_folder(index, ""), 0
    stage.resolve(clock, StageRun(job, index))
    clock.growing = ""
    kept = folder_bytes(storage.join(job.root, "facts", stage.use)) + folder_bytes(job.decisions(index).folder)
    return clock.largest + kept


def _finish(clock: Clock, recipe: Recipe, job: Run, written: dict[str, int]) -> tuple[int, list[ledger.Tally]]:
    """Decide, write ledger and mix as a run does; return (bytes of text mixed, counts per bundle)."""
    mix = Mix(holdout=mix_of_recipe(recipe).holdout, seed=recipe.seed)
    clock.step = "lineage"
    lineage.trace(clock, job, in_hops=True)
    positions = range(len(job.manifest.bundles))
    clock.step = "tally"
    tallies = clock.map(partial(ledger.tally, job, mix), positions, cost=ledger.TALLY)
    found = {d.name: (1, 1) for d in job.datasets if d.role != "reference"}
    epochs = {name: portion.epochs for name, portion in portions(mix, found).items()}
    clock.step, folder = "ledger", storage.join(job.root, "ledger")
    records = storage.join(job.root, "decisions", "ledger", "pilot")
    draw = draw_by_dataset(mix, epochs)
    write = partial(ledger.write_ledger, job, (draw,), folder, records)
    clock.map(write, range(len(job.manifest.units)), cost=ledger.WRITE)
    written["ledger"] = folder_bytes(folder)
    clock.step = "materialize"
    root, scratch = storage.join(job.root, "mix"), storage.join(job.root, "exchange", "mix")
    records = storage.join(job.root, "decisions", "mix", "pilot")
    output = output_of_mix(output_of_recipe(recipe), mix)
    work = MixJob(run=job, draw=draw, output=output, root=root, records=records, exchange=scratch)
    materialize(clock, work, [t.text_bytes for t in tallies])
    written["materialize"], written["shuffle"] = folder_bytes(root), folder_bytes(scratch)
    mixed = sum(t.text_bytes for t in tallies if t.dataset in found)
    return mixed, list(tallies)


def _report(clock: Clock, recipe: Recipe, job: Run) -> None:
    from pipelines.report.report import write_report

    clock.step = "report"
    storage.write_bytes(storage.join(job.root, "recipe.lock.yaml"), sealed_lock(recipe.to_yaml()).encode())
    write_json(storage.join(job.root, "facts", "options.json"), {"sample": None})
    with trusting():  # the recipe's code has run on the sample
        clock.map(write_report, [job.root], cost=REPORT)


def _text_bytes(job: Run, dataset: str) -> int:
    """Return the bytes of text in a dataset's rows."""
    total = 0
    for bundle in job.manifest.bundles:
        if bundle.dataset == dataset:
            table = job.facts(job.stages[0]).read(bundle, job.reading(dataset), ["num_bytes"])
            total += int(np.sum(table.column("num_bytes").to_numpy(), dtype=np.int64))
    return total


# --- what only a second thread or a fresh process shows ---------------------------------------------------


def speed_up(recipe: Recipe, datasets: Sequence[Dataset], folder: str, threads: int, alone: float) -> float:
    """Return how many times the work of one thread `threads` threads of a process do, by running them at once.

    alone : seconds that one run takes, without the report.
    """
    if threads < 2:
        return 1.0
    begin = time.perf_counter()
    with ThreadPoolExecutor(threads) as pool:
        folders = [os.path.join(folder, f"thread-{n}") for n in range(threads)]
        for run in [pool.submit(run_sample, recipe, datasets, f, with_report=False) for f in folders]:
            run.result()
    together = time.perf_counter() - begin
    return min(float(threads), max(1.0, threads * alone / together))


def cold_seconds(recipe: Recipe, datasets: Sequence[Dataset], folder: str, warm: float) -> float:
    """Return the seconds that a fresh process needs more than `warm`: interpreter, imports, kernels, models."""
    code = "import sys; from pipelines.plan.sample import run_again; run_again(*sys.argv[1:])"
    begin = time.perf_counter()
    in_fresh_process(code, data_on(recipe, datasets), folder)
    return max(0.0, time.perf_counter() - begin - warm)


def data_on(recipe: Recipe, datasets: Sequence[Dataset]) -> dict[str, Any]:
    """Return a recipe as data, on these datasets."""
    data = recipe.to_data()
    data["datasets"] = {
        d.name: {**data["datasets"][d.name], "paths": list(d.paths), "format": d.format} for d in datasets
    }
    return data


def in_fresh_process(code: str, data: Any, *arguments: str) -> str:
    """Run Python code in a process of its own, which finds `data` as JSON on its standard input; return its output."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        input=json.dumps(data),  # not an argument: those are seen by everybody on the machine
        text=True,
        env=environment,
        check=True,
        stdout=subprocess.PIPE,
    )
    return done.stdout


def run_again(folder: str) -> None:
    """Run a recipe given as JSON on standard input on its own datasets; what `cold_seconds` starts."""
    from pipelines.recipe.recipe import load_data

    parsed = load_data(json.load(sys.stdin), "the sample's recipe")
    run_sample(parsed, parsed.datasets_resolved(), folder, with_report=False)
