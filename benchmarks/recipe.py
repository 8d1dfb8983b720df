"""A whole recipe on one core, Parquet to Parquet, and the text per second of each of its stages.

Whole processes are measured as in `dedup.py`. A stage's rate is that of its `annotate` on texts that lie in memory, by
the processor time of that call, so the rates say where the time of the whole goes.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks import dedup
from benchmarks.environments import Environments
from benchmarks.measure import run
from benchmarks.scoring import lid_model
from benchmarks.signatures import SAMPLES, last_line, row
from benchmarks.tools import RECIPE, STAGES, Tool


def benchmark(
    corpus: Path, sample: Path, work: Path, environments: Environments, only: list[str], rounds: int, caps: float
) -> dict[str, Any]:
    """Measure the recipe by every tool that has its steps, and winnow's stages one by one on a smaller sample."""
    model = lid_model()
    if model is None:
        return {"rows": [], "stages": [], "missing": {"recipe": "needs lid.176.ftz: winnow models fetch"}}
    tools = tuple(_with_model(tool, model) for tool in RECIPE)
    found = dedup.benchmark(corpus, work, environments, only, rounds, caps, tools, "recipe")
    return found | {"stages": stages(sample, work, environments, rounds)}


def _with_model(tool: Tool, model: str) -> Tool:
    import dataclasses

    return dataclasses.replace(tool, options=("--model", model)) if tool.environment else tool


def stages(corpus: Path, work: Path, environments: Environments, rounds: int) -> list[dict[str, Any]]:
    """Return the rate of each stage on the corpus, stages in turn, `rounds` times over."""
    timings: dict[str, list[dict[str, Any]]] = {}
    for _ in range(rounds):
        for tool in STAGES:
            log = work / f"stage-{tool.key}.log"
            run(tool.command(environments, "stage", "--input", str(corpus), "--repetitions", str(SAMPLES)), log)
            timings.setdefault(tool.key, []).append(last_line(log))
    return [row(tool, timings[tool.key]) for tool in STAGES]
