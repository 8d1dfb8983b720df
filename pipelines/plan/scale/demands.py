"""What a run asks of its storage and of its machines: requests and their price, scratch, files, maps, descriptors.

Guarantees: reads limits of this machine (maps, descriptors, the temporary folder), and nothing else. What a hop of the
exchange takes comes from `hops.py`, what else is asked for from the rehearsal.
"""

from __future__ import annotations

import resource
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from cluster.options import available_memory
from cluster.requests import KINDS, Requests
from pipelines.plan.machine import Machine
from pipelines.plan.rates import Rates
from pipelines.plan.scale.hops import Hop
from pipelines.plan.scale.prices import AS_OF, DAYS_PER_MONTH, Store
from pipelines.plan.scale.rehearse import Rehearsal, tasks_requests
from pipelines.plan.tree import HopPlan, LimitsPlan, RehearsalPlan, RehearsedStep, StorePlan
from pipelines.plan.whole import Whole, amounts_of_whole

READ_BYTES = 8 << 20  # that one request brings of a large file that is read through
SHARD_BYTES = 1500  # that a process holds for each input file of the manifest (0.6 to 1.5 kB, 2026-11)
CLIENT_BYTES = 250 << 20  # interpreter and libraries, without models
SCHEDULER_BYTES, PER_WORKER, PER_THREAD = 150 << 20, 100 << 10, 40 << 10
CONNECTIONS = 3  # that a scheduler holds for a worker process and its nanny
MAPS, DESCRIPTORS = 1000, 100  # of any process: libraries, compiled kernels
READERS = 10  # descriptors of one thread: files, connections to a store
MAP_COUNT = Path("/proc/sys/vm/max_map_count")


NOTHING: StorePlan = {
    "kind": "local",
    "prices_as_of": AS_OF,
    "price_per_thousand": {},
    "price_per_tb_month": 0.0,
    "requests": {},
    "steps": {},
    "requests_cost": 0.0,
    "prefixes": 1,
    "scratch_tb_days": (0.0, 0.0),
    "scratch_cost": (0.0, 0.0),
}
NO_LIMITS: LimitsPlan = {
    "client": 0,
    "client_limit": 0,
    "scheduler": 0,
    "tmp": 0,
    "tmp_limit": 0,
    "tmp_is": "",
    "maps": 0,
    "maps_limit": None,
    "descriptors": 0,
    "descriptors_limit": 0,
}


def requests_of_steps(
    rates: Rates, whole: Whole, hops: Sequence[Hop], rehearsal: Rehearsal, steps: Sequence[str], input_bytes: int
) -> dict[str, Requests]:
    """Return the requests of every step that runs."""
    found = {}
    for step in steps:
        amounts = amounts_of_whole(whole, rates.sample, step)
        kinds = {c.cost.name: c.cost for c in rates.sample.calls if c.step == step}
        tasks = {name: (cost.tasks.quantity, cost.tasks.at(amounts)) for name, cost in kinds.items()}
        requests = tasks_requests(rehearsal, step, tasks, amounts)
        for hop in hops:
            if hop.step == step:
                requests += hop.foreseen.requests * hop.times
        found[step] = requests + Requests(get=_large_reads(step, whole, input_bytes))
    return found


def _large_reads(step: str, whole: Whole, input_bytes: int) -> float:
    """Return the requests for the input itself beyond the first of each bundle, which the rehearsal has counted."""
    if step == "annotate":
        return input_bytes / READ_BYTES
    if step == "materialize":
        return input_bytes / READ_BYTES * min(1.0, whole.mix_bytes / max(1, whole.all_text))
    return 0.0


def describe_store(
    store: Store, requests: Mapping[str, Requests], hops: Sequence[Hop], on_disk: float, seconds: tuple[float, float]
) -> StorePlan:
    """Return what the storage is asked for and what that costs; seconds: least and most that scratch lies there."""
    every = sum(requests.values(), Requests())
    days = tuple(on_disk / 1e12 * s / 86400 for s in seconds)
    return {
        "kind": store.kind,
        "prices_as_of": AS_OF,
        "price_per_thousand": dict(store.thousand),
        "price_per_tb_month": store.tb_month,
        "requests": {kind: round(getattr(every, kind)) for kind in KINDS} if requests else {},
        "steps": {step: {k: round(n) for k, n in found.by_kind().items()} for step, found in requests.items()},
        "requests_cost": store.price(every),
        "prefixes": max((h.foreseen.prefixes for h in hops), default=1),
        "scratch_tb_days": (days[0], days[1]),
        "scratch_cost": (days[0] * store.tb_month / DAYS_PER_MONTH, days[1] * store.tb_month / DAYS_PER_MONTH),
    }


