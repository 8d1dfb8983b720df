"""Worker processes on this machine (cluster.kind local)."""

from __future__ import annotations

import multiprocessing
import os
import sys
import time
from functools import partial
from typing import Any

from cluster.engines.engine import Engine
from cluster.engines.timeouts import BackgroundCall, try_with_timeout
from cluster.errors import BackendError, innermost
from cluster.kinds import certificate
from cluster.kinds.attach import closed_on_error, engine_on_own_cluster
from cluster.kinds.deaths import Deaths
from cluster.kinds.silence import SILENT, interrupts_for_this_thread_only, silence_dask
from cluster.options import DASK_SETTINGS, LOOPBACK_PAGES, ClusterOptions, processes_and_threads, worker_memory

MOST_DEATHS = 3  # of one worker at its start
NO_PAGES = {  # and what is gathered for them, up to a hundred times a second: half of what idle workers take
    **{f"distributed.{who}.http.routes": ["distributed.http.health"] for who in ("scheduler", "worker")},
    "distributed.worker.profile.enabled": False,
    "distributed.admin.tick.interval": "1s",
    "distributed.admin.system-monitor.interval": "5s",
}
POLL = 0.02  # seconds
OWN_WORKER = "cluster.kinds.own_worker"
GUARD = 'Workers import the script that starts them: put what it does below `if __name__ == "__main__":`.'
CLOSING = 15.0  # seconds


def start(options: ClusterOptions) -> Engine:
    """Start a LocalCluster and return the engine on it; the workers end with the engine."""
    import dask
    import distributed

    check_not_in_a_worker()
    processes, threads = processes_and_threads(options)
    limit: Any = worker_memory(options, processes)
    make_cluster: Any = distributed.LocalCluster
    deaths = Deaths()
    deaths.listen()
    silence_dask()
    settings = {**DASK_SETTINGS, **(NO_PAGES if options.dashboard is None else {})}
    with dask.config.set(settings), interrupts_for_this_thread_only():
        cluster: Any = make_cluster(
            n_workers=0,  # they are waited for below: a worker that dies at its start is started again for ever
            threads_per_worker=threads,
            processes=True,
            memory_limit=limit,
            **_preload_keywords(),
            **this_machine_keywords(options),
        )
    with dask.config.set(settings), closed_on_error(partial(try_with_timeout, cluster.close, CLOSING)):
        while len(cluster.worker_spec) < processes:
            cluster.worker_spec.update(cluster.new_worker_spec())
        _wait(cluster, processes, options, deaths)
    return engine_on_own_cluster(cluster, options, "on this machine", deaths)


def _preload_keywords() -> dict[str, Any]:
    """Return what workers load at their start: what the user's Dask settings name, then winnow's own.

    The arguments are one list for each, as Dask takes one list for all only without any other.
    """
    import dask

    named: Any = dask.config.get("distributed.worker.preload") or []
    given: Any = dask.config.get("distributed.worker.preload-argv") or []
    named = [named] if isinstance(named, str) else list(named)
    given = [list(given)] * len(named) if not given or isinstance(given[0], str) else list(given)
    return {"preload": [*named, OWN_WORKER], "preload_argv": [*given, []]}


def _wait(cluster: Any, processes: int, options: ClusterOptions, deaths: Deaths) -> None:
    """Block until all workers joined. Raises BackendError with the cause where they die, or do not join in time."""
    begin = time.monotonic()
    starting = BackgroundCall(partial(cluster.sync, cluster._correct_state))
    while len(cluster.scheduler.workers) < processes:
        waited = time.monotonic() - begin
        if starting.error or deaths.count >= MOST_DEATHS * processes or waited > options.wait:
            joined, cause = len(cluster.scheduler.workers), _said(starting.error)
            raise BackendError(
                f"{joined} of {processes} workers on this machine started in {waited:.0f} s. "
                f"{deaths.cause or 'Nothing was logged of the others.'} {cause}{_of_a_script()}Give them more memory "
                "(cluster.memory_limit) or have fewer (--workers); `--cluster threads` needs no worker processes."
            )
        time.sleep(POLL)


def check_not_in_a_worker() -> None:
    """Raise BackendError in a worker that is starting: it imports the script that started it, which calls winnow."""
    if getattr(multiprocessing.current_process(), "_inheriting", False):
        raise BackendError(f"a worker process that starts runs its script again. {GUARD}")


def _of_a_script() -> str:
    """Return what to look for in the script that called winnow; empty where winnow is called by itself or a module."""
    main = sys.modules.get("__main__")
    name = os.path.basename(getattr(main, "__file__", None) or "")
    is_script = getattr(main, "__spec__", None) is None and name not in ("", "winnow", "pytest")
    return f"{GUARD} " if is_script else ""


def _said(error: BaseException | None) -> str:
    """Return the error that all others came from, in words with a blank behind them; empty where there is none."""
    if error is None:
        return ""
    first = innermost(error)
    return f"{type(first).__name__}: {first}. ".replace(".. ", ". ")


def this_machine_keywords(options: ClusterOptions) -> dict[str, Any]:
    """Return the keyword arguments of LocalCluster and its subclasses: loopback addresses, dashboard, TLS, logs."""
    return {
        "host": "127.0.0.1",
        "dashboard_address": options.dashboard,
        "scheduler_kwargs": {} if options.dashboard else {"dashboard_address": LOOPBACK_PAGES},
        "silence_logs": SILENT,
        **certificate.tls_keywords(),
    }
