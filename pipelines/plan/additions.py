"""What is left to do of freezing, tallies, ledger and mix where files were added to a run folder.

Files of ledger and mix stay whose rows do (`stages/outcome/made_from.py`): of bundles before the first new one, as
others are numbered anew. Of those in which new documents have copies, the columns of groups are written again. With
`shuffle: global` documents lie in the mix by their content, so each file of a dataset has rows that are new or
numbered anew: it is written whole. Guarantees: shares of the work, from the bundles that a run would cut alone.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from pipelines.plan.reuse import Present
from pipelines.plan.whole import Whole
from pipelines.recipe.output import INTERLEAVED
from pipelines.recipe.recipe import Recipe
from pipelines.recipe.to_run import mixes_of_recipe, output_of_recipe
from stages.core.run import Run
from stages.outcome.made_from import rows_can_be_told

COLUMNS = 0.25  # work of copying a file and writing the columns of groups, of that of writing the file


def left_to_do(recipe: Recipe, whole: Whole, here: Present) -> dict[str, float]:
    """Return the share of a step's work that is left, where it is not all; nothing where no files were just added."""
    if not here.known or here.run is None:
        return {}
    known = [here.knows(bundle) for bundle in whole.bundles]
    rows = [bundle.rows for bundle in whole.bundles]
    first = known.index(False) if False in known else len(known)
    moved = [position >= first for position in range(len(known))]  # new, or behind a new one and numbered anew
    new = _share(rows, [not there for there in known])
    touched = _touched(whole, sum(rows) * new, first)
    found = {"freeze": _new_files(whole, here), "tally": min(1.0, new + touched)}
    if _may_stay(recipe, here.run):
        ledger = _share(rows, moved)
        found["ledger"] = ledger + (1.0 - ledger) * touched * COLUMNS
        mix = _share(rows, _rewritten(recipe, whole, moved))
        found["materialize"] = mix + (1.0 - mix) * touched * COLUMNS
    return found


def _share(rows: list[int], marked: list[bool]) -> float:
    return sum(many for many, mark in zip(rows, marked, strict=True) if mark) / max(1, sum(rows))


def _new_files(whole: Whole, here: Present) -> float:
    files = {(bundle.dataset, piece.shard.path) for bundle in whole.bundles for piece in bundle.pieces}
    return len(files - here.known) / max(1, len(files))


def _touched(whole: Whole, new: float, bundles: int) -> float:
    """Return the share of so many bundles in which new documents have copies, if each that is dropped has one."""
    lost = 1.0 - sum(whole.flow.kept.values()) / max(1, whole.rows)
    return 1.0 - math.exp(-new * lost / bundles) if bundles else 0.0


def _may_stay(recipe: Recipe, run: Run) -> bool:
    """Tell whether files of ledger and mix are told by what they are made from, and epochs stay as they are."""
    mixes = mixes_of_recipe(recipe)
    epochs_stay = mixes[0].weights is None and mixes[0].target_tokens is None
    return rows_can_be_told(run, mixes) and epochs_stay and recipe.output.layout != INTERLEAVED


def _rewritten(recipe: Recipe, whole: Whole, moved: list[bool]) -> list[bool]:
    """Return of each bundle whether the files of the mix that hold its rows are written whole."""
    if output_of_recipe(recipe).shuffle != "global":
        return moved
    datasets = {bundle.dataset for bundle, mark in zip(whole.bundles, moved, strict=True) if mark}
    return [bundle.dataset in datasets for bundle in whole.bundles]


def scaled(amounts: Mapping[str, float], left: Mapping[str, float]) -> dict[str, float]:
    """Return amounts by step, each as far as it is left."""
    return {step: amount * left.get(step, 1.0) for step, amount in amounts.items()}
