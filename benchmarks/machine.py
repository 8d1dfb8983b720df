"""What the figures were measured on: processor, cores, instruction sets, memory, load, versions, date."""

from __future__ import annotations

import datetime
import os
import platform
import re
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psutil

OURS = ("winnow-mix", "numba", "numpy", "pyarrow")
SETS = ("avx2", "avx512f", "avx512bw", "avx512vl")


def describe() -> dict[str, Any]:
    """Return the machine, for results.json and the heading of the tables."""
    info = _cpuinfo()
    flags = info.get("flags", "").split()
    return {
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "processor": info.get("model name", platform.processor()),
        "cores": len(os.sched_getaffinity(0)),
        "instruction_sets": [name for name in SETS if name in flags],
        "avx512": all(name in flags for name in SETS[1:]),
        "memory_bytes": psutil.virtual_memory().total,
        "system": system(platform.system(), platform.release()),
        "python": platform.python_version(),
        "load_before": os.getloadavg()[0],
        "versions": {name: version(name) for name in OURS},
    }


def system(name: str, release: str) -> str:
    """Return the operating system with two numbers of its release, the rest of which may name a machine.

    >>> system("Linux", "6.8.0-1021-some-cloud")
    'Linux 6.8'
    """
    numbers = re.match(r"\d+\.\d+", release)
    return f"{name} {numbers[0]}" if numbers else name


def _cpuinfo() -> dict[str, str]:
    """Return the fields of the first processor in /proc/cpuinfo."""
    path = Path("/proc/cpuinfo")
    if not path.exists():
        return {}
    first = path.read_text().split("\n\n")[0]
    pairs = (line.partition(":") for line in first.splitlines())
    return {key.strip(): value.strip() for key, _, value in pairs}
