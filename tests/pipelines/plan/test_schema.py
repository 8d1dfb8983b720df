"""The published schema of `winnow plan --json`: real plans fit it, and it says what the typed tree says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NotRequired, get_args, get_origin, get_type_hints, is_typeddict

import pytest

from pipelines.cli.main import main
from pipelines.commands.schema import schema_of
from pipelines.plan import node_tree, tree
from tests.support.json_schema import problems
from tests.support.plans import recipe_data

GPU = ["--gpus", "2", "--gpu-memory", "80GB", "--price-per-hour", "2.5"]


@pytest.mark.parametrize("more", [[], GPU], ids=["cpu", "gpu"])
def test_a_real_plan_fits_the_published_schema(
    datasets: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str], more: list[str]
) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(json.dumps(recipe_data(datasets)))
    assert main(["plan", str(path), "--sample-documents", "100", "--json", *more]) == 0
    found, schema = json.loads(capsys.readouterr().out), schema_of("plan")
    assert problems(found, schema, schema) == []
    assert ("device" in found, "cost" in found) == (bool(more), bool(more))
    assert found["filters"]
    assert found["lsh"]
    found["time"]["total"] = "soon"
    found["moon"] = 1
    del found["kept"]
    assert len(problems(found, schema, schema)) == 3


def named(schema: dict[str, Any], kind: type) -> dict[str, Any]:
    found: dict[str, Any] = schema if kind is tree.Plan else schema["$defs"][kind.__name__]
    return found


def refers_to(hint: Any) -> set[str]:
    """Return the names of the typed dicts in a type."""
    if is_typeddict(hint):
        return {hint.__name__}
    return set().union(*map(refers_to, get_args(hint)))


def refers(part: Any) -> set[str]:
    """Return the names of the definitions that a part of the schema refers to."""
    if isinstance(part, dict):
        mine = {part["$ref"].rpartition("/")[2]} if "$ref" in part else set()
        return mine.union(*map(refers, part.values()))
    return set().union(*map(refers, part)) if isinstance(part, list) else set()


TYPED = {k for module in (tree, node_tree) for k in vars(module).values() if is_typeddict(k)}
KINDS = sorted(TYPED, key=lambda k: str(k.__name__))


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: str(kind.__name__))
def test_the_schema_has_the_fields_of_the_typed_tree_and_explains_each(kind: type) -> None:
    schema = schema_of("plan")
    mine, hints = named(schema, kind), get_type_hints(kind, include_extras=True)
    assert set(mine["properties"]) == set(hints)
    assert set(mine["required"]) == {n for n, hint in hints.items() if get_origin(hint) is not NotRequired}
    assert mine["additionalProperties"] is False
    assert mine["description"]
    for name, hint in hints.items():
        assert mine["properties"][name]["description"]
        assert refers(mine["properties"][name]) == refers_to(hint)


def test_the_schema_defines_nothing_that_no_plan_holds() -> None:
    assert {kind.__name__ for kind in KINDS} == {"Plan", *schema_of("plan")["$defs"]}
