"""One node of GPUs and cores, simulated: a run on its cores alone, and with its GPUs.

Host seconds are those of the sample, measured on this machine; rates of kernels on a device are on paper
(device_rates.py). Guarantees: both runs have the same tasks. In the first read, and where near_dedup and the mix read
texts again, a task goes chunk by chunk: its kernels wait for the GPU of its worker, which serves one after the other;
what is left for the host is done in its own thread. Where enough threads keep the GPU busy, others do tasks of the
first read on the host alone, by the rule of a run's workers (cluster/device/share.py), and chunks of later ones.
Forward passes of neural models go to the GPUs. All other work is counted on the cores in both. Memory: a reference for
each of SIMULATED tasks.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TypeVar

from cluster.device.kernel_times import MODEL
from pipelines.mix import materialize
from pipelines.plan.costs import TASK_SECONDS, makespan, reading_seconds
from pipelines.plan.deferred import deferred_stages, judged_documents
from pipelines.plan.gpu import device_rates
from pipelines.plan.gpu.simulated import Task, simulate
from pipelines.plan.machine import Machine
from pipelines.plan.node_tree import NodeAgain, NodeModel, NodePlan, NodeRead, NodeSeconds, NodeWork
from pipelines.plan.rates import Rates
from pipelines.plan.reuse import Present
from pipelines.plan.steps import seconds_of_steps
from pipelines.plan.tree import Plan
from pipelines.plan.units import duration
from pipelines.plan.whole import Whole, amounts_of_whole, candidates_of, near_index
from pipelines.recipe.recipe import Recipe
from stages.core.costs import Quantity
from stages.core.stage import ShardStage
from stages.inputs import device_reader
from stages.inputs.reader import BATCH_BYTES
from stages.minhash import MinHash
from stages.near_dedup import near_job

SIMULATED = 16_000  # tasks at most; of more, their time is that of so many times as long
COARSE = 8_000  # the same where a node is simulated many times
READ = ("read_parquet", "judge_texts")  # on the device where texts are read straight to it
GATHER, HASH = "gather_texts", "content_hash"
AGAIN = ("read_parquet", GATHER, HASH)  # on the device where texts are read again; the host judges them as ever
SLOWEST = 1024.0  # factor by which devices are thought slower, at most
T = TypeVar("T")
R = TypeVar("R", NodeRead, NodeAgain)


def work_of(
    recipe: Recipe,
    rates: Rates,
    whole: Whole,
    where: Machine,
    here: Present,
    left: Mapping[str, float],
    input_bytes: int,
) -> NodeWork:
    """Return the work of a run that both ways of running it share.

    where: its cores, a worker each; left: the share of a step's work that is left, where it is not all.
    """
    run = rates.sample.run
    first = [s for i, s in enumerate(run.stages) if isinstance(s, ShardStage) and not run.deferred(i)]
    straight = device_reader.fits(first, recipe.on_error)
    steps = seconds_of_steps(rates, whole, where, here, left)
    del steps["annotate"]
    again = _again(rates, whole, steps, where.workers) if device_reader.fits((), recipe.on_error) else []
    for read in again:
        steps[read["step"]] -= read["text_bytes"] * _byte_on_host(read) / where.workers
    models = _models(rates, whole)
    for model in models:
        steps.pop(model["stage"], None)
    signed = [s.num_permutations * s.hash_bits / 32 for s in first if isinstance(s, MinHash)]
    return {
        "cores": where.workers,
        "text_bytes": whole.all_text,
        "input_bytes": input_bytes,
        "straight": straight,
        "permutations": max(signed, default=128.0),
        "first_read": [_read(rates, whole, name, first, straight) for name in whole.documents],
        "again": again,
        "models": models,
        "steps": steps,
    }


def _again(rates: Rates, whole: Whole, steps: Mapping[str, float], cores: int) -> list[NodeAgain]:
    """Return the steps that read texts again, at most as long as they take; steps: seconds of each on all cores."""
    found: list[NodeAgain] = []
    text = max(1, whole.all_text)
    for step in steps:
        index = near_index(rates.sample, step)
        if index is None or not near_job(rates.sample.run, index).compares_texts:
            continue
        if read := amounts_of_whole(whole, rates.sample, step)[Quantity.CANDIDATE_TEXTS]:
            wanted, again = candidates_of(whole, rates.sample, step) / max(1, whole.rows), rates.sample.again
            found.append(_reading(step, read, again.seconds, again.kernels, min(1.0, wanted)))
    mixed = {cost.name for cost in (materialize.SEND, materialize.WRITE)}
    unit = sum(rate.unit for rate in rates.of("materialize") if rate.cost.name in mixed) * whole.mix_bytes / text
    if "materialize" in steps and unit:
        kernels = rates.kernels_of("materialize", mixed)
        kernels = {name: seconds * whole.mix_bytes / text for name, seconds in kernels.items()}
        found.append(_reading("materialize", text, unit, kernels, min(1.0, whole.mix_bytes / text)))
    for one in found:
        seconds = one["text_bytes"] * _byte_on_host(one) / cores
        one["text_bytes"] = round(one["text_bytes"] * min(1.0, steps[one["step"]] / seconds))
        one["tasks"] = max(1, round(len(whole.bundles) * one["text_bytes"] / text))
    return found


def _reading(step: str, text: float, seconds: float, kernels: Mapping[str, float], copied: float) -> NodeAgain:
    """Return a step that reads texts again; seconds: of a byte of text on one core, kernels among them."""
    taken = {name: took for name, took in kernels.items() if name in AGAIN}
    host = max(0.0, seconds - sum(taken.values()))
    return {"step": step, "tasks": 1, "text_bytes": round(text), "host": host, "kernels": taken, "copied": copied}


def _models(rates: Rates, whole: Whole) -> list[NodeModel]:
    """Return the deferred stages with neural models: documents that they judge, and what one takes."""
    found: list[NodeModel] = []
    read = reading_seconds(rates, whole) / max(1, whole.rows)
    counts = judged_documents(rates, whole)
    for stage in deferred_stages(rates):
        judged, spent = rates.sample.judged.get(stage.name, (0, 0.0))
        forward = sum(t for (s, _, kernel), t in rates.sample.kernels.items() if (s, kernel) == (stage.name, MODEL))
        mine = [whole.missing[stage.name][i] for i, b in enumerate(whole.bundles) if stage.applies_to(b.dataset)]
        if stage.neural and forward and any(mine):
            documents = round(counts[stage.name] * sum(mine) / len(mine))
            host = max(0.0, spent - forward) / max(1, judged) + read
            model = forward / max(1, judged)
            found.append({"stage": stage.name, "documents": documents, "host": host, "model": model})
    return found


def _read(rates: Rates, whole: Whole, dataset: str, stages: list[ShardStage], straight: bool) -> NodeRead:
    """Return the first read of a dataset: only bundles and stages whose facts are missing."""
    mine = [i for i, b in enumerate(whole.bundles) if b.dataset == dataset]
    lacking = {s.name: sum(whole.missing[s.name][i] for i in mine) / max(1, len(mine)) for s in stages}
    tasks = round(max(lacking.values(), default=0.0) * len(mine))
    host, kernels, calls = 0.0, dict[str, float](), dict[str, float]()
    each = rates.bundle(dataset) if tasks else 0.0
    for name, share in {**lacking, "read": 1.0}.items():
        known = rates.kernels(name, dataset)
        taken = {k: v for k, v in known.items() if k in device_rates.KERNELS and (straight or k not in READ)}
        host += share * max(0.0, rates.annotate(name, dataset) - sum(taken.values()))
        for kernel, seconds in taken.items():
            kernels[kernel] = kernels.get(kernel, 0.0) + share * seconds
            many = len(stages) if kernel == GATHER else rates.reached(name, dataset)
            calls[kernel] = calls.get(kernel, 0.0) + share * many
    return {
        "dataset": dataset,
        "tasks": tasks,
        "text_bytes": round(whole.text_bytes[dataset] * tasks / max(1, len(mine))),
        "host": host,
        "kernels": kernels,
        "calls": calls,
        "each": each,
    }


def on_cores(work: NodeWork) -> float:
    """Return the seconds of the first read on the cores alone."""
    tasks, times = _shown(work["first_read"], lambda read: _bytes(read) * _byte_on_host(read) + read["each"])
    spent = makespan([seconds + TASK_SECONDS for seconds in tasks], work["cores"]) * times if tasks else 0.0
    return max(spent, work["input_bytes"] / device_rates.DISK)


def on_gpus(work: NodeWork, gpus: int, slower: float = 1.0, most: int = SIMULATED) -> tuple[float, float]:
    """Return (seconds of the first read with GPUs, share of it in which the busiest computes).

    slower : factor by which devices are thought slower than on paper. most : tasks that are simulated.
    """
    tasks, times = _shown(work["first_read"], lambda read: _task(work, read, slower), most)
    end, busy = simulate(tasks, gpus, max(1, work["cores"] // gpus))
    spent = max(end * times, work["input_bytes"] / device_rates.DISK)
    return spent, busy * times / spent if spent else 0.0


def again_on_cores(work: NodeWork) -> float:
    """Return the seconds in which texts are read again on the cores alone."""
    spent = 0.0
    for read in work["again"]:
        seconds = read["text_bytes"] * _byte_on_host(read) / work["cores"]
        spent += max(seconds, _from_disk(work, read))
    return spent


def again_on_gpus(work: NodeWork, gpus: int, slower: float = 1.0) -> float:
    """Return the seconds in which texts are read again by the GPUs; slower: see `on_gpus`."""
    spent = 0.0
    for read in work["again"]:
        tasks, times = _shown([read], partial(_task_again, slower=slower), COARSE)
        end, _ = simulate(tasks, gpus, max(1, work["cores"] // gpus))
        spent += max(end * times, _from_disk(work, read))
    return spent


def _from_disk(work: NodeWork, read: NodeAgain) -> float:
    """Return the seconds in which the disks give the files of a step that reads texts again."""
    return work["input_bytes"] * read["text_bytes"] / max(1, work["text_bytes"]) / device_rates.DISK


def _task_again(read: NodeAgain, slower: float = 1.0) -> Task:
    """Return a task of a step that reads texts again: the reader, its look at UTF-8, what is wanted gathered, copied.

    Hashes of what is written are computed on the GPU, to which the texts go once more. While others have all turns on
    it, the host reads by itself.
    """
    size, copied = _bytes(read), read["copied"]
    byte = sum(1 / device_rates.rate(name) for name in READ)
    byte += copied * (1 / device_rates.rate(GATHER) + 1 / device_rates.OUT)
    if HASH in read["kernels"]:
        byte += copied * (1 / device_rates.rate(HASH) + 1 / device_rates.BUS)
    chunks = max(1, math.ceil(size / device_reader.CHUNK_BYTES))
    host = size * read["host"] + TASK_SECONDS
    alone = size * _byte_on_host(read) + TASK_SECONDS
    return Task(chunks=chunks, device=slower * size * byte / chunks, host=host / chunks, alone=alone / chunks)


def models_on_cores(work: NodeWork) -> float:
    """Return the seconds of neural models on the cores alone."""
    return sum(m["documents"] * (m["host"] + m["model"]) for m in work["models"]) / max(1, work["cores"])


def models_on_gpus(work: NodeWork, gpus: int) -> float:
    """Return the seconds of neural models with their forward passes on the GPUs, as if neither waited for the other."""
    host = sum(m["documents"] * m["host"] for m in work["models"]) / max(1, work["cores"])
    return max(host, sum(m["documents"] * m["model"] for m in work["models"]) / (gpus * device_rates.MODEL_CORES))


def _shown(reads: Sequence[R], task: Callable[[R], T], most: int = SIMULATED) -> tuple[list[T], float]:
    """Return the tasks of some reads, or of more than `most` a part, and how many times as many there are."""
    every = sum(read["tasks"] for read in reads)
    part = min(1.0, most / max(1, every))
    counts = [math.ceil(read["tasks"] * part) for read in reads]
    tasks = [one for read, n in zip(reads, counts, strict=True) for one in [task(read)] * n]
    return tasks, every / max(1, len(tasks))


def _bytes(read: NodeRead | NodeAgain) -> float:
    """Return the bytes of text of one task."""
    return read["text_bytes"] / max(1, read["tasks"])


def _task(work: NodeWork, read: NodeRead, slower: float) -> Task:
    """Return a task of a dataset: kernels at their rates on paper, and the bus; or all of it on the host."""
    size = _bytes(read)
    chunks = max(1, math.ceil(size / (device_reader.CHUNK_BYTES if work["straight"] else BATCH_BYTES)))
    byte = 1 / device_rates.BUS + sum(
        calls / device_rates.rate(name, work["permutations"]) for name, calls in read["calls"].items()
    )
    host = size * read["host"] + read["each"] + TASK_SECONDS
    alone = host + size * sum(read["kernels"].values())
    device = slower * size * byte
    return Task(chunks=chunks, device=device / chunks, host=host / chunks, alone=alone / chunks, whole=True)


def _byte_on_host(read: NodeRead | NodeAgain) -> float:
    """Return the seconds of one core for a byte of text, kernels among them."""
    return read["host"] + sum(read["kernels"].values())


def section(work: NodeWork, gpus: int) -> NodePlan:
    """Return the plan's part on a node of GPUs."""
    others = sum(work["steps"].values())
    again: NodeSeconds = {"cores": again_on_cores(work), "gpus": again_on_gpus(work, gpus)}
    alone = on_cores(work)
    with_gpus, busy = on_gpus(work, gpus)
    models: NodeSeconds = {"cores": models_on_cores(work), "gpus": models_on_gpus(work, gpus)}
    seconds: NodeSeconds = {
        "cores": alone + again["cores"] + models["cores"] + others,
        "gpus": with_gpus + again["gpus"] + models["gpus"] + others,
    }
    named = {name for read in (*work["first_read"], *work["again"]) for name in read["kernels"]}
    names = sorted(named | ({*READ, GATHER} if work["again"] else set()))
    return {
        "gpus": gpus,
        "cores": work["cores"],
        "device_rates_are": device_rates.LABEL,
        "device_rates": {
            name: {
                "bytes_per_second": device_rates.rate(name, work["permutations"]),
                "source": device_rates.KERNELS[name].source,
            }
            for name in names
        },
        "host_rates_are": "measured on this machine's cores, on the sample",
        "work": work,
        "first_read": {"cores": alone, "gpus": with_gpus},
        "again": again,
        "models": models,
        "other_steps": others,
        "seconds": seconds,
        "times_faster": seconds["cores"] / max(1e-9, seconds["gpus"]),
        "gpus_busy": busy,
        "even_at": even_at(work, gpus, alone + again["cores"]),
    }


