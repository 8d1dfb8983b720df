"""Signatures per second on one core: the same documents, 128 permutations, reading excluded."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.environments import Environments, Unavailable
from benchmarks.measure import Failed, Spread, run
from benchmarks.tools import SIGNATURES, Tool, chosen

SAMPLES = 3  # timings within one process


def benchmark(corpus: Path, work: Path, environments: Environments, only: list[str], rounds: int) -> dict[str, Any]:
    """Measure all tools in turn, `rounds` times over; return one row per tool."""
    work.mkdir(parents=True, exist_ok=True)
    timings: dict[str, list[dict[str, Any]]] = {}
    missing: dict[str, str] = {}
    tools = chosen(SIGNATURES, only)
    for _ in range(rounds):
        for tool in tools:
            if tool.key in missing:
                continue
            try:
                timings.setdefault(tool.key, []).append(_measured(tool, corpus, work, environments, tool.cap))
            except (Unavailable, Failed) as error:
                if not tool.environment:
                    raise
                missing[tool.key] = str(error)
    rows = [row(tool, timings[tool.key]) for tool in tools if tool.key not in missing]
    for tool, found in zip([tool for tool in tools if tool.key not in missing], rows, strict=True):
        if tool.cap and found["megabytes"] >= tool.cap:
            half = row(tool, [_measured(tool, corpus, work, environments, tool.cap / 2)])
            found["cpu_rate_of_half"] = half["cpu_rate"]["median"]
    _compare(rows)
    return {"rows": rows, "missing": missing}


def _measured(tool: Tool, corpus: Path, work: Path, environments: Environments, megabytes: float) -> dict[str, Any]:
    arguments = ["--input", str(corpus), "--megabytes", str(megabytes)]
    arguments += ["--repetitions", str(1 if tool.cap else SAMPLES)]
    log = work / f"{tool.key}.log"
    run(tool.command(environments, "signatures", *arguments), log)
    return last_line(log)


def last_line(log: Path) -> dict[str, Any]:
    """Return what a driver printed last."""
    found: dict[str, Any] = json.loads(log.read_text(errors="replace").strip().splitlines()[-1])
    return found


def row(tool: Tool, timings: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the figures of a tool from what its driver printed: MB/s by wall and by processor time."""
    size = timings[0]["bytes"] / 1e6
    wall = [size / seconds for timing in timings for seconds in timing["seconds"]]
    cpu = [size / seconds for timing in timings for seconds in timing["cpu_seconds"]]
    return {
        "key": tool.key,
        "tool": tool.label,
        "settings": tool.settings,
        "documents": timings[0]["documents"],
        "megabytes": size,
        "timings": len(wall),
        "rate": asdict(Spread.of(wall)),
        "cpu_rate": asdict(Spread.of(cpu)),
    }


def _compare(rows: list[dict[str, Any]]) -> None:
    """Add how many times faster winnow is, on characters and on words, by the medians of both clocks."""
    ours = {row["key"]: row for row in rows if row["tool"] == "winnow"}
    for row in rows:
        for name, key in (("characters", "winnow"), ("words", "winnow-words5")):
            row[f"winnow_{name}_times"] = ours[key]["rate"]["median"] / row["rate"]["median"]
            row[f"winnow_{name}_times_cpu"] = ours[key]["cpu_rate"]["median"] / row["cpu_rate"]["median"]
