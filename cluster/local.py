"""Workers on this machine: sized from the cores and memory that are really available.

Threads inside few processes: the kernels release the GIL, and processes cost memory.
"""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cluster.engine import DaskEngine, Engine, InlineEngine
from cluster.errors import RecipeError

THREADS_PER_WORKER = 8
KINDS = ("local", "inline")


@dataclass(frozen=True, kw_only=True)
class ClusterOptions:
    """Where work runs. workers None: one process for every `THREADS_PER_WORKER` cores."""

    kind: str = "local"
    workers: int | None = None
    threads_per_worker: int | None = None
    memory_limit: str | None = None  # per worker, such as "4GB"; None: an equal share of what is free
    dashboard: str | None = None  # address such as "127.0.0.1:8787"; None: no dashboard


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


def size(options: ClusterOptions) -> tuple[int, int]:
    """Return (worker processes, threads in each)."""
    cores = available_cores()
    if options.workers is None:
        threads = options.threads_per_worker or min(cores, THREADS_PER_WORKER)
        return max(1, cores // threads), threads
    return options.workers, options.threads_per_worker or 1


def start(options: ClusterOptions) -> Engine:
    """Start the engine that `options` asks for."""
    if options.kind == "inline":
        return InlineEngine()
    if options.kind != "local":
        raise RecipeError(f"cluster.kind must be one of {', '.join(KINDS)}, got {options.kind!r}.")
    return _local(options)


def _local(options: ClusterOptions) -> Engine:
    import dask
    import distributed

    make_cluster: Any = distributed.LocalCluster
    make_client: Any = distributed.Client
    processes, threads = size(options)
    limit: Any = options.memory_limit or int(available_memory() * 0.9 / processes)
    quiet = {
        "distributed.worker.memory.spill": False,  # tasks return counts; there is nothing to spill
        "distributed.worker.memory.target": False,
        "distributed.worker.memory.pause": 0.9,
        "distributed.admin.log-format": "%(name)s %(levelname)s %(message)s",
    }
    with dask.config.set(quiet):
        cluster: Any = make_cluster(
            n_workers=processes,
            threads_per_worker=threads,
            processes=True,
            memory_limit=limit,
            host="127.0.0.1",
            dashboard_address=options.dashboard,
            silence_logs=logging.ERROR,
        )
    client: Any = make_client(cluster)

    def close() -> None:
        client.close()
        cluster.close()

    return DaskEngine(client, close, processes * threads)
