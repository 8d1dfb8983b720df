"""What a run costs whatever its size: start of Python, of workers, commits, report; and `winnow warmup` from nothing.

60 documents through `benchmarks/recipe.yaml` in this process, on threads and on a local cluster, and through `winnow
dedup`; then the same command again, which finds all done. Kernels are compiled before, but for the row of warm-up.
"""

from __future__ import annotations

import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.measure import Run, Spread, run
from benchmarks.tools import WinnowDedup

DOCUMENTS = 60
KINDS = ("inline", "threads", "local")
RECIPE = Path(__file__).with_name("recipe.yaml")


def benchmark(texts: list[str], work: Path, only: list[str], rounds: int, cores: int) -> dict[str, Any]:
    """Measure every command `rounds` times, in turn, on so many cores; return a row for each. only: first words."""

    def wanted(name: str) -> bool:
        return not only or any(name.startswith(word) for word in only)

    data = _documents(texts, work)
    runs: dict[tuple[str, str], list[Run]] = {}
    for number in range(-1, rounds):  # once before, so that files are cached and kernels compiled
        for name, command, out in (each for each in _commands(data, work) if wanted(each[0])):
            shutil.rmtree(out, ignore_errors=True)
            for settings in ("first run", "again, finished"):
                found = run(command, work / "startup.log", cores=cores)
                if number >= 0:
                    runs.setdefault((name, settings), []).append(found)
    if wanted("winnow warmup"):
        runs["winnow warmup", "empty cache"] = [_warm_up(work, cores)]
    return {"rows": [_row(*key, found) for key, found in runs.items()], "missing": {}, "cores": cores}


def _documents(texts: list[str], work: Path) -> Path:
    data = work / "startup"
    data.mkdir(parents=True, exist_ok=True)
    few = [text[:2000] for text in texts[:DOCUMENTS]]
    pq.write_table(pa.table({"text": few, "id": [str(i) for i in range(len(few))]}), data / "part-0.parquet")
    return data


def _commands(data: Path, work: Path) -> list[tuple[str, list[str], Path]]:
    """Return name, command line and output folder of all that is measured."""
    program, found = WinnowDedup.program(), []
    for kind in KINDS:
        out = work / f"startup-{kind}"
        given = ["--set", f"datasets.text.paths={data}", "--set", f"cluster.kind={kind}", "--quiet"]
        found.append((f"winnow run, {kind}", [*program, "run", str(RECIPE), "--run-dir", str(out), *given], out))
    out = work / "startup-dedup"
    return [*found, ("winnow dedup", [*program, "dedup", str(data), "--out", str(out), "--quiet"], out)]


def _warm_up(work: Path, cores: int) -> Run:
    """Measure `winnow warmup` with an empty cache of its own."""
    cache = work / "startup-kernels"
    shutil.rmtree(cache, ignore_errors=True)
    return run(
        ["env", f"WINNOW_KERNEL_CACHE={cache}", *WinnowDedup.program(), "warmup"], work / "startup.log", cores=cores
    )


def _row(name: str, settings: str, found: list[Run]) -> dict[str, Any]:
    return {
        "tool": name,
        "settings": settings,
        "seconds": asdict(Spread.of([each.seconds for each in found])),
        "cpu_seconds": asdict(Spread.of([each.cpu_seconds for each in found])),
        "peak_bytes": max(each.peak_bytes for each in found),
    }
