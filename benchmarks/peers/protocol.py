"""What every driver here does alike: read its arguments, read Parquet, time a function, print one JSON line.

Drivers run in the environment of the tool that they drive, so this imports pyarrow and nothing else.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

Work = Callable[[list[str]], object]
BATCH = 1000  # documents
TASKS = ("signatures", "dedup", "filters", "language", "quality", "recipe", "stage")


def arguments() -> argparse.Namespace:
    """Return the command line: a task, an input, and what the task needs."""
    parser = argparse.ArgumentParser()
    parser.add_argument("task", choices=TASKS)
    parser.add_argument("--input", type=Path, required=True, help="folder of Parquet files with text and id")
    parser.add_argument("--output", type=Path, help="folder to write to")
    parser.add_argument("--megabytes", type=float, default=0.0, help="only so much text from the front")
    parser.add_argument("--repetitions", type=int, default=1)
    parser.add_argument("--shingles", choices=("characters", "words"), default="words")
    parser.add_argument("--width", type=int, default=5)
    parser.add_argument("--variant", default="", help="a mode of the tool, see the driver")
    parser.add_argument("--model", default="", help="model file of the tasks language and quality")
    parser.add_argument("--answers", type=Path, help="Parquet file to write a label and a score per text to")
    return parser.parse_args()


def files(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.parquet"))


def texts(folder: Path, megabytes: float = 0.0) -> list[str]:
    """Return the texts of a folder, all or the first so many megabytes."""
    found: list[str] = []
    size = 0
    for path in files(folder):
        for batch in pq.ParquetFile(path).iter_batches(BATCH, columns=["text"]):
            for text in batch.column(0).to_pylist():
                if megabytes and size >= megabytes * 1e6:
                    return found
                found.append(text)
                size += len(text.encode())
    return found


def measure(options: argparse.Namespace, work: Work, prepare: Callable[[list[str]], Any] | None = None) -> Any:
    """Time `work` over the texts, print the result, return its answer; a first call, on a few texts, is not counted.

    `prepare` turns a list of texts into what the tool is handed in practice; it is not timed.
    """
    prepare = prepare or (lambda given: given)
    documents = texts(options.input, options.megabytes)
    work(prepare(documents[:20]))
    given = prepare(documents)
    seconds, cpu = [], []
    answer: object = None
    for _ in range(options.repetitions):
        start, start_cpu = time.perf_counter(), time.process_time()
        answer = work(given)
        seconds.append(time.perf_counter() - start)
        cpu.append(time.process_time() - start_cpu)
    result = {
        "seconds": seconds,
        "cpu_seconds": cpu,
        "documents": len(documents),
        "bytes": sum(len(text.encode()) for text in documents),
        "answer": answer if isinstance(answer, int | float | str) else None,
    }
    sys.stdout.write("\n" + json.dumps(result) + "\n")
    return answer


def write_answers(options: argparse.Namespace, labels: Sequence[str], scores: Sequence[float]) -> None:
    """Write what a tool found to --answers, so that the answers of two tools can be compared."""
    if options.answers:
        pq.write_table(pa.table({"label": pa.array(labels, pa.string()), "score": scores}), options.answers)


def shingles(text: str, kind: str, width: int) -> list[Any]:
    """Return the shingles of a text: bytes of `width` characters, or `width` words joined by a space."""
    if kind == "words":
        words = text.split()
        return [" ".join(words[i : i + width]) for i in range(max(1, len(words) - width + 1))]
    if text.isascii():  # one encoding for all shingles
        data = text.encode()
        return [data[i : i + width] for i in range(max(1, len(data) - width + 1))]
    return [text[i : i + width].encode() for i in range(max(1, len(text) - width + 1))]


def batches(folder: Path) -> Iterator[pa.RecordBatch]:
    for path in files(folder):
        yield from pq.ParquetFile(path).iter_batches(BATCH)


def rewrite(folder: Path, out: Path, keep: Callable[[pa.RecordBatch], pa.RecordBatch]) -> None:
    """Read batches, write what `keep` leaves of each as one Parquet file, zstd level 1 as winnow writes."""
    out.mkdir(parents=True, exist_ok=True)
    writer = None
    for batch in batches(folder):
        kept = keep(batch)
        if writer is None:
            writer = pq.ParquetWriter(out / "part-0.parquet", batch.schema, compression="zstd", compression_level=1)
        writer.write_batch(kept, row_group_size=20 * BATCH)
    if writer is not None:
        writer.close()
