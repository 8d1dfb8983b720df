"""Inputs and recipes for tests of the plan."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

from tests.support import corpora, run_folders

FORMATS = ("parquet", "jsonl", "jsonl.gz", "jsonl.zst")


def write_inputs(folder: Path) -> dict[str, Any]:
    """Write three datasets in four formats; return the recipe's section."""
    paths = corpora.write(folder / "in", corpora.corpus(3, 300), 4, FORMATS)
    columns = {"text": "text", "id": "id", "url": "url"}
    return {name: {"paths": path, "columns": columns} for name, path in sorted(paths.items())}


def recipe_data(datasets: dict[str, Any], **more: Any) -> dict[str, Any]:
    """Return a recipe of these datasets as data."""
    found = {"name": "p", "seed": 5, "datasets": datasets, "stages": run_folders.STAGES, "cluster": {"kind": "inline"}}
    return copy.deepcopy({**found, **more})
