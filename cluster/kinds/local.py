"""Worker processes on this machine (cluster.kind local)."""

from __future__ import annotations

import time
from functools import partial
from typing import Any

from cluster.engines.engine import Engine
from cluster.engines.timeouts import BackgroundCall, try_with_timeout
from cluster.errors import BackendError
from cluster.kinds import certificate
from cluster.kinds.attach import closed_on_error, engine_on_own_cluster
from cluster.kinds.deaths import Deaths
from cluster.kinds.silence import SILENT, interrupts_for_this_thread_only, silence_dask
from cluster.options import DASK_SETTINGS, LOOPBACK_PAGES, ClusterOptions, processes_and_threads, worker_memory

MOST_DEATHS = 3  # of one worker at its start
POLL = 0.02  # seconds
CLOSING = 15.0  # seconds


def start(options: ClusterOptions) -> Engine:
    """Start a LocalCluster and return the engine on it; the workers end with the engine."""
    import dask
    import distributed

    processes, threads = processes_and_threads(options)
    limit: Any = worker_memory(options, processes)
    make_cluster: Any = distributed.LocalCluster
    deaths = Deaths()
    deaths.listen()
    silence_dask()
    with dask.config.set(DASK_SETTINGS), interrupts_for_this_thread_only():
        cluster: Any = make_cluster(
            n_workers=0,  # they are waited for below: a worker that dies at its start is started again for ever
            threads_per_worker=threads,
            processes=True,
            memory_limit=limit,
            **this_machine_keywords(options),
        )
    with dask.config.set(DASK_SETTINGS), closed_on_error(partial(try_with_timeout, cluster.close, CLOSING)):
        while len(cluster.worker_spec) < processes:
            cluster.worker_spec.update(cluster.new_worker_spec())
        _wait(cluster, processes, options, deaths)
    return engine_on_own_cluster(cluster, options, "on this machine", deaths)


def _wait(cluster: Any, processes: int, options: ClusterOptions, deaths: Deaths) -> None:
    """Block until all workers joined. Raises BackendError with the cause where they die, or do not join in time."""
    begin = time.monotonic()
    starting = BackgroundCall(partial(cluster.sync, cluster._correct_state))
    while len(cluster.scheduler.workers) < processes:
        waited = time.monotonic() - begin
        if starting.error or deaths.count >= MOST_DEATHS * processes or waited > options.wait:
            joined, cause = len(cluster.scheduler.workers), _innermost(starting.error)
            raise BackendError(
                f"{joined} of {processes} workers on this machine started in {waited:.0f} s. "
                f"{deaths.cause or 'Nothing was logged of the others.'} {cause}Give them more memory "
                "(cluster.memory_limit) or have fewer (--workers); `--cluster threads` needs no worker processes."
            )
        time.sleep(POLL)


def _innermost(error: BaseException | None) -> str:
    """Return the error that all others came from, with a blank behind it; empty where there is none."""
    while error is not None and (before := error.__cause__ or error.__context__) is not None:
        error = before
    return f"{type(error).__name__}: {error}. ".replace(".. ", ". ") if error is not None else ""


def this_machine_keywords(options: ClusterOptions) -> dict[str, Any]:
    """Return the keyword arguments of LocalCluster and its subclasses: loopback addresses, dashboard, TLS, logs."""
    return {
        "host": "127.0.0.1",
        "dashboard_address": options.dashboard,
        "scheduler_kwargs": {} if options.dashboard else {"dashboard_address": LOOPBACK_PAGES},
        "silence_logs": SILENT,
        **certificate.tls_keywords(),
    }
