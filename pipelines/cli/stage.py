"""`winnow stage RUN NAME`: one stage on a run folder, its flags generated from the stage's dataclass.

Guarantees: a flag that is not given leaves the run's recipe as it is; a stage that the recipe lacks is added
at its end. Stages are imported only when one is named or all are listed.
"""

from __future__ import annotations

import dataclasses
import types
import typing
from typing import TYPE_CHECKING, Any

import click

from cluster.errors import RecipeError
from pipelines.cli.app import BadUsage, display, given_recipe, locked_recipe, say, say_json, trust_code
from stages.registry import is_stage, listed, stage_class, stage_names

if TYPE_CHECKING:
    from pipelines.recipe.recipe import Recipe

PREFIX = "p_"  # of the stage's own parameters among click's


class StageGroup(click.Group):
    """Looks stages up by name when asked."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return stage_names()

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        return stage_command(cmd_name) if is_stage(cmd_name) else None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        found, broken = listed()
        with formatter.section("Stages"):
            formatter.write_dl([(use, cls.summary) for use, cls in found.items()])
        if broken:
            with formatter.section("Not usable"):
                for sentence in broken:
                    formatter.write_text(sentence)


class StageCommand(click.Command):
    """Shows the run folder where users write it, before the name (see old_names.py)."""

    def format_usage(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        formatter.write_usage(f"winnow stage RUN {self.name}", "[OPTIONS]")


def stage_command(use: str) -> click.Command:
    cls = stage_class(use)
    options: list[click.Parameter] = [
        click.Argument(["run_dir"], metavar="RUN"),
        click.Option(["--recipe"], metavar="RECIPE", help="recipe to start a new run folder with"),
        click.Option(["--set", "overrides"], multiple=True, metavar="KEY=VALUE", help="override a key of the recipe"),
        click.Option(["--workers"], type=click.IntRange(min=1), help="worker processes"),
        click.Option(["--quiet", "-q"], is_flag=True, help="show no progress"),
        click.Option(["--json-log"], is_flag=True, help="progress as JSON lines on standard error"),
    ]
    hints = typing.get_type_hints(cls)
    options += [_option(f, hints[f.name]) for f in dataclasses.fields(cls)]
    return StageCommand(use, params=options, callback=lambda **given: _run(use, given), help=cls.summary)


def _option(field: dataclasses.Field[Any], hint: Any) -> click.Option:
    """Return the flag of one parameter; None stands for "not given"."""
    hint = next((arg for arg in typing.get_args(hint) if typing.get_origin(arg) is tuple), hint)  # or a mapping
    default = field.default if field.default not in (dataclasses.MISSING, None, "", ()) else None
    text = str(field.metadata.get("help", ""))
    multiple = typing.get_origin(hint) is tuple
    return click.Option(
        ["--" + field.name.replace("_", "-"), PREFIX + field.name],
        type=_click_type(field, hint),
        multiple=multiple,
        default=None,
        help=text + ("; repeatable" if multiple else "") + (f" [default: {default}]" if default is not None else ""),
        metavar=field.metadata.get("metavar"),
    )


def _click_type(field: dataclasses.Field[Any], hint: Any) -> click.ParamType[Any]:
    choices = field.metadata.get("choices")
    if choices:
        return click.Choice([str(choice) for choice in choices])
    if typing.get_origin(hint) is tuple:
        hint = typing.get_args(hint)[0]
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        hint = next(arg for arg in typing.get_args(hint) if arg is not type(None))
    low, high = field.metadata.get("ge"), field.metadata.get("le")
    if hint is int:
        return click.IntRange(low, high)
    if hint is float:
        return click.FloatRange(low, high)
    return click.BOOL if hint is bool else click.STRING


def _run(use: str, given: dict[str, Any]) -> None:
    """Run the recipe of the run folder up to this stage, with the given parameters in place."""
    from pipelines.run import runner
    from pipelines.run_state import limit_of, sample_of, stage_counts

    values = {k.removeprefix(PREFIX): v for k, v in given.items() if k.startswith(PREFIX) and v not in (None, ())}
    run_dir = given["run_dir"]
    recipe, name = recipe_with(use, values, run_dir, given["recipe"], list(given["overrides"]))
    runner.run(
        recipe,
        run_dir,
        until=name,
        workers=given["workers"],
        sample=sample_of(run_dir),
        limit=limit_of(run_dir),
        progress=display(quiet=given["quiet"], json_log=given["json_log"]),
    )
    trust_code(True)  # the stage has just run
    counts = stage_counts(run_dir, name)
    if given["json_log"]:
        say_json({"event": "finished", "run": run_dir, "stage": name, **counts}, indent=False)
    else:
        say(f"{name}: {counts['judged']:,} documents judged, {counts['dropped']:,} dropped")


def recipe_with(
    use: str, values: dict[str, Any], run_dir: str, source: str | None, overrides: list[str]
) -> tuple[Recipe, str]:
    """Return the recipe with this stage's parameters changed (or the stage added), and the stage's name.

    source : the recipe; None takes the one that the run folder was made with.

    Raises BadUsage when there is none, or the parameters do not fit.
    """
    from pipelines.recipe.recipe import load_data

    recipe = locked_recipe(run_dir, overrides) if source is None else given_recipe(source, overrides)
    data = recipe.to_data()
    name = _put(data["stages"], use, values)
    try:
        return load_data(data, f"winnow stage {use}"), name
    except RecipeError as error:
        raise BadUsage(str(error)) from error


def _put(entries: list[dict[str, Any]], use: str, values: dict[str, Any]) -> str:
    """Change this stage's entry, or add one; return its name."""
    from pipelines.recipe.stage_entries import parameter_types

    hints = parameter_types(stage_class(use))
    plain = {k: int(v) if hints[k] is int else list(v) if isinstance(v, tuple) else v for k, v in values.items()}
    key = stage_class(use).key()
    found = [s for s in entries if s["use"] == key and plain.get("name") in (None, s["name"])]
    if len(found) > 1:
        names = ", ".join(s["name"] for s in found)
        raise BadUsage(f"the recipe uses {use} {len(found)} times. Give --name, one of {names}.")
    if not found:
        entries.append({"use": use, **plain})
        return str(plain.get("name") or stage_class(use).use)
    found[0].update(plain)
    return str(found[0]["name"])
