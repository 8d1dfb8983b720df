"""`winnow synthesise`: a synthetic dataset from the kept documents of a run."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from pipelines.cli.app import AsJson, JsonLog, Quiet, RunArgument, Workers, app, display, locked_recipe, say, say_json
from pipelines.shown_text import visible


@app.command("synthesise")
def synthesise_dataset(
    run_dir: RunArgument,
    settings: Annotated[str, typer.Argument(metavar="FILE.yaml", help="what is rewritten how")],
    run: Annotated[
        bool, typer.Option("--run", help="then run the recipe again, with the new dataset behind the others")
    ] = False,
    workers: Workers = None,
    quiet: Quiet = False,
    json_log: JsonLog = False,
    as_json: AsJson = False,
) -> None:
    """Rewrite kept documents of a run by language models; writes RUN/synthetic/NAME, a dataset with lineage."""
    from pipelines.commands.synthesise import recipe_with, run_again, synthesise_in

    card = synthesise_in(run_dir, settings, workers=workers, progress=display(quiet=quiet, json_log=json_log))
    if run:
        recipe = recipe_with(locked_recipe(run_dir), run_dir, card)
        run_again(recipe, run_dir, workers=workers, progress=display(quiet=quiet, json_log=json_log))
    if as_json:
        say_json(card)
        return
    for line in _lines(card):
        say(visible(line))
    if not run:
        folder = f"{run_dir.rstrip('/')}/synthetic/{card['name']}"
        licence = card["licence"]
        say(
            visible(f"add it: datasets: {{{card['name']}: {{preset: synthetic, paths: {folder}, licence: {licence}}}}}")
        )


def _lines(card: dict[str, Any]) -> list[str]:
    lines = [f"{card['name']}: {card['outputs']:,} documents from {card['chunks']:,} chunks of {card['documents']:,}"]
    for prompt, reasons in card["prompts"].items():
        lines.append(f"{prompt}: " + ", ".join(f"{reason} {count:,}" for reason, count in reasons.items()))
    return lines
