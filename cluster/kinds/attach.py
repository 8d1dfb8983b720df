"""Engines on a Dask cluster, once its client is there: checks, backend, timeouts.

Guarantees: an engine is returned only when its workers passed the checks and agree on a backend; otherwise the
client, and the cluster if it is this process's own, is closed before the error goes on.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator
from typing import Any

from cluster.codebase import code_digest
from cluster.device.agree import agree_on_backend
from cluster.engines.dask_engine import DaskEngine, Timeouts
from cluster.engines.engine import Engine
from cluster.engines.timeouts import call_with_timeout
from cluster.errors import BackendError
from cluster.kinds import preflight
from cluster.kinds.deaths import Deaths
from cluster.kinds.silence import silence_dask
from cluster.options import ClusterOptions

NANNY_SECONDS = 5.0  # in which a nanny has logged why its worker ended
POLL = 0.05  # seconds
SLACK = 10.0  # seconds for a scheduler to answer after a link is there again


def engine_on_own_cluster(cluster: Any, options: ClusterOptions, where: str, deaths: Deaths | None = None) -> Engine:
    """Return the engine on a Dask cluster object that this process started; closing the engine closes the cluster.

    Its workers share this process's machine and code, so nothing but the backend is checked. deaths: says why workers
    ended.
    """
    import distributed

    make_client: Any = distributed.Client
    client: Any = make_client(cluster)

    def close() -> None:
        client.close()
        cluster.close()
        if deaths is not None:
            deaths.stop()

    with closed_on_error(close):
        _agree_on_own(client, options, deaths)
    return DaskEngine(client, close, where=where, timeouts=_timeouts(options), deaths=deaths)


def _agree_on_own(client: Any, options: ClusterOptions, deaths: Deaths | None) -> None:
    """Resolve the backend of workers on this machine. Raises BackendError, with the cause where workers died of it."""
    try:
        agree_on_backend(client, options.backend, one_machine=True)
    except BackendError as error:
        end = time.monotonic() + NANNY_SECONDS
        while deaths is not None and not deaths.count and time.monotonic() < end:
            time.sleep(POLL)
        if deaths is None or not deaths.count:
            raise
        raise BackendError(
            f"{str(error).rstrip('.')}. {deaths.cause} Give workers more memory (cluster.memory_limit) or have fewer."
        ) from None


def attach(
    client: Any, close: Callable[[], object], options: ClusterOptions, run_dir: str | None, where: str
) -> Engine:
    """Return the engine on the workers of a Dask client, after waiting for them and checking each.

    Parameters
    ----------
    close : called when the engine is closed, or when the cluster is refused.
    run_dir : run folder, which every worker must see and be able to write to; None: not checked.
    where : the cluster in words, for error messages.

    Raises
    ------
    BackendError
        Too few workers joined in time, or one of them is unfit for the run.
    """
    from cluster.kinds.working_folder import WorkingFolder

    silence_dask()
    with closed_on_error(close):
        _wait_for_workers(client, options, where)
        preflight.check(client, None)  # first: a worker without winnow cannot load the plugin
        plugin = WorkingFolder(os.getcwd())
        call_with_timeout(lambda: client.register_plugin(plugin), preflight.ANSWER_SECONDS, "a worker")
        preflight.check(client, run_dir)
        found = agree_on_backend(client, options.backend)
    return DaskEngine(
        client,
        close,
        where=where,
        timeouts=_timeouts(options),
        code=code_digest(),
        some_devices=found.some_devices,
    )


def _wait_for_workers(client: Any, options: ClusterOptions, where: str) -> None:
    """Block until enough workers joined. Raises BackendError after `options.wait` seconds."""
    wanted = options.workers or 1 if options.kind == "scheduler" else 1
    try:
        client.wait_for_workers(wanted, timeout=options.wait)
    except TimeoutError:
        raise BackendError(
            f"the Dask scheduler ({where}) has {len(client.nthreads())} workers after {options.wait:.0f} s, "
            f"{wanted} are needed. Start workers, for instance `dask worker --scheduler-file FILE`."
        ) from None


@contextlib.contextmanager
def closed_on_error(close: Callable[[], object]) -> Iterator[None]:
    """Call `close` when the block raises."""
    try:
        yield
    except BaseException:
        close()
        raise


def _timeouts(options: ClusterOptions) -> Timeouts:
    silence = 2 * options.link_timeout + SLACK  # a connection is given up after one link_timeout, a new one after two
    return Timeouts(task=options.task_timeout, workers=options.wait, scheduler=silence)
