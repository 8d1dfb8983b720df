"""Where work runs, by kind, and workers on this machine, sized from the cores and memory really available.

Threads inside few processes: the kernels release the GIL, and processes cost memory.
"""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cluster import backend
from cluster.engine import Engine, InlineEngine
from cluster.errors import BackendError, RecipeError

THREADS_PER_WORKER = 8
KINDS = ("local", "threads", "inline", "local-cuda", "scheduler", "slurm", "ray")
TASK_TIMEOUT = 6 * 3600.0

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
    quota = _cgroup_cores()
    return max(1, min(cores, quota) if quota else cores)


def _cgroup_cores() -> int | None:
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
    except (OSError, ValueError):
        return None
    return None if quota == "max" else max(1, int(quota) // int(period))


def available_memory() -> int:
    """Return the bytes this process may use: the smaller of what is free and the cgroup's limit."""
    import psutil

    free = int(psutil.virtual_memory().available)
    try:
        limit = Path("/sys/fs/cgroup/memory.max").read_text().strip()
        used = Path("/sys/fs/cgroup/memory.current").read_text().strip()
    except OSError:
        return free
    return free if limit == "max" else max(0, min(free, int(limit) - int(used)))


def size(options: ClusterOptions, cores: int | None = None) -> tuple[int, int]:
    """Return (worker processes, threads in each) for a machine of so many cores (default: this one)."""
    cores = cores or available_cores()
    if options.workers is None:
        threads = options.threads_per_worker or min(cores, THREADS_PER_WORKER)
        return max(1, cores // threads), threads
    return options.workers, options.threads_per_worker or 1


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
        from cluster.threads import ThreadsEngine

        backend.settle_here(options.backend)
        return ThreadsEngine(options.workers or available_cores())
    if options.kind == "local-cuda" or (options.kind == "local" and options.backend == "gpu"):
        return _local_cuda(options)
    if options.kind == "local":
        return _local(options)
    if options.kind == "scheduler":
        from cluster import scheduler

        return scheduler.connect(options, run_dir)
    if options.kind == "slurm":
        from cluster import slurm

        return slurm.start(options, run_dir)
    if options.kind == "ray":
        from cluster import on_ray

        return on_ray.start(options, run_dir)
    raise RecipeError(f"cluster.kind must be one of {', '.join(KINDS)}, got {options.kind!r}.")


def _local(options: ClusterOptions) -> Engine:
    import dask
    import distributed

    processes, threads = size(options)
    limit: Any = options.memory_limit or int(available_memory() * 0.9 / processes)
    make_cluster: Any = distributed.LocalCluster
    with dask.config.set(QUIET):
        cluster: Any = make_cluster(
            n_workers=processes,
            threads_per_worker=threads,
            processes=True,
            memory_limit=limit,
            host="127.0.0.1",
            dashboard_address=options.dashboard,
            scheduler_kwargs={} if options.dashboard else {"dashboard_address": "127.0.0.1:0"},  # its health page
            silence_logs=logging.ERROR,
        )
    return own(cluster, options, "on this machine")


def _local_cuda(options: ClusterOptions) -> Engine:
    import dask

    from cluster import local_cuda

    with dask.config.set(QUIET):
        cluster = local_cuda.start(options)
    return own(cluster, options, "on this machine's GPUs")


def own(cluster: Any, options: ClusterOptions, where: str) -> Engine:
    """Return the engine on a Dask cluster object that this process started and will close."""
    import distributed

    from cluster.dask_engine import DaskEngine, Patience

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
