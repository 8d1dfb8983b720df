"""Options of a cluster, and the number and memory of its workers, from the cores and bytes really available.

Guarantees: nothing of Dask is imported, but to read a memory limit that is given. A worker process has several threads,
since the kernels release the GIL and every process costs memory.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import Any

from cluster import cgroups
from cluster.errors import BackendError

KINDS = ("local", "threads", "inline", "local-cuda", "scheduler", "slurm", "ray")
THREADS_PER_WORKER = 8
MEMORY_PER_THREAD = 512 << 20  # bytes; a batch of text, its facts, and the libraries
MEMORY_SHARE = 0.9  # of what is free for the workers; the rest is for scheduler and client
LEAST_MEMORY = 256 << 20  # bytes; below that a worker dies of its libraries
TASK_TIMEOUT = 6 * 3600.0

LOOPBACK_PAGES = "127.0.0.1:0"  # address of Dask's status pages, which exist without a dashboard too: this machine only

LEAST_LINK_SECONDS = 12.0  # with less a connection cannot be probed, says Dask
LINK_SECONDS = 300.0  # that a network link may be down before what lies behind it is given up


def link_settings(seconds: float) -> dict[str, Any]:
    """Return Dask's configuration for links that may be down for so long: a connection waits, and goes on after it.

    Dask's own 30 s end a worker, and with its connections the run, when a switch is restarted.
    """
    return {
        "distributed.comm.timeouts.tcp": f"{seconds:g}s",
        "distributed.comm.timeouts.connect": f"{max(30.0, seconds / 5):g}s",
        "distributed.scheduler.worker-ttl": f"{max(300.0, 2 * seconds):g}s",
    }


DASK_SETTINGS = {  # Dask's configuration for schedulers and workers that winnow starts
    "distributed.worker.memory.spill": False,  # tasks return counts; there is nothing to spill
    "distributed.worker.memory.target": False,
    "distributed.worker.memory.pause": 0.9,
    "distributed.admin.log-format": "%(name)s %(levelname)s %(message)s",
    **link_settings(LINK_SECONDS),
}


@dataclass(frozen=True, kw_only=True)
class SlurmOptions:
    """Resources of one Slurm job: a node, or a part of it, with its worker processes."""

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
    """Kind and size of a cluster. workers None: one process for every `THREADS_PER_WORKER` cores."""

    kind: str = "local"
    workers: int | None = None
    threads_per_worker: int | None = None
    memory_limit: str | None = None  # per worker, such as "4GB"; None: an equal share of what is free
    dashboard: str | None = None  # address such as "127.0.0.1:8787"; None: no dashboard
    address: str | None = None  # of a running scheduler, such as "tcp://10.0.0.1:8786"
    scheduler_file: str | None = None
    task_timeout: float | None = TASK_TIMEOUT  # seconds after which a task is taken to hang; None: never
    wait: float = 300.0  # seconds to wait for workers
    link_timeout: float = LINK_SECONDS  # seconds that a network link may be down
    cores: int | None = None  # kind ray: that the autoscaler is asked for
    backend: str = "auto"  # auto | cpu | gpu; see device/agree.py
    slurm: SlurmOptions = field(default_factory=SlurmOptions)


def available_cores() -> int:
    """Return the cores this process may use: CPU affinity and cgroup quota included."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = cgroups.cores()
    return max(1, min(cores, int(quota)) if quota else cores)


def available_memory() -> int:
    """Return the bytes this process may use: the smaller of free memory and of the rest of its cgroup limits."""
    import psutil

    free = int(psutil.virtual_memory().available)
    left = cgroups.free_memory()
    return free if left is None else min(free, left)


def processes_and_threads(
    options: ClusterOptions, cores: int | None = None, memory: int | None = None
) -> tuple[int, int]:
    """Return (worker processes, threads in each) for a machine of `cores` and `memory` bytes; default: this one."""
    if options.workers is not None:
        return options.workers, options.threads_per_worker or 1
    cores = cores or available_cores()
    memory = memory or free_memory_per_worker(1)
    cores = max(1, min(cores, memory // MEMORY_PER_THREAD))
    threads = options.threads_per_worker or min(cores, THREADS_PER_WORKER)
    return max(1, cores // threads), threads


def threads_of_gpu_worker(
    options: ClusterOptions, gpus: int, cores: int | None = None, memory: int | None = None
) -> int:
    """Return the threads of a worker with a GPU: its share of the cores, for the work of the host, as memory allows.

    Examples
    --------
    >>> threads_of_gpu_worker(ClusterOptions(), 8, 112, 1 << 40)
    14
    >>> threads_of_gpu_worker(ClusterOptions(), 8, 4, 1 << 40), threads_of_gpu_worker(ClusterOptions(), 8, 112, 8 << 30)
    (1, 2)
    """
    memory = memory or free_memory_per_worker(1)
    share = min((cores or available_cores()) // gpus, memory // gpus // MEMORY_PER_THREAD)
    return options.threads_per_worker or max(1, share)


def free_memory_per_worker(processes: int) -> int:
    """Return the bytes that each of `processes` workers on this machine can have."""
    return int(available_memory() * MEMORY_SHARE) // processes


def worker_memory(options: ClusterOptions, processes: int) -> int | str:
    """Return the memory limit of each worker of this machine: bytes, or a text such as 4GB.

    Raises
    ------
    BackendError
        Less than LEAST_MEMORY is free for each worker, or is what `options` allow it.
    """
    if options.memory_limit is not None:
        check_memory_limit(options.memory_limit, "cluster.memory_limit")
        return options.memory_limit
    share = free_memory_per_worker(processes)
    if share < LEAST_MEMORY:
        raise BackendError(
            f"{share / 1e6:.0f} MB of memory are free for each of {processes} workers, at least "
            f"{LEAST_MEMORY / 1e6:.0f} MB are needed. Give fewer (--workers 1), or say what each may take: "
            "--set cluster.memory_limit=1GB."
        )
    return share


def check_memory_limit(text: str, what: str) -> None:
    """Raise BackendError where a memory limit, such as 4GB, is less than a worker needs to live."""
    from dask.utils import parse_bytes

    try:
        size = parse_bytes(text)
    except ValueError:
        return  # auto; of anything else Dask says what is wrong
    if size < LEAST_MEMORY:
        raise BackendError(
            f"{what} is {text}: with less than {LEAST_MEMORY / 1e6:.0f} MB a worker dies of its libraries. Give more, "
            "or leave it out: then free memory is shared among the workers."
        )


def dashboard_keywords(options: ClusterOptions) -> dict[str, Any]:
    """Return the keyword arguments of a Dask scheduler for its dashboard, or for none."""
    return {"dashboard": options.dashboard is not None, "dashboard_address": options.dashboard or LOOPBACK_PAGES}
