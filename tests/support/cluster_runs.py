"""Whole runs on clusters, compared by the digests of their ledger and mix."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from pipelines.recipe.recipe import load_data
from pipelines.run import runner
from tests.support.run_folders import STAGES


def recipe(inputs: dict[str, str], **cluster: Any) -> Any:
    columns = {"text": "text", "id": "id", "url": "url"}
    datasets = {name: {"paths": path, "columns": columns} for name, path in sorted(inputs.items())}
    return load_data({"seed": 5, "datasets": datasets, "stages": STAGES, "cluster": cluster}, "test")


def run(root: Path, inputs: dict[str, str], **cluster: Any) -> Path:
    runner.run(recipe(inputs, **cluster), str(root), with_report=False)
    return root


def outcome(root: Path) -> dict[str, str]:
    """Return a digest of every file of ledger and mix (the card is written with the report only)."""
    files = [*root.glob("ledger/*.parquet"), *root.glob("mix/*/*.parquet"), root / "mix" / "manifest.json"]
    return {str(f.relative_to(root)): hashlib.sha256(f.read_bytes()).hexdigest() for f in files}
