"""One Dask worker for each GPU of this machine (cluster.kind local-cuda).

Guarantees: the first GPU that a worker sees is its own, and its threads are its share of the cores (turns.py lets two
of them at a time compute on the GPU); tasks exchange files, not messages, so workers talk over TLS
as those of kind local do, and no UCX is set up; the keywords are those of the pinned Dask-CUDA (see rapids.CALLS).
Memory pools are set up by the workers themselves once the backend is resolved, as on any other cluster.
"""

from __future__ import annotations

import importlib
from typing import Any

from cluster.device import backend
from cluster.engines.engine import Engine
from cluster.errors import BackendError
from cluster.kinds.attach import engine_on_own_cluster
from cluster.kinds.local import this_machine_keywords
from cluster.kinds.silence import interrupts_for_this_thread_only, silence_dask
from cluster.options import DASK_SETTINGS, ClusterOptions, threads_of_gpu_worker


def start(options: ClusterOptions) -> Engine:
    """Start a LocalCUDACluster and return the engine on it; the workers end with the engine."""
    import dask

    silence_dask()
    with dask.config.set(DASK_SETTINGS), interrupts_for_this_thread_only():
        cluster = cuda_cluster(options)
    return engine_on_own_cluster(cluster, options, "on this machine's GPUs")


def cuda_cluster(options: ClusterOptions) -> Any:
    """Return a started LocalCUDACluster. Raises BackendError without Dask-CUDA, or with fewer GPUs than workers."""
    try:
        dask_cuda: Any = importlib.import_module("dask_cuda")
    except ImportError as error:
        raise BackendError(
            f"cluster.kind local-cuda needs dask-cuda, which cannot be imported here ({error}). "
            "Install winnow-mix[gpu-cu13], or use kind local."
        ) from None
    problem = backend.why_no_gpu()  # no probe: a CUDA context here would be inherited by no worker, but cost memory
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
        threads_per_worker=threads_of_gpu_worker(options, options.workers or gpus),
        memory_limit=options.memory_limit or "auto",
        enable_cudf_spill=True,
        **this_machine_keywords(options),
    )
