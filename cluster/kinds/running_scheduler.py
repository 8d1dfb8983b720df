"""A Dask cluster that somebody started: scheduler by address or file, workers wherever they are.

Guarantees: the run starts only on workers that preflight found fit; nobody's scheduler or workers are
stopped at the end.
"""

from __future__ import annotations

import os
import time
from typing import Any

from cluster.device import backend
from cluster.engines.dask_engine import NO_ANSWER, DaskEngine, Patience
from cluster.engines.engine import Engine
from cluster.errors import BackendError, RecipeError
from cluster.kinds import preflight
from cluster.kinds.local import ClusterOptions

CONNECT = 30.0  # seconds to reach a scheduler that should be there


def connect(options: ClusterOptions, run_dir: str | None) -> Engine:
    """Return the engine on a running scheduler. Raises RecipeError and BackendError as `local.start` does."""
    if (options.address is None) == (options.scheduler_file is None):
        raise RecipeError(
            "cluster.kind scheduler needs one of cluster.address (--scheduler-address tcp://HOST:8786) and "
            f"cluster.scheduler_file (--scheduler-file FILE), got {'neither' if options.address is None else 'both'}."
        )
    where = options.address or str(options.scheduler_file)
    client = _client(options, where)
    return attach(client, client.close, options, run_dir, where)


def _client(options: ClusterOptions, where: str) -> Any:
    """Return a client; a scheduler file may still be on its way when everything starts at once."""
    import distributed

    make: Any = distributed.Client
    if options.scheduler_file is not None:
        end = time.monotonic() + options.wait
        while not os.path.exists(options.scheduler_file):
            if time.monotonic() > end:
                raise BackendError(
                    f"the scheduler file {options.scheduler_file} is not there. Start a scheduler with "
                    "`dask scheduler --scheduler-file FILE`, FILE where this machine sees it."
                )
            time.sleep(0.2)
    try:
        if options.scheduler_file is not None:
            return make(scheduler_file=options.scheduler_file, timeout=CONNECT, set_as_default=False)
        return make(options.address, timeout=CONNECT, set_as_default=False)
    except (*NO_ANSWER, TypeError) as error:
        raise BackendError(
            f"no Dask scheduler answers at {where} ({type(error).__name__}: {error}). See to it that it runs "
            "and that its port can be reached from here."
        ) from None


def attach(client: Any, close: Any, options: ClusterOptions, run_dir: str | None, where: str) -> Engine:
    """Wait for workers, let preflight judge them, and return the engine; closes on failure."""
    from cluster.codebase import code_digest
    from cluster.kinds.plugins import WorkingFolder

    try:
        wanted = options.workers or 1 if options.kind == "scheduler" else 1
        try:
            client.wait_for_workers(wanted, timeout=options.wait)
        except TimeoutError:
            raise BackendError(
                f"the Dask scheduler ({where}) has {len(client.nthreads())} workers after {options.wait:.0f} s, "
                f"{wanted} are needed. Start workers, for instance `dask worker --scheduler-file FILE`."
            ) from None
        preflight.check(client, None)  # first: a worker without winnow cannot load the plugin
        plugin = WorkingFolder(os.getcwd())
        preflight.within(preflight.SECONDS, lambda: client.register_plugin(plugin), "a worker")
        preflight.check(client, run_dir)
        backend.settle(client, options.backend)
    except BaseException:
        close()
        raise
    patience = Patience(task=options.task_timeout, workers=options.wait)
    return DaskEngine(client, close, where=where, patience=patience, code=code_digest())
