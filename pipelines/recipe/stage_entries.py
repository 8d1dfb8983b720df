"""From an entry of the recipe's `stages` to the stage it asks for, and back.

Guarantees: parameters are checked against the types and bounds of the stage's dataclass, without
silent conversion; every problem is noted with its key path.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import math
import types
import typing
from collections.abc import Mapping
from typing import Any

from pydantic import TypeAdapter, ValidationError

from classifiers import installed
from cluster.errors import RecipeError
from pipelines.recipe.marked_yaml import Path
from pipelines.recipe.problems import Problems, did_you_mean, explain_problem, shown
from pipelines.recipe.sections import NAME
from stages.core.stage import Stage
from stages.registry import RESERVED, check_owner, is_stage, stage_class, stage_names


def build_stage(entry: object, path: Path, problems: Problems) -> Stage | None:
    """Return the stage of one entry, or None after noting what is wrong with it."""
    if not isinstance(entry, Mapping):
        problems.add(path, f"must be a mapping with the key use, got {shown(entry)}.")
        return None
    use = entry.get("use")
    if not isinstance(use, str) or not is_stage(use):
        got = f"got {shown(use)}.{did_you_mean(str(use), stage_names())}" if "use" in entry else "but is missing."
        rest = "".join(f" Besides, {sentence}" for sentence in installed.offers(installed.STAGES).unreadable)
        problems.add((*path, "use"), f"must be one of {', '.join(stage_names())}, {got}{rest}")
        return None
    before = len(problems.sentences)
    try:
        check_owner(use)
        cls = stage_class(use)
    except RecipeError as error:
        problems.add((*path, "use"), f"cannot be used: {error}")
        return None
    values = _checked(cls, entry, path, problems)
    if values.get("name") and not (NAME.fullmatch(values["name"]) and values["name"] not in RESERVED):
        right = f"at most 100 letters, digits, _ and -, and not {' or '.join(RESERVED)}"
        problems.add((*path, "name"), f"must be made of {right}, got {shown(values['name'])}.")
    if len(problems.sentences) > before:
        return None
    return _construct(cls, values, path, problems)


def _checked(cls: type[Stage], entry: Mapping[str, Any], path: Path, problems: Problems) -> dict[str, Any]:
    """Return the parameters with their types checked; note unknown, missing and mistyped ones."""
    hints, values = parameter_types(cls), {}
    for key, value in entry.items():
        if key == "use":
            continue
        if key not in hints:
            problems.unknown((*path, str(key)), f"parameter of {cls.use}", hints)
            continue
        if isinstance(value, float) and not math.isfinite(value):
            problems.add((*path, key), f"must be a finite number, got {value}.")
            continue
        try:
            values[key] = _adapter(hints[key]).validate_json(json.dumps(value, default=str), strict=True)
        except ValidationError as error:
            if key in _secrets(cls):
                problems.add((*path, key), f"must be {type_name(hints[key])} (in quotes where it looks like a number).")
            else:
                problems.add((*path, key), _type_problem(error, hints[key], value))
    for f in dataclasses.fields(cls):
        if _required(f) and f.name not in entry:
            problems.add((*path, f.name), f"is missing ({f.metadata.get('help', 'required')}).")
    return values


def _secrets(cls: type[Stage]) -> set[str]:
    return {f.name for f in dataclasses.fields(cls) if f.metadata.get("secret")}


def _required(f: dataclasses.Field[Any]) -> bool:
    return f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING


def _type_problem(error: ValidationError, hint: Any, value: object) -> str:
    found = error.errors(include_url=False)
    if len(found) > 1 and typing.get_origin(hint) in (typing.Union, types.UnionType):
        return f"must be {' or '.join(type_name(arg) for arg in typing.get_args(hint))}, got {shown(value)}."
    return explain_problem(found[0])


def _construct(cls: type[Stage], values: dict[str, Any], path: Path, problems: Problems) -> Stage | None:
    """Call the constructor; a RecipeError of the stage begins with the parameter's name."""
    try:
        return cls(**values)
    except RecipeError as error:
        sentence = str(error)
        key, _, rest = sentence.partition(" ")
        if key not in parameter_types(cls):
            problems.add(path, sentence)
            return None
        problems.add((*path, key), rest + _nearby(cls, key, values.get(key)))
        return None


