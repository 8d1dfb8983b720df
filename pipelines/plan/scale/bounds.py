"""How wide the steps of a run are, their longest tasks, and between which times and prices a run ends."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from cluster.requests import Requests
from pipelines.plan.costs import TASK_SECONDS
from pipelines.plan.machine import Machine
from pipelines.plan.rates import Rates
from pipelines.plan.scale.hops import Hop
from pipelines.plan.scale.prices import Store
from pipelines.plan.tree import WidthPlan
from pipelines.plan.whole import Whole, amounts_of_whole

FASTER, SLOWER = 0.8, 1.3  # of the planned seconds: what runs came to (docs/plan-and-audit.md), and rates of a busy day
UNEVEN = 1.25  # times the mean that the largest task of a kind is taken to have: destinations are cut by hashes
MATTERS = 0.01  # of the run's time, below which nobody asks where it is spent
ALONE = 1.5  # tasks; fewer are one


@dataclass(frozen=True, kw_only=True)
class Kind:
    """One kind of task of the whole. seconds: of all its tasks together on one thread."""

    step: str
    name: str
    tasks: float
    seconds: float

    @property
    def longest(self) -> float:
        """Seconds of the longest task."""
        return self.seconds / max(1.0, self.tasks) * (UNEVEN if self.tasks > ALONE else 1.0)


def kinds_of(rates: Rates, whole: Whole, hops: Sequence[Hop], steps: Sequence[str]) -> list[Kind]:
    """Return every kind of task of the steps that run, with merges of the exchange."""
    found = []
    for step in steps:
        amounts = amounts_of_whole(whole, rates.sample, step)
        for rate in rates.of(step):
            tasks = max(1.0, rate.cost.tasks.at(amounts))
            unit = 0.0 if rate.cost.rare else rate.unit * rate.cost.work.at(amounts)
            found.append(Kind(step=step, name=rate.cost.name, tasks=tasks, seconds=tasks * rate.each + unit))
    return [*found, *_first_read(rates, whole, steps)]


def _first_read(rates: Rates, whole: Whole, steps: Sequence[str]) -> list[Kind]:
    """Return the first read, whose tasks are timed by stage and dataset; the longest bundle stands for all."""
    if "annotate" not in steps:
        return []
    later = {stage.name for index, stage in enumerate(rates.sample.run.stages) if rates.sample.run.deferred(index)}
    longest = total = 0.0
    for position, (bundle, size) in enumerate(zip(whole.bundles, whole.bundle_bytes(), strict=True)):
        todo = [s for s, missing in whole.missing.items() if missing[position] and s not in later]
        if todo:
            seconds = sum(rates.annotate(s, bundle.dataset) for s in {"read", *todo}) * size
            seconds += rates.bundle(bundle.dataset) + TASK_SECONDS
            longest, total = max(longest, seconds), total + seconds
    tasks = len(whole.bundles)
    return [Kind(step="annotate", name="longest bundle", tasks=tasks, seconds=max(total, longest * tasks / UNEVEN))]


def describe_width(kinds: Sequence[Kind], seconds: Mapping[str, float], where: Machine) -> list[WidthPlan]:
    """Return of every step the kind of task that takes longest on all threads: how wide it is beside the threads."""
    threads, found = where.workers * where.threads, list[WidthPlan]()
    much = MATTERS * sum(seconds.values())
    for step in seconds:
        mine = [k for k in kinds if k.step == step and k.seconds > 0]
        if mine:
            worst = max(mine, key=lambda k: k.seconds / min(k.tasks, where.slots))
            found.append(
                {
                    "step": step,
                    "task": worst.name,
                    "tasks": round(worst.tasks),
                    "threads": threads,
                    "longest_seconds": worst.longest,
                    "in_one_process": sorted({k.name for k in mine if k.tasks < ALONE and k.seconds > much}),
                }
            )
    return found


def bounds_of_seconds(
    total: float, widths: Sequence[WidthPlan], requests: Mapping[str, Requests], store: Store, where: Machine
) -> tuple[float, float]:
    """Return the least and the most seconds of a run.

    The least: everything is a little faster than planned and the storage costs no time. The most: a little slower,
    every request waits for its first byte, and each step ends with its longest task alone.
    """
    threads = max(1, where.workers * where.threads)
    waits = sum((r.total for r in requests.values()), 0.0) * store.latency / threads
    tails = sum(w["longest_seconds"] for w in widths)
    return FASTER * total, SLOWER * total + waits + tails
