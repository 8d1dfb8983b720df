"""What a plan says of the input and of the mix: datasets, sample, duplicates, survivors, expected mix."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from pipelines.plan.extent import Size
from pipelines.plan.growth import Flow
from pipelines.plan.inputs import Drawn, Input
from pipelines.plan.tree import DatasetPlan, DuplicatesPlan, FlowPlan, KeptPlan, MixDatasetPlan, MixPlan
from pipelines.plan.whole import Whole
from pipelines.recipe.output import output_of_mix
from pipelines.recipe.recipe import Recipe
from pipelines.recipe.to_run import mixes_of_recipe, output_of_recipe
from stages.core.arrays import BoolArray
from stages.implicit.read import BYTES_PER_TOKEN
from stages.kernels.hashes.hashing import mix64
from stages.outcome.mixing import Mix, copies, portions

STAND_INS = 1 << 16  # what is left of a dataset is told to 0.2 %


@dataclass(frozen=True, kw_only=True)
class Sampled:
    """One dataset: its input, what was drawn of it, its size."""

    input: Input
    drawn: Drawn
    size: Size


def describe_datasets(recipe: Recipe, sampled: Sequence[Sampled], whole: Whole) -> dict[str, DatasetPlan]:
    """Return what each dataset holds."""
    bundles = Counter(bundle.dataset for bundle in whole.bundles)
    return {s.input.dataset.name: _dataset(recipe, s, whole, bundles[s.input.dataset.name]) for s in sampled}


def _dataset(recipe: Recipe, sampled: Sampled, whole: Whole, bundles: int) -> DatasetPlan:
    name, size = sampled.input.dataset.name, sampled.size
    return {
        "role": sampled.input.dataset.role,
        "formats": sampled.input.kinds(),
        "shards": size.shards,
        "bytes": size.bytes,
        "largest_shard": size.largest,
        "median_shard": size.median,
        "documents": whole.documents[name],
        "documents_are": "counted" if size.exact else "estimated",
        "text_bytes": whole.text_bytes[name],
        "tokens": whole.text_bytes[name] // BYTES_PER_TOKEN,
        "weight": recipe.mix.weights.get(name) if recipe.mix.weights else None,
        "bundles": bundles,
        "problems": sampled.input.problems,
    }


def describe_duplicates(flow: Flow) -> dict[str, DuplicatesPlan]:
    """Return what each dedup stage drops."""
    return {
        name: {
            "documents": found.documents,
            "dropped": found.dropped,
            "groups": found.groups,
            "in_sample": found.in_sample,
            "in_all": found.in_all,
            "looked_at": found.seen_among,
            "candidates": found.candidates,
        }
        for name, found in flow.duplicates.items()
    }


def describe_flow(flow: Flow) -> dict[str, dict[str, FlowPlan]]:
    """Return stage -> dataset -> documents before it, documents dropped, share dropped."""
    return {
        stage: {
            name: {
                "before": round(n),
                "dropped": round(flow.dropped[stage][name]),
                "share": flow.dropped[stage][name] / n,
            }
            for name, n in before.items()
            if n
        }
        for stage, before in flow.before.items()
    }


def describe_kept(whole: Whole) -> dict[str, KeptPlan]:
    """Return the survivors of each dataset."""
    kept = whole.flow.kept
    return {n: {"documents": round(k), "share": k / max(1, whole.documents[n])} for n, k in kept.items()}


def _by_dataset(mix: Mix, mixable: Mapping[str, tuple[int, int]]) -> Mix:
    """Return a mix of cells as one of datasets: what a cell holds is not known before the run, so all give alike."""
    if not mix.cells:
        return mix
    there = sum(tokens for _, tokens in mixable.values())
    fixed = sum(cell.tokens or 0 for cell in mix.cells)
    target = mix.target_tokens or min(fixed or there, there)
    weights = {name: float(tokens) for name, (_, tokens) in mixable.items()}
    return replace(mix, cells=(), weights=weights, target_tokens=target, max_epochs=1000.0)


def expected_mixes(recipe: Recipe, kept: Mapping[str, float], kept_bytes: Mapping[str, float]) -> dict[str, MixPlan]:
    """Return what each mix is expected to hold, by the rules of `stages.outcome.mixing`; "": the one of a recipe.

    kept, kept_bytes : survivors of each dataset, and the bytes of their text.
    """
    free = _Free()
    return {mix.name: _expected(recipe, mix, free, kept, kept_bytes) for mix in mixes_of_recipe(recipe)}


class _Free:
    """What mixes leave to those that exclude them: each draws among stand-ins for the documents of a dataset."""

    def __init__(self) -> None:
        self.keys = mix64(np.arange(STAND_INS, dtype=np.uint64), 0)
        self.taken: dict[tuple[str, str], BoolArray] = {}

    def of(self, mix: Mix, dataset: str) -> BoolArray:
        """Mark the stand-ins that a mix may take, those that no excluded one has."""
        free = np.ones(STAND_INS, np.bool_)
        for other in mix.exclude:
            free &= ~self.taken[other, dataset]
        return free

    def take(self, mix: Mix, dataset: str, epochs: float) -> None:
        """Note the stand-ins that a mix takes."""
        drawn = copies(self.keys, epochs, mix.draw_seed) > 0
        self.taken[mix.name, dataset] = drawn & self.of(mix, dataset)


def _expected(
    recipe: Recipe, mix: Mix, free: _Free, kept: Mapping[str, float], kept_bytes: Mapping[str, float]
) -> MixPlan:
    names = [name for name, section in recipe.datasets.items() if section.role != "reference"]
    share = {name: (1.0 - mix.holdout) * float(free.of(mix, name).mean()) for name in names}
    mixable = {
        name: (round(kept[name] * share[name]), round(kept_bytes[name] * share[name]) // BYTES_PER_TOKEN)
        for name in names
    }
    found: dict[str, MixDatasetPlan] = {}
    written = 0.0
    repeat = output_of_mix(output_of_recipe(recipe), mix).repeat
    for name, portion in portions(_by_dataset(mix, mixable), mixable).items():
        free.take(mix, name, portion.epochs)
        times = portion.epochs if repeat else min(1.0, portion.epochs)
        written += kept_bytes[name] * (times * share[name] + mix.holdout)
        found[name] = {
            "documents": round(portion.documents * min(1.0, portion.epochs)),
            "tokens": portion.expected_tokens,
            "epochs": portion.epochs,
            "target_tokens": portion.target_tokens,
            "shortfall_tokens": portion.shortfall_tokens,
        }
    return {"datasets": found, "text_bytes": round(written)}


def together(mixes: Mapping[str, MixPlan]) -> MixPlan:
    """Return what all mixes of a run hold, a document of two of them counted twice."""
    found: dict[str, MixDatasetPlan] = {}
    for mix in mixes.values():
        for name, entry in mix["datasets"].items():
            found[name] = _added(found[name], entry) if name in found else entry
    return {"datasets": found, "text_bytes": sum(mix["text_bytes"] for mix in mixes.values())}


def _added(one: MixDatasetPlan, other: MixDatasetPlan) -> MixDatasetPlan:
    targets = [t for t in (one["target_tokens"], other["target_tokens"]) if t is not None]
    return {
        "documents": one["documents"] + other["documents"],
        "tokens": one["tokens"] + other["tokens"],
        "epochs": one["epochs"] + other["epochs"],
        "target_tokens": sum(targets) if targets else None,
        "shortfall_tokens": one["shortfall_tokens"] + other["shortfall_tokens"],
    }
