"""The JSON schema of what `winnow plan --json` prints; it is kept in plan.schema.json beside this file."""

from __future__ import annotations

import json
from importlib import resources
from typing import Any


def plan_schema() -> dict[str, Any]:
    """Return the JSON schema (draft 2020-12) of a plan."""
    text = resources.files("pipelines.plan").joinpath("plan.schema.json").read_text(encoding="utf-8")
    schema: dict[str, Any] = json.loads(text)
    return schema
