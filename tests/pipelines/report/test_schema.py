"""The published schema of report.json: it is that of the types, and real reports hold to it to the last key."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from cluster.files.sealed import write_public_json
from pipelines.commands.schema import schema_of
from pipelines.report import schema
from pipelines.report.report import write_report
from tests.support import json_schema, run_folders
from tests.support.small_reports import minimal_report


@pytest.fixture(scope="module")
def published() -> dict[str, Any]:
    return schema_of("report")


def strict(part: Any) -> Any:
    """Return a schema that refuses keys it does not name; the published one lets later versions add some."""
    if isinstance(part, list):
        return [strict(inner) for inner in part]
    if not isinstance(part, dict):
        return part
    closed = {key: strict(inner) for key, inner in part.items()}
    return {"additionalProperties": False, **closed} if "properties" in part and "required" in part else closed


def test_the_published_schema_is_that_of_the_types(published: dict[str, Any]) -> None:
    assert published == schema.report_schema(), "run `python -m pipelines.report.schema`"


def test_a_real_report_has_every_key_of_the_schema_and_no_other(
    found: dict[str, Any], published: dict[str, Any]
) -> None:
    closed = strict(published)
    assert json_schema.problems(found, closed, closed) == []


def test_reports_with_and_without_facts_and_of_every_kind_of_stage_are_valid(
    run: Path, published: dict[str, Any], tmp_path: Path
) -> None:
    bare = run_folders.copy(run, tmp_path / "bare", without=("facts", "decisions"))
    (bare / "timings.json").unlink()
    manifest = bare / "mix" / "manifest.json"
    whole = json.loads(manifest.read_text())["datasets"]["a"]
    few = {name: whole[name] for name in ("documents", "tokens", "bytes")}
    write_public_json(str(manifest), {"format": 1, "datasets": {"a": few}})
    write_report(str(bare))
    for report in (json.loads((bare / "report.json").read_text()), minimal_report("x")):
        assert json_schema.problems(report, published, published) == []


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("format",), "1"),
        (("total", "kept", "tokens"), None),
        (("stages", 0, "datasets"), "a"),
        (("mix", "datasets", "a", "epochs"), "one"),
        (("samples", 0, "documents", 0, "doc_id"), "7"),
        (("timings", "stages", 0, "seconds"), None),
    ],
    ids=str,
)
def test_a_report_with_a_wrong_value_is_refused(
    found: dict[str, Any], published: dict[str, Any], path: tuple[str | int, ...], value: object
) -> None:
    wrong: Any = copy.deepcopy(found)
    place = wrong
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    assert json_schema.problems(wrong, published, published)


def test_keys_that_a_later_version_adds_do_not_make_a_report_invalid(
    found: dict[str, Any], published: dict[str, Any]
) -> None:
    assert json_schema.problems({**found, "later": 1}, published, published) == []
