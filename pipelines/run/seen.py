"""What has been seen of the step at hand: counts, pace, the pass over tasks that is going on, kernels compiled."""

from __future__ import annotations

import time
from typing import Protocol

from cluster.device.kernel_cache import Compiled
from pipelines.run.pace import Pace, parts_of
from pipelines.step_words import step_words

PASSING = ("stop",)  # steps that leave no line: what a run came to stands last


class Advance(Protocol):
    """Tells the display what a finished task did."""

    def __call__(self, documents: int = 0, bytes: int = 0) -> None: ...

    def part(self, name: str, tasks: int) -> None:
        """Say that a pass over so many tasks begins."""


def kernels(count: int) -> str:
    """Return a number of kernels in words.

    >>> kernels(1), kernels(41)
    ('1 kernel', '41 kernels')
    """
    return f"{count:,} kernel{'s' * (count != 1)}"


class Seen:
    """What has been seen of one step: the pace, and the pass over tasks that is going on."""

    def __init__(self, name: str, documents: int | None) -> None:
        self.name = name
        self.words = step_words(name)
        self.pace = Pace(time.perf_counter(), documents)
        self.pass_name, self.pass_tasks, self.pass_done = "", 0, 0
        self.kernels = Compiled()

    def __call__(self, documents: int = 0, bytes: int = 0) -> None:
        self.pace.count(time.perf_counter(), documents, bytes)
        self.pass_done += 1

    def part(self, name: str, tasks: int) -> None:
        self.pass_name, self.pass_tasks, self.pass_done = name, tasks, 0

    @property
    def seconds(self) -> float:
        return time.perf_counter() - self.pace.begin

    @property
    def share(self) -> float | None:
        """The share that is done: of the documents, else of the tasks of the pass; None where it is not known."""
        if self.pace.total:
            return min(1.0, self.pace.documents / self.pace.total)
        return self.pass_done / self.pass_tasks if self.pass_tasks else None

    def parts(self, *, ended: bool = False) -> list[str]:
        """Return what there is to say, the most telling first."""
        found = parts_of(self.pace, time.perf_counter(), compiling=self.kernels.seconds, ended=ended)
        if not ended and not self.pace.documents and self.pass_tasks:
            found.insert(0, f"{self.pass_name} {self.pass_done:,} of {self.pass_tasks:,}".strip())
        return found

    def summary(self) -> str:
        """Return the line that stays of a finished step."""
        compiled = f"{self.kernels.seconds:.0f} s of them compiled {kernels(self.kernels.count)}, once per installation"
        return ", ".join(
            [f"{self.seconds:.1f} s", *([compiled] if self.kernels.count else []), *self.parts(ended=True)]
        )
