"""The engine that runs a plan's sample: in this process, with a stop watch, and with an eye on the exchange.

Guarantees: tasks run one after the other, in order; what is noted of a hop is read from its files between its parts.
Memory: of a hop, the rows of one destination.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import pyarrow as pa
import pyarrow.compute as pc

from cluster.device import kernel_times
from cluster.engines import InlineEngine, TaskCost
from cluster.exchange import Exchange, Half, Written, hop_of
from pipelines.plan.disk_use import folder_bytes
from stages.core.costs import UNDECLARED
from stages.core.stage import ShardStage, Stage

WATCHING = "watching"  # the task of what the plan itself reads
T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True, kw_only=True)
class HopSeen:
    """The part of an exchange that a call's tasks are; of the part that emits, the rows and bytes that were sent."""

    hop: Exchange
    part: Half
    rows: int = 0
    row_bytes: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Call:
    """One `map`: which step it belongs to, what its tasks declare, their seconds and results.

    seconds: of every task; of every destination, where a task of a hop reads several together. kernels: those of all
    tasks in kernels that a GPU has as well.
    """

    step: str
    cost: TaskCost
    seconds: tuple[float, ...]
    results: tuple[Any, ...] = field(default=(), repr=False)
    hop: HopSeen | None = None
    kernels: kernel_times.Seconds = field(default_factory=dict)


class Clock(InlineEngine):
    """The inline engine with a stop watch; `task` and `folder` say whose task runs, and the folder of its hop.

    `largest` is the most bytes that the local folder `growing` held after any call.
    """

    def __init__(self) -> None:
        self.step = self.task = self.folder = self.growing = ""
        self.largest = 0
        self.calls: list[Call] = []

    def map(
        self,
        function: Callable[[T], R],
        tasks: Sequence[T],
        *,
        done: Callable[[R], None] | None = None,
        cost: TaskCost | None = None,
        on_device: bool = False,
    ) -> list[R]:
        seconds: list[float] = []
        cost, part = cost or UNDECLARED, hop_of(function)

        def timed(task: T) -> R:
            begin = time.perf_counter()
            result = function(task)
            took = time.perf_counter() - begin
            many = len(task) if isinstance(task, range) and part and part[1] == "receive" else 1
            seconds.extend([took / many] * many)  # destinations that a task reads together each count as one
            return result

        self.task, self.folder = cost.name, part[0].folder if part else ""
        with kernel_times.watched() as kernels:
            results = super().map(timed, tasks, done=done)
        self.task = WATCHING
        seen = _seen(*part, len(tasks)) if part else None
        self.task = self.folder = ""
        call = Call(
            step=self.step, cost=cost, seconds=tuple(seconds), results=tuple(results), hop=seen, kernels=kernels
        )
        self.calls.append(call)
        if self.growing:
            self.largest = max(self.largest, folder_bytes(self.growing))
        return results


class Stopwatch:
    """Seconds that the `annotate` of each stage took, by (stage, dataset); `dataset` is set between tasks.

    kernels: those of them in kernels that a GPU has as well, by (stage, dataset, kernel). read: the bytes of text that
    reached the stage, by (stage, dataset).
    """

    def __init__(self) -> None:
        self.dataset = ""
        self.seconds: dict[tuple[str, str], float] = {}
        self.kernels: dict[tuple[str, str, str], float] = {}
        self.judged: dict[str, tuple[int, float]] = {}  # stage -> documents, seconds
        self.read: dict[tuple[str, str], int] = {}

    def timed(self, stage: Stage) -> Stage:
        """Return the same stage, whose annotate is timed."""
        if not isinstance(stage, ShardStage) or stage.use == "read":
            return stage
        watch, kind = self, type(stage)
        plain = kind.annotate

        def run(self: ShardStage, documents: pa.Table) -> pa.Table:
            key = (self.name, watch.dataset)
            watch.read[key] = watch.read.get(key, 0) + _text_bytes(documents)
            begin = time.perf_counter()
            with kernel_times.watched() as found:
                facts = plain(self, documents)
            seconds = time.perf_counter() - begin
            watch.note(self.name, found)
            watch.seconds[key] = watch.seconds.get(key, 0.0) + seconds
            count, spent = watch.judged.get(self.name, (0, 0.0))
            watch.judged[self.name] = count + documents.num_rows, spent + seconds
            return facts

        copy: Stage = object.__new__(type(kind.__name__, (kind,), {"annotate": run}))
        copy.__dict__.update(stage.__dict__)
        return copy

    def note(self, stage: str, seconds: kernel_times.Seconds) -> None:
        """Add seconds of kernels to those of a stage."""
        for kernel, took in seconds.items():
            key = stage, self.dataset, kernel
            self.kernels[key] = self.kernels.get(key, 0.0) + took


def _text_bytes(documents: pa.Table) -> int:
    """Return the bytes of the texts that a stage is given."""
    if "text" not in documents.schema.names:
        return 0
    return int(pc.sum(pc.binary_length(documents.column("text"))).as_py() or 0)


def _seen(hop: Exchange, part: Half, sources: int) -> HopSeen:
    """Return what a part of a hop did; rows and bytes of what was sent are counted before it is merged."""
    if part != "emit":
        return HopSeen(hop=hop, part=part)
    rows = size = 0
    for destination in range(hop.destinations):
        table = hop.gather(Written(sources), destination)
        rows, size = rows + table.num_rows, size + table.nbytes
    return HopSeen(hop=hop, part=part, rows=rows, row_bytes=size / rows if rows else 0.0)
