"""A Dask scheduler and its workers as processes of their own, as a user would start them by hand."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
QUICK = {  # lost workers are noticed at once
    "DASK_DISTRIBUTED__DEPLOY__LOST_WORKER_TIMEOUT": "1s",
    "DASK_DISTRIBUTED__WORKER__MEMORY__SPILL": "False",
}


class DaskProcesses:
    """Scheduler and workers that find each other by a scheduler file in `folder`; ends all of them on exit."""

    def __init__(self, folder: Path, workers: int = 2, *, nanny: bool = True, python_path: Path = ROOT) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.file = folder / "scheduler.json"
        self._nanny = nanny
        self._count = 0
        self.scheduler = self._start(
            "scheduler", "dask_scheduler", "--port", "0", "--idle-timeout", "300s", python_path=python_path
        )
        self.workers = [self.add_worker(python_path=python_path) for _ in range(workers)]

    def add_worker(self, *more: str, python_path: Path = ROOT, cwd: Path | None = None) -> subprocess.Popen[bytes]:
        self._count += 1
        flags = ["--nthreads", "1", "--local-directory", str(self.folder / f"w{self._count}"), "--memory-limit", "2GB"]
        flags += ["--death-timeout", "60"]
        flags += [] if self._nanny else ["--no-nanny"]
        name = f"worker{self._count}"
        return self._start(name, "dask_worker", *flags, *more, python_path=python_path, cwd=cwd)

    def _start(
        self, name: str, module: str, *flags: str, python_path: Path, cwd: Path | None = None
    ) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", f"distributed.cli.{module}", "--scheduler-file", str(self.file)]
        command += ["--host", "127.0.0.1", "--no-dashboard", *flags]
        with open(self.folder / f"{name}.log", "wb") as log:
            return subprocess.Popen(
                command,
                stdout=log,
                stderr=log,
                cwd=cwd or self.folder,
                env={**os.environ, **QUICK, "PYTHONPATH": str(python_path)},
                start_new_session=True,
            )

    def options(self, **more: Any) -> dict[str, Any]:
        """Return the recipe's cluster section for this cluster."""
        return {"kind": "scheduler", "scheduler_file": str(self.file), "wait": 60, **more}

    def log(self, name: str) -> str:
        return (self.folder / f"{name}.log").read_text(errors="replace")

    def close(self) -> None:
        for process in [*self.workers, self.scheduler]:
            kill(process)

    def __enter__(self) -> DaskProcesses:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def kill(process: subprocess.Popen[bytes]) -> None:
    """End a process and what it started, at once."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def wait_for(condition: Any, seconds: float = 60.0) -> None:
    """Wait until condition() is true."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.05)
