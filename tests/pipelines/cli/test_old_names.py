"""Old names of the command line still work and say what they are called now; every command shows an example."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from typing import Any

import pytest

from pipelines.cli.examples import EXAMPLES
from pipelines.cli.main import command_line
from pipelines.cli.old_names import understood


@pytest.mark.parametrize(
    ("given", "wanted", "warned"),
    [
        (["stage", "RUN", "near_dedup", "-q"], ["stage", "near_dedup", "RUN", "-q"], ""),
        (["stage", "near_dedup", "RUN"], ["stage", "near_dedup", "RUN"], "winnow stage RUN near_dedup"),
        (["stage", "minhash", "near_dedup"], ["stage", "near_dedup", "minhash"], ""),  # a run folder called minhash
        (["stage", "s3://bucket/run", "my:Stage"], ["stage", "my:Stage", "s3://bucket/run"], ""),
        (["stage", "my.code:Stage", "RUN"], ["stage", "my.code:Stage", "RUN"], "comes first now"),
        (["stage", "near_dedup", "--help"], ["stage", "near_dedup", "--help"], ""),
        (["stage", "--help"], ["stage", "--help"], ""),
        (["stage", "RUN", "no_such"], ["stage", "RUN", "no_such"], ""),
        (
            ["classifier", "score", "m.bin", "x", "--column=body"],
            ["classifier", "score", "m.bin", "x", "--text-column=body"],
            "--column is called --text-column now",
        ),
        (["dedup", "--column", "x"], ["dedup", "--column", "x"], ""),
        (["run", "stage", "near_dedup"], ["run", "stage", "near_dedup"], ""),
        ([], [], ""),
    ],
)
def test_old_names_are_understood(
    given: list[str], wanted: list[str], warned: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert understood(given) == wanted
    error = capsys.readouterr().err
    assert warned in error
    assert bool(error) == bool(warned)


def leaves(command: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    if path != "stage" and hasattr(command, "commands"):
        for name, found in command.commands.items():
            yield from leaves(found, f"{path} {name}".strip())
    else:
        yield path, command


def test_every_command_ends_its_help_with_an_example_that_it_understands() -> None:
    command = command_line()
    for path, leaf in leaves(command):
        assert (leaf.epilog or "").startswith(f"Example: winnow {path}"), path
        words = shlex.split(leaf.epilog.removeprefix("Example: winnow ").partition(" > ")[0])[len(path.split()) :]
        if path != "stage":
            with leaf.make_context(path, words):
                pass
    assert EXAMPLES.keys() <= {path for path, _ in leaves(command)}