def _nearby(cls: type[Stage], key: str, value: object) -> str:
    """Suggest the choice that was meant, or 0.65 for 65 where a share is asked for."""
    metadata = next(f.metadata for f in dataclasses.fields(cls) if f.name == key)
    if metadata.get("choices"):
        return did_you_mean(str(value), [str(choice) for choice in metadata["choices"]])
    share = metadata.get("ge") == 0 and metadata.get("le") == 1
    if share and isinstance(value, int | float) and 10 <= value <= 100:
        return f" Did you mean {value / 100:g}?"
    return ""


def parameter_types(cls: type[Stage]) -> Mapping[str, Any]:
    """Return the type of every parameter, in the order of the dataclass, `name` and `datasets` first."""
    key: Any = cls  # which mypy takes to have no hash, as its objects have none
    return _parameter_types(key)


@functools.lru_cache(maxsize=256)
def _parameter_types(cls: Any) -> Mapping[str, Any]:
    hints = typing.get_type_hints(cls)
    return types.MappingProxyType({f.name: hints[f.name] for f in dataclasses.fields(cls)})


def _adapter(hint: Any) -> TypeAdapter[Any]:
    """Return what checks values of a type; most parameters share a few types."""
    try:
        return _shared_adapter(hint)
    except TypeError:  # annotated with something that has no hash
        return TypeAdapter(hint)


@functools.lru_cache(maxsize=256)
def _shared_adapter(hint: Any) -> TypeAdapter[Any]:
    return TypeAdapter(hint)


def type_name(hint: Any) -> str:
    """Return a type in a user's words.

    >>> type_name(float | None), type_name(tuple[str, ...])
    ('number or null', 'list of text')
    """
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return " or ".join(type_name(arg) for arg in args)
    if origin is tuple:
        return f"list of {type_name(args[0])}"
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return "mapping"
    words = {int: "whole number", float: "number", str: "text", bool: "true or false", type(None): "null"}
    return words.get(hint, str(getattr(hint, "__name__", hint)))


def entry_of(stage: Stage, *, secrets: bool = True) -> dict[str, Any]:
    """Return the recipe entry that gives exactly this stage, defaults written out; without secrets, their digests.

    Parameters of later versions that hold their default are left out, so that digests of recipes stay.
    """
    fields = stage.addressed_params()
    values = {f.name: getattr(stage, f.name) if secrets else stage.shown(f) for f in fields}
    return {"use": type(stage).key(), **json.loads(json.dumps(values))}


def stage_schemas(classes: Mapping[str, type[Stage]]) -> list[dict[str, Any]]:
    """Return the JSON schema of each stage's entry."""
    found = []
    for use, cls in classes.items():
        properties: dict[str, Any] = {"use": {"const": use, "description": cls.summary}}
        hints = parameter_types(cls)
        for f in dataclasses.fields(cls):
            schema = _adapter(hints[f.name]).json_schema()
            if f.metadata.get("choices"):
                schema = {"enum": list(f.metadata["choices"])}
            for bound, word in (("ge", "minimum"), ("le", "maximum")):
                if f.metadata.get(bound) is not None:
                    schema[word] = f.metadata[bound]
            properties[f.name] = {**schema, "description": f.metadata.get("help", "")}
            if f.default is not dataclasses.MISSING:
                properties[f.name]["default"] = json.loads(json.dumps(f.default))
        required = ["use", *(f.name for f in dataclasses.fields(cls) if _required(f))]
        found.append({"type": "object", "properties": properties, "required": required, "additionalProperties": False})
    outside = {"type": "string", "pattern": "^[^:]+:[^:]+$", "description": "a stage of your own, MODULE:CLASS"}
    found.append({"type": "object", "properties": {"use": outside}, "required": ["use"]})
    return found
