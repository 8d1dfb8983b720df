"""The funnel: documents and tokens before and after every stage, and why they went.

Guarantees: stages come in the recipe's order, reasons with the commonest first.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from pipelines.report import tree
from pipelines.report.ledger_sums import Amount, DatasetSums, LedgerSums
from pipelines.runfolder import RunFolder


def funnel_of_dataset(folder: RunFolder, dataset: str, sums: DatasetSums) -> tree.Funnel:
    """Return the funnel of one dataset. A stage that is not for it does not apply."""
    applies = {stage.name: stage.applies_to(dataset) for stage in folder.stages}
    return _funnel(folder, sums, applies)


def funnel_of_run(folder: RunFolder, sums: LedgerSums) -> tree.Funnel:
    """Return the funnel of all datasets together."""
    total = DatasetSums()
    for name in folder.datasets:
        total.merge(sums.datasets[name])
    return _funnel(folder, total, {})


def _funnel(folder: RunFolder, sums: DatasetSums, applies: Mapping[str, bool]) -> tree.Funnel:
    before = sums.rows
    steps: list[tree.FunnelStep] = []
    for stage in all_stages(folder, (stage for stage, _ in sums.dropped)):
        mine = [(reason, amount) for (name, reason), amount in sums.dropped.items() if name == stage]
        reasons = dict(sorted(mine, key=lambda item: (-item[1].documents, item[0])))
        after = before - sum(reasons.values(), Amount())
        steps.append(
            {
                "stage": stage,
                "applies": applies.get(stage, True),
                "before": before.as_tree(),
                "dropped": {reason: amount.as_tree() for reason, amount in reasons.items()},
                "after": after.as_tree(),
            }
        )
        before = after
    return {"rows": sums.rows.as_tree(), "stages": steps, "kept": sums.kept.as_tree(), "mix": sums.mix_tree()}


def all_stages(folder: RunFolder, more: Iterable[str]) -> list[str]:
    """Return every stage of the recipe in order, then those of `more` that it does not have, by name."""
    known = [stage.name for stage in folder.stages]
    return [*known, *sorted(set(more).difference(known))]


def in_recipe_order(folder: RunFolder, names: Collection[str]) -> list[str]:
    """Return these stages in the recipe's order, those that it does not have last, by name."""
    known = [stage.name for stage in folder.stages]
    return [*(name for name in known if name in names), *sorted(set(names).difference(known))]
