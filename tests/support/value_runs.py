"""Small inputs written by hand, run through a recipe, and what the run left behind."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import zstandard

from pipelines.recipe.recipe import Recipe, load_data
from pipelines.run import runner
from tests.support.arrow_types import IN_PARQUET


def texts(count: int, start: int = 0) -> list[str]:
    return [f"Document {i} about the word{i} and the thing{i} of place{i}." for i in range(start, start + count)]


def write_lines(path: Path, lines: list[str]) -> None:
    data = "".join(f"{line}\n" for line in lines).encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(data, 1, mtime=0) if path.suffix == ".gz" else data)


def write_table(path: Path, **columns: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), path)


def recipe_of(
    paths: Path, columns: tuple[str, ...] = (), stages: list[dict[str, Any]] | None = None, **more: Any
) -> Recipe:
    mapped = more.pop("mapped", {"id": "id"})
    return load_data(
        {
            "datasets": {"d": {"paths": str(paths), "columns": mapped}},
            "stages": stages or [{"use": "exact_dedup"}],
            "output": {"columns": list(columns), "shuffle": "none", **more.pop("output", {})},
            "cluster": {"kind": "inline"},
            **more,
        },
        "test",
    )


def run_to_mix(made: Recipe, root: Path, **more: Any) -> pa.Table:
    runner.run(made, str(root), with_report=False, **more)
    files = sorted((root / "mix" / "d").glob("part-*.parquet"))
    return pa.concat_tables([pq.read_table(f) for f in files])


def unpacked(path: Path) -> list[bytes]:
    return zstandard.ZstdDecompressor().decompressobj().decompress(path.read_bytes()).splitlines()


def problems(root: Path) -> list[dict[str, Any]]:
    files = (root / "quarantine").iterdir()
    return [json.loads(line) for file in files for line in file.read_text().splitlines()]


def ledger(root: Path) -> list[dict[str, Any]]:
    return [row for file in sorted((root / "ledger").glob("*.parquet")) for row in pq.read_table(file).to_pylist()]


SCALARS = [n for n, c in IN_PARQUET.items() if not pa.types.is_nested(getattr(c.type, "storage_type", c.type))]


def two_files(folder: Path) -> None:
    for number in range(2):
        write_table(folder / f"{number}.parquet", text=texts(4, 4 * number), **IN_PARQUET)


def stored(folder: Path, name: str) -> pa.ChunkedArray:
    """Return a column as pyarrow reads it."""
    return pa.chunked_array([c for f in sorted(folder.iterdir()) for c in pq.read_table(f).column(name).chunks])
