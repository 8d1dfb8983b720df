"""Seconds of a run, from what a sample took on this machine and how the costs of its tasks grow.

A step's tasks declare their growth (`cluster/engines/cost.py`); what they declare to be rare in a sample is priced
by `near.py` and `deferred.py`.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Sequence

from pipelines.plan import near
from pipelines.plan.machine import Machine
from pipelines.plan.rates import Rate, Rates
from pipelines.plan.whole import Amounts, Whole, amounts_of_whole, near_index
from stages.core.costs import Quantity

TASK_SECONDS = 0.004  # scheduling one task
HASHED_PER_SECOND = 500e6  # bytes that are fingerprinted


def makespan(seconds: Sequence[float], slots: float) -> float:
    """Return when the last task ends if each goes, in order, to the first free of `slots` workers.

    A fraction of a slot makes all of them slower: 1.9 slots are two at .95 of the speed.

    Examples
    --------
    >>> makespan([3, 1, 1, 1], 2)
    3.0
    """
    count = max(1, math.ceil(slots))
    ends = [0.0] * min(count, max(1, len(seconds)))
    for task in seconds:
        heapq.heappush(ends, heapq.heappop(ends) + task)
    alone = len(seconds) < 2
    return max(ends) * (1.0 if alone else count / slots)


def annotate_seconds(rates: Rates, whole: Whole, where: Machine) -> float:
    """Return the seconds of the first read: only bundles and stages whose facts are missing."""
    tasks = []
    size, run = whole.bundle_bytes(), rates.sample.run
    later = {stage.name for index, stage in enumerate(run.stages) if run.deferred(index)}
    for position, bundle in enumerate(whole.bundles):
        todo = [s for s, missing in whole.missing.items() if missing[position] and s not in later]
        if todo:
            rate = sum(rates.annotate(s, bundle.dataset) for s in {"read", *todo})
            tasks.append(rate * size[position] + rates.bundle(bundle.dataset) + TASK_SECONDS)
    return makespan(tasks, where.slots) if tasks else 0.0


def freeze_seconds(rates: Rates, whole: Whole, where: Machine) -> float:
    """Return the seconds of freezing: a price per file, and one per compressed byte that is staged."""
    pilot, sample = (sum(sum(c.seconds) for c in m.calls if c.step == "freeze") for m in (rates.pilot, rates.sample))
    few, many = (len(m.run.manifest.shards) for m in (rates.pilot, rates.sample))
    size, little = (sum(s.bytes for s in m.run.manifest.shards) for m in (rates.sample, rates.pilot))
    each = min(pilot / max(1, few), sample / max(1, many))
    byte = max(0.0, sample - each * many) / max(1, size - little)
    work = each * whole.files + byte * whole.compressed_bytes
    work += sum(whole.hashed_bytes.values()) / HASHED_PER_SECOND
    return work / min(where.slots, max(1.0, whole.files))


def step_seconds(rates: Rates, whole: Whole, where: Machine, step: str) -> float:
    """Return the seconds of a step: of every kind of its tasks, and of what the sample had too little of."""
    amounts = amounts_of_whole(whole, rates.sample, step)
    kinds = [rate for rate in rates.of(step) if rate.cost.work.quantity != Quantity.JUDGED]  # see deferred.py
    seconds = sum(kind_seconds(rate, amounts, where.slots) for rate in kinds)
    index = near_index(rates.sample, step)
    if index is not None:
        prices = near.prices(rates.sample, index)
        seconds += sum(price * amounts[quantity] for quantity, price in prices.items()) / where.slots
    return seconds


def kind_seconds(rate: Rate, amounts: Amounts, slots: float) -> float:
    """Return the seconds of one kind of task on so many slots; of a rare kind, what its tasks cost without work."""
    tasks = rate.cost.tasks.at(amounts)
    work = tasks * (rate.each + TASK_SECONDS)
    if not rate.cost.rare:
        work += rate.unit * rate.cost.work.at(amounts)
    return work / max(1.0, min(slots, tasks))


def reading_seconds(rates: Rates, whole: Whole) -> float:
    """Return the seconds that one core needs to read the whole text."""
    return sum(rates.annotate("read", name) * size for name, size in whole.text_bytes.items())


def report_seconds(rates: Rates, whole: Whole, where: Machine) -> float:
    """Return the seconds of the report: its samples and charts do not grow; workers read the ledger, which does."""
    fixed = sum(sum(c.seconds) for c in rates.sample.calls if c.step == "report")
    read = whole.rows * sum(rate.unit for rate in rates.of("tally"))
    return fixed + read / max(1.0, min(where.slots, len(whole.bundles)))
