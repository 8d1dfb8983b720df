"""What the command line called otherwise before: understood for one version, with a warning.

Guarantees: arguments that hold no old name are returned as they are.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence

FLAGS = {("classifier",): {"--column": "--text-column"}}  # by the first words of a command
IMPORT_PATH = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")


def understood(arguments: Sequence[str]) -> list[str]:
    """Return arguments with today's names; say on standard error which old one was given."""
    found = list(arguments)
    for words, flags in FLAGS.items():
        if tuple(found[: len(words)]) == words:
            found = [_flag(argument, flags) for argument in found]
    return _stage_first(found) if found[:1] == ["stage"] else found


def _flag(argument: str, flags: dict[str, str]) -> str:
    name, equals, value = argument.partition("=")
    if name not in flags:
        return argument
    _warn(f"{name} is called {flags[name]} now")
    return f"{flags[name]}{equals}{value}"


def _stage_first(arguments: list[str]) -> list[str]:
    """Return `stage RUN NAME …` as the parser wants it, the name first."""
    words = arguments[1:3]
    if len(words) < 2 or any(word.startswith("-") for word in words):
        return arguments
    if _is_stage(words[1]):
        return ["stage", words[1], words[0], *arguments[3:]]
    if _is_stage(words[0]):
        _warn(f"the run folder comes first now: winnow stage {words[1]} {words[0]}")
    return arguments


def _is_stage(word: str) -> bool:
    from stages.registry import stage_names

    return IMPORT_PATH.fullmatch(word) is not None or word in stage_names()


def _warn(text: str) -> None:
    from pipelines.shown_text import visible

    print(visible(f"warning: {text}; the old form will go in the next version."), file=sys.stderr)
