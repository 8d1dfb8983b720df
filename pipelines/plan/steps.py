"""What a plan says of every step: whether it runs, its seconds and bytes, and what a worker holds."""

from __future__ import annotations

from collections.abc import Mapping

from pipelines.plan import additions, costs, deferred
from pipelines.plan.machine import Machine
from pipelines.plan.memory import task_bytes
from pipelines.plan.rates import Rates
from pipelines.plan.reuse import Present
from pipelines.plan.scale.demands import SHARD_BYTES
from pipelines.plan.tree import Action, MachinePlan, MemoryPlan, StagePlan
from pipelines.plan.whole import Whole
from stages.core.exchange_stage import ExchangeStage
from stages.core.stage import ShardStage

CLOSING = ("lineage", "tally", "ledger", "materialize", "report")


def describe_machine(where: Machine) -> MachinePlan:
    """Return where the run works."""
    return {
        "kind": where.kind,
        "workers": where.workers,
        "threads": where.threads,
        "gpus": where.gpus,
        "slots": round(where.slots, 3),
        "cores_here": where.cores,
    }


def describe_steps(
    rates: Rates,
    whole: Whole,
    here: Present,
    seconds: Mapping[str, float],
    written: Mapping[str, float],
    left: Mapping[str, float],
) -> list[StagePlan]:
    """Return what happens to every stage and closing step: run, rest (some bundles), reuse or skip.

    left : the share of a step's work that is left, where it is not all.
    """

    def step(name: str, action: Action, done: int, of: int) -> StagePlan:
        size = round(written.get(name, 0)) if action in ("run", "rest") else 0
        done = of if action == "reuse" else done
        took = seconds.get(name, 0.0)
        return {"stage": name, "action": action, "done": done, "of": of, "seconds": took, "bytes_written": size}

    fresh = here.manifest is None or here.changed
    bundles, files = len(whole.bundles), whole.files

    def closing(name: str, of: int) -> StagePlan:
        done = round(of * (1.0 - left[name]))
        return step(name, _action(done, of), done, of)

    found = [closing("freeze", files)] if "freeze" in left else [step("freeze", "run" if fresh else "reuse", 0, 1)]
    for stage in rates.sample.run.stages:
        if isinstance(stage, ShardStage) or (isinstance(stage, ExchangeStage) and not stage.hidden):
            done, of = _bundles_done(stage, whole, here)
            found.append(step(stage.name, _action(done, of), done, of))
    return found + [
        closing(name, bundles) if name in left else step(name, "reuse" if name in here.complete else "run", 0, 1)
        for name in CLOSING
    ]


def _bundles_done(stage: ShardStage | ExchangeStage, whole: Whole, here: Present) -> tuple[int, int]:
    """Return of how many bundles a stage is done, and of how many there are for it."""
    mine = [i for i, b in enumerate(whole.bundles) if stage.applies_to(b.dataset)]
    if isinstance(stage, ShardStage):
        return sum(not whole.missing[stage.name][i] for i in mine), len(mine)
    if stage.name in here.kept:
        return sum(not whole.missing["read"][i] for i in mine), len(mine)
    return len(mine) if stage.name in here.complete else 0, len(mine)


def _action(done: int, of: int) -> Action:
    if not of:
        return "skip"
    return "reuse" if done == of else "rest" if done else "run"


def seconds_of_steps(
    rates: Rates, whole: Whole, where: Machine, here: Present, left: Mapping[str, float]
) -> dict[str, float]:
    """Return the seconds of every step that runs; left: see `describe_steps`."""
    found = {"freeze": costs.freeze_seconds(rates, whole, where) if whole.files else 0.0}
    found["annotate"] = costs.annotate_seconds(rates, whole, where)
    for stage in rates.sample.run.stages:
        if isinstance(stage, ExchangeStage) and not stage.hidden and stage.name not in here.complete:
            found[stage.name] = costs.step_seconds(rates, whole, where, stage.name) * _share(whole, here, stage.name)
    found |= deferred.judging_seconds(rates, whole, where)
    for name in CLOSING:
        if name not in here.complete:
            found[name] = costs.step_seconds(rates, whole, where, name)
    return additions.scaled(found, left) | {"report": costs.report_seconds(rates, whole, where)}


def _share(whole: Whole, here: Present, stage: str) -> float:
    """Return the share of a dedup stage's work that is left: that of new documents, where it kept its keys."""
    if stage not in here.kept:
        return 1.0
    new = sum(b.rows for b, missing in zip(whole.bundles, whole.missing["read"], strict=True) if missing)
    return new / max(1, sum(b.rows for b in whole.bundles))


def bytes_on_disk(rates: Rates, written: Mapping[str, float]) -> int:
    """Return the bytes in the run folder at most: of the exchanges only the largest, since they are emptied."""
    stages = rates.sample.run.stages
    exchange = [written[s.name] for s in stages if isinstance(s, ExchangeStage) and s.name in written]
    return round(sum(written.values()) - sum(exchange) + max(exchange, default=0.0))


def describe_memory(rates: Rates, whole: Whole, where: Machine, hops: Mapping[str, int]) -> MemoryPlan:
    """Return the bytes that a worker holds, and what it has; hops: of the tasks that receive rows of the exchange."""
    tasks, resident = {**hops, **task_bytes(rates, whole)}, _resident() + SHARD_BYTES * whole.shards
    largest = max(tasks, key=lambda name: tasks[name])
    return {
        "process": resident,
        "tasks": tasks,
        "largest": largest,
        "worker": resident + where.threads * tasks[largest],
        "limit": where.memory,
        "limit_is": where.memory_is,
    }


def _resident() -> int:
    """Return the bytes of memory of this process, which has loaded all that a worker loads."""
    import psutil

    return int(psutil.Process().memory_info().rss)
