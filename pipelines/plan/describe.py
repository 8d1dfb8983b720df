"""What a plan says of the input and of the mix: datasets, sample, duplicates, survivors, expected mix."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from pipelines.plan.extent import Size
from pipelines.plan.growth import Flow
from pipelines.plan.inputs import Drawn, Input
from pipelines.plan.tree import DatasetPlan, DuplicatesPlan, FlowPlan, KeptPlan, MixDatasetPlan, MixPlan
from pipelines.plan.whole import Whole
from pipelines.recipe.output import output_of_mix
from pipelines.recipe.recipe import Recipe
from pipelines.recipe.to_run import mix_of_recipe, output_of_recipe
from stages.implicit.read import BYTES_PER_TOKEN
from stages.outcome.mixing import Mix, portions


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


def expected_mix(recipe: Recipe, kept: Mapping[str, float], kept_bytes: Mapping[str, float]) -> MixPlan:
    """Return what the mix is expected to hold, by the rules of `stages.outcome.mixing`."""
    mix = mix_of_recipe(recipe)
    share = 1.0 - mix.holdout
    mixable = {
        name: (round(kept[name] * share), round(kept_bytes[name] * share) // BYTES_PER_TOKEN)
        for name, section in recipe.datasets.items()
        if section.role != "reference"
    }
    found: dict[str, MixDatasetPlan] = {}
    written = 0.0
    repeat = output_of_mix(output_of_recipe(recipe), mix).repeat
    for name, portion in portions(_by_dataset(mix, mixable), mixable).items():
        copies = portion.epochs if repeat else min(1.0, portion.epochs)
        written += kept_bytes[name] * (copies * share + mix.holdout)
        found[name] = {
            "documents": round(portion.documents * min(1.0, portion.epochs)),
            "tokens": portion.expected_tokens,
            "epochs": portion.epochs,
            "target_tokens": portion.target_tokens,
            "shortfall_tokens": portion.shortfall_tokens,
        }
    return {"datasets": found, "text_bytes": round(written)}
