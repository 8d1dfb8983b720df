"""An engine that is watched: progress, time and memory of every step of a run.

Guarantees: watching changes no result; memory is the largest of any worker process while it worked on the step.
"""

from __future__ import annotations

import contextlib
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar, cast

from cluster.engines import Engine, Measured, TaskCost
from pipelines.artefacts import PartTiming, StepTiming
from pipelines.run.progress import Progress
from pipelines.run.seen import Advance

T = TypeVar("T")
R = TypeVar("R")
SIDES = {"bundles_on_gpu", "bundles_on_cores"}


class Watched:
    """An engine that tells a progress display of every finished task, and keeps time and memory of every step."""

    def __init__(self, engine: Engine, progress: Progress) -> None:
        self._engine = engine
        self._progress = progress
        self._advance: Advance | None = None
        self._key = ""
        self._peak = self._documents = self._bytes = self._brought = 0
        self._parts: dict[str, PartTiming] = {}
        self._sides = dict[str, int]()  # bundles by the processor that did them
        self.timings: list[StepTiming] = []

    @property
    def workers(self) -> int:
        return self._engine.workers

    def map(
        self,
        function: Callable[[T], R],
        tasks: Sequence[T],
        *,
        done: Callable[[R], None] | None = None,
        cost: TaskCost | None = None,
        on_device: bool = False,
    ) -> list[R]:
        if self._advance and tasks:
            self._advance.part(_words(function, cost), len(tasks))

        def tell(answer: tuple[R, int, int]) -> None:
            result, peak, brought = answer
            self._peak = max(self._peak, peak)
            self._brought += brought
            self._count(result)
            if done:
                done(result)

        measured = Measured(function, self._key, uuid.uuid4().hex)
        answers = self._engine.map(measured, tasks, done=tell, cost=cost, on_device=on_device)
        return [result for result, *_ in answers]

    def _count(self, result: object) -> None:
        counts = result if isinstance(result, dict) else {}
        for side in SIDES & counts.keys():
            self._sides[side] = self._sides.get(side, 0) + counts[side]
        for name, part in counts.get("parts", {}).items():
            mine = self._parts.setdefault(name, {"name": name, "documents": 0, "seconds": 0.0})
            mine["documents"] += part["documents"]
            mine["seconds"] += part["seconds"]
            if brought := part.get("from_device"):
                mine["from_device"] = mine.get("from_device", 0) + brought
        if self._advance:
            documents, size = counts.get("documents", 0), counts.get("bytes", 0)
            self._documents += documents
            self._bytes += size
            self._advance(documents=documents, bytes=size)

    @contextlib.contextmanager
    def step(self, name: str, documents: int | None = None, bytes: int | None = None) -> Iterator[None]:
        """Show and measure what happens inside the block as one step."""
        self._key, self._peak, self._parts, self._sides = uuid.uuid4().hex, 0, {}, {}
        self._documents = self._bytes = self._brought = 0
        begin = time.perf_counter()
        with self._progress.step(name, documents=documents, bytes=bytes) as advance:
            self._advance = advance
            try:
                yield
            finally:
                self._advance = None
        timing: StepTiming = {
            "name": name,
            "seconds": round(time.perf_counter() - begin, 3),
            "documents": self._documents,
            "bytes": self._bytes,
            "peak_memory_bytes": self._peak or None,
            "parts": [_rounded(part) for part in self._parts.values()],
        }
        if self._brought:
            timing["from_device"] = self._brought
        timing.update(cast("StepTiming", self._sides))
        self.timings.append(timing)

    def note(self, text: str) -> None:
        """Show a sentence between steps."""
        self._progress.note(text)

    def close(self) -> None:
        with self._progress.step("stop"):
            self._engine.close()


def _words(function: Callable[..., object], cost: TaskCost | None) -> str:
    """Return what the tasks of a pass do: as declared, else by the name of their function."""
    if cost is not None:
        return cost.name
    bare = getattr(function, "func", function)
    return str(getattr(bare, "__name__", "")).strip("_").replace("_", " ")


def _rounded(part: PartTiming) -> PartTiming:
    """Return the work of one stage with its seconds to the millisecond."""
    return {**part, "seconds": round(part["seconds"], 3)}
