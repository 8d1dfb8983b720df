"""What tasks cost on this machine: the pilot's and the sample's seconds, read by the growth that tasks declare.

Every kind of task is timed twice, on a few documents and on the sample: the first gives the cost of a task
whatever its size, the difference the cost of a unit of the work that its owner declares.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from cluster.engines import TaskCost
from pipelines.plan.sample import Measured
from pipelines.plan.whole import amounts_of_sample


@dataclass(frozen=True, kw_only=True)
class Rate:
    """Seconds of one kind of task: `each` for every task, and `unit` for every unit of `cost.work`."""

    cost: TaskCost
    each: float
    unit: float


@dataclass(frozen=True, kw_only=True)
class _Sum:
    """What all tasks of one kind took."""

    cost: TaskCost
    tasks: int = 0
    seconds: float = 0.0


class Rates:
    """What a pilot of a few documents and the sample took."""

    def __init__(self, pilot: Measured, sample: Measured) -> None:
        self.pilot, self.sample = pilot, sample
        self._before, self._after = _sums(pilot), _sums(sample)

    def of(self, step: str) -> list[Rate]:
        """Return the rates of a step's kinds of task."""
        little, much = amounts_of_sample(self.pilot, step), amounts_of_sample(self.sample, step)
        found = []
        for (name, kind), after in self._after.items():
            if name == step:
                work = after.cost.work
                before = self._before.get((name, kind), _Sum(cost=after.cost))
                found.append(_rate(before, after, work.at(little), work.at(much)))
        return found

    def annotate(self, stage: str, dataset: str) -> float:
        """Return seconds per byte of a dataset's text that a stage takes in the first read."""
        if stage == "read":
            return self._reading(dataset)[1]
        return self._per_byte(dataset, *(m.annotate.get((stage, dataset), 0.0) for m in (self.sample, self.pilot)))

    def bundle(self, dataset: str) -> float:
        """Return the seconds that the first read takes for a bundle whatever it holds: its files are written."""
        return self._reading(dataset)[0]

    def _reading(self, dataset: str) -> tuple[float, float]:
        """Return the seconds of the stage `read`: of a bundle, and per byte of text."""
        little, size = (m.text_bytes[dataset] for m in (self.pilot, self.sample))
        few, many = (max(1, m.bundles[dataset]) for m in (self.pilot, self.sample))
        before, after = (m.annotate.get(("read", dataset), 0.0) for m in (self.pilot, self.sample))
        more, longer = size - little * many / few, after - before * many / few
        if size <= 4 * little or more <= 0 or longer <= 0:  # of a sample that is no larger, all counts as work
            return 0.0, after / max(1, size)
        return max(0.0, before / few - longer / more * little / few), longer / more

    def reached(self, stage: str, dataset: str) -> float:
        """Return the share of a dataset's text that reaches a stage of the first read."""
        if stage == "read":
            return 1.0
        return min(1.0, self.sample.reached.get((stage, dataset), 0) / max(1, self.sample.text_bytes[dataset]))

    def kernels(self, stage: str, dataset: str) -> dict[str, float]:
        """Return the seconds per byte of `annotate` that are a kernel's which a GPU has as well, by kernel."""
        names = [name for s, d, name in self.sample.kernels if (s, d) == (stage, dataset)]
        both = self.sample, self.pilot
        return {
            name: self._per_byte(dataset, *(m.kernels.get((stage, dataset, name), 0.0) for m in both)) for name in names
        }

    def _per_byte(self, dataset: str, after: float, before: float) -> float:
        """Return seconds per byte of text from those of the sample and of the pilot."""
        size, little = self.sample.text_bytes[dataset], self.pilot.text_bytes[dataset]
        if size > 4 * little and after > before:
            return (after - before) / (size - little)
        return after / max(1, size)

    def kernels_of(self, step: str, names: Collection[str]) -> dict[str, float]:
        """Return the seconds per unit of work of some kinds of task that are a kernel's, by kernel; in the sample."""
        calls = [call for call in self.sample.calls if call.step == step and call.cost.name in names]
        spent = sum(sum(call.seconds) for call in calls)
        unit = sum(rate.unit for rate in self.of(step) if rate.cost.name in names)
        found: dict[str, float] = {}
        for call in calls:
            for kernel, seconds in call.kernels.items():
                found[kernel] = found.get(kernel, 0.0) + unit * seconds / max(1e-12, spent)
        return found

    def written(self, key: str) -> float:
        """Return bytes on disk per document of the sample; what any file costs is left out."""
        after, before = self.sample.written.get(key, 0), self.pilot.written.get(key, 0)
        more = self.sample.rows - self.pilot.rows
        return max(0, after - before) / more if more > 0 else after / max(1, self.sample.rows)

    def written_per_file(self, key: str) -> float:
        """Return the bytes that a file has whatever it holds."""
        rest = self.pilot.written.get(key, 0) - self.written(key) * self.pilot.rows
        return max(0.0, rest) / max(1, len(self.pilot.run.manifest.shards))


def _rate(before: _Sum, after: _Sum, little: float, much: float) -> Rate:
    """Return the rate of a kind of task; little, much: work of the pilot and of the sample.

    Of a kind that the pilot did not need, everything counts as work.
    """
    each = min(before.seconds / max(1, before.tasks), after.seconds / max(1, after.tasks))
    more = much - little * after.tasks / before.tasks if before.tasks else much
    if more <= 0:  # the sample is no larger than the pilot
        return Rate(cost=after.cost, each=each, unit=after.seconds / much if much else 0.0)
    return Rate(cost=after.cost, each=each, unit=max(0.0, after.seconds - each * after.tasks) / more)


def _sums(measured: Measured) -> dict[tuple[str, str], _Sum]:
    """Return the sums of all calls, by step and name of the kind."""
    found: dict[tuple[str, str], _Sum] = {}
    for call in measured.calls:
        key = (call.step, call.cost.name)
        seen = found.get(key, _Sum(cost=call.cost))
        tasks, seconds = seen.tasks + len(call.seconds), seen.seconds + sum(call.seconds)
        found[key] = _Sum(cost=call.cost, tasks=tasks, seconds=seconds)
    return found
