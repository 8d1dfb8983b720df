"""`winnow plan`: what a run would do, take and give, before anything runs.

Guarantees: reads the inputs and the run folder, writes to neither; the sample is run by the real stages in a
temporary folder that is removed. Counts follow from the files and the recipe's seed; seconds are measured now.
How each number comes about: docs/plan-and-audit.md.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace

from cluster.credentials import check_place
from pipelines.mix.job import part_count
from pipelines.plan import deferred, density, growth, profile, warnings
from pipelines.plan.additions import left_to_do, scaled
from pipelines.plan.density import Dense
from pipelines.plan.describe import (
    Sampled,
    describe_datasets,
    describe_duplicates,
    describe_flow,
    describe_kept,
    expected_mixes,
    together,
)
from pipelines.plan.disk import bytes_written
from pipelines.plan.extent import bundles_of, sizes
from pipelines.plan.gpu import device, node
from pipelines.plan.inputs import Drawn, Input, draw, survey
from pipelines.plan.machine import Machine, machine_of
from pipelines.plan.rates import Rates
from pipelines.plan.reuse import Present, present
from pipelines.plan.sample import Measured, cold_seconds, run_sample, speed_up
from pipelines.plan.scale import demands
from pipelines.plan.scale.parts import in_parts
from pipelines.plan.scale.prices import store_of
from pipelines.plan.scale.rehearse import BUNDLES, SHARES, Rehearsal
from pipelines.plan.scale.rehearse import rehearse as rehearse_sizes
from pipelines.plan.scale.section import Known, fill, hops_in, memory_of_hops, running
from pipelines.plan.steps import bytes_on_disk, describe_machine, describe_memory, describe_steps, seconds_of_steps
from pipelines.plan.tree import CostPlan, Plan, SamplePlan
from pipelines.plan.whole import Whole
from pipelines.recipe.recipe import Recipe
from pipelines.recipe.to_run import output_of_recipe, prepare
from pipelines.run_state import limit_of
from stages.core.digests import DATA_FORMAT
from stages.core.shard import Bundle
from stages.core.stage import ShardStage

SAMPLE_DOCUMENTS = 4000
PILOT = 16  # documents of each dataset that show what a task costs whatever its size
REHEARSED = 1500  # documents of the largest rehearsal
DENSER = 10  # times the sample's documents, in which duplicates are looked for
LEAST = 200  # documents of a dataset that are drawn, however small it is


def plan(
    recipe: Recipe,
    run_dir: str | None = None,
    *,
    workers: int | None = None,
    gpus: int | None = None,
    gpu_memory: int | None = None,
    cores: int | None = None,
    price_per_hour: float | None = None,
    sample_documents: int = SAMPLE_DOCUMENTS,
    duplicate_documents: int | None = None,
    store: str | None = None,
    prices: str | None = None,
    rehearse: bool = False,
) -> Plan:
    """Return the plan of a run: plain values, as `tree.py` and plan.schema.json describe them.

    Parameters
    ----------
    run_dir : run folder; what it holds is reused.
    gpus : one worker for each of so many GPUs; a node of them is simulated (node.py).
    gpu_memory : bytes of one GPU (default: of this machine's).
    cores : of the node that is simulated (default: this machine's).
    price_per_hour : of one worker (one GPU with `gpus`).
    sample_documents : size of the sample, over all datasets.
    duplicate_documents : documents in which duplicates are looked for (default: ten times the sample).
    store : s3, gcs, lustre or local (default: by the run folder's URL); prices : see `prices.store_of`.
    rehearse : also run samples of three sizes in the wind tunnel and show how their requests grow.

    Raises
    ------
    RecipeError, ShardError
        Inputs cannot be found or read.
    """
    begin = time.perf_counter()
    check_place(run_dir or "", "the run folder")
    kept_in = store_of(run_dir, store, prices)
    look_at = DENSER * sample_documents if duplicate_documents is None else duplicate_documents
    inputs = _inputs(recipe)
    with tempfile.TemporaryDirectory(prefix="winnow-plan-") as folder:
        where = machine_of(recipe, workers, gpus)
        pilot, warm, cold = _pilot(recipe, inputs, folder)
        sampled, measured = _sample(recipe, inputs, pilot, sample_documents, folder)
        where = replace(where, speed_up=_speed_up(recipe, sampled, measured, where, folder))
        rates = Rates(warm, measured)
        here = present(recipe, run_dir, inputs)
        whole = _whole(recipe, measured, sampled, here, _dense(recipe, inputs, sampled, here, look_at, folder))
        tunnel = _rehearse(recipe, inputs, sampled, sample_documents, folder) if rehearse or kept_in.counts else None
        known = Known(
            recipe=recipe,
            rates=rates,
            whole=whole,
            where=where,
            store=kept_in,
            rehearsal=tunnel,
            input_bytes=sum(i.bytes for i in inputs),
        )
        left = left_to_do(recipe, whole, here)
        found = _assemble(run_dir, sampled, known, here, left, cold, price_per_hour)
        _add_asked(found, known, (gpus, gpu_memory), price_per_hour, rehearse=rehearse)
        if gpus:
            alone = node.cores_alone(where, cores or where.cores)
            found["node"] = node.section(node.work_of(recipe, rates, whole, alone, here, left, known.input_bytes), gpus)
    found["warnings"] = _warnings(found, known, run_dir, here)
    found["planned_in"] = time.perf_counter() - begin
    return found


def _assemble(
    run_dir: str | None,
    sampled: Sequence[Sampled],
    known: Known,
    here: Present,
    left: Mapping[str, float],
    cold: float,
    price: float | None,
) -> Plan:
    """Return the plan without GPU memory, cost of machines and warnings; left: see `describe_steps`."""
    recipe, rates, whole, where = known.recipe, known.rates, known.whole, known.where
    written = bytes_written(rates, whole)
    seconds = seconds_of_steps(rates, whole, where, here, left)
    hops = hops_in(known, running(seconds))
    start = where.start_seconds
    mixes = expected_mixes(recipe, whole.flow.kept, whole.flow.kept_bytes)
    found: Plan = {
        "format": DATA_FORMAT,
        "recipe": recipe.name,
        "digest": recipe.digest(),
        "run": run_dir,
        "datasets": describe_datasets(recipe, sampled, whole),
        "sample": _describe_sample(rates.sample),
        "filters": profile.filters(rates.sample),
        "lsh": profile.lsh(rates.sample),
        "duplicates": describe_duplicates(whole.flow),
        "flow": describe_flow(whole.flow),
        "kept": describe_kept(whole),
        "mix": together(mixes),
        "mixes": {name: mix for name, mix in mixes.items() if name},
        "machine": describe_machine(where),
        "stages": describe_steps(rates, whole, here, seconds, scaled(written, left), left),
        "judged": deferred.judged_documents(rates, whole),
        "bytes_written": {name: round(size) for name, size in written.items()},
        "bytes_on_disk": bytes_on_disk(rates, written),
        "memory": describe_memory(rates, whole, where, memory_of_hops(hops)),
        "time": {"start": start, "warm_up": cold, "steps": seconds, "total": start + cold + sum(seconds.values())},
        "hops": [],
        "store": demands.NOTHING,
        "width": [],
        "limits": demands.NO_LIMITS,
        "bounds": {"seconds": (0.0, 0.0), "cost": (0.0, 0.0)},
        "walls": [],
        "first_wall": "",
        "warnings": [],
        "planned_in": 0.0,
    }
    fill(found, known, hops, price)
    return found


def _add_asked(
    found: Plan, known: Known, gpus: tuple[int | None, int | None], price_per_hour: float | None, *, rehearse: bool
) -> None:
    """Add what only some ask for: memory of GPUs, how the rehearsal went, the cost of machines.

    gpus : their number, and bytes of one.
    """
    asked = device.section(known.recipe, known.rates.sample.run, known.whole, *gpus)
    if asked is not None:
        found["device"] = asked
    if rehearse and known.rehearsal is not None:
        found["rehearsal"] = demands.describe_rehearsal(known.rehearsal, found["store"], known.whole, found["hops"])
    if price_per_hour is not None:
        found["cost"] = _cost(found, known.where, price_per_hour)


def _warnings(found: Plan, known: Known, run_dir: str | None, here: Present) -> list[str]:
    """Return what is said of recipe and sample, of the run folder, and of languages."""
    sample = known.rates.sample
    of_recipe = warnings.warnings(known.recipe, sample.run, found, known.whole.bundle_bytes())
    return [*of_recipe, *_trial(run_dir, here), *warnings.of_languages(sample)]


def _describe_sample(measured: Measured) -> SamplePlan:
    return {
        "documents": measured.documents,
        "text_bytes": measured.text_bytes,
        "dropped": profile.statuses(measured),
        "languages": profile.languages(measured),
    }


def _cost(found: Plan, where: Machine, price_per_hour: float) -> CostPlan:
    count = where.gpus or where.workers
    total = found["time"]["total"] / 3600 * price_per_hour * count
    return {
        "price_per_hour": price_per_hour,
        "of": "GPU" if where.gpus else "worker",
        "count": count,
        "total": total,
    }


def _trial(run_dir: str | None, here: Present) -> list[str]:
    found = []
    limit = limit_of(run_dir) if run_dir and here.manifest else None
    if limit is not None:
        found.append(
            f"the run folder was made with --limit {limit}; the plan is for those rows, and so must the run be."
        )
    if here.known:
        stages = f"; {', '.join(sorted(here.kept))} decide again what new documents touch" if here.kept else ""
        found.append(f"files were added since the run folder was frozen: facts of the others are reused{stages}.")
    elif here.changed:
        found.append("input files are new, gone or of another size since the run folder was frozen; see --refresh.")
    return found


# --- sample ----------------------------------------------------------------------------------------------


def _inputs(recipe: Recipe) -> list[Input]:
    job = prepare(recipe, "").run
    return [survey(d, job.extra_columns) for d in job.datasets]


def _draw(recipe: Recipe, inputs: Sequence[Input], rows: Mapping[str, int], folder: str) -> list[Drawn]:
    return [draw(i, rows[i.dataset.name], recipe.seed, os.path.join(folder, i.dataset.name)) for i in inputs]


def _pilot(recipe: Recipe, inputs: Sequence[Input], folder: str) -> tuple[list[Sampled], Measured, float]:
    """Run a few documents twice; return their sizes, the second run, and what a fresh worker needs more."""
    rows = {i.dataset.name: PILOT for i in inputs}
    drawn = _draw(recipe, inputs, rows, os.path.join(folder, "pilot"))
    datasets = [d.dataset for d in drawn]
    run_sample(recipe, datasets, os.path.join(folder, "first"))
    warm = run_sample(recipe, datasets, os.path.join(folder, "warm"))
    fresh = os.path.join(folder, "fresh")
    return _sized(inputs, drawn, warm), warm, cold_seconds(recipe, datasets, fresh, _without_report(warm))


def _without_report(measured: Measured) -> float:
    return measured.seconds - sum(sum(c.seconds) for c in measured.calls if c.step == "report")


def _speed_up(recipe: Recipe, sampled: Sequence[Sampled], measured: Measured, where: Machine, folder: str) -> float:
    """Return what the threads of one worker do together, as far as this machine's cores can show it."""
    datasets = [s.drawn.dataset for s in sampled]
    threads = min(where.threads, where.cores)
    shown = speed_up(recipe, datasets, os.path.join(folder, "together"), threads, _without_report(measured))
    return shown * where.threads / threads if where.kind != "local" else shown


def _sized(inputs: Sequence[Input], drawn: Sequence[Drawn], measured: Measured) -> list[Sampled]:
    return [
        Sampled(input=i, drawn=d, size=sizes(i, d, measured.text_bytes[i.dataset.name]))
        for i, d in zip(inputs, drawn, strict=True)
    ]


def _sample(
    recipe: Recipe, inputs: Sequence[Input], pilot: Sequence[Sampled], documents: int, folder: str
) -> tuple[list[Sampled], Measured]:
    """Draw from each dataset by its documents, LEAST at least, and run the recipe on that."""
    total = max(1, sum(p.size.documents for p in pilot))
    rows = {p.input.dataset.name: max(LEAST, documents * p.size.documents // total) for p in pilot}
    drawn = _draw(recipe, inputs, rows, os.path.join(folder, "sample"))
    datasets = [d.dataset for d in drawn]
    run_sample(recipe, datasets, os.path.join(folder, "unmeasured"), with_report=False)  # kernels are compiled here
    measured = run_sample(recipe, datasets, os.path.join(folder, "run"))
    return _sized(inputs, drawn, measured), measured


def _rehearse(
    recipe: Recipe, inputs: Sequence[Input], sampled: Sequence[Sampled], documents: int, folder: str
) -> Rehearsal:
    """Draw samples of three sizes and run them in the wind tunnel."""
    total = max(1, sum(s.size.documents for s in sampled))
    drawn = []
    for share in SHARES:
        wanted = share * min(documents, REHEARSED) / total
        rows = {s.input.dataset.name: max(PILOT, round(wanted * s.size.documents)) for s in sampled}
        place = os.path.join(folder, f"rehearsed-{share}")
        found = [d.dataset for d in _draw(recipe, inputs, rows, place)]
        parts = [max(1, round(share * BUNDLES * s.size.documents / total)) for s in sampled]
        drawn.append([in_parts(d, n, os.path.join(place, "parts", d.name)) for d, n in zip(found, parts, strict=True)])
    return rehearse_sizes(recipe, drawn)


# --- the whole -------------------------------------------------------------------------------------------


def _bundles(here: Present, sampled: Sequence[Sampled]) -> list[Bundle]:
    if here.manifest is not None and not here.changed:
        return list(here.manifest.bundles)
    return bundles_of([(s.input, s.drawn, s.size) for s in sampled])


def _dense(
    recipe: Recipe, inputs: Sequence[Input], sampled: Sequence[Sampled], here: Present, documents: int, folder: str
) -> dict[str, Dense]:
    """Look for duplicates in the facts that the run folder has of all documents, else in a larger draw."""
    if here.run is not None and not here.changed and all(all(done) for done in here.done.values()):
        found = density.of_run(here.run)
        if found:
            return found
    total = sum(s.size.documents for s in sampled)
    if all(s.drawn.whole for s in sampled) or documents <= sum(s.drawn.rows for s in sampled):
        return {}
    rows = {s.input.dataset.name: max(LEAST, documents * s.size.documents // max(1, total)) for s in sampled}
    drawn = [d.dataset for d in _draw(recipe, inputs, rows, os.path.join(folder, "denser"))]
    return density.of_drawn(recipe, drawn, os.path.join(folder, "density"))


def _whole(
    recipe: Recipe, measured: Measured, sampled: Sequence[Sampled], here: Present, dense: Mapping[str, Dense]
) -> Whole:
    frozen, bundles = here.manifest if not here.changed else None, _bundles(here, sampled)
    documents = {s.input.dataset.name: s.size.documents for s in sampled}
    text = {s.input.dataset.name: s.size.text_bytes for s in sampled}
    if frozen is not None:
        for name in documents:
            rows = frozen.rows(name)
            text[name] = round(text[name] * rows / max(1, documents[name]))
            documents[name] = rows
    flow = growth.flow(measured, documents, text, dense)
    mixes = expected_mixes(recipe, flow.kept, flow.kept_bytes).values()
    shard_bytes = output_of_recipe(recipe).shard_bytes
    return Whole(
        documents=documents,
        text_bytes=text,
        hashed_bytes={s.input.dataset.name: 0 if frozen else s.size.hashed for s in sampled},
        compressed_bytes=0 if frozen else sum(f.bytes for s in sampled for f in s.input.files if f.staged),
        files=0 if frozen else sum(s.size.shards for s in sampled),
        bundles=bundles,
        missing=_missing(measured, bundles, here if frozen is not None or here.known else None),
        flow=flow,
        mix_bytes=sum(mix["text_bytes"] for mix in mixes),
        mix_parts=sum(part_count(flow.kept_bytes[name], shard_bytes) for mix in mixes for name in mix["datasets"]),
    )


def _missing(measured: Measured, bundles: Sequence[Bundle], here: Present | None) -> dict[str, list[bool]]:
    """Return for every shard stage whether each bundle's facts are missing."""
    missing = {}
    for stage in measured.run.stages:
        if isinstance(stage, ShardStage):
            if here and here.known:
                have = here.have_facts(stage.name, bundles)
            else:
                have = list(here.done.get(stage.name) or ()) if here else []
            missing[stage.name] = [
                stage.applies_to(b.dataset) and not (have and have[i]) for i, b in enumerate(bundles)
            ]
    return missing
