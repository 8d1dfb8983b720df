"""Worker plugin: every worker, also one that joins later, computes on its GPU."""

from __future__ import annotations

from typing import Any

from distributed import WorkerPlugin

from cluster.device import backend


class OnDevice(WorkerPlugin):
    """Set a worker's backend to gpu, with a memory pool on its device; a worker that cannot does not start."""

    name = "winnow-on-device"

    def setup(self, worker: Any) -> None:
        backend.use("gpu")

    def teardown(self, worker: Any) -> None:
        backend.use("cpu")
