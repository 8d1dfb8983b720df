"""Bytes that a planned run writes, per step: facts of shard stages, exchange and decisions of dedup, ledger, mix."""

from __future__ import annotations

from pipelines.plan import near
from pipelines.plan.rates import Rates
from pipelines.plan.whole import Whole, candidates_of, growth_of
from stages.core.exchange_stage import ExchangeStage
from stages.core.stage import ShardStage, Stage
from stages.near_dedup import NearDedup


def bytes_written(rates: Rates, whole: Whole) -> dict[str, float]:
    """Return bytes on disk per step."""
    found = {"staged": _staged(rates, whole)}
    for index, stage in enumerate(rates.sample.run.stages):
        share = _share(rates, whole, index, stage)
        found[stage.name] = rates.written(stage.name) * whole.rows * share
        if isinstance(stage, NearDedup):
            more = candidates_of(whole, rates.sample, stage.name)
            more -= near.in_sample(rates.sample, stage.name) * whole.rows * share / max(1, rates.sample.rows)
            size = whole.all_text / max(1, whole.rows)
            found[stage.name] += near.extra_bytes(rates.sample, index, max(0.0, more), size)
    shards = len({piece.shard.ordinal for bundle in whole.bundles for piece in bundle.pieces})
    found["ledger"] = rates.written("ledger") * whole.rows + rates.written_per_file("ledger") * shards
    text = max(1, rates.sample.mixed_bytes)
    found["mix"] = rates.sample.written["materialize"] / text * whole.mix_bytes
    found["shuffle"] = rates.sample.written["shuffle"] / text * whole.mix_bytes
    return found


def _share(rates: Rates, whole: Whole, index: int, stage: Stage) -> float:
    """Return for which share of the documents a stage writes, beside that of the sample."""
    if isinstance(stage, ShardStage):
        missing = whole.missing.get(stage.name, ())
        rows = sum(b.rows for b, gone in zip(whole.bundles, missing, strict=False) if gone)
        share = rows / max(1, sum(b.rows for b, _ in zip(whole.bundles, missing, strict=False)))
        # others are made before any deduplication: their share is the sample's
        return share * growth_of(rates.sample, whole, stage.name) if rates.sample.run.deferred(index) else share
    return growth_of(rates.sample, whole, stage.name) if isinstance(stage, ExchangeStage) else 1.0


def _staged(rates: Rates, whole: Whole) -> float:
    made = rates.sample.written.get("staged", 0)
    shards = rates.sample.run.manifest.shards
    size = sum(s.bytes for s in shards if rates.sample.run.staged_path(s))
    return made / size * whole.compressed_bytes if size else 0.0
