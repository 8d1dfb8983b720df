"""`--set a.b=c`: put values into a recipe before it is validated.

Guarantees: what does not exist is not made by mistake: a stage or dataset must be in the recipe, and keys
are checked with the rest of the recipe afterwards. Errors name the `--set`.
"""

from __future__ import annotations

from typing import Any

from cluster.errors import RecipeError
from pipelines.recipe.limits import MAX_KEY_PARTS
from pipelines.recipe.marked_yaml import Path, parse_scalar
from pipelines.recipe.problems import Problems, did_you_mean, dotted, shown_override

Parts = list[str]


def apply_override(data: dict[str, Any], override: str, problems: Problems) -> None:
    """Put the value of one KEY=VALUE in its place in `data`; note in `problems` that it came from there.

    A key is a path of names, such as mix.weights.dclm; a stage is named by its position, name or use.
    The value is YAML: a word, a number, [a, list] or {a: mapping}.

    Raises RecipeError when the key leads nowhere.
    """
    key, equals, text = override.partition("=")
    override = shown_override(override)  # all that is left to do with it is to quote it
    parts = key.strip().split(".")
    if len(parts) > MAX_KEY_PARTS:
        raise RecipeError(f"--set {key[:60]}…: a key has at most {MAX_KEY_PARTS} parts, got {len(parts):,}.")
    if not equals or not all(parts):
        raise RecipeError(f"--set must be KEY=VALUE, such as mix.target_tokens=1B, got {override!r}.")
    value = parse_scalar(text, f"--set {key}")
    holder, path = _descend(data, parts, override)
    if isinstance(holder, list):
        raise RecipeError(f"--set {override}: {dotted(path)} is a list. {_set_whole_list(path, parts)}")
    _known_dataset(data, (*path, parts[-1]), override)
    holder[parts[-1]] = value
    problems.set_by = {**problems.set_by, (*path, parts[-1]): override}


def _descend(data: dict[str, Any], parts: Parts, override: str) -> tuple[Any, Path]:
    """Return what holds the last part, and the path to it; missing sections are made."""
    at: Any = data
    path: Path = ()
    for part in parts[:-1]:
        if path == ("stages",) and isinstance(at, list):
            place: str | int = _place(at, part, override)
            at = at[int(place)]
        elif isinstance(at, list):
            raise RecipeError(f"--set {override}: {dotted(path)} is a list. {_set_whole_list(path, parts)}")
        else:
            place = part
            _known_dataset(data, (*path, place), override)
            if at.get(place) is None:
                at[place] = [] if (*path, place) == ("stages",) else {}
            at = at[place]
        path = (*path, place)
        if not isinstance(at, dict | list):
            remedy = f"Give all of it: --set '{'.'.join(parts[: len(path)])}={{{parts[len(path)]}: …}}'."
            if path[0] == "stages":
                remedy = f"Write the stage as `- {{use: {at}}}`."
            raise RecipeError(f"--set {override}: {dotted(path)} is {at!r} and has no keys below it. {remedy}")
    return at, path


def _set_whole_list(path: Path, parts: Parts) -> str:
    if path == ("stages",):
        return f"Name one parameter of the stage: --set stages.{parts[-1]}.KEY=VALUE."
    return f"Give all of it: --set '{'.'.join(map(str, path))}=[a, b]'."


def _known_dataset(data: dict[str, Any], path: Path, override: str) -> None:
    """Refuse a dataset that the recipe lacks: it would become a new one by a slip of the pen."""
    known = data.get("datasets")
    if len(path) > 1 and path[0] == "datasets" and isinstance(known, dict) and path[1] not in known:
        names = ", ".join(map(str, known))
        hint = did_you_mean(str(path[1]), map(str, known))
        raise RecipeError(f"--set {override}: no dataset is called {path[1]!r}.{hint} There are {names}.")


def _place(entries: list[Any], part: str, override: str) -> int:
    """Return which stage a part of a key names: by position, by name, or by use."""
    if part.isdigit() and int(part) < len(entries):
        return int(part)
    for key in ("name", "use"):
        found = [i for i, entry in enumerate(entries) if isinstance(entry, dict) and entry.get(key) == part]
        if len(found) == 1:
            return found[0]
        if found:
            raise RecipeError(f"--set {override}: {part} is used {len(found)} times; name it by position or `name`.")
    names = [str(e.get("name") or e.get("use")) for e in entries if isinstance(e, dict)]
    listed = f"There are {', '.join(names)}." if names else "The recipe has no stages."
    raise RecipeError(f"--set {override}: no stage is called {part!r}.{did_you_mean(part, names)} {listed}")
