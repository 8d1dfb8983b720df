"""The command `doctor`: what this installation, or a recipe's cluster, can compute with."""

from __future__ import annotations

from typing import Annotated

import typer

from pipelines.cli.app import AsJson, Overrides, app, load_recipe, say, say_json


@app.command()
def doctor(
    recipe: Annotated[
        str | None, typer.Argument(metavar="[RECIPE]", help="ask the workers of this recipe's cluster section")
    ] = None,
    overrides: Overrides = None,
    as_json: AsJson = False,
) -> None:
    """Show backend, devices, driver, versions, memory, and what is missing; exit code 1 without a backend."""
    parsed = load_recipe(recipe, overrides) if recipe else None

    from pipelines.commands import doctor as page

    options = None
    if parsed is not None:
        from pipelines.recipe.to_run import cluster_of

        options = cluster_of(parsed)
    found = page.examine(options)
    if as_json:
        say_json(found.to_json())
    else:
        say(page.render(found))
    if found.problem:
        raise typer.Exit(1)
