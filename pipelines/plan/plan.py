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
from dataclasses import dataclass, replace
from typing import Any

from pipelines.plan import costs, deferred, device, growth, profile, warnings
from pipelines.plan import inputs as plan_inputs
from pipelines.plan.costs import Machine, Rates, Whole
from pipelines.plan.growth import Flow
from pipelines.plan.inputs import Drawn, Input, Size
from pipelines.plan.reuse import Present, present
from pipelines.plan.sample import Measured, cold_seconds, run_sample, speed_up
from pipelines.recipe import to_run
from pipelines.recipe.recipe import Recipe
from stages.core.digests import DATA_FORMAT
from stages.core.exchange_stage import ExchangeStage
from stages.core.shard import Bundle
from stages.core.stage import ShardStage
from stages.implicit.read import BYTES_PER_TOKEN
from stages.outcome.mixing import portions

SAMPLE_DOCUMENTS = 4000
PILOT = 16  # documents of each dataset that show what a task costs whatever its size
LEAST = 200  # documents of a dataset that are drawn, however small it is
CLOSING = ("lineage", "tally", "ledger", "materialize", "report")


@dataclass(kw_only=True)
class Sampled:
    """One dataset: its input, what was drawn of it, its size."""

    input: Input
    drawn: Drawn
    size: Size


def plan(
    recipe: Recipe,
    run_dir: str | None = None,
    *,
    workers: int | None = None,
    gpus: int | None = None,
    gpu_memory: int | None = None,
    price_per_hour: float | None = None,
    sample_documents: int = SAMPLE_DOCUMENTS,
) -> dict[str, Any]:
    """Return the plan of a run as JSON-able values.

    Parameters
    ----------
    run_dir : run folder; what it holds is reused.
    gpus : one worker for each of so many GPUs; rates are those of this machine's CPU all the same.
    gpu_memory : bytes of one GPU (default: of this machine's).
    price_per_hour : of one worker (one GPU with `gpus`).
    sample_documents : size of the sample, over all datasets.

    Raises
    ------
    RecipeError, ShardError
        Inputs cannot be found or read.
    """
    begin = time.perf_counter()
    inputs = [plan_inputs.survey(d) for d in recipe.datasets_resolved()]
    with tempfile.TemporaryDirectory(prefix="winnow-plan-") as folder:
        where = costs.machine(recipe, workers, gpus)
        pilot, warm, cold = _pilot(recipe, inputs, folder, where)
        sampled, measured = _sample(recipe, inputs, pilot, sample_documents, folder)
        where = replace(where, speed_up=_speed_up(recipe, sampled, measured, where, folder))
        rates = Rates(warm, measured)
        here = present(recipe, run_dir, inputs)
        bundles = _bundles(here, sampled)
        whole = _whole(measured, sampled, bundles, here)
        found = _describe(recipe, here, sampled, measured, whole, run_dir)
        found |= _costs(recipe, rates, whole, where, here, found["mix"], cold)
        found |= device.section(recipe, measured.run, whole, gpus, gpu_memory)
        if price_per_hour is not None:
            count = where.gpus or where.workers
            found["cost"] = {
                "price_per_hour": price_per_hour,
                "of": "GPU" if where.gpus else "worker",
                "count": count,
                "total": found["time"]["total"] / 3600 * price_per_hour * count,
            }
        size = costs.bundle_bytes(whole)
        found["warnings"] = warnings.warnings(recipe, measured.run, found, size) + _trial(run_dir, here)
    found["planned_in"] = time.perf_counter() - begin
    return found


def _trial(run_dir: str | None, here: Present) -> list[str]:
    found = []
    limit = to_run.limit_of(run_dir) if run_dir and here.manifest else None
    if limit is not None:
        found.append(
            f"the run folder was made with --limit {limit}; the plan is for those rows, and so must the run be."
        )
    if here.changed:
        found.append("input files are new, gone or of another size since the run folder was frozen; see --refresh.")
    return found


# --- sample ----------------------------------------------------------------------------------------------


def _draw(recipe: Recipe, inputs: Sequence[Input], rows: Mapping[str, int], folder: str) -> list[Drawn]:
    return [
        plan_inputs.draw(i, rows[i.dataset.name], recipe.seed, os.path.join(folder, i.dataset.name)) for i in inputs
    ]


def _pilot(
    recipe: Recipe, inputs: Sequence[Input], folder: str, where: Machine
) -> tuple[list[Sampled], Measured, float]:
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
        Sampled(input=i, drawn=d, size=plan_inputs.sizes(i, d, measured.text_bytes[i.dataset.name]))
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


# --- the whole -------------------------------------------------------------------------------------------


