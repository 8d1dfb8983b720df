"""Worker plugin: every worker, also one that joins later, computes on its GPU, or says that it has none.

The resource DEVICE marks the workers with a GPU where not all have one, so that tasks whose last bits depend on the
device can be kept to them.
"""

from __future__ import annotations

from typing import Any

from distributed import WorkerPlugin

from cluster.device import backend
from cluster.device.placement import visible_devices
from cluster.engines.dask_engine import DEVICE


class OnDevice(WorkerPlugin):
    """Set a worker's backend to gpu, with a memory pool on its device.

    Parameters
    ----------
    kernels : whether winnow's own kernels compute on devices; else only neural models do.
    mixed : whether some workers have no device: these compute on the host. If not, a worker without does not start.
    """

    name = "winnow-on-device"

    def __init__(self, *, kernels: bool = True, mixed: bool = False) -> None:
        self._kernels, self._mixed = kernels, mixed

    async def setup(self, worker: Any) -> None:
        if self._kernels and not (self._mixed and backend.why_no_gpu()):
            backend.use("gpu", alike=not self._mixed)
        if self._mixed and visible_devices():
            await worker.set_resources(**{DEVICE: worker.state.nthreads})  # turns.py bounds what computes at once

    def teardown(self, worker: Any) -> None:
        backend.use("cpu")
