"""From Parquet to deduplicated Parquet through each tool's real entry point, whole processes on one core.

Slow tools get the first MBs of the corpus in three sizes, each twice the one before: the last step gives their rate
without start-up, from which the time for the whole corpus follows; the step before shows that growth is linear.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks import inputs
from benchmarks.environments import Environments, Unavailable
from benchmarks.measure import Failed, Run, Spread, run
from benchmarks.tools import DEDUP, Tool, chosen

WARM = 0.3  # MB that each tool sees before it is measured, so that caches on disk are filled


def benchmark(
    corpus: Path,
    work: Path,
    environments: Environments,
    only: list[str],
    rounds: int,
    caps: float = 1.0,
    table: tuple[Tool, ...] = DEDUP,
    task: str = "dedup",
) -> dict[str, Any]:
    """Measure all tools in turn, `rounds` times over; return one row per tool. `caps` scales the slow ones' text."""
    work.mkdir(parents=True, exist_ok=True)
    _, size = inputs.size_of(corpus)
    runs: dict[str, dict[float, list[Run]]] = {}
    kept: dict[str, int] = {}
    missing: dict[str, str] = {}
    tools = chosen(table, only)
    warm = inputs.prefix(corpus, work, WARM)
    for number in range(-1, rounds):
        for tool in tools:
            steps = sizes(tool, size / 1e6, caps)
            for step in [WARM] if number < 0 else steps:
                if tool.key in missing:
                    break
                folder = warm if number < 0 else corpus if step >= size / 1e6 else inputs.prefix(corpus, work, step)
                try:
                    done, ids = whole_run(tool, folder, work, environments, task)
                except (Unavailable, Failed) as error:
                    if not tool.environment:
                        raise
                    missing[tool.key] = str(error)
                    break
                if number >= 0:
                    runs.setdefault(tool.key, {}).setdefault(step, []).append(done)
                    kept[tool.key] = len(ids)
    rows = [_row(tool, runs[tool.key], size / 1e6, kept[tool.key]) for tool in tools if tool.key not in missing]
    _compare(rows)
    return {"rows": rows, "missing": missing, "megabytes": size / 1e6}


def sizes(tool: Tool, whole: float, caps: float) -> list[float]:
    """Return the sizes a tool is measured on, in MB, smallest first."""
    cap = tool.cap * caps
    return [cap / 4, cap / 2, cap] if 0 < cap < whole else [whole]


def whole_run(
    tool: Tool, folder: Path, work: Path, environments: Environments, task: str = "dedup"
) -> tuple[Run, list[str]]:
    """Run a tool on a folder; return the measurement and the ids of the documents that it kept.

    Raises
    ------
    Failed
        when the tool fails, or its result holds an id twice.
    """
    out = work / f"out-{task}-{tool.key}"
    command = tool.command(environments, task, "--input", str(folder.resolve()), "--output", str(out.resolve()))
    _remove(out)
    done = run(command, work / f"{tool.key}.log", cores=tool.cores)
    ids = list(_ids(out))
    if len(set(ids)) != len(ids) or not ids:
        raise Failed(f"{tool.label} ({tool.settings}) wrote {len(ids)} documents, {len(set(ids))} of them distinct")
    _remove(out)
    return done, ids


def _remove(out: Path) -> None:
    for path in (out, out.with_name(out.name + "-work")):
        shutil.rmtree(path, ignore_errors=True)


def _ids(out: Path) -> Iterator[str]:
    """Yield the ids in the Parquet or Arrow files of a result; a run folder's are in its mix."""
    for path in sorted(out.glob("mix/*/*.parquet")) or sorted(out.glob("*.parquet")):
        yield from pq.read_table(path, columns=["id"]).column("id").to_pylist()
    for path in sorted(out.glob("*.arrow")):
        with pa.memory_map(str(path)) as source:
            for batch in pa.ipc.open_stream(source):
                yield from batch.column("id").to_pylist()


def _row(tool: Tool, runs: dict[float, list[Run]], whole: float, kept: int) -> dict[str, Any]:
    largest = max(runs)
    row: dict[str, Any] = {
        "key": tool.key,
        "tool": tool.label,
        "settings": tool.settings,
        "megabytes": largest,
        "kept": kept,
        "runs": len(runs[largest]),
        "seconds": asdict(Spread.of([run.seconds for run in runs[largest]])),
        "cpu_seconds": asdict(Spread.of([run.cpu_seconds for run in runs[largest]])),
        "peak_bytes": max(run.peak_bytes for run in runs[largest]),
    }
    for clock in ("seconds", "cpu_seconds"):
        row[f"whole_{clock}"] = row[clock]["median"]
        if largest < whole:
            points = [(size, getattr(run, clock)) for size in runs for run in runs[size]]
            row[f"whole_{clock}"], row[f"bend_{clock}"] = extrapolated(points, whole)
    return row


def extrapolated(points: list[tuple[float, float]], whole: float) -> tuple[float, float]:
    """Return the seconds for `whole` MB by the straight line through (MB, seconds), and how far off that line is.

    The second number is the largest deviation of a point, as a share of the line's rise over the points. Both are
    NaN when the line does not rise, since then the measurements are all noise.

    Examples
    --------
    >>> extrapolated([(1, 3.0), (2, 4.0), (4, 6.0)], 10)
    (12.0, 0.0)
    """
    sizes, seconds = (np.array(values, np.float64) for values in zip(*points, strict=True))
    slope, start = np.polyfit(sizes, seconds, 1)
    if slope <= 0:
        return float("nan"), float("nan")
    bend = np.abs(seconds - start - slope * sizes).max() / (slope * np.ptp(sizes))
    return round(float(start + slope * whole), 6), round(float(bend), 6)


def _compare(rows: list[dict[str, Any]]) -> None:
    """Add how many times as long as winnow on one core each row takes for the whole corpus, by both clocks."""
    ours = next((row for row in rows if row["key"] == "winnow"), None)
    for row in rows if ours else []:
        assert ours is not None
        row["times_winnow"] = row["whole_seconds"] / ours["whole_seconds"]
        row["times_winnow_cpu"] = row["whole_cpu_seconds"] / ours["whole_cpu_seconds"]
        row["memory_of_winnow"] = row["peak_bytes"] / ours["peak_bytes"]
