"""Memory that tasks take on a GPU, from the expansion factor that each stage declares, beside what the GPU has.

Guarantees: bounds, not measurements: nothing here ran on a GPU. What does not fit is halved at run time.
"""

from __future__ import annotations

from cluster.device import backend
from cluster.device.rapids import MAXIMUM_SHARE
from cluster.device.turns import TURNS
from pipelines.plan.tree import DevicePlan, Plan
from pipelines.plan.whole import Whole
from pipelines.recipe.recipe import Recipe
from stages.core.run import Run
from stages.core.stage import ShardStage
from stages.dedup.centroid_counts import centroids_for
from stages.dedup.clusters import CHILDREN, SAMPLE_PER_CENTROID
from stages.dedup.near.buckets import RECORDS_PER_DESTINATION
from stages.inputs import device_reader
from stages.inputs.reader import BATCH_BYTES
from stages.kernels.gpu import array_kernels, rapids_kernels
from stages.kernels.similarity import cosine
from stages.minhash import MinHash
from stages.near_dedup import NearDedup, near_job
from stages.semantic_dedup import SemanticDedup

MASKS = 12  # arrays of one byte for each byte that `well_formed` looks at
RECORD_BYTES = 16 * 5  # key and document, in order and out of it, what is found, what a sort or a choice needs
GATHERED = 2  # times a chunk's bytes that it takes, with the texts that are wanted of it
EDGE_BYTES = 100  # both directions, renumbered, and pylibcugraph's compressed rows
DIMENSIONS = 1024  # of an embedding: the longest usual one


def section(recipe: Recipe, run: Run, whole: Whole, gpus: int | None, memory: int | None) -> DevicePlan | None:
    """Return the plan's part on device memory; None where no GPU is asked for."""
    if not (gpus or memory or recipe.cluster.backend == "gpu" or recipe.cluster.kind == "local-cuda"):
        return None
    needed = tasks(run, whole, recipe.on_error)
    largest = max(needed, key=lambda name: needed[name])
    limit, limit_is = (memory, "--gpu-memory") if memory else _here()
    return {
        "tasks": needed,
        "largest": largest,
        "worker": needed[largest] * (1 if recipe.cluster.threads_per_worker == 1 else TURNS),
        "limit": round(limit * MAXIMUM_SHARE) if limit else None,
        "limit_is": limit_is,
        "text_on_host_for": [s.name for s in _first(run) if s.host_text],
    }


def _here() -> tuple[int | None, str]:
    device = backend.probe().device
    return (device.memory, "this machine's GPU") if device else (None, "unknown: give --gpu-memory")


def tasks(run: Run, whole: Whole, on_error: str) -> dict[str, int]:
    """Return the bytes that each kind of task holds on its GPU at most."""
    rows = max((b.rows for b in whole.bundles), default=0)
    found: dict[str, float] = {"annotate": _annotate(run, whole, rows, on_error)}
    if device_reader.fits((), on_error):
        masks = array_kernels.WINDOW * MASKS
        found["texts read again"] = device_reader.CHUNK_BYTES * (rapids_kernels.READ_AHEAD + GATHERED) + masks
    for index, stage in enumerate(run.stages):
        if isinstance(stage, NearDedup):
            near = near_job(run, index)
            slots = near.num_permutations * near.hash_bits // 8
            records = min(float(whole.rows) * near.bands, RECORDS_PER_DESTINATION * 1.25)
            found[f"{stage.name}: band keys"] = rows * (slots + near.bands * RECORD_BYTES)
            found[f"{stage.name}: buckets"] = records * RECORD_BYTES
            found[f"{stage.name}: components"] = records * EDGE_BYTES
        elif isinstance(stage, SemanticDedup):
            across = cosine.BLOCK * cosine.ACROSS * 8 * 3 + (cosine.BLOCK + cosine.ACROSS) * DIMENSIONS * 8
            clusters = min(stage.centroids or centroids_for(whole.rows), CHILDREN)
            sample = clusters * SAMPLE_PER_CENTROID * DIMENSIONS * 4
            found[f"{stage.name}: compare"] = across
            found[f"{stage.name}: k-means"] = 3.0 * sample
    return {name: round(size) for name, size in found.items()}


def _first(run: Run) -> list[ShardStage]:
    """Return the stages of the first read."""
    return [s for i, s in enumerate(run.stages) if isinstance(s, ShardStage) and not run.deferred(i)]


def _annotate(run: Run, whole: Whole, rows: int, on_error: str) -> float:
    """Return the bytes of one chunk of text with all that is made of it, and of what the reader holds meanwhile.

    Kernels come one after the other, each frees what it needed.
    """
    stages = _first(run)
    straight = device_reader.fits(stages, on_error)
    text = device_reader.CHUNK_BYTES if straight else BATCH_BYTES
    average = whole.all_text / max(1, whole.rows)
    signed = max((s.num_permutations * s.hash_bits // 8 for s in stages if isinstance(s, MinHash)), default=0)
    masks = array_kernels.WINDOW * MASKS if straight else 0
    expansion = max(s.device_expansion for s in stages) + (rapids_kernels.READ_AHEAD if straight else 0)
    return expansion * text + min(rows, text / max(1.0, average)) * signed + masks


def lines(plan: Plan) -> list[str]:
    """Return what the plan says of device memory."""
    if "device" not in plan:
        return []
    device = plan["device"]
    of = f"{device['limit'] / 1e9:.1f} GB ({device['limit_is']})" if device["limit"] else device["limit_is"]
    where = ", ".join(device["text_on_host_for"])
    return [
        f"GPU memory: tasks of a worker hold {device['worker'] / 1e9:.1f} GB at most ({device['largest']}), of {of}",
        f"text: on the host, for {where}" if where else "text: read to the GPU",
    ]


def warnings(plan: Plan) -> list[str]:
    """Say which task does not fit the GPU."""
    device = plan.get("device")
    if not device or not device["limit"] or device["worker"] <= device["limit"]:
        return []
    return [
        f"a worker may hold {device['worker'] / 1e9:.1f} GB on its GPU ({device['largest']}) of "
        f"{device['limit'] / 1e9:.1f} GB. What does not fit is halved, which takes time, and k-means cannot be: "
        "use larger GPUs, or fewer centroids."
    ]
