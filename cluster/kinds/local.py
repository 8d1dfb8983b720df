"""Worker processes on this machine (cluster.kind local)."""

from __future__ import annotations

import logging
from typing import Any

from cluster.engines.engine import Engine
from cluster.kinds import certificate
from cluster.kinds.attach import engine_on_own_cluster
from cluster.options import DASK_SETTINGS, LOOPBACK_PAGES, ClusterOptions, processes_and_threads, worker_memory


def start(options: ClusterOptions) -> Engine:
    """Start a LocalCluster and return the engine on it; the workers end with the engine."""
    import dask
    import distributed

    processes, threads = processes_and_threads(options)
    limit: Any = worker_memory(options, processes)
    make_cluster: Any = distributed.LocalCluster
    with dask.config.set(DASK_SETTINGS):
        cluster: Any = make_cluster(
            n_workers=processes,
            threads_per_worker=threads,
            processes=True,
            memory_limit=limit,
            **this_machine_keywords(options),
        )
    return engine_on_own_cluster(cluster, options, "on this machine")


def this_machine_keywords(options: ClusterOptions) -> dict[str, Any]:
    """Return the keyword arguments of LocalCluster and its subclasses: loopback addresses, dashboard, TLS, logs."""
    return {
        "host": "127.0.0.1",
        "dashboard_address": options.dashboard,
        "scheduler_kwargs": {} if options.dashboard else {"dashboard_address": LOOPBACK_PAGES},
        "silence_logs": logging.ERROR,
        **certificate.tls_keywords(),
    }
