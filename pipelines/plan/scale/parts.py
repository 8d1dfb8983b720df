"""Cut a drawn sample into more files of its format, so that a small run has as many bundles as are wanted of it.

Memory: one file of the sample.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from dataclasses import replace

import pyarrow.parquet as pq

from cluster.files import compression
from stages.core.shard import Dataset
from stages.inputs.files import formats


def in_parts(dataset: Dataset, parts: int, folder: str) -> Dataset:
    """Return a drawn dataset cut into about so many files of the same format, so that several bundles come of it."""
    each = max(1, round(parts / max(1, len(dataset.paths))))
    paths: list[str] = []
    for path in dataset.paths:
        kind = formats.by_name(path, dataset.format) or ""
        cut = _tables if kind == "parquet" else _lines if formats.kind_of(kind) == "jsonl" else None
        paths += [path] if cut is None else _write(cut(path, formats.codec_of(kind), each), path, folder)
    return replace(dataset, paths=tuple(paths))


def _write(parts: Iterator[bytes], path: str, folder: str) -> list[str]:
    os.makedirs(folder, exist_ok=True)
    found = []
    for number, data in enumerate(parts):
        found.append(os.path.join(folder, f"{number:03d}-{os.path.basename(path)}"))
        with open(found[-1], "wb") as file:
            file.write(data)
    return found


def _tables(path: str, codec: str, parts: int) -> Iterator[bytes]:
    table = pq.read_table(path)
    rows = max(1, -(-table.num_rows // parts))
    for start in range(0, max(1, table.num_rows), rows):
        out = io.BytesIO()
        pq.write_table(table.slice(start, rows), out)
        yield out.getvalue()


def _lines(path: str, codec: str, parts: int) -> Iterator[bytes]:
    with compression.opened(path, codec) if codec else open(path, "rb") as file:
        lines = file.read().split(b"\n")
    rows = max(1, -(-len(lines) // parts))
    for start in range(0, max(1, len(lines)), rows):
        part = lines[start : start + rows]
        yield compression.compress(b"".join(line + b"\n" for line in part if line), codec)
