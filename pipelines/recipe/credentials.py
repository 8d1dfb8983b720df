"""No password, key or signature in a recipe: it is kept in the run folder, and read by others.

Guarantees: every text of a recipe that may be a path, an address or a shell line is looked at; the secret itself is in
no message.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from cluster.credentials import REMEDY
from cluster.redaction import assigned_secret, secret_in
from pipelines.recipe.marked_yaml import Path
from pipelines.recipe.problems import Problems

OTHER = {"patterns", "salt", "replacements"}  # parameters whose texts only look like URLs
SHELL = {"prologue", "directives"}
VARIABLE = re.compile(r"\$(\w+|\{[^}]*\}|\([^)]*\))")  # of a shell line: what it stands for is not written there


def note_secrets(data: object, problems: Problems) -> None:
    """Note every secret that a recipe, as plain data, holds."""
    for path, text in _texts(data, ()):
        what = assigned_secret(text) if SHELL & set(path) else ""
        what = what or secret_in(VARIABLE.sub("", text) if SHELL & set(path) else text)
        if what:
            problems.add(path, f"must hold no secret, and holds {what}: run folders keep the recipe. {REMEDY}")


def _texts(value: object, path: Path) -> Iterator[tuple[Path, str]]:
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, dict):
        pairs: Any = ((key, item) for key, item in value.items() if key not in OTHER)
        for key, item in pairs:
            yield from _texts(item, (*path, str(key)))
    elif isinstance(value, list | tuple):
        for place, item in enumerate(value):
            yield from _texts(item, (*path, place))