def even_at(work: NodeWork, gpus: int, alone: float) -> float:
    """Return how many times slower than on paper devices may be until the cores alone read texts as fast.

    alone : seconds of the first read and of reading texts again on the cores.
    """
    low, high = 1 / SLOWEST, SLOWEST
    for _ in range(12):
        middle = math.sqrt(low * high)
        reading = on_gpus(work, gpus, middle, COARSE)[0] + again_on_gpus(work, gpus, middle)
        low, high = (middle, high) if reading <= alone else (low, middle)
    return low


def lines(plan: Plan) -> list[str]:
    """Return what the plan says of a node of GPUs."""
    if "node" not in plan:
        return []
    node = plan["node"]
    seconds, first, again, models = node["seconds"], node["first_read"], node["again"], node["models"]
    rates = ", ".join(f"{name} {rate['bytes_per_second'] / 1e9:.2g}" for name, rate in node["device_rates"].items())
    if node["work"]["models"]:
        rates += f"; a GPU takes the forward passes of {device_rates.MODEL_CORES} cores"
    return [
        f"one node of {node['gpus']} GPU(s) and {node['cores']} cores, simulated: {duration(seconds['cores'])} on the "
        f"cores alone, {duration(seconds['gpus'])} with the GPUs, {node['times_faster']:.2g} times as fast; first read "
        f"{duration(first['cores'])} and {duration(first['gpus'])}, texts read again {duration(again['cores'])} and "
        f"{duration(again['gpus'])}, neural models {duration(models['cores'])} and {duration(models['gpus'])}, other "
        f"work {duration(node['other_steps'])} on the cores in both",
        f"  device rates are {node['device_rates_are']}; GB/s of one GPU: {rates or 'none'}",
        f"  host rates are {node['host_rates_are']}; the GPUs are busy for {node['gpus_busy']:.0%} of the first read; "
        f"devices {node['even_at']:.2g} times slower would be no faster than the cores",
    ]


def warnings(plan: Plan) -> list[str]:
    """Say where the GPUs would only be in the way."""
    if "node" not in plan or plan["node"]["times_faster"] >= 1:
        return []
    return ["this recipe takes longer with the GPUs than on the node's cores alone: give --backend cpu."]


def cores_alone(where: Machine, cores: int) -> Machine:
    """Return so many cores of one node, a worker each."""
    return replace(where, kind="node", workers=cores, threads=1, gpus=0, cores=cores, speed_up=1.0)
