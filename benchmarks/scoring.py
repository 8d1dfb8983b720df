"""Text per second and core of two stages that judge each document: heuristic filters, and language identification."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.environments import Environments, Unavailable
from benchmarks.measure import Failed, run
from benchmarks.signatures import SAMPLES, last_line, row
from benchmarks.tools import FILTERS, LANGUAGE, Tool

MODEL = "fasttext:lid.176.ftz"


def filters(corpus: Path, work: Path, environments: Environments, rounds: int) -> dict[str, Any]:
    """Measure the rules of Gopher and FineWeb: winnow measures all of them, datatrove stops at the first broken."""
    return _benchmark(FILTERS, "filters", corpus, work, environments, rounds, [])


def language(corpus: Path, work: Path, environments: Environments, rounds: int) -> dict[str, Any]:
    """Measure language identification with the published lid.176.ftz, if it has been fetched."""
    from classifiers import models
    from cluster.errors import RecipeError

    try:
        path = models.resolve(MODEL)
    except RecipeError as error:
        return {"rows": [], "missing": {"language": str(error)}}
    return _benchmark(LANGUAGE, "language", corpus, work, environments, rounds, ["--model", path])


def _benchmark(
    tools: tuple[Tool, ...],
    task: str,
    corpus: Path,
    work: Path,
    environments: Environments,
    rounds: int,
    more: list[str],
) -> dict[str, Any]:
    work.mkdir(parents=True, exist_ok=True)
    timings: dict[str, list[dict[str, Any]]] = {}
    missing: dict[str, str] = {}
    for _ in range(rounds):
        for tool in tools:
            arguments = ["--input", str(corpus), "--megabytes", str(tool.cap), *more]
            arguments += ["--repetitions", str(1 if tool.cap else SAMPLES)]
            log = work / f"{task}-{tool.key}.log"
            try:
                run(tool.command(environments, task, *arguments), log)
            except (Unavailable, Failed) as error:
                missing[tool.key] = str(error)
                continue
            timings.setdefault(tool.key, []).append(last_line(log))
    rows = [row(tool, timings[tool.key]) for tool in tools if tool.key in timings]
    ours = next((found for found in rows if found["tool"] == "winnow"), None)
    for found in rows if ours else []:
        assert ours is not None
        found["winnow_times"] = ours["rate"]["median"] / found["rate"]["median"]
        found["winnow_times_cpu"] = ours["cpu_rate"]["median"] / found["cpu_rate"]["median"]
    return {"rows": rows, "missing": missing}
