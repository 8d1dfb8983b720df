"""A Dask cluster that the user started (cluster.kind scheduler), found by its address or scheduler file.

Guarantees: the run starts only on workers that passed preflight; scheduler and workers keep running at the end.
"""

from __future__ import annotations

import os
from typing import Any

from cluster.engines.engine import Engine
from cluster.engines.timeouts import NO_ANSWER, wait_until
from cluster.errors import BackendError, RecipeError
from cluster.kinds.attach import attach
from cluster.options import ClusterOptions, link_settings

CONNECT_SECONDS = 30.0  # to reach a scheduler that should be there


def start(options: ClusterOptions, run_dir: str | None) -> Engine:
    """Return the engine on a running scheduler.

    Raises
    ------
    RecipeError
        Neither, or both, of address and scheduler file are given.
    BackendError
        No scheduler answers, or its workers are too few or unfit.
    """
    import dask

    if (options.address is None) == (options.scheduler_file is None):
        raise RecipeError(
            "cluster.kind scheduler needs one of cluster.address (--scheduler-address tcp://HOST:8786) and "
            f"cluster.scheduler_file (--scheduler-file FILE), got {'neither' if options.address is None else 'both'}."
        )
    where = options.address or str(options.scheduler_file)
    dask.config.set(link_settings(options.link_timeout))  # for good: a client that reconnects reads it again
    client = _client(options, where)
    client._timeout = options.link_timeout  # how long it tries to reconnect; the first time it shall be quick
    return attach(client, client.close, options, run_dir, where)


def _client(options: ClusterOptions, where: str) -> Any:
    """Return a Dask client, after waiting for the scheduler file: a scheduler may start at the same time."""
    import distributed

    make: Any = distributed.Client
    file = options.scheduler_file
    if file is not None and not wait_until(lambda: os.path.exists(file), options.wait, pause=0.2):
        raise BackendError(
            f"the scheduler file {file} is not there. Start a scheduler with "
            "`dask scheduler --scheduler-file FILE`, FILE where this machine sees it."
        )
    try:
        if file is not None:
            return make(scheduler_file=file, timeout=CONNECT_SECONDS, set_as_default=False)
        return make(options.address, timeout=CONNECT_SECONDS, set_as_default=False)
    except (*NO_ANSWER, TypeError) as error:
        raise BackendError(
            f"no Dask scheduler answers at {where} ({type(error).__name__}: {error}). See to it that it runs "
            "and that its port can be reached from here."
        ) from None
