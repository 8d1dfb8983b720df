"""Device memory in the plan."""

from __future__ import annotations

from typing import Any

from cluster.device import turns
from pipelines.plan.gpu import device
from pipelines.plan.plan import plan
from pipelines.recipe.recipe import load_data
from tests.support.plans import recipe_data


def test_the_plan_checks_what_stages_take_against_the_memory_of_a_gpu(
    datasets: dict[str, Any],
) -> None:
    stages = [{"use": "minhash", "num_permutations": 256, "hash_bits": 64}]
    only = {"web": next(iter(datasets.values()))}
    found = plan(load_data(recipe_data(only, stages=stages), "test"), gpus=8, gpu_memory=2 * 10**9, sample_documents=50)
    needed = found["device"]
    assert needed["worker"] == turns.TURNS * needed["tasks"]["annotate"]  # of two threads at a time
    assert needed["tasks"]["annotate"] > 10 * (256 << 20)  # ten times a chunk of text
    assert (needed["limit"], needed["text_on_host_for"]) == (1_800_000_000, [])
    assert device.lines(found)[1] == "text: read to the GPU"
    assert [text for text in found["warnings"] if "on its GPU (annotate) of 1.8 GB" in text]
    found["device"] |= {"limit": 72 * 10**9, "text_on_host_for": ["heuristics"]}
    assert device.warnings(found) == []
    assert device.lines(found)[1] == "text: on the host, for heuristics"
