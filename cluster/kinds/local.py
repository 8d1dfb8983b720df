"""Where work runs, by kind, and workers on this machine, sized from the cores and memory really available.

Threads inside few processes: the kernels release the GIL, and processes cost memory.
"""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass, field
from typing import Any

from cluster import cgroups
from cluster.device import backend
from cluster.engines.engine import Engine, InlineEngine
from cluster.errors import BackendError, RecipeError
from cluster.kinds import certificate

THREADS_PER_WORKER = 8
MEMORY_PER_THREAD = 512 << 20  # bytes; a batch of text, its facts, and the libraries
MEMORY_SHARE = 0.9  # of what is free for the workers; the rest is for scheduler and client
LEAST_MEMORY = 256 << 20  # bytes; below that a worker dies of its libraries
KINDS = ("local", "threads", "inline", "local-cuda", "scheduler", "slurm", "ray")
TASK_TIMEOUT = 6 * 3600.0

OWN_PAGES = "127.0.0.1:0"  # Dask serves pages about itself even without a dashboard: to this machine only

QUIET = {  # Dask's settings for workers that winnow starts
    "distributed.worker.memory.spill": False,  # tasks return counts; there is nothing to spill
    "distributed.worker.memory.target": False,
    "distributed.worker.memory.pause": 0.9,
    "distributed.admin.log-format": "%(name)s %(levelname)s %(message)s",
}


@dataclass(frozen=True, kw_only=True)
class SlurmOptions:
    """What one job of Slurm asks for: a node, or a part of it, with its worker processes."""

    jobs: int = 1
    cores: int = 1
    memory: str = "4GB"
    walltime: str = "24:00:00"
    partition: str | None = None
    account: str | None = None
    gpus: int = 0
    interface: str | None = None  # network interface such as ib0
    local_directory: str | None = None  # scratch folder on the nodes
    prologue: tuple[str, ...] = ()  # shell lines before the workers start, such as `module load python`
    directives: tuple[str, ...] = ()  # further #SBATCH lines, such as --qos=long


@dataclass(frozen=True, kw_only=True)
class ClusterOptions:
    """Where work runs. workers None: one process for every `THREADS_PER_WORKER` cores."""

    kind: str = "local"
    workers: int | None = None
    threads_per_worker: int | None = None
    memory_limit: str | None = None  # per worker, such as "4GB"; None: an equal share of what is free
    dashboard: str | None = None  # address such as "127.0.0.1:8787"; None: no dashboard
    address: str | None = None  # of a running scheduler, such as "tcp://10.0.0.1:8786"
    scheduler_file: str | None = None
    task_timeout: float | None = TASK_TIMEOUT  # seconds after which a task is taken to hang; None: never
    wait: float = 300.0  # seconds to wait for workers
    backend: str = "auto"  # auto | cpu | gpu; see backend.py
    slurm: SlurmOptions = field(default_factory=SlurmOptions)


def available_cores() -> int:
    """Return the cores this process may use: affinity and cgroup quota included."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = cgroups.cores()
    return max(1, min(cores, int(quota)) if quota else cores)


def available_memory() -> int:
    """Return the bytes this process may use: the smaller of what is free and what its cgroups leave."""
    import psutil

    free = int(psutil.virtual_memory().available)
    left = cgroups.free_memory()
    return free if left is None else min(free, left)


def size(options: ClusterOptions, cores: int | None = None, memory: int | None = None) -> tuple[int, int]:
    """Return (worker processes, threads in each) for a machine with so many cores and bytes (default: this one)."""
    if options.workers is not None:
        return options.workers, options.threads_per_worker or 1
    cores = cores or available_cores()
    memory = memory or int(available_memory() * MEMORY_SHARE)
    cores = max(1, min(cores, memory // MEMORY_PER_THREAD))
    threads = options.threads_per_worker or min(cores, THREADS_PER_WORKER)
    return max(1, cores // threads), threads


def worker_memory(options: ClusterOptions, processes: int) -> int | str:
    """Return the memory of each worker of this machine. Raises BackendError where too little is free."""
    if options.memory_limit is not None:
        return options.memory_limit
    share = int(available_memory() * MEMORY_SHARE) // processes
    if share < LEAST_MEMORY:
        raise BackendError(
            f"{share / 1e6:.0f} MB of memory are free for each of {processes} workers, at least "
            f"{LEAST_MEMORY / 1e6:.0f} MB are needed. Give fewer (--workers 1), or say what each may take: "
            "--set cluster.memory_limit=1GB."
        )
    return share


def pages(options: ClusterOptions) -> dict[str, Any]:
    """Return a scheduler's keywords for its dashboard, or for none."""
    return {"dashboard": options.dashboard is not None, "dashboard_address": options.dashboard or OWN_PAGES}


def start(options: ClusterOptions, run_dir: str | None = None) -> Engine:
    """Start the engine that `options` asks for.

    Parameters
    ----------
    run_dir : run folder, which every worker must see; checked where workers run on other machines.

    Raises
    ------
    RecipeError
        The options name no kind there is, or lack what their kind needs.
    BackendError
        The cluster cannot be reached, has no workers, or its workers differ from this process.
    """
    if options.kind == "inline":
        backend.settle_here(options.backend)
        return InlineEngine()
    if options.kind == "threads":
        from cluster.engines.threads import ThreadsEngine

        backend.settle_here(options.backend)
        return ThreadsEngine(options.workers or available_cores())
    if options.kind == "local-cuda" or (options.kind == "local" and options.backend == "gpu"):
        return _local_cuda(options)
    if options.kind == "local":
        return _local(options)
    if options.kind == "scheduler":
        from cluster.kinds import running_scheduler

        return running_scheduler.connect(options, run_dir)
    if options.kind == "slurm":
        from cluster.kinds import slurm

        return slurm.start(options, run_dir)
    if options.kind == "ray":
        from cluster.kinds import on_ray

        return on_ray.start(options, run_dir)
    raise RecipeError(f"cluster.kind must be one of {', '.join(KINDS)}, got {options.kind!r}.")


def _local(options: ClusterOptions) -> Engine:
    import dask
    import distributed

    processes, threads = size(options)
    limit: Any = worker_memory(options, processes)
    make_cluster: Any = distributed.LocalCluster
    with dask.config.set(QUIET):
        cluster: Any = make_cluster(
            n_workers=processes,
            threads_per_worker=threads,
            processes=True,
            memory_limit=limit,
            host="127.0.0.1",
            dashboard_address=options.dashboard,
            scheduler_kwargs={} if options.dashboard else {"dashboard_address": OWN_PAGES},
            silence_logs=logging.ERROR,
            **certificate.keywords(),
        )
    return own(cluster, options, "on this machine")


def _local_cuda(options: ClusterOptions) -> Engine:
    import dask

    from cluster.kinds import local_cuda

    with dask.config.set(QUIET):
        cluster = local_cuda.start(options)
    return own(cluster, options, "on this machine's GPUs")


def own(cluster: Any, options: ClusterOptions, where: str) -> Engine:
    """Return the engine on a Dask cluster object that this process started and will close."""
    import distributed

    from cluster.engines.dask_engine import DaskEngine, Patience

    make_client: Any = distributed.Client
    client: Any = make_client(cluster)

    def close() -> None:
        client.close()
        cluster.close()

    try:
        backend.settle(client, options.backend)
    except BackendError:
        close()
        raise
    patience = Patience(task=options.task_timeout, workers=options.wait)
    return DaskEngine(client, close, where=where, patience=patience)
