"""What costly stages behind a deduplication take in the whole: how many documents they judge, and how long.

A sample shows the share that they judge of the documents that reach them (more than all of them where
`orphans: promote` asks about documents that lose in the end), and the seconds of one document.
"""

from __future__ import annotations

from pipelines.plan import costs
from pipelines.plan.costs import Machine, Rates, Whole
from pipelines.plan.growth import total
from stages.core.stage import ShardStage


def names(rates: Rates) -> list[str]:
    """Return the deferred stages."""
    run = rates.sample.run
    return [stage.name for index, stage in enumerate(run.stages) if run.deferred(index)]


def documents(rates: Rates, whole: Whole) -> dict[str, int]:
    """Return how many documents each deferred stage judges in the whole, what is judged already included."""
    found = {}
    for name in names(rates):
        judged, _ = rates.sample.judged.get(name, (0, 0.0))
        reached = costs.reaching(rates.sample, name)
        found[name] = min(whole.rows, round(total(whole.flow.before[name]) * judged / max(1.0, reached)))
    return found


def seconds(rates: Rates, whole: Whole, where: Machine) -> dict[str, float]:
    """Return the seconds of each deferred stage: of judging, and of reading what it judges."""
    read = costs.reading_seconds(rates, whole) / max(1, whole.rows)
    found = {}
    for name, count in documents(rates, whole).items():
        judged, spent = rates.sample.judged.get(name, (0, 0.0))
        mine = [i for i, b in enumerate(whole.bundles) if _stage(rates, name).applies_to(b.dataset)]
        missing = sum(whole.missing[name][i] for i in mine) / max(1, len(mine))
        if missing:
            work = count * missing * (spent / max(1, judged) + read) + len(mine) * costs.TASK_SECONDS
            found[name] = work / max(1.0, min(where.slots, len(mine)))
    return found


def _stage(rates: Rates, name: str) -> ShardStage:
    return next(s for s in rates.sample.run.stages if isinstance(s, ShardStage) and s.name == name)
