"""Documents that are all alike, through `winnow dedup`: where pairs could grow with the square of the documents.

Made texts of 60 words. the same: one document over and over. template: one text with a number put in, any two about .85
alike. chain: windows that move by one word along a long text, so that each is near the next and far from most.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.measure import run
from benchmarks.tools import WinnowDedup
from pipelines.records import read_dedup_result

WORDS = 60


def _words(number: int) -> list[str]:
    letters = np.random.default_rng(1).integers(97, 123, (number, 8)).astype(np.uint8)
    return [bytes(row).decode() for row in letters]


def the_same(number: int) -> list[str]:
    return [" ".join(_words(WORDS))] * number


def template(number: int) -> list[str]:
    words = _words(WORDS)
    half = WORDS // 2
    return [" ".join([*words[:half], f"{i:08d}", *words[half:]]) for i in range(number)]


def chain(number: int) -> list[str]:
    words = _words(number + WORDS)
    return [" ".join(words[i : i + WORDS]) for i in range(number)]


KINDS: dict[str, Callable[[int], list[str]]] = {"the same": the_same, "template": template, "chain": chain}


def benchmark(work: Path, number: int, cores: int) -> dict[str, Any]:
    """Measure `winnow dedup` on so many documents of each kind; return one row for each."""
    rows = []
    for kind, made in KINDS.items():
        data, out = work / "alike", work / "alike-out"
        for folder in (data, out):
            shutil.rmtree(folder, ignore_errors=True)
        data.mkdir(parents=True)
        pq.write_table(pa.table({"text": made(number)}), data / "part-0.parquet", row_group_size=20_000)
        command = [*WinnowDedup.program(), "dedup", str(data), "--out", str(out), "--workers", str(cores), "--quiet"]
        found = run(command, work / "alike.log", cores=cores)
        kept = read_dedup_result(str(out / "dedup.json"))["kept"]
        rows.append(
            {
                "kind": kind,
                "documents": number,
                "seconds": found.seconds,
                "cpu_seconds": found.cpu_seconds,
                "peak_bytes": found.peak_bytes,
                "kept": kept,
            }
        )
    return {"rows": rows, "missing": {}}
