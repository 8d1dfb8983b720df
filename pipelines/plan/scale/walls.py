"""Walls: limits that the run would hit, in the order in which it comes to them, each with the setting that avoids it.

Guarantees: reads the plan's own numbers; nothing is measured here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from cluster.requests import Requests
from pipelines.plan.scale.prices import Store
from pipelines.plan.tree import LimitsPlan, MemoryPlan, Plan, WallPlan

NARROW = 0.05  # of the run's time that a step with fewer tasks than threads must take to be worth a word
SUSTAINED = 60.0  # seconds at the full rate of its prefixes that a step must need, and
SHARE = 0.01  # of the run's time: shorter bursts are served late, which nobody notices
LONG = 600.0  # seconds, the same


def walls(plan: Plan, requests: Mapping[str, Requests], store: Store, task_timeout: float | None) -> list[WallPlan]:
    """Return every wall, the first one first; what only costs time comes behind what ends the run."""
    order = {step: place for place, step in enumerate(["start", *plan["time"]["steps"]])}
    hard = [*_client(plan["limits"]), *_memory(plan), *_maps(plan), *_tmp(plan), *_rates(plan, requests, store)]
    hard += [*_long_tasks(plan, task_timeout), *_descriptors(plan["limits"])]
    hard.sort(key=lambda wall: order.get(wall["step"], len(order)))
    return hard + sorted(_narrow(plan), key=lambda wall: -wall["value"])


def nearest(plan: Plan) -> tuple[str, float]:
    """Return the limit that the run comes nearest to, and the share of it that it takes."""
    limits, memory = plan["limits"], plan["memory"]
    shares = {
        "memory of a worker": memory["worker"] / max(1, memory["limit"]),
        "memory of the client": limits["client"] / max(1, limits["client_limit"]),
        f"space in {limits['tmp_is']}": limits["tmp"] / max(1, limits["tmp_limit"]),
        "memory maps of a worker": limits["maps"] / (limits["maps_limit"] or 1e18),
        "open files of a process": limits["descriptors"] / max(1, limits["descriptors_limit"]),
    }
    name = max(shares, key=lambda key: shares[key])
    return name, shares[name]


def _wall(step: str, what: str, value: float, limit: float, sentence: str, setting: str) -> WallPlan:
    return {"step": step, "what": what, "value": value, "limit": limit, "sentence": sentence, "setting": setting}


def _gb(number: float) -> str:
    return f"{number / 1e9:,.1f} GB"


def _client(limits: LimitsPlan) -> Iterator[WallPlan]:
    if limits["client"] > limits["client_limit"]:
        sentence = (
            f"the client holds {_gb(limits['client'])}, most of it the list of input files; this machine has "
            f"{_gb(limits['client_limit'])}."
        )
        setting = f"Run the client where {_gb(limits['client'] * 1.2)} are free, or join small input files."
        yield _wall("freeze", "memory of the client", limits["client"], limits["client_limit"], sentence, setting)


def _memory(plan: Plan) -> Iterator[WallPlan]:
    """Yield a wall for every kind of task that as many threads as a worker has do not fit its memory."""
    memory, threads = plan["memory"], plan["machine"]["threads"]
    for name, size in memory["tasks"].items():
        held = memory["process"] + threads * size
        if held > memory["limit"]:
            sentence = f"{name}: {threads} task(s) of a worker hold {_gb(held)}, a worker has {_gb(memory['limit'])}."
            yield _wall(_step(plan, name), "memory of a worker", held, memory["limit"], sentence, _room(memory, size))


def _room(memory: MemoryPlan, size: int) -> str:
    fit = int((memory["limit"] - memory["process"]) // max(1, size))
    if fit >= 1:
        return f"Set cluster.threads_per_worker: {fit}."
    return f"Set cluster.threads_per_worker: 1 and give each worker {_gb(1.1 * (memory['process'] + size))}."


def _step(plan: Plan, task: str) -> str:
    """Return the step that a kind of task of `memory` belongs to; what is no step's is the first read's."""
    name = task.partition(":")[0]
    return name if name in plan["time"]["steps"] else "annotate"


def _maps(plan: Plan) -> Iterator[WallPlan]:
    limits, threads = plan["limits"], plan["machine"]["threads"]
    if limits["maps_limit"] is None or limits["maps"] <= limits["maps_limit"]:
        return
    worst = max(plan["hops"], key=lambda hop: hop["files"])
    fit = max(1, limits["maps_limit"] // max(1, worst["files"]))
    sentence = (
        f"{worst['step']}: each of {threads} threads of a worker maps the slices of {worst['files']:,} files, "
        f"{limits['maps']:,} maps in all; the system allows {limits['maps_limit']:,} (vm.max_map_count)."
    )
    fits = limits["maps_limit"] > worst["files"]
    setting = f"Set cluster.threads_per_worker: {fit}" if fits else "Use one thread for each worker"
    setting += f", or raise vm.max_map_count to {2 * limits['maps']:,}."
    yield _wall(worst["step"], "memory maps", limits["maps"], limits["maps_limit"], sentence, setting)


def _tmp(plan: Plan) -> Iterator[WallPlan]:
    limits, threads = plan["limits"], plan["machine"]["threads"]
    if limits["tmp"] <= limits["tmp_limit"]:
        return
    worst = max(plan["hops"], key=lambda hop: hop["bytes_written"] / max(1, hop["files"]), default=None)
    step = worst["step"] if worst else "materialize"
    sentence = (
        f"{step}: {threads} threads of a worker write files of {_gb(limits['tmp'] / threads)} by way of "
        f"{limits['tmp_is']}, where {_gb(limits['tmp_limit'])} are free."
    )
    setting = f"Set TMPDIR on the workers to a disk with {_gb(1.2 * limits['tmp'])}, or use fewer threads."
    yield _wall(step, "temporary folder", limits["tmp"], limits["tmp_limit"], sentence, setting)


def _rates(plan: Plan, requests: Mapping[str, Requests], store: Store) -> Iterator[WallPlan]:
    """Yield a wall for every step whose requests come faster than its prefixes are served."""
    workers = plan["machine"]["workers"]
    least = max(SUSTAINED, SHARE * plan["time"]["total"])
    for step, found in requests.items():
        seconds = plan["time"]["steps"].get(step, 0.0)
        prefixes = max((hop["prefixes"] for hop in plan["hops"] if hop["step"] == step), default=1)
        for name, number, limit in (("GET", found.get + found.head, store.gets), ("PUT", found.put, store.puts)):
            rate = number / seconds if seconds else 0.0
            if limit and rate > limit * prefixes and number > limit * prefixes * least:
                fit = max(1, int(workers * limit * prefixes / rate))
                sentence = (
                    f"{step}: {rate:,.0f} {name} requests a second on {prefixes} prefix(es), of which {store.kind} "
                    f"serves {limit * prefixes:,.0f}; what it refuses is tried again and slows the run."
                )
                setting = f"Use --workers {fit}, or expect {number / limit / prefixes / 60:,.0f} minutes for this step."
                yield _wall(step, f"{name} requests a second", rate, limit * prefixes, sentence, setting)


def _long_tasks(plan: Plan, timeout: float | None) -> Iterator[WallPlan]:
    for width in plan["width"]:
        if timeout is not None and width["longest_seconds"] > timeout:
            sentence = (
                f"{width['step']}: a task of {width['task']!r} takes {width['longest_seconds'] / 3600:.1f} h, "
                f"cluster.task_timeout is {timeout / 3600:.1f} h: its worker would be restarted as one that hangs."
            )
            setting = f"Set cluster.task_timeout: {2 * width['longest_seconds']:.0f} (seconds)."
            yield _wall(width["step"], "time of a task", width["longest_seconds"], timeout, sentence, setting)


def _descriptors(limits: LimitsPlan) -> Iterator[WallPlan]:
    if limits["descriptors"] > limits["descriptors_limit"]:
        sentence = (
            f"a process opens {limits['descriptors']:,} files and connections, the limit is "
            f"{limits['descriptors_limit']:,}."
        )
        setting = f"Raise it with `ulimit -n {2 * limits['descriptors']}` where the scheduler starts."
        yield _wall("start", "open files", limits["descriptors"], limits["descriptors_limit"], sentence, setting)


def _narrow(plan: Plan) -> Iterator[WallPlan]:
    """Yield the steps that leave threads idle for long."""
    total, steps = plan["time"]["total"], plan["time"]["steps"]
    for width in plan["width"]:
        took = steps.get(width["step"], 0.0)
        if width["tasks"] < width["threads"] and took > max(LONG, NARROW * total):
            sentence = (
                f"{width['step']}: {width['task']!r} is {width['tasks']:,} task(s) for {width['threads']:,} threads; "
                f"the others wait for {took / 60:,.0f} minutes."
            )
            setting = f"More than {width['tasks']:,} threads do not make it faster: use fewer for this recipe."
            yield _wall(width["step"], "tasks", took, float(width["tasks"]), sentence, setting)


def first_sentence(found: Sequence[WallPlan], plan: Plan) -> str:
    """Return in words the first wall and what avoids it, or how near the run comes to one."""
    if found:
        return f"first wall, in {found[0]['step']}: {found[0]['sentence']} {found[0]['setting']}"
    name, share = nearest(plan)
    return f"no wall in sight; the run comes nearest to the {name}: {share:.0%} of what there is"
