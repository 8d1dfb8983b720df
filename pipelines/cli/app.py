"""What all commands share: the typer application, its common options, the recipe that is named, printing.

Each module of commands adds its own to `app` when it is imported; `main.py` lists them.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated

import typer

from cluster.errors import RecipeError

if TYPE_CHECKING:
    from pipelines.recipe.recipe import Recipe
    from pipelines.run.progress import Progress
    from pipelines.staleness import Stale

PIPE_WIDTH = 160  # of tables that go to a file or a pipe
_RINGING = dict.fromkeys((7, 8, 11, 12, 13))  # control characters that a sentence leaves out

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
Trust = Annotated[
    bool,
    typer.Option(
        "--trust", help="import code that the run folder names from the working folder and the run folder too"
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="print JSON")]


class BadUsage(Exception):
    """Carries a RecipeError that belongs to the command line or the recipe file: exit code 2."""


def given_recipe(source: str, overrides: list[str] | None) -> Recipe:
    """Load the recipe that the user names; what is wrong with it is bad usage."""
    from pipelines.recipe.recipe import load_recipe

    try:
        return load_recipe(source, overrides or [])
    except (RecipeError, ImportError) as error:  # an ImportError names the package that a URL needs
        raise BadUsage(str(error)) from error


def locked_recipe(run_dir: str, overrides: list[str] | None = None) -> Recipe:
    """Load the recipe that a run folder was made with."""
    from cluster import storage

    path = storage.join(run_dir, "recipe.lock.yaml")
    if not storage.exists(path):
        raise BadUsage(f"{run_dir} is not a run folder: it has no recipe.lock.yaml. Make one with `winnow run`.")
    from pipelines.recipe import lock

    lock.check_lock(path)
    return given_recipe(path, overrides)


def trust_code(trust: bool) -> None:
    """Take a `--trust`: from now on, run folders are opened with the code that they name."""
    if trust:
        from classifiers.foreign_code import trust_from_now_on

        trust_from_now_on()


def cluster_overrides(kind: str | None, file: str | None, address: str | None) -> list[str]:
    """Return the flags that say where work runs as `--set` overrides of the recipe's cluster section."""
    found = [f"cluster.scheduler_file={json.dumps(file)}"] if file else []
    found += [f"cluster.address={json.dumps(address)}"] if address else []
    kind = kind or ("scheduler" if found else None)
    return [f"cluster.kind={kind}", *found] if kind else []


def display(*, quiet: bool, json_log: bool) -> Progress:
    """Return the progress display that the flags ask for."""
    from pipelines.run.progress import choose_display

    return choose_display(quiet=quiet, json_log=json_log)


def passing_display() -> Progress:
    """Return bars that leave nothing behind, for a command whose answer is all that counts; nothing off a terminal."""
    from pipelines.run.progress import Silent, can_show_bars

    if not can_show_bars():
        return Silent()
    from pipelines.run.bars import Bars

    return Bars(lines=False)


def warn_stale(parts: list[Stale]) -> None:
    """Say on standard error what of a run folder is not up to date."""
    from pipelines.shown_text import visible
    from pipelines.staleness import stale_sentences

    for sentence in stale_sentences(parts):
        print(visible(f"warning: {sentence}"), file=sys.stderr)


def width() -> int:
    """Return the columns of standard output: of the terminal, or what a file or a pipe gets."""
    from rich.console import Console

    return Console().width if sys.stdout.isatty() else PIPE_WIDTH


def compile_kernels(stages: Iterable[str], kind: str, *, quiet: bool) -> None:
    """Compile what a run on this machine would compile first, and say so on standard error; kind: of the cluster."""
    if kind not in ("local", "inline", "threads"):
        return
    from pipelines.commands.warmup import compile_missing

    compile_missing(stages, lambda sentence: None if quiet else print(sentence, file=sys.stderr))


def say(found: object) -> None:
    """Print a result to standard output; text as it is, but for what would ring or move back."""
    if isinstance(found, str):
        print(found.translate(_RINGING), flush=True)
        return
    from rich.console import Console

    wide = None if sys.stdout.isatty() else PIPE_WIDTH
    Console(highlight=False, markup=False, width=wide).print(found)


def say_json(value: object, *, indent: bool = True) -> None:
    """Print a value as JSON; NaN becomes null, and what could act on a terminal stands as an escape."""
    import orjson

    from pipelines.shown_text import escape_json

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
