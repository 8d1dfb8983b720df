"""`python -m benchmarks.node`: a node of GPUs and cores against its cores alone, simulated at the size of a corpus.

The recipe is run on a sample of the text, as `winnow plan` does; the bundles are multiplied until they hold so much
text. Prints what `pipelines/plan/gpu/node.py` finds, as JSON, and `--out` keeps it. Host rates are measured here; rates
of devices are on paper. `tests/pipelines/plan/gpu/data` holds such figures of three recipes, which the tests simulate
again.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from unittest.mock import patch

from pipelines.plan import plan
from pipelines.plan.gpu import node
from pipelines.plan.growth import Flow
from pipelines.plan.machine import machine_of
from pipelines.plan.rates import Rates
from pipelines.plan.reuse import present
from pipelines.plan.whole import Whole
from pipelines.recipe.recipe import Recipe, load_data

BUNDLE = 512e6  # bytes of text of a corpus's bundles, and of the parts of its mix
DEDUP = ({"use": "exact_dedup"}, {"use": "minhash"}, {"use": "near_dedup", "jaccard_threshold": 0.8})
FILTERS = (
    {"use": "language_id", "languages": ["en"]},
    {"use": "heuristics", "presets": ["gopher", "fineweb"]},
    {"use": "line_rules", "rules": ["c4"]},
    *DEDUP,
)


def recipe_of(data: Path, models: Mapping[str, str], name: str) -> Recipe:
    """Return a recipe: `dedup`, `filters` (a fastText model among them), or `neural` (and a classifier)."""
    kinds = {"dedup": (), "filters": ("fasttext",), "neural": ("fasttext", "onnx")}[name]
    quality = [{"use": "quality", "name": k, "model": f"{k}:{models[k]}", "min_score": 0.1} for k in kinds if models[k]]
    text = {"paths": str(data), "columns": {"text": "text"}}
    stages = [*(DEDUP if name == "dedup" else FILTERS), *quality]
    return load_data({"name": "node", "datasets": {"text": text}, "stages": stages}, "benchmarks.node")


def at_size(whole: Whole, size: float) -> Whole:
    """Return the whole as many times over as it takes to hold so many bytes of text, flow and duplicates alike."""
    times = max(1, round(size / max(1, whole.all_text)))

    def more(counts: Mapping[str, Any]) -> dict[str, Any]:
        return {name: more(n) if isinstance(n, Mapping) else n * times for name, n in counts.items()}

    flow = whole.flow
    bundles = [replace(whole.bundles[0], number=i) for i in range(max(1, round(size / BUNDLE)))]
    return replace(
        whole,
        documents=more(whole.documents),
        text_bytes=more(whole.text_bytes),
        bundles=bundles,
        missing={name: [True] * len(bundles) for name in whole.missing},
        flow=Flow(
            before=more(flow.before),
            dropped=more(flow.dropped),
            duplicates=flow.duplicates,
            kept=more(flow.kept),
            kept_bytes=more(flow.kept_bytes),
        ),
        mix_bytes=whole.mix_bytes * times,
        mix_parts=max(1, round(whole.mix_bytes * times / BUNDLE)),
    )


def measured(recipe: Recipe, documents: int, size: float, cores: int) -> dict[str, Any]:
    """Return the work of a recipe at this size, from rates measured here, in processor time."""
    inputs = plan._inputs(recipe)
    with tempfile.TemporaryDirectory() as folder, patch("time.perf_counter", time.process_time):
        pilot, warm, _ = plan._pilot(recipe, inputs, folder)
        sampled, sample = plan._sample(recipe, inputs, pilot, documents, folder)
        here = present(recipe, None, inputs)
        whole = plan._whole(recipe, sample, sampled, here, {})
        share = sum(i.bytes for i in inputs) / max(1, whole.all_text)
        where = node.cores_alone(machine_of(recipe, None, None), cores)
        whole = at_size(whole, size)
        found = node.work_of(recipe, Rates(warm, sample), whole, where, here, {}, round(share * whole.all_text))
    return dict(found)


def main() -> None:
    """Measure, simulate, print, write."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.node", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder of Parquet files with a column text")
    parser.add_argument("--fasttext", default="", help="fastText model of a stage quality")
    parser.add_argument("--onnx", default="", help="folder of an ONNX classifier of another")
    parser.add_argument("--terabytes", type=float, default=8.0)
    parser.add_argument("--gpus", type=int, default=8)
    parser.add_argument("--cores", type=int, default=112)
    parser.add_argument(
        "--documents", type=int, default=6000, help="of the sample; a tenth of them with a neural model"
    )
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    result: dict[str, Any] = {"date": datetime.now(UTC).date().isoformat(), "terabytes": given.terabytes}
    for name in ("dedup", "filters", "neural"):
        recipe = recipe_of(given.data.resolve(), {"fasttext": given.fasttext, "onnx": given.onnx}, name)
        documents = given.documents // 10 if name == "neural" else given.documents
        work: Any = measured(recipe, documents, given.terabytes * 1e12, given.cores)
        result[name] = node.section(work, given.gpus)
    text = json.dumps(result, indent=1) + "\n"
    if given.out:
        given.out.write_text(text)
    sys.stdout.write(text)


if __name__ == "__main__":
    main()
