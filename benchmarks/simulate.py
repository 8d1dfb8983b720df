"""`python -m benchmarks.simulate`: what more cores would give, from the task graph of a run on one.

A run in this process records every task's processor time, and what the client does between two rounds of tasks, which
no core shares. Sizes of tasks are divided (`WINNOW_SIZES_DIVIDED_BY`), so that a little text makes the tasks of much;
times are multiplied back, but for what every task takes at least. Rounds follow each other, as `engine.map` returns
when its last task has ended; within a round each core takes the next task. A task costs the scheduler `--per-task`
seconds.

The table names for every number of cores the seconds, the speed-up, and the steps that hold it back: the client's own
work, and rounds whose longest task is longer than their share of the work.
"""

from __future__ import annotations

import argparse
import heapq
import os
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

CORES = (1, 2, 16, 64, 112)


@dataclass
class Round:
    """One call of `engine.map`. before: the client's own seconds since the last round; tasks: seconds of each."""

    name: str
    before: float
    tasks: list[float] = field(default_factory=list)


class Recording:
    """An engine that runs tasks one after the other and keeps their processor time."""

    workers = 1

    def __init__(self) -> None:
        self.rounds: list[Round] = []
        self._ended = time.process_time()

    def map(
        self,
        function: Callable[[Any], Any],
        tasks: Sequence[Any],
        *,
        done: Callable[[Any], None] | None = None,
        **_: Any,
    ) -> list[Any]:
        bare = getattr(function, "func", function)
        bare = getattr(bare, "func", bare)
        found = Round(getattr(bare, "__name__", type(bare).__name__).strip("_"), time.process_time() - self._ended)
        results = []
        for task in tasks:
            begin = time.process_time()
            results.append(function(task))
            found.tasks.append(time.process_time() - begin)
            if done:
                done(results[-1])
        self.rounds.append(found)
        self._ended = time.process_time()
        return results

    def close(self) -> None:
        self.rounds.append(Round("end", time.process_time() - self._ended))


def whole_size(rounds: Sequence[Round], divisor: float) -> list[Round]:
    """Return the rounds of a run whose tasks are `divisor` times as large; the client's work follows their number.

    >>> whole_size([Round("a", 1.0, [0.1, 0.3])], 10)
    [Round(name='a', before=1.0, tasks=[0.1, 2.1])]
    """
    least = min((seconds for found in rounds for seconds in found.tasks), default=0.0)
    return [
        Round(found.name, found.before, [round(s + (divisor - 1) * (s - least), 6) for s in found.tasks])
        for found in rounds
    ]


def makespan(tasks: Sequence[float], cores: int, per_task: float) -> float:
    """Return the seconds of a round: each core takes the next task; the scheduler hands out one at a time.

    >>> makespan([1, 1, 2], 2, 0.0), makespan([1] * 4, 4, 0.5)
    (3.0, 3.0)
    """
    free = [0.0] * cores
    ends = 0.0
    for number, seconds in enumerate(tasks):
        begin = max(heapq.heappop(free), number * per_task + per_task)
        heapq.heappush(free, begin + seconds)
        ends = max(ends, begin + seconds)
    return ends


def table(rounds: Sequence[Round], per_task: float) -> str:
    """Return seconds, speed-up, bound and what holds each number of cores back, as Markdown."""
    serial = sum(found.before for found in rounds)
    critical = serial + sum(max(found.tasks, default=0.0) for found in rounds)
    lines = ["| cores | seconds | times one core | holds back (seconds beyond an even share) |", "|---|---|---|---|"]
    one = serial + sum(makespan(found.tasks, 1, per_task) for found in rounds)
    for cores in CORES:
        spans = [makespan(found.tasks, cores, per_task) for found in rounds]
        lost = {"client": serial * (1 - 1 / cores)}
        for found, span in zip(rounds, spans, strict=True):
            lost[found.name] = lost.get(found.name, 0.0) + span - sum(found.tasks) / cores
        worst = sorted(lost.items(), key=lambda item: -item[1])[:4]
        names = ", ".join(f"{name} {seconds:.1f}" for name, seconds in worst if seconds > 0.005)
        lines.append(f"| {cores} | {serial + sum(spans):.1f} | {one / (serial + sum(spans)):.1f} | {names} |")
    tasks = sum(len(found.tasks) for found in rounds)
    return "\n".join([*lines, "", f"{tasks:,} tasks in {len(rounds)} rounds; critical path {critical:.1f} s."])


def recorded(recipe: Path, data: Path, work: Path) -> list[Round]:
    """Run a recipe on one core and return its rounds; a run before loads models and kernels."""
    from pipelines.recipe.recipe import load_recipe
    from pipelines.run import runner

    original = runner.start
    try:
        for name in ("warm", "timed"):
            engine = Recording()
            runner.start = lambda *_, engine=engine: engine  # type: ignore[assignment,misc]
            runner.run(load_recipe(str(recipe), [f"datasets.text.paths={data}"]), str(work / name))
    finally:
        runner.start = original
    return engine.rounds


def main() -> None:
    """Record a run, print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.simulate", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder of Parquet files with text and id")
    parser.add_argument("--recipe", type=Path, default=Path(__file__).parent / "recipe.yaml")
    parser.add_argument("--divided-by", type=int, default=50, help="sizes of tasks, and factor of their times")
    parser.add_argument("--per-task", type=float, default=0.0066, help="seconds of the scheduler for each task")
    given = parser.parse_args()
    os.environ["WINNOW_SIZES_DIVIDED_BY"] = str(given.divided_by)
    with tempfile.TemporaryDirectory() as folder:
        rounds = recorded(given.recipe, given.data.resolve(), Path(folder))
    sys.stdout.write(table(whole_size(rounds, given.divided_by), given.per_task) + "\n")


if __name__ == "__main__":
    main()
