"""Run a command and measure it whole: wall time, processor time, and peak proportional memory of all its processes.

Proportional memory (PSS) counts a page that n processes share as 1/n for each, so that a sum over a process tree
is the memory which that tree takes. It is sampled, so a peak shorter than the interval may be missed.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

INTERVAL = 0.1  # seconds between two samples


class Failed(Exception):
    """A command that was to be measured failed; the message ends with what it printed last."""


@dataclass(frozen=True, kw_only=True)
class Run:
    """One execution. CPU seconds are those of the process and all descendants that were waited for."""

    seconds: float
    cpu_seconds: float
    peak_bytes: int


@dataclass(frozen=True, kw_only=True)
class Spread:
    """Minimum, median and maximum of repetitions."""

    low: float
    median: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        return cls(low=min(values), median=statistics.median(values), high=max(values))


def run(command: Sequence[str], log: Path, *, cores: int = 1, timeout: float = 1800.0) -> Run:
    """Run a command on so many cores; what it prints goes to `log`.

    Raises
    ------
    Failed
        when it exits with an error or takes longer than `timeout` seconds.
    """
    allowed = set(sorted(os.sched_getaffinity(0))[-cores:])
    with log.open("wb") as out:
        start = time.perf_counter()
        process = subprocess.Popen(
            list(command),
            stdout=out,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            env=environment(cores),
            preexec_fn=lambda: os.sched_setaffinity(0, allowed),
        )
        peak = 0
        while True:
            ended, status, usage = os.wait4(process.pid, os.WNOHANG)
            seconds = time.perf_counter() - start
            if ended:
                break
            if seconds > timeout:
                process.kill()
            peak = max(peak, tree_bytes(process.pid))
            time.sleep(min(INTERVAL, 0.01 + seconds / 20))
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        tail = "\n".join(log.read_text(errors="replace").splitlines()[-12:])
        raise Failed(f"exit code {process.returncode} after {seconds:.0f} s of: {' '.join(command)}\n{tail}")
    return Run(seconds=seconds, cpu_seconds=usage.ru_utime + usage.ru_stime, peak_bytes=peak)


def environment(cores: int) -> dict[str, str]:
    """Return the variables that keep each library's own threads to the cores of the run."""
    names = ("RAYON_NUM_THREADS", "OMP_NUM_THREADS", "POLARS_MAX_THREADS", "OPENBLAS_NUM_THREADS")
    return os.environ | dict.fromkeys(names, str(cores)) | {"TOKENIZERS_PARALLELISM": "false"}


def tree_bytes(pid: int) -> int:
    """Return the proportional memory of a process and its descendants; those that just ended count nothing."""
    total = 0
    try:
        root = psutil.Process(pid)
        family = [root, *root.children(recursive=True)]
    except psutil.Error:
        return 0
    for process in family:
        try:
            total += process.memory_full_info().pss
        except (psutil.Error, OSError):
            continue
    return total
