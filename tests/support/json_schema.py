"""A slow and small JSON-schema validator: just the words that winnow's schema uses; any other word fails."""

from __future__ import annotations

import re
from typing import Any

TYPES: dict[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "null": (type(None),),
}
IGNORED = {"$schema", "$defs", "title", "description", "default", "examples", "maxProperties"}


def problems(value: Any, schema: dict[str, Any], root: dict[str, Any], at: str = "$") -> list[str]:
    """Return what is wrong with `value`."""
    found: list[str] = []
    for word, rule in schema.items():
        if word not in IGNORED:
            found += CHECKS[word](value, rule, schema, root, at)
    return found


def _type(value: Any, rule: Any, schema: Any, root: Any, at: str) -> list[str]:
    good = isinstance(value, TYPES[rule]) and (rule == "boolean" or not isinstance(value, bool))
    return [] if good else [f"{at}: {value!r} is not {rule}"]


def _properties(value: Any, rule: Any, schema: Any, root: Any, at: str) -> list[str]:
    if not isinstance(value, dict):
        return []
    return [p for k, sub in rule.items() if k in value for p in problems(value[k], sub, root, f"{at}.{k}")]


def _additional(value: Any, rule: Any, schema: Any, root: Any, at: str) -> list[str]:
    if not isinstance(value, dict):
        return []
    rest = [k for k in value if k not in schema.get("properties", {})]
    if rule is False:
        return [f"{at}: unknown {k}" for k in rest]
    return [] if rule is True else [p for k in rest for p in problems(value[k], rule, root, f"{at}.{k}")]


def _items(value: Any, rule: Any, schema: Any, root: Any, at: str) -> list[str]:
    if not isinstance(value, list):
        return []
    return [p for i, v in enumerate(value) for p in problems(v, rule, root, f"{at}[{i}]")]


def _of(wanted: str) -> Any:
    def check(value: Any, rule: Any, schema: Any, root: Any, at: str) -> list[str]:
        results = [problems(value, sub, root, at) for sub in rule]
        hits = sum(not r for r in results)
        good = hits == 1 if wanted == "oneOf" else hits >= 1
        return [] if good else [f"{at}: {hits} of {wanted}: {results}"]

    return check


def _ref(value: Any, rule: str, schema: Any, root: Any, at: str) -> list[str]:
    target = root
    for part in rule.removeprefix("#/").split("/"):
        target = target[part]
    return problems(value, target, root, at)


def _when(kinds: tuple[type, ...], holds: Any) -> Any:
    def check(value: Any, rule: Any, schema: Any, root: Any, at: str) -> list[str]:
        applies = isinstance(value, kinds) and not isinstance(value, bool)
        return [] if not applies or holds(value, rule) else [f"{at}: {value!r} against {rule!r}"]

    return check


NUMBER = (int, float)
CHECKS: dict[str, Any] = {
    "type": _type,
    "properties": _properties,
    "additionalProperties": _additional,
    "items": _items,
    "oneOf": _of("oneOf"),
    "anyOf": _of("anyOf"),
    "$ref": _ref,
    "const": lambda v, r, s, root, at: [] if v == r else [f"{at}: {v!r} is not {r!r}"],
    "enum": lambda v, r, s, root, at: [] if v in r else [f"{at}: {v!r} not in {r!r}"],
    "required": lambda v, r, s, root, at: [f"{at}: no {k}" for k in r if isinstance(v, dict) and k not in v],
    "minimum": _when(NUMBER, lambda v, r: v >= r),
    "maximum": _when(NUMBER, lambda v, r: v <= r),
    "exclusiveMinimum": _when(NUMBER, lambda v, r: v > r),
    "exclusiveMaximum": _when(NUMBER, lambda v, r: v < r),
    "minItems": _when((list,), lambda v, r: len(v) >= r),
    "minProperties": _when((dict,), lambda v, r: len(v) >= r),
    "pattern": _when((str,), lambda v, r: re.search(r, v) is not None),
    "propertyNames": lambda v, r, s, root, at: [p for k in v for p in problems(k, r, root, at)],
}
