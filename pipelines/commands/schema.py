"""`winnow schema`: JSON schemas of what users write and of what winnow writes for other programs.

Guarantees: a schema of winnow's own output is a file FOLDER/FOLDER.schema.json of this package, published as it is.
"""

from __future__ import annotations

import json
from importlib import resources
from typing import Any

from cluster.errors import RecipeError
from pipelines.recipe.recipe import recipe_schema

RECIPE = "recipe"


def schema_names() -> list[str]:
    """Return what there are schemas of: the recipe, and the outputs whose schema is published."""
    folders = sorted(entry.name for entry in resources.files("pipelines").iterdir() if entry.is_dir())
    return [RECIPE, *(name for name in folders if _published(name).is_file())]


def schema_of(name: str) -> dict[str, Any]:
    """Return a JSON schema: of a recipe, of report.json (`report`), or of another output in `schema_names`.

    Raises RecipeError where there is none of that name.
    """
    if name == RECIPE:
        return recipe_schema()
    if name not in schema_names():
        raise RecipeError(f"--of must be one of {', '.join(schema_names())}, got {name!r}.")
    return dict(json.loads(_published(name).read_text(encoding="utf-8")))


def _published(name: str) -> Any:
    return resources.files("pipelines") / name / f"{name}.schema.json"
