"""Worker plugin: the client's working folder becomes that of every worker, also of those that join later."""

from __future__ import annotations

import contextlib
import os
from typing import Any

from distributed import WorkerPlugin


class WorkingFolder(WorkerPlugin):
    """Change a worker's current folder to the client's, so that relative paths of a recipe mean the same there.

    A worker that does not see that folder stays in its own; preflight reports a run folder that is out of reach.
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
