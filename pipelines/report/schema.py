"""The published JSON schema of report.json, made from the types in tree.py.

    python -m pipelines.report.schema    # writes report.schema.json beside this file anew

Guarantees: keys that later versions add do not make a report invalid; whoever reads by name is served by any.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from pipelines.report.tree import Report
from stages.core.digests import DATA_FORMAT

PUBLISHED = Path(__file__).with_name("report.schema.json")


def report_schema() -> dict[str, Any]:
    """Return the JSON schema that the types of report.json give."""
    found: dict[str, Any] = _without_titles(TypeAdapter(Report).json_schema())
    head = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"winnow report.json, data format {DATA_FORMAT}",
    }
    return {**head, **found}


def _without_titles(schema: Any, *, names: bool = False) -> Any:
    """Leave out the titles that repeat a key's name. names: the keys of `schema` are names, not words of a schema."""
    if isinstance(schema, list):
        return [_without_titles(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    return {
        key: _without_titles(part, names=not names and key in ("properties", "$defs"))
        for key, part in schema.items()
        if names or key != "title"
    }


def write_schema() -> None:
    """Write the schema that is published with winnow."""
    PUBLISHED.write_text(json.dumps(report_schema(), indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    write_schema()
