"""The command line: `winnow COMMAND`. Parses, calls one function, prints; decides nothing.

Guarantees: `--help` imports no heavy package; exit codes are 0 done, 1 failed, 2 bad usage or a bad recipe;
errors that winnow raises on purpose are printed without a traceback.
"""

from __future__ import annotations

import json
import sys
from typing import Annotated, Any, Optional

import typer

from cluster.errors import RecipeError, WinnowError

app = typer.Typer(
    name="winnow",
    help="Turn several large web-text datasets into one clean, deduplicated, weighted pretraining mix.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

RecipeArgument = Annotated[
    str, typer.Argument(metavar="RECIPE", help="recipe file, URL, or built-in: zyda2, zyda2-safe, demo")
]
RunArgument = Annotated[str, typer.Argument(metavar="RUN", help="run folder")]
RunDir = Annotated[str, typer.Option("--run-dir", "-r", metavar="RUN", help="run folder (made if missing)")]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="override a key, such as mix.target_tokens=1B"),
]
Workers = Annotated[Optional[int], typer.Option(min=1, help="worker processes (default: the recipe's, else by cores)")]  # noqa: UP045
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="show no progress")]
JsonLog = Annotated[bool, typer.Option("--json-log", help="progress as JSON lines on stderr")]
AsJson = Annotated[bool, typer.Option("--json", help="print JSON")]


class BadUsage(Exception):
    """Carries a RecipeError that belongs to the command line or the recipe file: exit code 2."""


def load_recipe(source: str, overrides: list[str] | None) -> Any:
    """Load a recipe; what is wrong with it is bad usage."""
    from pipelines.recipe import load

    try:
        return load(source, overrides or [])
    except RecipeError as error:
        raise BadUsage(str(error)) from error


def display(quiet: bool, json_log: bool) -> Any:
    """Return the progress display that the flags ask for."""
    from pipelines.progress import choose

    return choose(quiet, json_log)


def say(text: object) -> None:
    """Print a result to standard output."""
    from rich.console import Console

    Console(highlight=False, soft_wrap=True).print(text)


def say_json(value: object) -> None:
    print(json.dumps(value, indent=2, default=str))


@app.callback(invoke_without_command=True)
def _root(
    version: Annotated[bool, typer.Option("--version", help="print the version and exit", is_eager=True)] = False,
) -> None:
    if version:
        from cluster.version import VERSION

        print(f"winnow {VERSION}")
        raise typer.Exit


@app.command()
def run(
    recipe: RecipeArgument,
    run_dir: RunDir,
    overrides: Overrides = None,
    limit: Annotated[Optional[int], typer.Option(min=1, help="only the first N rows of each dataset")] = None,  # noqa: UP045
    sample: Annotated[
        float | None,
        typer.Option(min=0.0, max=1.0, help="only this share of the documents, by content hash"),
    ] = None,
    workers: Workers = None,
    refresh: Annotated[bool, typer.Option("--refresh", help="take changed input files in instead of stopping")] = False,
    quiet: Quiet = False,
    json_log: JsonLog = False,
) -> None:
    """Run a recipe, or what is still missing of it: from datasets to mix, ledger and report."""
    from pipelines import runner
    from pipelines.funnel import funnel_table

    parsed = load_recipe(recipe, overrides)
    result = runner.run(
        parsed,
        run_dir,
        limit=limit,
        sample=sample,
        refresh=refresh,
        workers=workers,
        progress=display(quiet, json_log),
    )
    if json_log:
        say_json({"event": "finished", "run": result.root, "report": result.report, "datasets": result.tallies})
        return
    say(funnel_table(parsed, result.tallies))
    say(f"mix: {result.root}/mix   ledger: {result.root}/ledger   report: {result.report}")


@app.command()
def check(recipe: RecipeArgument, overrides: Overrides = None, as_json: AsJson = False) -> None:
    """Check each dataset's files against the recipe before any work: columns, types, nulls, ids, languages."""
    from pipelines.check import check_recipe, render

    parsed = load_recipe(recipe, overrides)
    reports = check_recipe(parsed)
    if as_json:
        say_json([report.to_json() for report in reports])
    else:
        for report in reports:
            say(render(report))
    if not all(report.ok for report in reports):
        raise typer.Exit(1)


@app.command()
def status(run_dir: RunArgument, as_json: AsJson = False) -> None:
    """Show what of a run is done."""
    from pipelines import status as page

    found = page.status(run_dir)
    if as_json:
        say_json(found)
    else:
        say(page.render(found))


