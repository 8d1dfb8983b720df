"""`python -m benchmarks.simulate`: what more cores would give, from the task graph of a run on one.

A run in this process records every task's processor time, and what the client does between two rounds of tasks, which
no core shares. Sizes of tasks are divided (`WINNOW_SIZES_DIVIDED_BY`), and so are row groups and files of the input,
which is written anew, and files of the mix, so that a little text makes the tasks of much; times are multiplied back,
but for what every task takes at least. A divisor above 10 magnifies what a task costs whatever it holds. Rounds follow
each other, as `engine.map` returns when its last task has ended; within a round each core takes the next task. A task
costs the scheduler `--per-task` seconds.

The table names for every number of cores the seconds, the speed-up, and the steps that hold it back: the client's own
work, and rounds whose longest task is longer than their share of the work. Below it stand the client's seconds by the
round that they come before, and the longest tasks, which together are the critical path. A second table is of
`--grown` times the text: as many times the tasks, and single tasks (the join of components) as much longer. The start
of the interpreter with winnow's modules belongs to the client; that of workers, at the same time as each other, does
not.
"""

from __future__ import annotations

import argparse
import heapq
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

if TYPE_CHECKING:
    from cluster.engines import TaskCost

CORES = (1, 2, 16, 64, 112)
FILE_BYTES, ROW_GROUPS = 256 << 20, 16  # text of an input file of a whole run, and in how many row groups
PACKAGES = ("winnow", "pipelines", "stages", "classifiers", "cluster", "numba", "pyarrow")


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
        cost: TaskCost | None = None,
        on_device: bool = False,
    ) -> list[Any]:
        bare = getattr(function, "func", function)
        bare = getattr(bare, "func", bare)
        name = cost.name if cost else getattr(bare, "__name__", type(bare).__name__).strip("_")
        found = Round(name, time.process_time() - self._ended)
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


def grown(rounds: Sequence[Round], times: int) -> list[Round]:
    """Return the rounds of a run of so many times the text: as many times the tasks, or a single task as much longer.

    >>> grown([Round("a", 1.0, [1.0, 2.0]), Round("join", 0.0, [0.5])], 2)
    [Round(name='a', before=1.0, tasks=[1.0, 2.0, 1.0, 2.0]), Round(name='join', before=0.0, tasks=[1.0])]
    """
    return [
        Round(r.name, r.before, r.tasks * times if len(r.tasks) > 1 else [seconds * times for seconds in r.tasks])
        for r in rounds
    ]


def start_up() -> float:
    """Return the processor seconds of a new interpreter that loads what a run loads."""
    mine = sorted(name for name in sys.modules if name.partition(".")[0] in PACKAGES)
    code = f"import importlib\nfor name in {mine!r}: importlib.import_module(name)"
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-c", code], check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


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
    lines += ["", f"{tasks:,} tasks in {len(rounds)} rounds; critical path {critical:.1f} s."]
    lines += [_longest("Client", [(found.name, found.before) for found in rounds])]
    lines += [_longest("Longest tasks", [(found.name, max(found.tasks, default=0.0)) for found in rounds])]
    return "\n".join(lines)


def _longest(what: str, seconds: Sequence[tuple[str, float]]) -> str:
    """Return the ten largest sums of seconds by name, as a sentence."""
    sums: dict[str, float] = {}
    for name, value in seconds:
        sums[name] = sums.get(name, 0.0) + value
    largest = sorted(sums.items(), key=lambda item: -item[1])[:10]
    return f"{what} {sum(sums.values()):.2f} s: " + ", ".join(f"{name} {value:.2f}" for name, value in largest) + "."


def recorded(job: Callable[[str], object], work: Path, times: int) -> list[Round]:
    """Do a job, which is given a folder, on one core so many times; return its rounds with the least time of each task.

    The least, since the first time loads models and kernels, and since others may use the machine.
    """
    from pipelines.audit import kept_audit
    from pipelines.run import runner

    found: list[Round] = []
    for number in range(times):
        engine = Recording()
        # An audit is left out: it is done only where it takes less than 2 % of a run's time
        engines = patch.object(runner, "start", return_value=engine)
        with engines, patch.object(kept_audit, "is_cheap", return_value=False):
            job(str(work / f"run-{number}"))
        found = least(found or engine.rounds, engine.rounds)
    return [Round("start", min(start_up() for _ in range(times))), *found]


