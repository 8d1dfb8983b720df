"""A small run that is shaped like a large one: the real code, with the sizes at which it divides work made smaller.

The sizes are constants of modules, so they are changed in a process of its own (`python -m`-like, started by
`rehearse`), never in the caller's. `WINNOW_SIZES_DIVIDED_BY` (cluster/scale.py) would not do: it divides the numbers of
bundles and groups that are aimed at, and from when on files are merged, too; here these stay, since what is counted is
carried to the whole by the number of bundles. The run folder and the inputs lie in a store that counts requests.
"""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any, cast

from cluster import counting_store, storage
from cluster.counting_store import SCHEME, CountingStore
from cluster.foreseen import foresee
from cluster.requests import Requests
from pipelines.plan.clock import WATCHING, Clock
from pipelines.plan.sample import Measured, run_sample
from pipelines.recipe.recipe import Recipe, load_data

SIZES = (
    ("stages.core.manifest", "SMALLEST"),
    ("stages.core.manifest", "LARGEST"),
    ("stages.core.manifest", "BUNDLE_ROWS"),
    ("stages.core.exchange_stage", "ROWS_PER_DESTINATION"),
    ("stages.core.exchange_stage", "SMALL"),
    ("stages.exact_dedup", "KEYS_PER_DESTINATION"),
    ("stages.dedup.near.buckets", "RECORDS_PER_DESTINATION"),
    ("stages.dedup.near.buckets", "DOCUMENTS_PER_DESTINATION"),
    ("stages.dedup.near.components", "EDGES_PER_DESTINATION"),
    ("pipelines.mix.materialize", "SLICE_BYTES"),
)
PACKAGES = ("stages", "pipelines", "cluster")
CLIENT = ""  # the name of the task of what is asked for between the tasks


@dataclass(frozen=True, kw_only=True)
class Counted:
    """One run in the tunnel. requests: by step and task, those of the exchange apart; tasks: their number.

    foreseen: what `cluster/foreseen.py` says of the hops that were run.
    """

    documents: int
    text_bytes: int
    bundles: int
    files: int
    seconds: float
    requests: dict[str, dict[str, Requests]]
    exchange: dict[str, Requests]
    foreseen: dict[str, Requests]
    tasks: dict[str, dict[str, int]]

    def of_tasks(self, step: str) -> Requests:
        """Return the requests of a step's tasks and of its client, without those of the exchange."""
        return sum(self.requests.get(step, {}).values(), Requests())

    def steps(self) -> list[str]:
        """Return the steps that asked for something, in order."""
        return list(dict.fromkeys([*self.requests, *self.exchange]))


def holders(module: str, name: str) -> list[ModuleType]:
    """Return the modules that hold a size: its own, and those that imported it."""
    size = getattr(importlib.import_module(module), name)
    mine = [m for m in list(sys.modules.values()) if getattr(m, "__name__", "").startswith(PACKAGES)]
    return [m for m in mine if vars(m).get(name) is size]


def shrink(divisor: float) -> None:
    """Divide every size by `divisor`, in each module that holds it. Only in a process that does nothing else."""
    for module, name in SIZES:
        for holder in holders(module, name):
            setattr(holder, name, max(1, round(getattr(holder, name) / divisor)))


def count(recipe: Recipe, folder: str) -> Counted:
    """Run a recipe, whose datasets lie in the counting store, in a folder of that store; return what was counted."""
    clock = Clock()
    CountingStore.watch(lambda path: (clock.step, clock.task, clock.folder, path.rpartition("/")[0].strip("/")))
    measured = run_sample(recipe, recipe.datasets_resolved(), folder, with_report=False, clock=clock)
    requests, exchange = _split(clock)
    tasks: dict[str, dict[str, int]] = {}
    for call in clock.calls:
        mine = tasks.setdefault(call.step, {})
        mine[call.cost.name] = mine.get(call.cost.name, 0) + len(call.seconds)
    return Counted(
        documents=measured.rows,
        text_bytes=sum(measured.text_bytes.values()),
        bundles=sum(measured.bundles.values()),
        files=len(measured.run.manifest.shards),
        seconds=_seconds(measured),
        requests=requests,
        exchange=exchange,
        foreseen=_foreseen(clock),
        tasks=tasks,
    )