@app.command()
def facts(
    run_dir: RunArgument,
    stage: Annotated[str, typer.Argument(help="name of the stage")],
    out: Annotated[str, typer.Option("--out", "-o", metavar="FILE.parquet", help="Parquet file to write")],
) -> None:
    """Export a stage's facts: doc_id, row and the stage's columns."""
    from pipelines.facts import export

    say(f"{export(run_dir, stage, out):,} rows written to {out}")


@app.command()
def report(run_dir: RunArgument) -> None:
    """Write report.html and report.json anew from the ledger."""
    from pipelines.report import write

    say(write(run_dir))


@app.command()
def explain(
    run_dir: RunArgument,
    doc_id: Annotated[Optional[int], typer.Option("--doc-id", help="the ledger's doc_id")] = None,  # noqa: UP045
    native_id: Annotated[Optional[str], typer.Option("--id", help="the dataset's own id")] = None,  # noqa: UP045
    url: Annotated[Optional[str], typer.Option(help="the document's URL")] = None,  # noqa: UP045
    text: Annotated[Optional[str], typer.Option(help="the document's text; - reads standard input")] = None,  # noqa: UP045
    as_json: AsJson = False,
) -> None:
    """Tell what became of a document and why: facts, decisions, what it lost to, the difference."""
    from pipelines import explain as page

    if sum(x is not None for x in (doc_id, native_id, url, text)) != 1:
        raise BadUsage("give one of --doc-id, --id, --url and --text.")
    text = sys.stdin.read() if text == "-" else text
    found = page.explain(run_dir, doc_id=doc_id, id=native_id, url=url, text=text)
    if as_json:
        say_json(found)
    else:
        say(page.render(found))


@app.command()
def materialize(
    run_dir: RunArgument,
    overrides: Overrides = None,
    workers: Workers = None,
    quiet: Quiet = False,
    json_log: JsonLog = False,
) -> None:
    """Write the mix of a run folder again, for instance with other weights or another shuffle."""
    from pipelines import runner
    from pipelines.funnel import funnel_table

    parsed = load_recipe(f"{run_dir.rstrip('/')}/recipe.lock.yaml", overrides)
    result = runner.run(
        parsed,
        run_dir,
        workers=workers,
        sample=runner.sample_of(run_dir),
        limit=runner.limit_of(run_dir),
        progress=display(quiet, json_log),
    )
    say(funnel_table(parsed, result.tallies))


@app.command()
def clean(
    run_dir: RunArgument,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="only say what would go")] = False,
) -> None:
    """Remove sidecars and files that the run folder's recipe no longer uses."""
    from pipelines.clean import clean as remove

    gone = remove(run_dir, dry_run)
    for path in gone:
        say(path)
    say(f"{len(gone)} {'would be ' if dry_run else ''}removed")


@app.command()
def schema() -> None:
    """Print the JSON schema of a recipe, for editors."""
    from pipelines.recipe import schema as recipe_schema

    say_json(recipe_schema())


def main(arguments: list[str] | None = None) -> int:
    """Run the command line and return the exit code."""
    from pipelines import cli_data  # noqa: F401  (adds its commands)
    from pipelines.cli_stage import StageGroup

    command: Any = typer.main.get_command(app)
    command.add_command(
        StageGroup(name="stage", help="Run one stage on a run folder, with its parameters as flags."), "stage"
    )
    try:
        code = command.main(arguments, prog_name="winnow", standalone_mode=False)
        return int(code) if isinstance(code, int) else 0
    except _named("Exit") as stop:
        return int(stop.exit_code)
    except _named("ClickException") as error:
        error.show()
        return 2
    except BadUsage as error:
        print(f"Error: {error}", file=sys.stderr)
        return 2
    except WinnowError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 1
    except (KeyboardInterrupt, *_named("Abort")):
        print("Stopped. What is finished stays; the same command goes on from there.", file=sys.stderr)
        return 130


def _named(name: str) -> tuple[Any, ...]:
    """Return click's exceptions of this name: click's own and those that typer brings along."""
    import click

    kinds = {click.exceptions.Exit, click.ClickException, click.exceptions.Abort}
    kinds |= {cls for known in (typer.Exit, typer.BadParameter, typer.Abort) for cls in known.__mro__}
    return tuple(cls for cls in kinds if cls.__name__ == name)


def entry() -> None:
    """Entry point of the `winnow` script."""
    sys.exit(main())
