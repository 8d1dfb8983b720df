"""One Dask worker for each GPU of this machine (cluster.kind local-cuda).

Guarantees: the first GPU that a worker sees is its own; tasks exchange files, not messages, so workers talk over TLS
as those of kind local do, and no UCX is set up; the keywords are those of the pinned Dask-CUDA (see rapids.CALLS).
Memory pools are set up by the workers themselves when the backend is settled, as on any other cluster.
"""

from __future__ import annotations

import importlib
import logging
from typing import TYPE_CHECKING, Any

from cluster.errors import BackendError
from cluster.kinds import certificate

if TYPE_CHECKING:
    from cluster.kinds.local import ClusterOptions


def cluster_keywords(options: ClusterOptions) -> dict[str, Any]:
    """Return what LocalCluster, below Dask-CUDA's own class, is given."""
    return {
        "host": "127.0.0.1",
        "dashboard_address": options.dashboard,
        "scheduler_kwargs": {} if options.dashboard else {"dashboard_address": "127.0.0.1:0"},  # its health page
        "silence_logs": logging.ERROR,
        **certificate.keywords(),
    }


def start(options: ClusterOptions) -> Any:
    """Start the workers and return the cluster object. Raises BackendError without Dask-CUDA or a GPU."""
    try:
        dask_cuda: Any = importlib.import_module("dask_cuda")
    except ImportError as error:
        raise BackendError(
            f"cluster.kind local-cuda needs dask-cuda, which cannot be imported here ({error}). "
            "Install winnow[gpu-cu13], or use kind local."
        ) from None
    from cluster.device import backend

    problem = backend.obstacle()  # no probe: a CUDA context here would be inherited by no worker, but cost memory
    if problem:
        raise BackendError(
            f"cluster.kind local-cuda: {problem}. Use kind local and backend cpu, or see `winnow doctor`."
        )
    gpus = backend.visible_gpus()
    if options.workers is not None and options.workers > gpus:
        raise BackendError(
            f"cluster.kind local-cuda starts one worker for each GPU: {options.workers} workers are asked for, this "
            f"process sees {gpus}. Give --workers {gpus}, or leave it out."
        )
    return dask_cuda.LocalCUDACluster(
        n_workers=options.workers,
        threads_per_worker=options.threads_per_worker or 1,
        memory_limit=options.memory_limit or "auto",
        enable_cudf_spill=True,
        **cluster_keywords(options),
    )
