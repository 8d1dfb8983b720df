"""What more cores would give, by simulation (simulate.py), for `winnow dedup` and for the recipe of the benchmark."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

from benchmarks.measure import Failed


def benchmark(corpus: Path, rounds: int, divisor: int) -> dict[str, Any]:
    """Return the tables of both, as Markdown; each in a process of its own, since sizes are divided as it starts."""
    found: dict[str, Any] = {"missing": {}, "divisor": divisor}
    for name, more in (("winnow dedup", ["--dedup"]), ("winnow run", [])):
        command = [sys.executable, "-m", "benchmarks.simulate", "--data", str(corpus), "--divided-by", str(divisor)]
        done = subprocess.run([*command, "--times", str(rounds), *more], capture_output=True, text=True, check=False)
        if done.returncode:
            raise Failed(f"the simulation of {name} failed: {done.stderr.strip().splitlines()[-1:]}")
        found[name] = done.stdout.strip()
    return found
