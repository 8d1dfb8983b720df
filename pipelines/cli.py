"""The command line: `winnow COMMAND`. Parses, calls one function, prints; decides nothing.

Guarantees: `--help` imports no heavy package; exit codes are 0 done, 1 failed, 2 bad usage or a bad recipe;
errors that winnow raises on purpose are printed without a traceback. Each module of COMMANDS adds its
commands to `app` when it is imported.
"""

from __future__ import annotations

import errno
import importlib
import json
import os
import sys
from typing import Annotated, Any

import typer

from cluster.errors import RecipeError, WinnowError

COMMANDS = (
    "pipelines.cli_run",
    "pipelines.cli_look",
    "pipelines.cli_data",
    "pipelines.cli_stage",
    "pipelines.cli_cluster",
    "pipelines.cli_doctor",
    "pipelines.cli_plan",
)
PIPE_WIDTH = 160  # of tables that go to a file or a pipe

app = typer.Typer(
    name="winnow",
    help="Turn several large web-text datasets into one clean, deduplicated, weighted pretraining mix.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

RecipeArgument = Annotated[
    str, typer.Argument(metavar="RECIPE", help="recipe file, URL, or built-in: zyda2, zyda2-safe, demo, minimal")
]
RunArgument = Annotated[str, typer.Argument(metavar="RUN", help="run folder")]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="override a key, such as mix.target_tokens=1B; repeatable"),
]
Workers = Annotated[int | None, typer.Option(min=1, help="worker processes (default: the recipe's, else by cores)")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="show no progress")]
ClusterKind = Annotated[
    str | None,
    typer.Option("--cluster", metavar="KIND", help="local, inline, local-cuda, scheduler, slurm or ray"),
]
SchedulerFile = Annotated[
    str | None,
    typer.Option(metavar="FILE", help="file that a running Dask scheduler wrote (implies --cluster scheduler)"),
]
SchedulerAddress = Annotated[
    str | None,
    typer.Option(metavar="ADDRESS", help="address of a running Dask scheduler (implies --cluster scheduler)"),
]
JsonLog = Annotated[bool, typer.Option("--json-log", help="progress as JSON lines on standard error")]
AsJson = Annotated[bool, typer.Option("--json", help="print JSON")]


class BadUsage(Exception):
    """Carries a RecipeError that belongs to the command line or the recipe file: exit code 2."""


def load_recipe(source: str, overrides: list[str] | None) -> Any:
    """Load a recipe; what is wrong with it is bad usage."""
    from pipelines.recipe import load

    try:
        return load(source, overrides or [])
    except (RecipeError, ImportError) as error:  # an ImportError names the package that a URL needs
        raise BadUsage(str(error)) from error


def locked_recipe(run_dir: str, overrides: list[str] | None = None) -> Any:
    """Load the recipe that a run folder was made with."""
    from cluster import storage

    lock = storage.join(run_dir, "recipe.lock.yaml")
    if not storage.exists(lock):
        raise BadUsage(f"{run_dir} is not a run folder: it has no recipe.lock.yaml. Make one with `winnow run`.")
    return load_recipe(lock, overrides)


def cluster_overrides(kind: str | None, file: str | None, address: str | None) -> list[str]:
    """Return the flags that say where work runs as `--set` overrides of the recipe's cluster section."""
    found = [f"cluster.scheduler_file={json.dumps(file)}"] if file else []
    found += [f"cluster.address={json.dumps(address)}"] if address else []
    kind = kind or ("scheduler" if found else None)
    return [f"cluster.kind={kind}", *found] if kind else []


def display(quiet: bool, json_log: bool) -> Any:
    """Return the progress display that the flags ask for."""
    from pipelines.progress import choose

    return choose(quiet, json_log)


def say(found: object) -> None:
    """Print a result to standard output; text is printed as it is, without markup."""
    from rich.console import Console

    width = None if sys.stdout.isatty() else PIPE_WIDTH
    Console(highlight=False, markup=False, soft_wrap=isinstance(found, str), width=width).print(found)


def say_json(value: object, indent: bool = True) -> None:
    """Print a value as JSON; NaN becomes null, and what could act on a terminal stands as an escape."""
    import orjson

    from pipelines.report_text import escape_json

    options = orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_NON_STR_KEYS | (orjson.OPT_INDENT_2 if indent else 0)
    print(escape_json(orjson.dumps(value, default=str, option=options).decode()))


def _version(asked: bool) -> None:
    if asked:
        from cluster.version import VERSION

        print(f"winnow {VERSION}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="print the version and exit")
    ] = False,
) -> None:
    """Take the options that stand before a command."""


def main(arguments: list[str] | None = None) -> int:
    """Run the command line and return the exit code."""
    command = _command()
    try:
        code = command.main(arguments, prog_name="winnow", standalone_mode=False)
        sys.stdout.flush()
        return int(code) if isinstance(code, int) else 0
    except _named("Exit") as stop:
        return int(stop.exit_code)
    except _named("ClickException") as error:
        error.show()
        return 2
    except BadUsage as error:
        _complain(f"Error: {error}")
        return 2
    except WinnowError as error:
        _complain(f"{type(error).__name__}: {error}")
        return 1
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the reader has gone: flush to nowhere
        return 1
    except OSError as error:
        _complain(f"{type(error).__name__}: {error}{_remedy(error)}")
        return 1
    except (KeyboardInterrupt, *_named("Abort")):
        print("Stopped. What is finished stays; the same command goes on from there.", file=sys.stderr)
        return 130


def _complain(sentence: str) -> None:
    """Print an error; what it quotes of files and recipes cannot move the cursor or reorder the line."""
    from pipelines.report_text import visible

    print(visible(sentence), file=sys.stderr)


def _remedy(error: OSError) -> str:
    """Return what to do when a disk is full or nothing may be written."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return ". The disk or quota is full: make room; what is finished stays, the same command goes on from there."
    if error.errno in (errno.EROFS, errno.EACCES, errno.EPERM):
        return ". Name a place that may be read and written."
    return ""


def _command() -> Any:
    """Return the command line with the commands of every module."""
    for module in COMMANDS:
        importlib.import_module(module)
    from pipelines.cli_stage import StageGroup

    command: Any = typer.main.get_command(app)
    command.add_command(StageGroup(name="stage", help="Run one stage on a run folder, with its parameters as flags."))
    return command


def _named(name: str) -> tuple[Any, ...]:
    """Return click's exceptions of this name: click's own and those that typer brings along."""
    import click

    kinds = {click.exceptions.Exit, click.ClickException, click.exceptions.Abort}
    kinds |= {cls for known in (typer.Exit, typer.BadParameter, typer.Abort) for cls in known.__mro__}
    return tuple(cls for cls in kinds if cls.__name__ == name)


def entry() -> None:
    """Entry point of the `winnow` script."""
    sys.exit(main())