def least(left: Sequence[Round], right: Sequence[Round]) -> list[Round]:
    """Return the least seconds of two recordings of one job; a round that only one has as it is.

    >>> least([Round("a", 1.0, [2.0, 3.0])], [Round("a", 0.5, [2.5, 1.0]), Round("b", 0.0, [1.0])])
    [Round(name='a', before=0.5, tasks=[2.0, 1.0]), Round(name='b', before=0.0, tasks=[1.0])]
    """
    known: dict[tuple[str, int], list[Round]] = {}
    for found in left:
        known.setdefault((found.name, len(found.tasks)), []).append(found)
    merged = []
    for found in right:
        same = known.get((found.name, len(found.tasks)))
        other = same.pop(0) if same else found
        tasks = [min(pair) for pair in zip(other.tasks, found.tasks, strict=True)]
        merged.append(Round(found.name, min(other.before, found.before), tasks))
    return merged


def deduplicated(data: Path, divisor: int) -> Callable[[str], object]:
    """Return the job of `winnow dedup` on a folder."""
    from pipelines.commands import dedup

    dedup.SHARD_BYTES //= divisor
    return lambda out: dedup.dedup(str(data), out)


def run_of(recipe: Path, data: Path, divisor: int) -> Callable[[str], object]:
    """Return the job of `winnow run` with a recipe whose dataset is called `text`."""
    from pipelines.recipe.recipe import load_recipe
    from pipelines.run import runner

    size = load_recipe(str(recipe)).output.shard_bytes // divisor
    given = [f"datasets.text.paths={data}", f"output.shard_bytes={size}"]
    return lambda out: runner.run(load_recipe(str(recipe), given), out)


def with_small_files(data: Path, folder: Path, divisor: int) -> Path:
    """Write id and text of Parquet files anew, in files and row groups that are `divisor` times as small; return where.

    Numbers of bundles and of their groups are those of a whole run: they are no sizes of tasks.
    """
    import pyarrow.parquet as pq

    from stages.core import manifest

    manifest.BUNDLES, manifest.GROUPS = manifest.BUNDLES * divisor, manifest.GROUPS * divisor
    texts = pq.ParquetDataset(data).read(columns=["id", "text"]).combine_chunks()
    rows = max(1, texts.num_rows * (FILE_BYTES // divisor) // texts.nbytes)
    folder.mkdir()
    for number, start in enumerate(range(0, texts.num_rows, rows)):
        part = texts.slice(start, rows)
        pq.write_table(part, folder / f"{number:05}.parquet", row_group_size=max(1, rows // ROW_GROUPS))
    return folder


def main() -> None:
    """Record a run, print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.simulate", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder of Parquet files with text and id")
    parser.add_argument("--recipe", type=Path, default=Path(__file__).parent / "recipe.yaml")
    parser.add_argument("--dedup", action="store_true", help="`winnow dedup` instead of a recipe")
    parser.add_argument("--divided-by", type=int, default=8, help="sizes of tasks, and factor of their times")
    parser.add_argument("--grown", type=int, default=40, help="also of so many times the text")
    parser.add_argument("--times", type=int, default=3, help="how often the run is recorded; the least times count")
    parser.add_argument("--per-task", type=float, default=0.0007, help="seconds of the scheduler for each task")
    given = parser.parse_args()
    os.environ["WINNOW_SIZES_DIVIDED_BY"] = str(given.divided_by)
    with tempfile.TemporaryDirectory() as folder:
        data = with_small_files(given.data.resolve(), Path(folder, "data"), given.divided_by)
        divisor = given.divided_by
        job = deduplicated(data, divisor) if given.dedup else run_of(given.recipe, data, divisor)
        rounds = recorded(job, Path(folder), given.times)
    whole = whole_size(rounds, given.divided_by)
    sys.stdout.write(table(whole, given.per_task) + "\n")
    if given.grown > 1:
        sys.stdout.write(f"\n{given.grown} times the text:\n\n{table(grown(whole, given.grown), given.per_task)}\n")


if __name__ == "__main__":
    main()