def _bundles(here: Present, sampled: Sequence[Sampled]) -> list[Bundle]:
    if here.manifest is not None and not here.changed:
        return list(here.manifest.bundles)
    return plan_inputs.bundles([(s.input, s.drawn, s.size) for s in sampled])


def _whole(measured: Measured, sampled: Sequence[Sampled], bundles: Sequence[Bundle], here: Present) -> Whole:
    documents = {s.input.dataset.name: s.size.documents for s in sampled}
    text = {s.input.dataset.name: s.size.text_bytes for s in sampled}
    frozen = here.manifest if not here.changed else None
    if frozen is not None:
        for name in documents:
            rows = frozen.rows(name)
            text[name] = round(text[name] * rows / max(1, documents[name]))
            documents[name] = rows
    missing = {}
    for stage in measured.run.stages:
        if isinstance(stage, ShardStage):
            have = here.done.get(stage.name) if frozen is not None else None
            missing[stage.name] = [
                stage.applies_to(b.dataset) and not (have and have[i]) for i, b in enumerate(bundles)
            ]
    return Whole(
        documents=documents,
        text_bytes=text,
        hashed_bytes={s.input.dataset.name: 0 if frozen else s.size.hashed for s in sampled},
        compressed_bytes=0 if frozen else sum(f.bytes for s in sampled for f in s.input.files if f.staged),
        files=0 if frozen else sum(s.size.shards for s in sampled),
        bundles=bundles,
        missing=missing,
        flow=growth.flow(measured, documents, text),
    )


def _describe(
    recipe: Recipe,
    here: Present,
    sampled: Sequence[Sampled],
    measured: Measured,
    whole: Whole,
    run_dir: str | None,
) -> dict[str, Any]:
    """Return everything but time, bytes and memory."""
    return {
        "format": DATA_FORMAT,
        "recipe": recipe.name,
        "digest": recipe.digest(),
        "run": run_dir,
        "datasets": {s.input.dataset.name: _dataset(recipe, s, whole) for s in sampled},
        "sample": {
            "documents": measured.documents,
            "text_bytes": measured.text_bytes,
            "dropped": profile.statuses(measured),
            "languages": profile.languages(measured),
        },
        "filters": profile.filters(measured),
        "lsh": profile.lsh(measured),
        "duplicates": {n: _plain(d) for n, d in whole.flow.duplicates.items()},
        "flow": _flow(whole.flow),
        "kept": {
            n: {"documents": round(k), "share": k / max(1, whole.documents[n])} for n, k in whole.flow.kept.items()
        },
        "mix": _mix(recipe, whole),
    }


def _dataset(recipe: Recipe, sampled: Sampled, whole: Whole) -> dict[str, Any]:
    name, size = sampled.input.dataset.name, sampled.size
    return {
        "role": sampled.input.dataset.role,
        "formats": sampled.input.kinds(),
        "shards": size.shards,
        "bytes": size.bytes,
        "largest_shard": size.largest,
        "median_shard": size.median,
        "documents": whole.documents[name],
        "documents_are": "counted" if size.exact else "estimated",
        "text_bytes": whole.text_bytes[name],
        "tokens": whole.text_bytes[name] // BYTES_PER_TOKEN,
        "weight": recipe.mix.weights.get(name) if recipe.mix.weights else None,
        "bundles": sum(b.dataset == name for b in whole.bundles),
        "problems": sampled.input.problems,
    }


def _plain(found: growth.Duplicates) -> dict[str, Any]:
    return {
        "documents": found.documents,
        "dropped": found.dropped,
        "groups": found.groups,
        "in_sample": found.in_sample,
        "in_all": found.in_all,
    }


def _flow(flow: Flow) -> dict[str, dict[str, dict[str, float]]]:
    """Return stage -> dataset -> documents before it, documents dropped, share dropped."""
    return {
        stage: {
            name: {
                "before": round(n),
                "dropped": round(flow.dropped[stage][name]),
                "share": flow.dropped[stage][name] / n,
            }
            for name, n in before.items()
            if n
        }
        for stage, before in flow.before.items()
    }


