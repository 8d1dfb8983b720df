"""What the last call took, step by step, with rates.

Guarantees: timings.json is read as it is, keys of earlier versions missing or not; nothing else of the report holds a
time.
"""

from __future__ import annotations

from typing import cast

from cluster import storage
from pipelines.artefacts import PartTiming, StepTiming
from pipelines.records import read_timings
from pipelines.report import tree
from pipelines.runfolder import RunFolder


def timing_rates(folder: RunFolder, total: tree.Funnel) -> tree.TimingRates | None:
    """Return time, work and rates per step; where a step counts no documents, those that reached it."""
    path = folder.path("timings.json")
    if not storage.exists(path):
        return None
    found = read_timings(path)
    reached = {step["stage"]: step["before"]["documents"] for step in total["stages"]}
    steps = cast("list[StepTiming]", found.get("stages", []))
    return cast("tree.TimingRates", {**found, "stages": [_step_rate(s, reached.get(s["name"], 0)) for s in steps]})


def _step_rate(step: StepTiming, reached: int) -> tree.StepRate:
    documents = step.get("documents") or reached
    size = step.get("bytes") or 0
    rates: dict[str, object] = {
        **step,
        "documents": documents,
        "parts": [_part_rate(part) for part in step.get("parts", [])],
        "documents_per_second": _rate(documents, step["seconds"]),
        "bytes_per_second": _rate(size, step["seconds"]),
    }
    return cast("tree.StepRate", rates)


def _part_rate(part: PartTiming) -> tree.PartRate:
    return {
        **part,
        "documents_per_second": _rate(part.get("documents") or 0, part["seconds"]),
        "bytes_per_second": None,
    }


def _rate(amount: int, seconds: float) -> float | None:
    return amount / seconds if amount and seconds else None
