"""Run and plan a recipe that is a file, a name, plain values or a Recipe.

Guarantees: what is shown changes no result; in a notebook a bar is updated in place, on a terminal the bars of the
command line stand, elsewhere nothing is shown.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any, cast

from pipelines.plan import plan as planner
from pipelines.plan import tree as plan_tree
from pipelines.plan.view import render
from pipelines.python.notebook import Notebook, in_notebook
from pipelines.python.shown import Shown
from pipelines.recipe.recipe import Recipe, load_data, load_recipe
from pipelines.run import runner
from pipelines.run.progress import Progress, Silent, choose_display
from pipelines.run.result import RunResult

AnyRecipe = Recipe | str | os.PathLike[str] | Mapping[str, Any]


def run(
    recipe: AnyRecipe,
    run_dir: str | os.PathLike[str],
    *,
    overrides: Sequence[str] = (),
    progress: Progress | bool | None = None,
    **more: Any,
) -> RunResult:
    """Run a recipe, or what is still missing of it, and return what it came to; a notebook shows it as a table.

    Parameters
    ----------
    recipe : a file, a URL, the name of a built-in recipe, plain values as in YAML, or a loaded Recipe.
    run_dir : run folder, made if it is missing.
    overrides : as `--set` takes them, such as "mix.target_tokens=1B"; not of a loaded Recipe.
    progress : a display, True, or False; None: bars in a notebook and on a terminal.
    more : limit, sample, refresh, workers, until, output, with_report, mixes, as `pipelines.run.runner.run` takes them.

    Raises
    ------
    WinnowError
        of the kind that tells what to do; what was finished stays and is used by the next call.
    """
    shown = _display() if progress is None or progress is True else progress or Silent()
    return runner.run(recipe_of(recipe, overrides), os.fspath(run_dir), progress=shown, **more)


def plan(
    recipe: AnyRecipe, run_dir: str | os.PathLike[str] | None = None, *, overrides: Sequence[str] = (), **more: Any
) -> plan_tree.Plan:
    """Return the plan of a run: plain values, as plan.schema.json describes them, which a notebook shows as tables.

    Parameters
    ----------
    recipe, overrides : as `run` takes them.
    run_dir : run folder; what it holds is reused.
    more : workers, gpus, sample_documents and others, as `pipelines.plan.plan.plan` takes them.

    Raises
    ------
    RecipeError, ShardError
        Inputs cannot be found or read.
    """
    folder = None if run_dir is None else os.fspath(run_dir)
    found = planner.plan(recipe_of(recipe, overrides), folder, **more)
    return cast(plan_tree.Plan, Shown(cast("dict[str, Any]", found), render))


def recipe_of(recipe: AnyRecipe, overrides: Sequence[str] = ()) -> Recipe:
    """Return a loaded recipe. Raises RecipeError with every problem found."""
    if isinstance(recipe, Recipe):
        return load_data(recipe.to_data(), "recipe", overrides) if overrides else recipe
    if isinstance(recipe, Mapping):
        return load_data(recipe, "recipe", overrides)
    return load_recipe(os.fspath(recipe), overrides)


def _display() -> Progress:
    if in_notebook():
        return Notebook()
    return choose_display() if sys.stderr.isatty() else Silent()
