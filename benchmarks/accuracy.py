"""Precision and recall of what each tool removes, against brute-force Jaccard over all pairs of documents."""

from __future__ import annotations

import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks import truth
from benchmarks.dedup import whole_run
from benchmarks.environments import Environments, Unavailable
from benchmarks.measure import Failed
from benchmarks.tools import DEDUP, THRESHOLD, WIDTH, chosen

SHINGLES = {"characters": WIDTH, "words": 5}
LEFT_OUT = {"bare", "winnow-2"}


def benchmark(
    texts: list[str], work: Path, environments: Environments, only: list[str], documents: int
) -> dict[str, Any]:
    """Deduplicate the first so many texts with each tool and judge what it removed."""
    texts = texts[:documents]
    folder = work / "accuracy"
    folder.mkdir(parents=True, exist_ok=True)
    ids = [str(number) for number in range(len(texts))]
    pq.write_table(pa.table({"text": texts, "id": ids}), folder / "part-0.parquet", row_group_size=5000)
    start = time.perf_counter()
    truths = {kind: truth.exact(texts, THRESHOLD, kind, width) for kind, width in SHINGLES.items()}
    result: dict[str, Any] = {
        "documents": len(texts),
        "megabytes": sum(len(text.encode()) for text in texts) / 1e6,
        "truth_seconds": time.perf_counter() - start,
        "pairs_of_distinct": {kind: len(found.left) for kind, found in truths.items()},
        "rows": [],
        "missing": {},
    }
    for tool in chosen(DEDUP, only):
        if tool.key in LEFT_OUT:
            continue
        try:
            _, kept_ids = whole_run(tool, folder, work, environments)
        except (Unavailable, Failed) as error:
            if not tool.environment:
                raise
            result["missing"][tool.key] = str(error)
            continue
        kept = np.zeros(len(texts), np.bool_)
        kept[np.array(kept_ids, np.int64)] = True
        judged = {kind: asdict(truth.judge(found, kept)) for kind, found in truths.items()}
        result["rows"].append({"key": tool.key, "tool": tool.label, "settings": tool.settings, **judged})
    return result