def _mix(recipe: Recipe, whole: Whole) -> dict[str, Any]:
    """Return what the mix is expected to hold, by the rules of `stages.outcome.mixing`."""
    mix = to_run.mix_of(recipe)
    share = 1.0 - mix.holdout
    mixable = {
        name: (round(whole.flow.kept[name] * share), round(whole.flow.kept_bytes[name] * share) // BYTES_PER_TOKEN)
        for name, section in recipe.datasets.items()
        if section.role != "reference"
    }
    found, written = {}, 0.0
    for name, portion in portions(mix, mixable).items():
        copies = portion.epochs if recipe.output.repeat else min(1.0, portion.epochs)
        size = whole.flow.kept_bytes[name] * (copies * share + mix.holdout)
        written += size
        found[name] = {
            "documents": round(portion.documents * min(1.0, portion.epochs)),
            "tokens": portion.expected_tokens,
            "epochs": portion.epochs,
            "target_tokens": portion.target_tokens,
            "shortfall_tokens": portion.shortfall_tokens,
        }
    return {"datasets": found, "text_bytes": round(written)}


# --- costs -----------------------------------------------------------------------------------------------


def _costs(
    recipe: Recipe, rates: Rates, whole: Whole, where: Machine, here: Present, mix: Mapping[str, Any], cold: float
) -> dict[str, Any]:
    """Return machine, steps with their time and bytes, total time and memory."""
    written = costs.bytes_written(rates, whole, mix["text_bytes"])
    stages = _stages(rates, whole, here)
    seconds = _seconds(rates, whole, where, here, mix)
    start = costs.COMMAND_SECONDS + costs.CLUSTER_SECONDS.get(where.kind, costs.REMOTE_SECONDS)
    for entry in stages:
        entry["seconds"] = seconds.get(entry["stage"], entry.get("seconds", 0.0))
        entry["bytes_written"] = round(written.get(entry["stage"], 0)) if entry["action"] in ("run", "rest") else 0
    tasks = costs.memory(rates, whole, where, _resident())
    largest = max(tasks, key=lambda name: tasks[name])
    total = start + cold + sum(seconds.values())
    exchange = [written[s.name] for s in rates.sample.run.stages if isinstance(s, ExchangeStage) and s.name in written]
    return {
        "machine": {
            "kind": where.kind,
            "workers": where.workers,
            "threads": where.threads,
            "gpus": where.gpus,
            "slots": round(where.slots, 3),
            "cores_here": where.cores,
        },
        "stages": stages,
        "judged": deferred.documents(rates, whole),
        "bytes_written": {name: round(size) for name, size in written.items()},
        "bytes_on_disk": round(sum(written.values()) - sum(exchange) + max(exchange, default=0.0)),
        "memory": {
            "process": _resident(),
            "tasks": tasks,
            "largest": largest,
            "worker": _resident() + where.threads * tasks[largest],
            "limit": where.memory,
            "limit_is": where.memory_is,
        },
        "time": {"start": start, "warm_up": cold, "steps": seconds, "total": total},
    }


def _stages(rates: Rates, whole: Whole, here: Present) -> list[dict[str, Any]]:
    """Return what happens to every stage and closing step: run, rest (some bundles), reuse or skip."""
    found = [_entry("freeze", "run" if here.manifest is None or here.changed else "reuse", 0, 1)]
    for stage in rates.sample.run.stages:
        mine = [i for i, b in enumerate(whole.bundles) if stage.applies_to(b.dataset)]
        if isinstance(stage, ShardStage):
            done = sum(not whole.missing[stage.name][i] for i in mine)
        elif isinstance(stage, ExchangeStage) and not stage.hidden:
            done = len(mine) if stage.name in here.complete else 0
        else:
            continue
        action = "skip" if not mine else "reuse" if done == len(mine) else "rest" if done else "run"
        found.append(_entry(stage.name, action, done, len(mine)))
    for name in CLOSING:
        found.append(_entry(name, "reuse" if name in here.complete else "run", 0, 1))
    return found


def _entry(stage: str, action: str, done: int, of: int) -> dict[str, Any]:
    done = of if action == "reuse" else done
    return {"stage": stage, "action": action, "done": done, "of": of}


def _seconds(rates: Rates, whole: Whole, where: Machine, here: Present, mix: Mapping[str, Any]) -> dict[str, float]:
    """Return the seconds of every step that runs."""
    found = {"freeze": costs.freeze_seconds(rates, whole, where) if whole.files else 0.0}
    found["annotate"] = costs.annotate_seconds(rates, whole, where)
    for stage in rates.sample.run.stages:
        if isinstance(stage, ExchangeStage) and not stage.hidden and stage.name not in here.complete:
            rows = whole.rows * costs.growth_of(rates.sample, whole, stage.name)
            found[stage.name] = costs.step_seconds(rates, whole, where, stage.name, rows)
    found |= deferred.seconds(rates, whole, where)
    for name in CLOSING:
        if name not in here.complete:
            rows = float(whole.rows)
            if name == "materialize":
                rows = rates.sample.rows * mix["text_bytes"] / max(1, rates.sample.mixed_bytes)
            found[name] = costs.step_seconds(rates, whole, where, name, rows)
    return found | {"report": costs.report_seconds(rates, whole)}


def _resident() -> int:
    """Return the bytes of memory of this process, which has loaded all that a worker loads."""
    import psutil

    return int(psutil.Process().memory_info().rss)
