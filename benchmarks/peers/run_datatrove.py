"""Drive datatrove: its four MinHash steps through `LocalPipelineExecutor`, one worker; and its filters.

Signatures alone use 16 x 8 = 128 permutations; deduplication uses the shipped 14 x 8.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import protocol
from datatrove.data import Document
from datatrove.executor import LocalPipelineExecutor
from datatrove.pipeline.dedup import MinhashDedupBuckets, MinhashDedupCluster, MinhashDedupFilter, MinhashDedupSignature
from datatrove.pipeline.dedup.minhash import MinhashConfig
from datatrove.pipeline.filters import FineWebQualityFilter, GopherQualityFilter, GopherRepetitionFilter
from datatrove.pipeline.readers import ParquetReader
from datatrove.pipeline.writers import ParquetWriter


def sketch(texts: list[str]) -> int:
    """Make all signatures, as step 1 does for each document."""
    with tempfile.TemporaryDirectory() as folder:
        step = MinhashDedupSignature(folder, config=MinhashConfig(num_buckets=16, hashes_per_bucket=8))
        found = 0
        for text in texts:
            shingles = step.get_shingles(text)
            if shingles.size:
                step.get_signature(shingles)
                found += 1
    return found


def dedup(options: argparse.Namespace) -> None:
    """Run the four steps one after another."""
    config = MinhashConfig()
    with tempfile.TemporaryDirectory(dir=options.output.parent) as folder:
        work = Path(folder)
        reader = ParquetReader(str(options.input))
        writer = ParquetWriter(str(options.output), compression="zstd")
        steps = [
            ([reader, MinhashDedupSignature(str(work / "signatures"), config=config)], 1),
            (
                [MinhashDedupBuckets(str(work / "signatures"), str(work / "buckets"), config=config)],
                config.num_buckets,
            ),
            ([MinhashDedupCluster(str(work / "buckets"), str(work / "remove"), config=config)], 1),
            ([reader, MinhashDedupFilter(str(work / "remove")), writer], 1),
        ]
        for number, (pipeline, tasks) in enumerate(steps):
            logs = str(work / f"logs-{number}")
            LocalPipelineExecutor(pipeline, tasks=tasks, workers=1, logging_dir=logs).run()


def judge(texts: list[str]) -> int:
    """Count the texts that Gopher's and FineWeb's rules keep; a dropped text meets no further filter."""
    filters = [GopherRepetitionFilter(), GopherQualityFilter(), FineWebQualityFilter()]
    kept = 0
    for number, text in enumerate(texts):
        document = Document(text=text, id=str(number))
        kept += all(rule.filter(document) is True for rule in filters)
    return kept


if __name__ == "__main__":
    given = protocol.arguments()
    if given.task == "signatures":
        protocol.measure(given, sketch)
    elif given.task == "filters":
        protocol.measure(given, judge)
    else:
        dedup(given)
