"""Start an engine from cluster options: the front door of this package.

Guarantees: only what the kind needs is imported, so `threads` and `inline` run without Dask.
"""

from __future__ import annotations

from cluster.engines.engine import Engine, InlineEngine
from cluster.errors import RecipeError
from cluster.options import KINDS, ClusterOptions, available_cores


def start(options: ClusterOptions, run_dir: str | None = None) -> Engine:
    """Start the workers of a cluster and return the engine that runs tasks on them.

    Parameters
    ----------
    run_dir : run folder, which every worker must see; checked where workers run on other machines.

    Raises
    ------
    RecipeError
        The kind is unknown, or the options lack what it needs.
    BackendError
        The cluster cannot be reached, has no workers, or its workers differ from this process.
    """
    if options.kind in ("inline", "threads"):
        return _in_this_process(options)
    if options.kind == "local-cuda" or (options.kind == "local" and options.backend == "gpu"):
        from cluster.kinds import local_cuda

        return local_cuda.start(options)
    if options.kind == "local":
        from cluster.kinds import local

        return local.start(options)
    if options.kind == "scheduler":
        from cluster.kinds import running_scheduler

        return running_scheduler.start(options, run_dir)
    if options.kind == "slurm":
        from cluster.kinds import slurm

        return slurm.start(options, run_dir)
    if options.kind == "ray":
        from cluster.kinds import on_ray

        return on_ray.start(options, run_dir)
    raise RecipeError(f"cluster.kind must be one of {', '.join(KINDS)}, got {options.kind!r}.")


def _in_this_process(options: ClusterOptions) -> Engine:
    """Return an engine without worker processes."""
    from cluster.device.agree import choose_backend_here

    choose_backend_here(options.backend)
    if options.kind == "inline":
        return InlineEngine()
    from cluster.engines.threads import ThreadsEngine

    return ThreadsEngine(options.workers or available_cores())
