"""The hops of the exchange in the whole: how many sources and destinations, what they ask for, what a task holds.

Which hops there are, and what their rows are like, is seen in the sample; how their tasks and rows grow is what the
tasks declare; the rest is foreseen by the exchange itself (`cluster/foreseen.py`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from cluster.foreseen import ForeseenHop, foresee
from pipelines.mix.materialize import SLICE_BYTES
from pipelines.plan.clock import Call
from pipelines.plan.growth import total
from pipelines.plan.rates import Rates
from pipelines.plan.whole import Amounts, Whole, amounts_of_sample, amounts_of_whole
from stages.core.costs import Quantity
from stages.outcome import lineage

LINEAGE = "lineage"  # the step
BY_CANDIDATES = (Quantity.CANDIDATE_TEXTS, Quantity.CANDIDATE_PAIRS)  # work whose rows are candidates
UNSEEN_ROW = 64.0  # bytes of a row of which the sample had none


@dataclass(frozen=True, kw_only=True)
class Hop:
    """One hop of the whole. times: hops of this kind, one after the other, as in the sample."""

    step: str
    emit: str  # names of the kinds of task
    receive: str
    times: int
    foreseen: ForeseenHop


def hops_of(rates: Rates, whole: Whole, steps: Sequence[str]) -> list[Hop]:
    """Return the hops of the steps that run, those of one kind together."""
    found: dict[tuple[str, str], Hop] = {}
    calls = rates.sample.calls
    if _lineage_is_one_task(rates, whole):
        steps = [step for step in steps if step != LINEAGE]
    for place, call in enumerate(calls):
        if call.hop is None or call.hop.part != "emit" or call.step not in steps:
            continue
        receive = _receiver(calls, place)
        hop = _hop(rates, whole, call, receive)
        seen = found.get((hop.step, hop.emit))
        if seen is None or hop.foreseen.requests.total > seen.foreseen.requests.total:
            found[hop.step, hop.emit] = replace(hop, times=(seen.times if seen else 0) + 1)
        else:
            found[hop.step, hop.emit] = replace(seen, times=seen.times + 1)
    return list(found.values())


def _lineage_is_one_task(rates: Rates, whole: Whole) -> bool:
    """Tell whether a run follows its verdicts in one task; the sample follows them in hops, for what follows many."""
    run = rates.sample.run
    stages = lineage.dedup_stages(run)
    lost = sum(total(whole.flow.dropped.get(run.stages[index].name, {})) for index in stages)
    files = len(stages) * len(whole.bundles)
    size = lost * lineage.VERDICT_BYTES + files * lineage.FILE_BYTES
    return bool(stages) and lineage.is_one_task(run, files, size)


def _receiver(calls: Sequence[Call], place: int) -> Call:
    """Return the call that received what the call at `place` sent: that of the same hop, or the next of the step."""
    sent = calls[place].hop
    later = [c for c in calls[place + 1 :] if c.step == calls[place].step]
    same = (c for c in later if c.hop and sent and c.hop.part == "receive" and c.hop.hop.folder == sent.hop.folder)
    return next(same, next(iter(later), calls[place]))


def _hop(rates: Rates, whole: Whole, emit: Call, receive: Call) -> Hop:
    assert emit.hop is not None
    little, much = amounts_of_sample(rates.sample, emit.step), amounts_of_whole(whole, rates.sample, emit.step)
    sources = _tasks(emit, little, much)
    if receive.hop is None:  # parts of the mix read several slices each
        share = min(1.0, len(emit.seconds) / max(1.0, emit.cost.tasks.at(little)))  # of the mix in this hop
        destinations = max(_tasks(receive, little, much), share * much["mix_bytes"] / SLICE_BYTES)
    else:
        destinations = _tasks(receive, little, much)
    rows = _rows(emit, little, much)
    hop = replace(emit.hop.hop, destinations=max(1, round(destinations)))
    size = emit.hop.row_bytes or UNSEEN_ROW
    received = receive.hop is not None and receive.hop.hop.folder == hop.folder
    foreseen = foresee(hop, max(1, round(sources)), rows, size, received=received)
    return Hop(step=emit.step, emit=emit.cost.name, receive=receive.cost.name, times=1, foreseen=foreseen)


def _tasks(call: Call, little: Mapping[str, float], much: Mapping[str, float]) -> float:
    """Return the number of a call's tasks in the whole: as large a part of those declared as in the sample."""
    declared = call.cost.tasks.at(little)
    share = min(1.0, len(call.seconds) / declared) if declared else 1.0
    return max(1.0, share * call.cost.tasks.at(much))


def _rows(call: Call, little: Amounts, much: Amounts) -> float:
    """Return the rows that the whole sends: they grow with what the sender's work grows with."""
    assert call.hop is not None
    quantity = call.cost.work.quantity
    if quantity in BY_CANDIDATES:
        quantity = Quantity.CANDIDATES
    return call.hop.rows * much[quantity] / little[quantity] if little[quantity] else much[quantity]
