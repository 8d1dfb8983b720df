"""A small run with an artefact of every kind, cheap enough to be made hundreds of times, and what must come of it."""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from pipelines.recipe.marked_yaml import dump_yaml
from pipelines.recipe.recipe import load_data
from pipelines.run import runner
from tests.support import corpora

STAGES: list[dict[str, Any]] = [
    {"use": "exact_dedup"},
    {"use": "minhash", "shingle_width": 8, "num_permutations": 32},
    {"use": "near_dedup", "jaccard_threshold": 0.7, "bands": 8, "rows_per_band": 4},
    {"use": "quality", "model": "column:score", "min_score": 0.3},
    {"use": "score_cut", "min_quantile": 0.1},
]


def data(inputs: Path, **more: Any) -> dict[str, Any]:
    """Return the recipe as plain data."""
    columns = {"text": "text", "id": "id", "url": "url"}
    datasets = {name: {"paths": str(inputs / name), "columns": columns} for name in "ab"}
    found: dict[str, Any] = {"name": "small", "seed": 5, "datasets": datasets, "stages": STAGES}
    found |= {
        "output": {"columns": ["score"], "shuffle": "global", "shard_bytes": 20_000, "holdout": 0.1},
        "cluster": {"kind": "inline"},
    }
    return {**found, **more}


def write_inputs(folder: Path, documents: int = 40, seed: int = 11) -> Path:
    """Write two datasets, one of them compressed so that it is staged; return their folder."""
    found = [d for d in corpora.corpus(seed, documents) if d["dataset"] in "ab"]
    for name, formats in (("a", ("parquet",)), ("b", ("jsonl.gz",))):
        corpora.write(folder, [d for d in found if d["dataset"] == name], 2, formats)
    return folder


def run(inputs: Path, root: Path, *, with_report: bool = False, limit: int | None = None, **more: Any) -> None:
    """Run the recipe, or what is missing of it."""
    runner.run(load_data(data(inputs, **more), "small"), str(root), with_report=with_report, limit=limit)


def result(root: Path) -> dict[str, str]:
    """Return the digest of every file of ledger and mix."""
    found = {}
    for place in ("ledger", "mix"):
        for path in sorted((root / place).rglob("*")):
            if path.is_file() and path.suffix in (".parquet", ".json"):
                found[str(path.relative_to(root))] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


def ledger_rows(root: Path) -> int:
    """Return the rows of the ledger."""
    return sum(pq.read_metadata(path).num_rows for path in (root / "ledger").glob("*.parquet"))


def write_recipe(inputs: Path, path: Path) -> Path:
    """Write the recipe as a file for the command line."""
    path.write_text(dump_yaml(data(inputs)))
    return path


def flip_and_run(recipe: str, runs: list[str]) -> None:
    """Run the command line on each of these damaged copies; print a JSON line for each: exit code and output."""
    import contextlib
    import io

    from pipelines.cli.main import main

    for root in runs:
        print(json.dumps({"begin": root}), flush=True)
        found: dict[str, Any] = {"root": root}
        for name, arguments in (("run", ["run", recipe, "--run-dir", root, "--quiet"]), ("verify", ["verify", root])):
            said = io.StringIO()
            with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
                try:
                    found[name] = main(arguments)
                except BaseException as error:
                    found[name] = repr(error)
            found[f"{name}_said"] = said.getvalue()
        print(json.dumps(found), flush=True)


if __name__ == "__main__":
    flip_and_run(sys.argv[1], sys.argv[2:])
