"""Bytes that one task of each kind of a planned run holds at most (docs/design.md, What is held in memory)."""

from __future__ import annotations

from pipelines.plan.growth import total
from pipelines.plan.rates import Rates
from pipelines.plan.whole import Whole, candidates_of
from stages.core.exchange_stage import destinations_for
from stages.core.stage import ShardStage
from stages.dedup.dedup_stage import DedupStage
from stages.dedup.near.buckets import RECORDS_PER_DESTINATION, candidate_destinations
from stages.dedup.near.components import AT_ONCE, EDGES_PER_DESTINATION
from stages.inputs.reader import BATCH_BYTES
from stages.near_dedup import NearDedup, near_job

EDGE_BYTES, RECORD_BYTES, LABEL_BYTES = 100, 60, 45  # held per edge, band record, labelled document


def task_bytes(rates: Rates, whole: Whole) -> dict[str, int]:
    """Return the bytes that one task of each kind holds at most."""
    run = rates.sample.run
    shard_stages = [s for s in run.stages if isinstance(s, ShardStage)]
    rows = max((b.rows for b in whole.bundles), default=0)
    facts = sum(rates.written(s.name) for s in shard_stages)
    expansion = max((s.expansion for s in shard_stages), default=2.0)
    live = max((total(v) for v in whole.flow.before.values()), default=0.0)
    found = {"annotate": (1 + expansion) * BATCH_BYTES + facts * rows, "ledger": 2 * facts * rows}
    for index, stage in enumerate(run.stages):
        if isinstance(stage, NearDedup):
            found |= _near(rates, index, stage, whole, rows)
        elif isinstance(stage, DedupStage):
            found[stage.name] = 3 * rates.written("read") * live / destinations_for(round(live))
    found["materialize"] = 3 * BATCH_BYTES + facts * rows
    return {name: round(size) for name, size in found.items()}


def _near(rates: Rates, index: int, stage: NearDedup, whole: Whole, rows: int) -> dict[str, float]:
    near = near_job(rates.sample.run, index)
    live = total(whole.flow.before[stage.name])
    members = candidates_of(whole, rates.sample, stage.name)
    records = min(live * near.bands, float(RECORDS_PER_DESTINATION) * 1.25)
    one = members / candidate_destinations(round(members))
    size = whole.all_text / max(1, whole.rows)
    return {
        f"{stage.name}: band keys": min(rows, live) * (near.num_permutations * 4 + near.bands * 32.0),
        f"{stage.name}: buckets": records * 16 * 4,
        f"{stage.name}: components": _components(live, members, records),
        f"{stage.name}: verify": min(one, members) * (near.num_permutations + 150 + size),
    }


def _components(live: float, members: float, records: float) -> float:
    """Return the bytes of joining components: all in one task, or one destination's edges (measured 2026-11)."""
    if live > AT_ONCE and members > AT_ONCE:
        return max(EDGES_PER_DESTINATION * EDGE_BYTES, records * RECORD_BYTES)
    return min(members, AT_ONCE) * LABEL_BYTES + records * RECORD_BYTES
