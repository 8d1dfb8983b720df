"""Drive datatrove: its four MinHash steps through `LocalPipelineExecutor`, one worker; and its filters.

Signatures alone use 16 x 8 = 128 permutations; deduplication uses the shipped 14 x 8.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

import protocol
from datatrove.data import Document
from datatrove.executor import LocalPipelineExecutor
from datatrove.pipeline.dedup import MinhashDedupBuckets, MinhashDedupCluster, MinhashDedupFilter, MinhashDedupSignature
from datatrove.pipeline.dedup.minhash import MinhashConfig
from datatrove.pipeline.filters import (
    C4QualityFilter,
    FineWebQualityFilter,
    GopherQualityFilter,
    GopherRepetitionFilter,
    LanguageFilter,
)
from datatrove.pipeline.formatters import PIIFormatter
from datatrove.pipeline.readers import ParquetReader
from datatrove.pipeline.writers import ParquetWriter
from datatrove.utils.lid import FT176LID


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
    with tempfile.TemporaryDirectory(dir=options.output.parent) as folder:
        _dedup(options.input, options.output, Path(folder), [])


def _dedup(source: Path, out: Path, work: Path, last: list[Any]) -> None:
    """Deduplicate the files of a folder; the steps of `last` see what is written."""
    config = MinhashConfig()
    reader = ParquetReader(str(source))
    writer = ParquetWriter(str(out), compression="zstd")
    steps = [
        ([reader, MinhashDedupSignature(str(work / "signatures"), config=config)], 1),
        (
            [MinhashDedupBuckets(str(work / "signatures"), str(work / "buckets"), config=config)],
            config.num_buckets,
        ),
        ([MinhashDedupCluster(str(work / "buckets"), str(work / "remove"), config=config)], 1),
        ([reader, MinhashDedupFilter(str(work / "remove")), *last, writer], 1),
    ]
    for number, (pipeline, tasks) in enumerate(steps):
        logs = str(work / f"logs-{number}")
        LocalPipelineExecutor(pipeline, tasks=tasks, workers=1, logging_dir=logs).run()


class GivenModel(FT176LID):
    """The model of a file, loaded on first use, instead of the one that datatrove downloads."""

    def __init__(self, path: str) -> None:
        super().__init__()
        self.path = path

    @property
    def model(self) -> Any:
        if self._model is None:
            from fasttext.FastText import _FastText

            self._model = _FastText(self.path)
        return self._model


def recipe(options: argparse.Namespace) -> None:
    """Run the steps of benchmarks/recipe.yaml: one executor judges and signs, the others deduplicate, redact, write."""
    language = LanguageFilter(language_threshold=-1.0)  # no document is dropped for its language
    language.model = GivenModel(str(options.model))
    rules = [GopherRepetitionFilter(), GopherQualityFilter(), C4QualityFilter(), FineWebQualityFilter()]
    with tempfile.TemporaryDirectory(dir=options.output.parent) as folder:
        judged = Path(folder) / "judged"
        steps = [ParquetReader(str(options.input)), language, *rules, ParquetWriter(str(judged), compression="zstd")]
        LocalPipelineExecutor(steps, tasks=1, workers=1, logging_dir=str(Path(folder) / "logs")).run()
        _dedup(judged, options.output, Path(folder) / "near", [PIIFormatter()])


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
    elif given.task == "recipe":
        recipe(given)
    else:
        dedup(given)
