"""What costly stages behind a deduplication take in the whole: how many documents they judge, and how long.

A sample shows the share that they judge of the documents that reach them (more than all of them where
`orphans: promote` asks about documents that lose in the end), and the seconds of one document.
"""

from __future__ import annotations

from pipelines.plan.costs import TASK_SECONDS, reading_seconds
from pipelines.plan.growth import total
from pipelines.plan.machine import Machine
from pipelines.plan.rates import Rates
from pipelines.plan.whole import Whole, reaching
from stages.core.stage import ShardStage


def deferred_stages(rates: Rates) -> list[ShardStage]:
    """Return the deferred stages."""
    run = rates.sample.run
    return [s for i, s in enumerate(run.stages) if run.deferred(i) and isinstance(s, ShardStage)]


def judged_documents(rates: Rates, whole: Whole) -> dict[str, int]:
    """Return how many documents each deferred stage judges in the whole, what is judged already included."""
    found = {}
    for stage in deferred_stages(rates):
        judged, _ = rates.sample.judged.get(stage.name, (0, 0.0))
        reached = reaching(rates.sample, stage.name)
        found[stage.name] = min(whole.rows, round(total(whole.flow.before[stage.name]) * judged / max(1.0, reached)))
    return found


def judging_seconds(rates: Rates, whole: Whole, where: Machine) -> dict[str, float]:
    """Return the seconds of each deferred stage: of judging, and of reading what it judges."""
    read = reading_seconds(rates, whole) / max(1, whole.rows)
    counts, found = judged_documents(rates, whole), {}
    for stage in deferred_stages(rates):
        judged, spent = rates.sample.judged.get(stage.name, (0, 0.0))
        mine = [i for i, b in enumerate(whole.bundles) if stage.applies_to(b.dataset)]
        missing = sum(whole.missing[stage.name][i] for i in mine) / max(1, len(mine))
        if missing:
            work = counts[stage.name] * missing * (spent / max(1, judged) + read) + len(mine) * TASK_SECONDS
            found[stage.name] = work / max(1.0, min(where.slots, len(mine)))
    return found
