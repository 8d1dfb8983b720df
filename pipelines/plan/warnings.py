"""What a user should know before running: one sentence each, with the number and the remedy.

Guarantees: reads the plan's own numbers; a warning never stops anything.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence

from cluster import storage
from pipelines.plan.gpu import device, node
from pipelines.plan.sample import Measured
from pipelines.plan.tree import FilterPlan, MixPlan, Plan
from pipelines.recipe.recipe import Recipe
from pipelines.recipe.to_run import mixes_of_recipe
from stages.core.run import Run
from stages.core.stage import ShardStage
from stages.dedup.dedup_stage import DedupStage
from stages.kernels.similarity import banding
from stages.near_dedup import NearDedup, near_job
from stages.outcome.by_language import language_warnings

STEEP = 0.15  # share of documents that come or go when a threshold is nudged
ALL, NOTHING = 0.999, 0.001
SKEWED = 10  # times the median shard
IDLE = 1.3  # a bundle larger than this many slots' fair share leaves the others idle
CURVE = 0.05  # similarity about the threshold over which the S-curve is judged
FLAT = 0.02  # least rise of the S-curve there; a flat one tells nothing apart


def warnings(recipe: Recipe, run: Run, plan: Plan, bundle_bytes: Sequence[float]) -> list[str]:
    """Return the warnings that a plan deserves."""
    return [
        *_banding(run),
        *_no_dedup(run),
        *_orphans(run, plan),
        *_thresholds(plan["filters"]),
        *_weights(recipe, plan),
        *_shards(plan, bundle_bytes),
        *_memory(plan),
        *_disk(plan),
        *_gpus(plan),
        *device.warnings(plan),
        *node.warnings(plan),
        *_sample(plan),
    ]


def of_languages(measured: Measured) -> list[str]:
    """Return what rules about texts do to languages in the sample."""
    found = language_warnings(measured.run, (tally.languages for tally in measured.tallies))
    return [f"of the sample, {text}" for text in found]


def _banding(run: Run) -> list[str]:
    found = []
    for index, stage in enumerate(run.stages):
        if not isinstance(stage, NearDedup):
            continue
        near = near_job(run, index)
        bands, rows = near.bands, near.rows_per_band
        threshold = stage.threshold
        if threshold != threshold:
            found.append(
                f"{stage.name}: verify is none, so every pair that shares a bucket counts as a duplicate; "
                f"{bands} x {rows} finds half of the pairs at {banding.half_way(bands, rows):.2f}. Set "
                "jaccard_threshold and verify: exact to drop only what is really similar."
            )
            continue
        found += [f"{stage.name}: {text}" for text in banding.warnings(bands, rows, threshold)]
        low, high = (banding.probability(min(1.0, max(0.0, threshold + s)), bands, rows) for s in (-CURVE, CURVE))
        if stage.verify == "none" and high - low < FLAT:
            found.append(
                f"{stage.name}: the S-curve of {bands} x {rows} is flat at {threshold}: P(found) goes from {low:.2f} "
                f"to {high:.2f} within ±{CURVE}. It does not tell duplicates from others there; use verify: exact."
            )
        if stage.verify != "none" and banding.half_way(bands, rows) < threshold - 0.3:
            found.append(
                f"{stage.name}: {bands} x {rows} makes candidates of half the pairs at "
                f"{banding.half_way(bands, rows):.2f} already, far below {threshold}: much to verify, little to "
                "find. Use more rows_per_band."
            )
    return found


def _no_dedup(run: Run) -> list[str]:
    uses = {stage.use for stage in run.stages}
    if "near_dedup" not in uses and "minhash" in uses:
        return ["minhash makes signatures that nothing uses: there is no near_dedup stage."]
    if "near_dedup" not in uses:
        return ["near duplicates are not looked for: there is no minhash and near_dedup stage."]
    return []


def _orphans(run: Run, plan: Plan) -> list[str]:
    found = []
    for index, stage in enumerate(run.stages):
        if not isinstance(stage, DedupStage) or stage.orphans != "allow":
            continue
        later = [s for s in run.stages[index + 1 :] if isinstance(s, ShardStage) and s.drops]
        for other in later:
            shares = plan["flow"].get(other.name, {})
            worst = max(shares.items(), key=lambda item: item[1]["share"], default=None)
            if worst and worst[1]["share"] > 0:
                found.append(
                    f"{stage.name} has orphans: allow, and the later filter {other.name} drops {worst[1]['share']:.0%} "
                    f"of {worst[0]}: a group whose kept copy lies there is lost as a whole. Use orphans: promote."
                )
    return found


def _thresholds(filters: Sequence[FilterPlan]) -> list[str]:
    found = []
    for entry in filters:
        if entry.get("kept") is None or not entry["documents"]:
            continue
        kept, swing = entry["kept"], entry["kept_lower"] - entry["kept_upper"]
        where = f"{entry['stage']}, {entry['dataset']}: min_score {entry['min_score']}"
        median = entry["percentiles"]["p50"]
        if entry["min_score"] and kept >= ALL:
            found.append(f"{where} drops nothing of the sample (median {median:.3g}): it lies where the curve is flat.")
        elif kept <= NOTHING:
            found.append(f"{where} drops everything of the sample (median {median:.3g}). Is it on the model's scale?")
        elif swing > STEEP:
            found.append(
                f"{where} lies where the score curve is steep: the share kept is {kept:.0%}, and goes from "
                f"{entry['kept_lower']:.0%} to {entry['kept_upper']:.0%} for a tenth of the scores' spread up or down."
            )
    return found


def _weights(recipe: Recipe, plan: Plan) -> list[str]:
    names = [name for name, section in recipe.datasets.items() if section.role != "reference"]
    found = []
    for mix in mixes_of_recipe(recipe):
        where = f"mix {mix.name}: " if mix.name else ""
        key = f"mixes.{mix.name}.weights" if mix.name else "mix.weights"
        for name in names:
            if mix.weights and not mix.weights.get(name) and not mix.cells:
                effect = "nothing of it enters the mix" if mix.mode == "sample" else "its recorded weight is 0"
                found.append(f"{where}dataset {name} has no weight in {key}: {effect}.")
        expected = plan["mixes"][mix.name] if mix.name else plan["mix"]
        found += [f"{where}{text}" for text in _shortfalls(expected)]
    return found


def _shortfalls(mix: MixPlan) -> Iterator[str]:
    for name, entry in mix["datasets"].items():
        target = entry["target_tokens"]
        if target and entry["shortfall_tokens"] > 0.01 * target:
            yield (
                f"{name} is expected to fall {entry['shortfall_tokens']:,} tokens short of its target {target:,}, even "
                f"at {entry['epochs']:.3g} epochs. Raise max_epochs, or lower its weight or target_tokens."
            )


def _shards(plan: Plan, bundle_bytes: Sequence[float]) -> list[str]:
    found = []
    for name, entry in plan["datasets"].items():
        if entry["shards"] > 2 and entry["largest_shard"] > SKEWED * max(1, entry["median_shard"]):
            found.append(
                f"shards of {name} are skewed: the largest has {entry['largest_shard']:,} bytes, the median "
                f"{entry['median_shard']:,}."
            )
    slots, total = plan["machine"]["slots"], sum(bundle_bytes)
    if slots > 1 and bundle_bytes and max(bundle_bytes) > IDLE * total / slots:
        found.append(
            f"one bundle holds {max(bundle_bytes) / total:.0%} of the text, for {slots:g} tasks at a time: the others "
            "wait for it. A bundle is cut at Parquet row groups; write smaller ones."
        )
    return found


def _memory(plan: Plan) -> list[str]:
    memory = plan["memory"]
    if memory["worker"] <= memory["limit"]:
        return []
    return [
        f"a worker may hold {memory['worker'] / 1e9:.1f} GB ({memory['largest']}) of {memory['limit'] / 1e9:.1f} GB. "
        "Use fewer threads_per_worker or fewer workers, or more memory."
    ]


def _disk(plan: Plan) -> list[str]:
    root = plan["run"]
    if not root or not storage.is_local(root):
        return []
    place = storage.local_path(root)
    while place and not storage.exists(place):
        place = place.rpartition("/")[0]
    free = shutil.disk_usage(place or ".").free
    if plan["bytes_on_disk"] <= free:
        return []
    return [f"the run folder needs about {plan['bytes_on_disk']:,} bytes, {free:,} are free at {place or '.'}."]


def _gpus(plan: Plan) -> list[str]:
    if not plan["machine"]["gpus"]:
        return []
    return [
        "--gpus: rates were measured on this machine's CPU; time, bounds and cost are those of as many CPU workers as "
        "there are GPUs. What a node of them might take is simulated beside it."
    ]


def _sample(plan: Plan) -> list[str]:
    found = [
        f"{name}: {entry['looked_at']:,} documents are too few to tell the share of duplicates in the whole; time and "
        "mix are given as if it were that of the sample. Use --duplicate-documents."
        for name, entry in plan["duplicates"].items()
        if entry["in_all"] is None
    ]
    for name, entry in plan["datasets"].items():
        found += [f"{name}: {text}" for text in entry["problems"]]
    return found
