"""The command line: `winnow COMMAND`. Parses, calls one function, prints; decides nothing.

Guarantees: `--help` imports no heavy package; exit codes are 0 done, 1 failed, 2 bad usage or a bad recipe;
errors that winnow raises on purpose are printed without a traceback.
"""

from __future__ import annotations

import importlib
import os
import signal
import sys
import traceback
from typing import Any

import typer

from cluster import storage
from cluster.errors import RecipeError, WinnowError, remedy
from cluster.startup import collect_garbage_seldom
from pipelines.cli.app import BadUsage, app
from pipelines.cli.examples import add_examples
from pipelines.cli.old_names import understood

STAGE_COMMAND = "pipelines.cli.stage"
COMMANDS = {  # by the module that has them: one command needs no other module
    "pipelines.cli.run": ("run", "check", "materialize", "clean", "schema"),
    "pipelines.cli.look": ("status", "verify", "facts", "report", "explain", "diff"),
    "pipelines.cli.files": ("init", "dedup", "minhash", "models", "classifier"),
    "pipelines.cli.calibrate": ("calibrate", "classifier"),
    "pipelines.cli.synthesise": ("synthesise",),
    STAGE_COMMAND: ("stage",),
    "pipelines.cli.cluster": ("submit", "slurm-script"),
    "pipelines.cli.doctor": ("doctor",),
    "pipelines.cli.plan": ("plan", "audit"),
    "pipelines.cli.export": ("export", "trace", "push"),
    "pipelines.cli.rules": ("rules",),
    "pipelines.cli.lists": ("lists",),
    "pipelines.cli.kernels": ("warmup",),
}
INTERRUPTED = 130
GO_ON = ("run", "materialize", "stage", "dedup", "export", "push", "models", "lists")
DAMAGE = {  # by name: none of these packages is imported for `--help`
    ("builtins", "EOFError"),
    ("zlib", "error"),
    ("gzip", "BadGzipFile"),
    ("_lzma", "LZMAError"),
    ("struct", "error"),
    ("zstd", "ZstdError"),
    ("zstandard.backend_c", "ZstdError"),
    ("pyarrow.lib", "ArrowInvalid"),
}


def main(arguments: list[str] | None = None) -> int:
    """Run the command line and return the exit code. arguments: None: those of this process, which is winnow's own."""
    if arguments is not None:
        return _run(arguments)
    from cluster.startup import own_process, skip_optional_imports
    from pipelines.cli.first_word import first_word

    own_process()
    skip_optional_imports()
    collect_garbage_seldom()
    with first_word(sys.argv[1:]):
        code = _run(sys.argv[1:])
    if code == INTERRUPTED:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # a second Ctrl-C finds a process that ends by itself
    return code


def _run(arguments: list[str]) -> int:
    """Run one command and return the exit code, with a sentence on standard error where it is not 0."""
    try:
        given = understood(arguments)
        command = command_line(given[0] if given else "")
        code = command.main(given, prog_name="winnow", standalone_mode=False)
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
        return 2 if isinstance(error, RecipeError) else 1
    except _Damage as error:
        _complain(str(error))
        return 1
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the reader has gone: flush to nowhere
        return 1
    except OSError as error:
        _complain(f"{type(error).__name__}: {error}. {remedy(error)}".removesuffix(". "))
        return 1
    except (KeyboardInterrupt, _Interrupted, *_named("Abort")):
        print(_interrupted(arguments), file=sys.stderr)
        return INTERRUPTED


class _Interrupted(Exception):
    """Carries a Ctrl-C past click and typer, which would end without a word."""


def _interrupted(arguments: list[str]) -> str:
    """Return the sentence on an interruption: of a command that goes on, or of one that starts anew."""
    if next((word for word in arguments if not word.startswith("-")), "") in GO_ON:
        return "Interrupted. What is finished stays; the same command goes on from there."
    return "Interrupted."


class _Damage(Exception):
    """Carries what a library says of damaged bytes; click would take an EOFError for the user's Ctrl-D."""


def _shielded(command: Any) -> Any:
    """Let no error about damaged bytes leave a command as it is: none of them is an interruption."""
    invoke = command.invoke

    def shielded(context: Any) -> Any:
        try:
            with storage.failures_named():
                return invoke(context)
        except KeyboardInterrupt:
            raise _Interrupted from None
        except Exception as error:
            if not any((kind.__module__, kind.__name__) in DAMAGE for kind in type(error).__mro__):
                raise
            raise _Damage(_damage(error)) from error

    command.invoke = shielded
    return command


def _damage(error: Exception) -> str:
    """Return the sentence on damaged bytes that no reader has named: what, and where in winnow it was met."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [f for f in frames if f.filename.endswith(".py") and "site-packages" not in f.filename]
    place = f" (at {own[-1].filename}:{own[-1].lineno})" if own else ""
    kind = f"{type(error).__module__}.{type(error).__name__}".removeprefix("builtins.")
    return f"{kind}: {error or 'a file ends early'}{place}. A file that was read is cut short or corrupt; replace it."


def _complain(sentence: str) -> None:
    """Print an error; what it quotes of files and recipes cannot move the cursor or reorder the line."""
    from cluster.redaction import hidden
    from pipelines.shown_text import visible

    print(visible(hidden(sentence)), file=sys.stderr)


def command_line(word: str = "") -> Any:
    """Return the command line with the commands of every module. word: a command; then others may be missing."""
    modules = [module for module, names in COMMANDS.items() if word in names] or list(COMMANDS)
    for module in modules:
        importlib.import_module(module)
    command: Any = typer.main.get_command(app)
    if STAGE_COMMAND in modules:
        from pipelines.cli.stage import StageGroup

        summary = "Run one stage on a run folder, with its parameters as flags."
        command.add_command(StageGroup(name="stage", help=summary))
    add_examples(command)
    return _shielded(command)


def _named(name: str) -> tuple[Any, ...]:
    """Return click's exceptions of this name: click's own and those that typer brings along."""
    import click

    kinds = {click.exceptions.Exit, click.ClickException, click.exceptions.Abort}
    kinds |= {cls for known in (typer.Exit, typer.BadParameter, typer.Abort) for cls in known.__mro__}
    return tuple(cls for cls in kinds if cls.__name__ == name)


def entry() -> None:
    """Entry point of `python -m winnow` and of an uploaded folder; the `winnow` script calls `main`."""
    sys.exit(main())
