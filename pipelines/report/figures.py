"""What stages count besides what they drop, in the documents that are kept: repairs by kind, personal data by kind.

Guarantees: summed from the facts, so anybody can recompute it. Memory: the facts of one bundle.
"""

from __future__ import annotations

import contextlib
from functools import partial

import numpy as np

from cluster.engines import Engine
from cluster.errors import WinnowError
from pipelines.runfolder import RunFolder
from stages.core.run import Run
from stages.core.stage import ShardStage
from stages.core.view import View

Figures = dict[str, dict[str, dict[str, int]]]  # stage -> dataset -> name -> number


def read(folder: RunFolder, engine: Engine) -> Figures:
    """Return the figures of every stage that has some; nothing where facts are gone."""
    with contextlib.suppress(WinnowError, OSError):
        return _figures(folder, engine)
    return {}


def _figures(folder: RunFolder, engine: Engine) -> Figures:
    if not any(_counts(stage) for stage in folder.run.stages):
        return {}
    found: Figures = {}
    for dataset, figures in engine.map(partial(_of_bundle, folder.run), range(len(folder.run.manifest.bundles))):
        for stage, numbers in figures.items():
            mine = found.setdefault(stage, {}).setdefault(dataset, {})
            for name, number in numbers.items():
                mine[name] = mine.get(name, 0) + number
    return found


def _counts(stage: object) -> bool:
    return isinstance(stage, ShardStage) and type(stage).figures is not ShardStage.figures


def _of_bundle(job: Run, position: int) -> tuple[str, dict[str, dict[str, int]]]:
    view = View.at(job, position)
    rows = np.flatnonzero(view.live(len(job.stages)))
    found = {}
    for index, stage in enumerate(job.stages):
        if _counts(stage) and isinstance(stage, ShardStage) and stage.applies_to(view.bundle.dataset):
            found[stage.name] = stage.figures(view.facts(index, rows))
    return view.bundle.dataset, found
