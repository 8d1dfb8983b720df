"""Commands that take a recipe or change a run folder: run, check, materialize, clean, schema."""

from __future__ import annotations

from enum import StrEnum
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from cluster.errors import RecipeError
from pipelines.cli.app import (
    AsJson,
    BadUsage,
    ClusterKind,
    JsonLog,
    Overrides,
    Quiet,
    RecipeArgument,
    RunArgument,
    SchedulerAddress,
    SchedulerFile,
    Trust,
    Workers,
    app,
    cluster_overrides,
    compile_kernels,
    display,
    given_recipe,
    locked_recipe,
    passing_display,
    say,
    say_json,
    trust_code,
    width,
)

if TYPE_CHECKING:
    from pipelines.run.result import RunResult

MIX_KEYS = ("cluster", "mix", "mixes", "name", "output", "seed")  # what can change without judging documents anew

RunDir = Annotated[str, typer.Option("--run-dir", "-r", metavar="RUN", help="run folder (made if missing)")]


class Backend(StrEnum):
    """What computes."""

    auto = "auto"
    cpu = "cpu"
    gpu = "gpu"


@app.command()
def run(
    recipe: RecipeArgument,
    run_dir: RunDir,
    overrides: Overrides = None,
    limit: Annotated[int | None, typer.Option(min=1, help="only the first N rows of each dataset")] = None,
    sample: Annotated[
        float | None,
        typer.Option(min=0.0, max=1.0, help="only this share of the documents, by content hash"),
    ] = None,
    workers: Workers = None,
    cluster: ClusterKind = None,
    scheduler_file: SchedulerFile = None,
    scheduler_address: SchedulerAddress = None,
    backend: Annotated[Backend | None, typer.Option(help="what computes (default: the recipe's)")] = None,
    refresh: Annotated[bool, typer.Option("--refresh", help="take changed input files in instead of stopping")] = False,
    quiet: Quiet = False,
    json_log: JsonLog = False,
) -> None:
    """Run a recipe, or what is still missing of it: from datasets to mix, ledger and report."""
    if sample == 0:
        raise BadUsage("--sample must be above 0 and at most 1, got 0.")
    where = cluster_overrides(cluster, scheduler_file, scheduler_address)
    computes = [f"cluster.backend={backend}"] if backend else []
    parsed = given_recipe(recipe, [*(overrides or []), *where, *computes])

    from pipelines.run import runner

    compile_kernels((stage.use for stage in parsed.stages), parsed.cluster.kind, quiet=quiet or json_log)
    runner.run(
        parsed,
        run_dir,
        limit=limit,
        sample=sample,
        refresh=refresh,
        workers=workers,
        progress=display(quiet=quiet, json_log=json_log),
        finished=partial(_say_result, json_log=json_log),
    )


@app.command()
def check(recipe: RecipeArgument, overrides: Overrides = None, as_json: AsJson = False) -> None:
    """Check each dataset's files against the recipe before any work: columns, types, nulls, ids, languages."""
    parsed = given_recipe(recipe, overrides)

    from pipelines.commands.check import check_recipe, render_check

    with passing_display().step("check"):
        found = check_recipe(parsed)
    if as_json:
        say_json([dataset.to_json() for dataset in found])
    else:
        for dataset in found:
            say(render_check(dataset))
    if not all(dataset.ok for dataset in found):
        raise typer.Exit(1)


@app.command()
def materialize(
    run_dir: RunArgument,
    mix: Annotated[
        list[str] | None, typer.Option("--mix", metavar="NAME", help="write only this mix (again for others)")
    ] = None,
    overrides: Overrides = None,
    workers: Workers = None,
    quiet: Quiet = False,
    json_log: JsonLog = False,
) -> None:
    """Write the mix of a run folder again, for instance with other weights or another shuffle."""
    for override in overrides or []:
        if override.partition("=")[0].split(".")[0].strip() not in MIX_KEYS:
            raise BadUsage(f"--set {override}: materialize changes {', '.join(MIX_KEYS)} only. Use `winnow run`.")
    parsed = locked_recipe(run_dir, overrides)

    from pipelines.run import runner
    from pipelines.run_state import limit_of, sample_of, working_at_home

    with working_at_home(run_dir) as root:
        runner.run(
            parsed,
            root,
            workers=workers,
            sample=sample_of(root),
            limit=limit_of(root),
            mixes=mix or (),
            progress=display(quiet=quiet, json_log=json_log),
            finished=partial(_say_result, json_log=json_log),
        )


def _say_result(result: RunResult, *, json_log: bool) -> None:
    """Print what a run came to: the funnel, or one line of JSON."""
    if json_log:
        say_json(_result_line(result), indent=False)
        return
    from pipelines.run.funnel import funnel_tables

    for table in funnel_tables(result, width()):
        say(table)
    for text in result.notes():
        say(text)
    for text in result.warnings:
        say(f"warning: {text}")
    for text in result.changes:
        say(f"changed: {text}")
    for name, items in result.passed_over.items():
        for item in items:
            say(f"{name}: {item}")
    where = ", ".join(f"{result.root}/mixes/{name}" for name in result.mixes) or f"{result.root}/mix"
    say(f"mix: {where}   ledger: {result.root}/ledger   report: {result.report}")
    if result.was_done:
        say("Nothing was left to do: inputs, recipe and every file of the run folder are as this run left them.")


def _result_line(result: RunResult) -> dict[str, object]:
    """Return the last line of a JSON log."""
    left = {name: [item.to_json() for item in items] for name, items in result.passed_over.items() if items}
    more: dict[str, object] = {"passed_over": left} if left else {}
    if result.mixes:
        more["mixes"] = list(result.mixes)
    if result.changes:
        more["changes"] = list(result.changes)
    return {
        "event": "finished",
        "run": result.root,
        "was_done": result.was_done,
        "report": result.report,
        "datasets": result.tallies,
        **more,
        "notes": result.notes(),
        "warnings": list(result.warnings),
    }


@app.command()
def clean(
    run_dir: RunArgument,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="only say what would go")] = False,
    trust: Trust = False,
) -> None:
    """Remove sidecars and files that the run folder's recipe no longer uses."""
    trust_code(trust)
    from pipelines.commands.clean import clean_run

    gone = clean_run(run_dir, dry_run=dry_run)
    for path in gone:
        say(path)
    say(f"{len(gone)} {'would be ' if dry_run else ''}removed")


@app.command()
def schema(
    of: Annotated[
        str, typer.Option(metavar="NAME", help="recipe; report: of report.json; plan: of `winnow plan --json`")
    ] = "recipe",
) -> None:
    """Print the JSON schema of a recipe, for editors, or of what winnow writes, for programs that read it."""
    from pipelines.commands.schema import schema_of

    try:
        say_json(schema_of(of))
    except RecipeError as error:
        raise BadUsage(str(error)) from error