def describe_hops(hops: Sequence[Hop]) -> list[HopPlan]:
    """Return every hop with what its exchange decides."""
    return [
        {
            "step": hop.step,
            "sends": hop.emit,
            "receives": hop.receive,
            "times": hop.times,
            "sources": hop.foreseen.sources,
            "destinations": hop.foreseen.destinations,
            "merged": hop.foreseen.group,
            "together": hop.foreseen.together,
            "files": hop.foreseen.files,
            "prefixes": hop.foreseen.prefixes,
            "requests": round(hop.foreseen.requests.total),
            "bytes_written": round(hop.foreseen.bytes_written),
            "bytes_read": round(hop.foreseen.bytes_read),
            "destination_bytes": round(hop.foreseen.destination_bytes),
        }
        for hop in hops
    ]


def describe_limits(store: Store, where: Machine, whole: Whole, hops: Sequence[Hop], shard_bytes: int) -> LimitsPlan:
    """Return what client, scheduler and worker take of this machine's limits; nodes are taken to be like it."""
    files = SHARD_BYTES * whole.shards
    threads = where.workers * where.threads
    folder = tempfile.gettempdir()
    one = (lambda h: h.foreseen.largest_file + h.foreseen.spilled) if store.is_object_store else _spilled
    parts = float(shard_bytes if store.is_object_store else 0)
    maps = 0 if store.is_object_store else max((h.foreseen.maps for h in hops), default=0)
    workers = where.threads * (READERS * 2 if store.is_object_store else READERS)
    return {
        "client": CLIENT_BYTES + files,
        "scheduler": SCHEDULER_BYTES + where.workers * PER_WORKER + threads * PER_THREAD,
        "client_limit": available_memory(),
        "tmp": round(where.threads * max([parts, *map(one, hops)], default=0.0)),
        "tmp_limit": shutil.disk_usage(folder).free,
        "tmp_is": folder,
        "maps": MAPS + where.threads * maps,
        "maps_limit": int(MAP_COUNT.read_text()) if MAP_COUNT.exists() else None,
        "descriptors": DESCRIPTORS + max(CONNECTIONS * where.workers, workers),
        "descriptors_limit": resource.getrlimit(resource.RLIMIT_NOFILE)[0],
    }


def _spilled(hop: Hop) -> float:
    return hop.foreseen.spilled


def describe_rehearsal(rehearsal: Rehearsal, store: StorePlan, whole: Whole, hops: Sequence[HopPlan]) -> RehearsalPlan:
    """Return what was counted of each size, the power law through it, and what either way gives for the whole."""
    runs = rehearsal.runs
    steps = list(dict.fromkeys(step for run in runs for step in run.steps()))
    return {
        "divisor": rehearsal.divisor,
        "documents": [run.documents for run in runs],
        "bundles": [run.bundles for run in runs],
        "steps": {step: _rehearsed(rehearsal, step, store, whole, hops) for step in steps},
    }


def _rehearsed(
    rehearsal: Rehearsal, step: str, store: StorePlan, whole: Whole, hops: Sequence[HopPlan]
) -> RehearsedStep:
    fit = rehearsal.per_step(step)
    exchange = sum(hop["requests"] * hop["times"] for hop in hops if hop["step"] == step)
    return {
        "counted": [round(run.of_tasks(step).total) for run in rehearsal.runs],
        "of_exchange": [round(run.exchange.get(step, Requests()).total) for run in rehearsal.runs],
        "foreseen": [round(run.foreseen.get(step, Requests()).total) for run in rehearsal.runs],
        "factor": fit.factor,
        "exponent": fit.exponent,
        "r2": fit.r2,
        "by_fit": round(fit.at(float(whole.files if step == "freeze" else len(whole.bundles)))) + exchange,
        "by_tasks": sum(store["steps"].get(step, {}).values()),
    }
