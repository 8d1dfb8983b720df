"""What every worker of a running cluster is told when a run begins or the worker joins: one plugin per concern."""

from __future__ import annotations

import contextlib
import os
from typing import Any

from distributed import WorkerPlugin


class OnDevice(WorkerPlugin):
    """Every worker computes on its GPU, with a memory pool there; one that cannot does not start."""

    name = "winnow-on-device"

    def setup(self, worker: Any) -> None:
        from cluster.device import backend

        backend.use("gpu")

    def teardown(self, worker: Any) -> None:
        from cluster.device import backend

        backend.use("cpu")


class WorkingFolder(WorkerPlugin):
    """Relative paths of a recipe mean the same on every worker: they start in the client's folder.

    A worker that does not see that folder stays where it is; preflight tells if that matters.
    """

    name = "winnow-working-folder"

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._before: str | None = None

    def setup(self, worker: Any) -> None:
        with contextlib.suppress(OSError):  # the folder the worker was started in may have been removed
            self._before = os.getcwd()
        if os.path.isdir(self._folder):
            os.chdir(self._folder)

    def teardown(self, worker: Any) -> None:
        if self._before is not None and os.path.isdir(self._before):
            os.chdir(self._before)
