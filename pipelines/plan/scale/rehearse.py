"""`winnow plan --rehearse`: the real code on samples of three sizes in the wind tunnel, fitted, carried to the whole.

What the exchange asks for is foreseen by the exchange itself (`cluster/foreseen.py`); of everything else the tunnel
counts what each task and the client ask for, and how that grows. Guarantees: counts depend on the sample alone.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from cluster.requests import KINDS, Requests
from pipelines.plan.sample import data_on, in_fresh_process
from pipelines.plan.scale.wind_tunnel import CLIENT, Counted, from_json
from pipelines.recipe.recipe import Recipe
from stages.core import manifest
from stages.core.costs import Quantity
from stages.core.shard import Dataset

SHARES = (0.25, 0.5, 1.0)  # of the sample, that are rehearsed
BUNDLES = 24  # that the largest rehearsal shall have


@dataclass(frozen=True, kw_only=True)
class Fit:
    """y = factor * x^exponent through a few points, and the share of the variance of log y that it explains."""

    factor: float
    exponent: float
    r2: float

    def at(self, x: float) -> float:
        """Return y."""
        return float(self.factor * x**self.exponent)


def fit(x: Sequence[float], y: Sequence[float]) -> Fit:
    """Fit a power law by least squares of logarithms; points at one place are taken for a part of a line.

    Examples
    --------
    >>> fit([1, 2, 4], [3, 12, 48])
    Fit(factor=3.0, exponent=2.0, r2=1.0)
    """
    if len(set(x)) < 2 or min(y) <= 0:
        return Fit(factor=float(np.mean(y)) / max(1.0, x[0]), exponent=1.0, r2=0.0)
    u, v = np.log(np.asarray(x, float)), np.log(np.asarray(y, float))
    slope, start = np.polyfit(u, v, 1)
    rest, spread = np.sum((v - slope * u - start) ** 2), np.sum((v - v.mean()) ** 2)
    r2 = 1.0 - rest / spread if spread > 1e-12 else 1.0
    return Fit(factor=round(math.exp(start), 9), exponent=round(float(slope), 9), r2=round(float(r2), 9))


def line(x: Sequence[float], y: Sequence[float]) -> tuple[float, float]:
    """Return (start, slope) of the line through points by least squares, neither below 0.

    Of points at one place, the line from the origin.

    Examples
    --------
    >>> start, slope = line([1, 2, 4], [5, 7, 11])
    >>> round(start, 6), round(slope, 6)
    (3.0, 2.0)
    """
    if len(set(x)) < 2:
        return 0.0, float(np.mean(y)) / x[0] if x[0] else float(np.mean(y))
    slope, start = np.polyfit(x, y, 1)
    if slope < 0:
        return float(np.mean(y)), 0.0
    if start < 0:
        return 0.0, float(np.dot(x, y) / np.dot(x, x))
    return float(start), float(slope)


@dataclass(frozen=True, kw_only=True)
class Rehearsal:
    """What was counted of each size, the smallest first. divisor: of the sizes at which work is divided."""

    runs: tuple[Counted, ...]
    divisor: float

    def per_step(self, step: str) -> Fit:
        """Fit what tasks and client of a step ask for to the number of bundles, of the freeze to that of files."""
        size = [float(r.files if step == "freeze" else r.bundles) for r in self.runs]
        return fit(size, [r.of_tasks(step).total for r in self.runs])


def rehearse(recipe: Recipe, drawn: Sequence[Sequence[Dataset]]) -> Rehearsal:
    """Run the recipe on samples of growing size in a process of its own, each file a bundle if it can be."""
    size = sum(os.path.getsize(path) for dataset in drawn[-1] for path in dataset.paths)
    divisor = max(1.0, 2.0 * manifest.SMALLEST * BUNDLES / max(1, size))
    job = {"divisor": divisor, "recipes": [_data(recipe, datasets) for datasets in drawn]}
    printed = in_fresh_process("from pipelines.plan.scale.wind_tunnel import main; main()", job)
    runs = tuple(from_json(found) for found in json.loads(printed.splitlines()[-1]))
    return Rehearsal(runs=runs, divisor=divisor)


def _data(recipe: Recipe, datasets: Sequence[Dataset]) -> dict[str, object]:
    return {**data_on(recipe, datasets), "cluster": {"kind": "inline"}}


def tasks_requests(
    rehearsal: Rehearsal, step: str, tasks: Mapping[str, tuple[str, float]], whole: Mapping[str, float]
) -> Requests:
    """Return what the tasks and the client of a step ask for in the whole, the exchange apart.

    tasks : by kind of task, what their number grows with and their number in the whole. What tasks per bundle or per
    group of bundles ask for grows with the bundles, of others with their number; of the client with the bundles, and
    in the freeze with the files.
    """
    found = Requests()
    for task in {t for run in rehearsal.runs for t in run.requests.get(step, {})}:
        quantity, number = tasks.get(task, (Quantity.BUNDLES, 0.0))
        if task == CLIENT and step == "freeze":
            x, at = [float(r.files) for r in rehearsal.runs], whole[Quantity.FILES]
        elif task == CLIENT or quantity == Quantity.BUNDLES:
            x, at = [float(r.bundles) for r in rehearsal.runs], whole[Quantity.BUNDLES]
        else:
            x, at = [float(r.tasks.get(step, {}).get(task, 0)) for r in rehearsal.runs], number
        for kind in KINDS:
            y = [getattr(r.requests.get(step, {}).get(task, Requests()), kind) for r in rehearsal.runs]
            start, slope = line(x, y)
            found += Requests(**{kind: start + slope * at})
    return found
