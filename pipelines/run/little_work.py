"""Where a run works: with kind `local` in this process, on threads, where the inputs are too few for worker processes.

A worker process takes two seconds of CPU time until it has loaded what it needs, scheduler and connections another one.
Guarantees: what is chosen follows from recipe and input files alone, from no clock, and changes no byte of a result.
Workers start all the same where the recipe says how they shall be, and where one may die of what it runs: code and
libraries of others, HTML, input that is to be quarantined, a GPU.
"""

from __future__ import annotations

import dataclasses

from cluster.device import backend
from cluster.options import TASK_TIMEOUT, ClusterOptions
from pipelines.recipe.to_run import Prepared
from stages.core.stage import ShardStage, Stage
from stages.inputs.files.amount import sizes_if_few

MOST_BYTES = 16_000_000  # as they lie there: what eight threads do while worker processes start
MOST_FILES = 64


def where_to_work(prepared: Prepared) -> tuple[ClusterOptions, str]:
    """Return the options to start an engine with, and a sentence where they are not the recipe's; else an empty one."""
    asked = prepared.cluster
    if not _leaves_it_open(asked) or prepared.run.on_error != "stop" or not all(map(_is_safe, prepared.run.stages)):
        return asked, ""
    sizes = sizes_if_few(prepared.run.datasets, MOST_FILES)
    if sizes is None or sum(sizes.values()) > MOST_BYTES or any(".warc" in path.lower() for path in sizes):
        return asked, ""
    if asked.backend == "auto" and not backend.why_no_gpu():
        return asked, ""
    said = (
        f"{sum(sizes.values()) / 1e6:.1f} MB of input are worked on by threads of this process, without worker "
        f"processes: these start from {MOST_BYTES / 1e6:.0f} MB, or with --workers"
    )
    return dataclasses.replace(asked, kind="threads"), said


def _leaves_it_open(asked: ClusterOptions) -> bool:
    """Tell whether nothing is said of worker processes but that they be on this machine."""
    said = (asked.workers, asked.threads_per_worker, asked.memory_limit, asked.dashboard)
    plain = asked.kind == "local" and asked.backend != "gpu" and asked.task_timeout == TASK_TIMEOUT
    return plain and all(value is None for value in said)


def _is_safe(stage: Stage) -> bool:
    """Tell whether a stage computes by winnow's own code: no model in a library of others, no endpoint, no plug-in."""
    foreign = isinstance(stage, ShardStage) and (stage.costly or stage.asks)
    return type(stage).__module__.startswith("stages.") and not foreign
