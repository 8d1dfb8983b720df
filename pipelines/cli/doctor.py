"""The command `doctor`: what this installation, or a recipe's cluster, can compute with."""

from __future__ import annotations

from typing import Annotated

import typer

from pipelines.cli.app import AsJson, Overrides, app, given_recipe, say, say_json


@app.command()
def doctor(
    recipe: Annotated[
        str | None, typer.Argument(metavar="[RECIPE]", help="ask the workers of this recipe's cluster section")
    ] = None,
    overrides: Overrides = None,
    as_json: AsJson = False,
) -> None:
    """Show backend, devices, driver, versions, memory, and what is missing; exit code 1 without a backend."""
    parsed = given_recipe(recipe, overrides) if recipe else None

    from pipelines.commands.doctor import examine, render_diagnosis

    options = None
    if parsed is not None:
        from pipelines.recipe.to_run import cluster_of_recipe

        options = cluster_of_recipe(parsed)
    found = examine(options)
    if as_json:
        say_json(found.as_data())
    else:
        say(render_diagnosis(found))
    if found.problem:
        raise typer.Exit(1)
