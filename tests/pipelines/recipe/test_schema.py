"""The JSON schema of a recipe accepts what loads and refuses what does not."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path

import pytest

from pipelines.recipe import marked_yaml, recipe
from pipelines.recipe.recipe import load_recipe
from stages.core.stage import Stage
from stages.registry import STAGES
from tests.support import json_schema
from tests.support.small_recipes import BASE


def test_the_schema_accepts_every_built_in_recipe_and_its_lock() -> None:
    schema = recipe.recipe_schema()
    for name in recipe.builtin_names():
        written = (Path(recipe.__file__).parent / "shipped" / f"{name}.yaml").read_text()
        assert json_schema.problems(marked_yaml.parse_yaml(written, name).value, schema, schema) == []
        assert json_schema.problems(json.loads(json.dumps(load_recipe(name).to_data())), schema, schema) == []


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("seed: 3", "sed: 3"),
        ("fineweb-edu", "fineweb_edu"),
        ("use: minhash", "use: mnhash"),
        ("shingle_width: 8", "width: 8"),
        ("shingle_width: 8", "shingles: word"),
        ("jaccard_threshold: 0.8", "jaccard_threshold: 8"),
        ("target_tokens: 3M", "target_tokens: 3Q"),
        ("paths: in/a", "path: in/a"),
    ],
)
def test_the_schema_refuses_what_loading_refuses(old: str, new: str) -> None:
    schema = recipe.recipe_schema()
    assert json_schema.problems(marked_yaml.parse_yaml(BASE, "x").value, schema, schema) == []
    bad = marked_yaml.parse_yaml(BASE.replace(old, new, 1), "x").value
    assert json_schema.problems(bad, schema, schema)


def test_the_schema_describes_every_parameter_of_every_stage() -> None:
    from stages.registry import stage_class

    *own, outside = recipe.recipe_schema()["properties"]["stages"]["items"]["oneOf"]
    assert re.search(outside["properties"]["use"]["pattern"], "my_module:MyStage")
    entries = {e["properties"]["use"]["const"]: e for e in own}
    assert set(entries) == set(STAGES)
    for use, entry in entries.items():
        cls: type[Stage] = stage_class(use)
        assert set(entry["properties"]) == {"use", *(f.name for f in dataclasses.fields(cls))}
        assert all(p["description"] for p in entry["properties"].values())
