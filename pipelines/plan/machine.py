"""Where the work of a planned run is done: workers, threads, memory, and what is added before the first task.

The constants are what a cluster adds; they were measured where the comment says.
"""

from __future__ import annotations

from dataclasses import dataclass

from cluster.options import available_cores, free_memory_per_worker, processes_and_threads
from pipelines.recipe.recipe import Recipe

COMMAND_SECONDS = 1.0  # interpreter and imports of `winnow run`
CLUSTER_SECONDS = {"inline": 0.0, "local": 3.0}  # until the first task can start, and to close
REMOTE_SECONDS = 60.0  # of any other kind; a queue may take longer


@dataclass(frozen=True, kw_only=True)
class Machine:
    """Where the run works. speed_up: how many times one thread's work the threads of a process do together."""

    kind: str
    workers: int
    threads: int
    gpus: int
    cores: int
    memory: int  # of one worker
    memory_is: str
    speed_up: float = 1.0

    @property
    def slots(self) -> float:
        """Tasks at the same time, in units of one thread alone."""
        every = self.workers * self.speed_up
        return min(every, float(self.cores)) if self.kind == "local" else every

    @property
    def start_seconds(self) -> float:
        """Seconds of the command and its cluster before the first task and after the last."""
        return COMMAND_SECONDS + CLUSTER_SECONDS.get(self.kind, REMOTE_SECONDS)


def machine_of(recipe: Recipe, workers: int | None, gpus: int | None) -> Machine:
    """Return where the recipe, or the command line, wants the work done."""
    from pipelines.recipe.sections import parse_bytes
    from pipelines.recipe.to_run import cluster_of_recipe

    options = cluster_of_recipe(recipe, workers if workers is not None else gpus)
    processes, threads = (1, 1) if options.kind == "inline" else processes_and_threads(options)
    given = options.memory_limit
    memory = parse_bytes(given) if given else free_memory_per_worker(processes)
    return Machine(
        kind=options.kind,
        workers=processes,
        threads=threads,
        gpus=gpus or 0,
        cores=available_cores(),
        memory=memory,
        memory_is="cluster.memory_limit" if given else "free memory of this machine / workers",
    )