def _foreseen(clock: Clock) -> dict[str, Requests]:
    found: dict[str, Requests] = {}
    received = {call.hop.hop.folder for call in clock.calls if call.hop and call.hop.part == "receive"}
    for call in clock.calls:
        if call.hop and call.hop.part == "emit":
            mine = call.hop.hop.folder in received
            hop = foresee(call.hop.hop, len(call.seconds), call.hop.rows, call.hop.row_bytes, received=mine)
            found[call.step] = found.get(call.step, Requests()) + hop.requests
    return found


def _seconds(measured: Measured) -> float:
    return sum(sum(call.seconds) for call in measured.calls)


def _split(clock: Clock) -> tuple[dict[str, dict[str, Requests]], dict[str, Requests]]:
    """Return (requests by step and task, requests of the exchange by step).

    A request is the exchange's where it concerns a folder of a hop and comes from the hop's own task, or from none;
    or from any where no task of the hop receives: then others read its slices.
    """
    hops = {_inside(call.hop.hop.folder) for call in clock.calls if call.hop}
    received = {_inside(call.hop.hop.folder) for call in clock.calls if call.hop and call.hop.part == "receive"}
    requests: dict[str, dict[str, Requests]] = {}
    exchange: dict[str, Requests] = {}
    for key, found in CountingStore.counts.items():
        step, task, of, folder = cast("tuple[str, str, str, str]", key)
        if task == WATCHING:
            continue
        hop = next((h for h in (folder, folder.rpartition("/")[0]) if h in hops), None)
        if hop is not None and (_inside(of) == hop or not task or hop not in received):
            exchange[step] = exchange.get(step, Requests()) + found
        else:
            mine = requests.setdefault(step, {})
            mine[task] = mine.get(task, Requests()) + found
    return requests, exchange


def _inside(path: str) -> str:
    return path.removeprefix(f"{SCHEME}://").strip("/")


def to_store(paths: Sequence[str], folder: str) -> Iterator[str]:
    """Copy files into the counting store; yield their paths there."""
    for path in paths:
        target = storage.join(folder, path.rpartition("/")[2])
        storage.write_bytes(target, storage.read_bytes(path))
        yield target


def main() -> None:
    """Read {divisor, recipes} as JSON from standard input; print a JSON list of what was counted of each."""
    job = json.load(sys.stdin)
    counting_store.use()
    shrink(job["divisor"])
    found = []
    for number, data in enumerate(job["recipes"]):
        for name, dataset in data["datasets"].items():
            dataset["paths"] = list(to_store(dataset["paths"], f"{SCHEME}://in-{number}/{name}"))
        counted = count(load_data(data, "the rehearsal's recipe"), f"{SCHEME}://run-{number}")
        found.append(to_json(counted))
        CountingStore.empty()
    print(json.dumps(found))


def to_json(counted: Counted) -> dict[str, object]:
    """Return a run in the tunnel as plain values."""
    return {
        **vars(counted),
        "requests": {s: {t: r.by_kind() for t, r in tasks.items()} for s, tasks in counted.requests.items()},
        "exchange": {s: r.by_kind() for s, r in counted.exchange.items()},
        "foreseen": {s: r.by_kind() for s, r in counted.foreseen.items()},
    }


def from_json(data: dict[str, Any]) -> Counted:
    """Return what `to_json` made plain."""
    requests = {s: {t: Requests(**r) for t, r in tasks.items()} for s, tasks in data["requests"].items()}
    exchange, foreseen = ({s: Requests(**r) for s, r in data[key].items()} for key in ("exchange", "foreseen"))
    return Counted(**{**data, "requests": requests, "exchange": exchange, "foreseen": foreseen})
