"""Rewrite documents of a run folder, and run its recipe again with what came of it."""

from __future__ import annotations

import contextlib
from typing import Any

from cluster import storage
from cluster.errors import RecipeError
from cluster.start import start
from pipelines.recipe.recipe import Recipe, load_data
from pipelines.run import runner
from pipelines.run.progress import Progress, Silent
from pipelines.run.watched import Watched
from pipelines.run_state import from_home, only_one, reopen, sample_of
from pipelines.runfolder import open_run
from pipelines.staleness import check_readable
from pipelines.synthesise.settings import load
from pipelines.synthesise.synthesise import FOLDER, synthesise


def synthesise_in(
    run_dir: str, settings: str, *, workers: int | None = None, progress: Progress | None = None
) -> dict[str, Any]:
    """Write the synthetic dataset that a file of settings wishes for into a finished run folder; return its card."""
    wish = load(storage.absolute(settings))
    with from_home(run_dir) as root, only_one(root):
        check_readable(root)
        folder = open_run(root, warn=False)
        cluster = reopen(root).cluster
        watched = Watched(start(cluster, root), progress or Silent())
        with contextlib.closing(watched) as engine, engine.step(f"synthesise {wish.name}"):
            return synthesise(engine, folder, wish)


def recipe_with(recipe: Recipe, run_dir: str, card: dict[str, Any]) -> Recipe:
    """Return a recipe with the synthetic dataset behind all others, at its own weight."""
    data = recipe.to_data()
    name = card["name"]
    data["datasets"][name] = {
        "preset": "synthetic",
        "paths": storage.absolute(storage.join(run_dir.rstrip("/"), FOLDER, name)),
        "licence": card["licence"],
    }
    data["priority"] = [*(other for other in data.get("priority") or [] if other != name), name]
    mix = data.get("mix") or {}
    if mix.get("weights"):
        mix["weights"] = {**mix["weights"], name: card["weight"]}
    elif not mix.get("cells"):
        mix["weights"] = {**dict.fromkeys(data["datasets"], 1.0), name: card["weight"]}
    data["mix"] = mix
    try:
        return load_data(data, f"winnow synthesise {name}")
    except RecipeError as error:
        raise RecipeError(f"the recipe does not fit the new dataset {name}: {error}") from error


def run_again(
    recipe: Recipe, run_dir: str, *, workers: int | None = None, progress: Progress | None = None
) -> runner.RunResult:
    """Run a recipe with a new dataset in the same run folder; facts of the other datasets are used again."""
    return runner.run(recipe, run_dir, refresh=True, sample=sample_of(run_dir), workers=workers, progress=progress)
