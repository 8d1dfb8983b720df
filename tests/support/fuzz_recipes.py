"""Fuzz target: recipes, changed as text, as trees, and with absurd values for each parameter of each stage.

What must hold: a recipe is loaded, and made into a run, or refused by one RecipeError, within two seconds of CPU.
"""

from __future__ import annotations

import copy
import json
import random
import time
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import yaml

from cluster.errors import WinnowError
from pipelines.recipe.recipe import builtin_names, load_data, load_recipe
from pipelines.recipe.to_run import prepare as prepare_run
from stages.registry import STAGES, stage_class
from tests.support.fuzzing import mutated
from tests.support.small_recipes import BASE

CPU = 4.0  # seconds, twice what is promised: compiled code and imports come with the first cases
LONGEST = 8_000  # characters of an error
SHIPPED = Path(__file__).parents[2] / "pipelines" / "recipe" / "shipped"
VALUES: tuple[Any, ...] = (
    *(None, True, False, "", " ", "x", "-", "é\ud83d\ude00", "a" * 10_000, "\0", "../../x", "file:///etc/passwd"),
    *(0, 1, -1, 2**31, 2**63 - 1, 2**63, -(2**63), 10**38, 10**400, 0.0, -0.0, 1e-320, 1e308, float("nan")),
    *(float("inf"), float("-inf"), "1e9999", "0x10", "1_000", ".5", "10B", "-3T", "9" * 50 + "M", "nan", "1:30"),
    *([], {}, [[]], [None], {"": ""}, {"a": {"b": {"c": []}}}, [1, "2", 3.0], ["x"] * 3000, date(2024, 1, 2), b"\xff"),
    *("column:", "fasttext:", "hf:", "python:os:system", "onnx:/dev/zero", "fasttext:/dev/zero", "/dev/stdin"),
    *("${HOME}", "{{ x }}", "%s%n", "!!python/object/apply:os.system [x]", "<<", "*a", "&a", "s3://b/k", "(" * 3000),
)
INSERTED = (
    *("&a [*a, *a]", "!!binary x", "? {a: b}", "<<: *x", "\t", "%YAML 9.9\n---\n", "---\n", "\x85"),
    *("{" * 40, "- " * 40),
)
STAGES_BASE: dict[str, dict[str, Any]] = {
    "language_id": {"languages": ["en"]},
    "near_dedup": {"jaccard_threshold": 0.8},
    "quality": {"model": "column:score", "min_score": 2.0},
    "semantic_dedup": {"model": "column:vector"},
    "heuristics": {"presets": ["gopher"]},
    "line_rules": {"rules": ["c4"]},
    "score_cut": {"of": "hq", "min_quantile": 0.1},
    "pii": {"max_found": 3},
}


@dataclass(frozen=True)
class Ready:
    """Recipes as text, where one is written, and the kind of change."""

    kind: str
    texts: tuple[str, ...]
    path: Path


def kinds() -> tuple[str, ...]:
    return ("text", "tree", "parameter")


def prepare(kind: str, folder: Path) -> Ready:
    """Load each of the recipes, so that what they import is imported."""
    texts = (BASE, *((SHIPPED / f"{name}.yaml").read_text(encoding="utf-8") for name in builtin_names()))
    ready = Ready(kind, texts, folder / "r.yaml")
    for use in STAGES:
        stage_class(use)
    for text in texts:
        _load_text(ready, text)
    return ready


def case(ready: Ready, draw: random.Random) -> str:
    """Load a changed recipe."""
    begin = time.process_time()
    try:
        if ready.kind == "text":
            _load_text(ready, _changed_text(draw.choice(ready.texts), draw))
        else:
            _load_tree(ready, _changed_tree(ready, draw))
        end = "read"
    except WinnowError as error:
        end = "refused" if len(str(error)) < LONGEST else f"a sentence of {len(str(error))} characters"
    if (took := time.process_time() - begin) > CPU:
        return f"it took {took:.1f} s"
    return end


def _load_text(ready: Ready, text: str | bytes) -> None:
    ready.path.write_bytes(text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass"))
    prepare_run(load_recipe(str(ready.path)), str(ready.path.parent / "run"))


def _load_tree(ready: Ready, tree: Any) -> None:
    prepare_run(load_data(tree, "tree"), str(ready.path.parent / "run"))


def _changed_text(text: str, draw: random.Random) -> str | bytes:
    if draw.random() < 0.4:
        return mutated(text.encode(), draw)
    lines = text.splitlines(keepends=True)
    for _ in range(draw.choice((1, 1, 3))):
        at = draw.randrange(len(lines))
        how = draw.randrange(5)
        if how == 0:
            lines[at] = draw.choice(INSERTED) + lines[at]
        elif how == 1:
            lines[at] = lines[at].rstrip("\n") + draw.choice(INSERTED) + "\n"
        elif how == 2:
            lines[at] = " " * draw.randrange(9) + lines[at].lstrip(" ")
        elif how == 3:
            lines[at:at] = lines[at : at + draw.randrange(4)] * draw.choice((1, 2, 50))
        else:
            lines[at] = lines[at].partition(":")[0] + ": " + _as_yaml(draw.choice(VALUES)) + "\n"
    return "".join(lines)


def _as_yaml(value: Any) -> str:
    try:
        return json.dumps(value)
    except (TypeError, ValueError):
        return str(value)


def _changed_tree(ready: Ready, draw: random.Random) -> dict[str, Any]:
    tree: dict[str, Any] = copy.deepcopy(yaml.safe_load(ready.texts[0]))
    if ready.kind == "parameter":
        use = draw.choice(sorted(STAGES))
        fields = stage_class(use).__dataclass_fields__
        entry = {"use": use, "name": "tried", **STAGES_BASE.get(use, {})}
        for name in draw.choices(sorted(fields), k=draw.choice((1, 1, 2, 4))):
            default = fields[name].default
            alike = [v for v in VALUES if type(v) is type(default) or (isinstance(default, float) and type(v) is int)]
            entry[name] = draw.choice(alike if alike and draw.random() < 0.7 else VALUES)
        tree["stages"].insert(draw.randrange(4), entry)
        return tree
    for _ in range(draw.choice((1, 1, 2, 4))):
        holder, key = draw.choice(list(_places(tree)))
        if draw.random() < 0.2:
            del holder[key]
        elif draw.random() < 0.2 and isinstance(holder, dict):
            holder[draw.choice(VALUES[:22])] = holder.pop(key)
        else:
            holder[key] = draw.choice(VALUES)
    return tree


def _places(value: Any) -> Any:
    """Yield (list or mapping, key) of every value of a tree."""
    entries = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in list(entries):
        yield value, key
        yield from _places(inner)
