"""`winnow stage NAME`: one stage on a run folder, its flags generated from the stage's dataclass.

Guarantees: a flag that is not given leaves the run's recipe as it is; a stage that the recipe lacks is added
at its end. Stages are imported only when one is named.
"""

from __future__ import annotations

import dataclasses
import json
import types
import typing
from typing import Any

import click

from stages.registry import STAGES


class StageGroup(click.Group):
    """Looks stages up by name when asked."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(STAGES)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        return _command(cmd_name) if cmd_name in STAGES else None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Stages"):
            formatter.write_dl([(name, "") for name in STAGES])


def _command(use: str) -> click.Command:
    from stages.registry import stage_class

    cls = stage_class(use)
    options: list[click.Parameter] = [
        click.Argument(["run_dir"], metavar="RUN"),
        click.Option(["--workers"], type=click.IntRange(min=1), help="worker processes"),
        click.Option(["--quiet", "-q"], is_flag=True, help="show no progress"),
    ]
    hints = typing.get_type_hints(cls)
    options += [_option(f, hints[f.name]) for f in dataclasses.fields(cls)]
    return click.Command(use, params=options, callback=lambda **given: _run(use, **given), help=cls.summary)


def _option(field: dataclasses.Field[Any], hint: Any) -> click.Option:
    flag = "--" + field.name.replace("_", "-")
    default = field.default if field.default not in (dataclasses.MISSING, None, "", ()) else None
    text = str(field.metadata.get("help", ""))
    if default is not None:
        text += f" [default: {default}]"
    return click.Option(
        [flag, f"p_{field.name}"],
        type=_click_type(field, hint),
        multiple=_is_tuple(hint),
        default=None,
        help=text,
        metavar=field.metadata.get("metavar"),
    )


def _is_tuple(hint: Any) -> bool:
    return typing.get_origin(hint) is tuple


def _click_type(field: dataclasses.Field[Any], hint: Any) -> Any:
    choices = field.metadata.get("choices")
    if choices:
        return click.Choice([str(choice) for choice in choices])
    if _is_tuple(hint):
        hint = typing.get_args(hint)[0]
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        hint = next(arg for arg in typing.get_args(hint) if arg is not type(None))
    return {int: click.INT, float: click.FLOAT, bool: click.BOOL}.get(hint, click.STRING)


def _run(use: str, run_dir: str, workers: int | None, quiet: bool, **given: Any) -> None:
    """Run the recipe of the run folder up to this stage, with the given parameters in place."""
    from cluster.errors import RecipeError
    from pipelines import runner
    from pipelines.cli import BadUsage, display, say
    from pipelines.recipe import load, load_data

    values = {k.removeprefix("p_"): v for k, v in given.items() if v not in (None, ())}
    try:
        recipe = load(f"{run_dir.rstrip('/')}/recipe.lock.yaml")
        data, name = _with_parameters(recipe.to_data(), use, values)
        recipe = load_data(data, "winnow stage")
    except RecipeError as error:
        raise BadUsage(str(error)) from error
    runner.run(
        recipe,
        run_dir,
        until=name,
        workers=workers,
        sample=runner.sample_of(run_dir),
        limit=runner.limit_of(run_dir),
        progress=display(quiet, False),
    )
    counts = runner.stage_counts(run_dir, name)
    say(f"{name}: {counts['judged']:,} documents judged, {counts['dropped']:,} dropped")


def _with_parameters(data: dict[str, Any], use: str, values: dict[str, Any]) -> tuple[dict[str, Any], str]:
    """Return the recipe with this stage's parameters changed (or the stage added), and the stage's name."""
    from pipelines.stage_entries import parameter_types
    from stages.registry import stage_class

    hints = parameter_types(stage_class(use))
    plain = {k: int(v) if hints[k] is int else list(v) if isinstance(v, tuple) else v for k, v in values.items()}
    wanted = plain.get("name")
    data = json.loads(json.dumps(data))
    found = [s for s in data["stages"] if s["use"] == use and wanted in (None, s["name"])]
    if found:
        found[0].update(plain)
        return data, str(found[0]["name"])
    data["stages"].append({"use": use, **plain})
    return data, str(wanted or use)
