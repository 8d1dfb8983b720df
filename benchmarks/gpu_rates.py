"""`python -m benchmarks.gpu_rates`: MB/s of everything that a worker does with text on one GPU, kernel by kernel.

cuDF's kernels and winnow's own (seeds, heuristics, scripts, lines, marks of repair, fastText models), and the device's
readers by size of row group and codec, beside the host's. Prints a table, writes gpu_rates.json with date and card.
`pipelines/plan/gpu/device_rates.py` holds what is assumed of the same kernels on paper. Made text; no data are needed.
"""

from __future__ import annotations

import argparse
import importlib
import json
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from cluster.device import backend
from pipelines.plan.gpu import device_rates
from stages.core.shard import Dataset, Piece, Shard
from stages.inputs import device_reader
from stages.inputs.batches import Batch
from stages.inputs.reader import read_piece
from stages.kernels.dispatch.dispatch import HOST_KERNELS
from stages.kernels.gpu import rapids_kernels
from stages.kernels.hashes.hashing import I64, U8, buffers
from stages.kernels.similarity import minhash
from stages.kernels.text import heuristics, line_counts, repair_signs, scripts  # noqa: F401  registers kernels
from stages.kernels.text.heuristic_facts import DEFAULT
from stages.kernels.text.known_words import nothing_known

WORDS, MEAN = 50_000, 600
Rate = tuple[str, float]


def documents(count: int, seed: int = 1) -> list[str]:
    """Return made documents of about 4 kB: words by Zipf's law, sentences, lines."""
    rng = np.random.default_rng(seed)
    letters = np.array(list("etaoinshrdlucmfwyp"))
    words = np.array(["".join(rng.choice(letters, rng.integers(2, 10))) for _ in range(WORDS)])
    found = []
    for _ in range(count):
        picked = words[rng.zipf(1.3, rng.integers(MEAN // 3, 5 * MEAN // 3)) % WORDS].tolist()
        picked[11::12] = [f"{word}.\n" if i % 4 == 0 else f"{word}," for i, word in enumerate(picked[11::12])]
        found.append(" ".join(picked))
    return found


def seconds(work: Callable[[], object], times: int = 3) -> float:
    """Return the least seconds of some calls, after one that compiles; waits for the device."""
    runtime: Any = importlib.import_module("cupy").cuda.runtime
    best = float("inf")
    for turn in range(times + 1):
        begin = time.perf_counter()
        work()
        runtime.deviceSynchronize()
        if turn:
            best = min(best, time.perf_counter() - begin)
    return best


def kernels(data: U8, offsets: I64, times: int) -> Iterator[Rate]:
    """Yield name and bytes a second of the kernels on texts of the host, which cross the bus, or on the device."""
    size, docs = int(offsets[-1] - offsets[0]), len(offsets) - 1
    family, seeds = minhash.nemo_parameters(128), minhash.zyda2_seeds(128)
    calls: dict[str, Callable[[], object]] = {
        "content_hash": lambda: rapids_kernels.content_hash(data, offsets),
        "text_digest": lambda: rapids_kernels.text_digest(data, offsets),
        "signatures": lambda: rapids_kernels.signatures(data, offsets, family, 24),
        "signatures_by_seeds": lambda: rapids_kernels.signatures_by_seeds(data, offsets, seeds, 25),
        "heuristic_counts": lambda: rapids_kernels.heuristic_counts(data, offsets, DEFAULT, nothing_known(docs)),
        "script_places": lambda: rapids_kernels.script_places(data, offsets),
        "line_rows": lambda: rapids_kernels.line_rows(data, offsets),
        "repair_marks": lambda: rapids_kernels.repair_marks(data, offsets, 31),
    }
    assert set(calls) <= set(HOST_KERNELS)
    for name, call in calls.items():
        yield name, size / seconds(call, times)


def models(texts: Any, size: int, paths: list[str], times: int) -> Iterator[Rate]:
    """Yield the same of fastText models."""
    from classifiers import fasttext_model

    for path in paths:
        model: Any = fasttext_model.load(path)
        kind = fasttext_model.SUMS[not model._loaded.tables.sizes.maxn]
        yield f"{kind} {Path(path).name}", size / seconds(partial(model.best, texts), times)


def readers(texts: list[str], folder: Path, groups: tuple[int, ...], times: int) -> Iterator[Rate]:
    """Yield bytes a second of reading and judging, on the device and on the host, by codec and rows of a group.

    And of reading every third text again, for the host: bytes of all texts.
    """
    table = pa.table({"text": texts, "id": [str(i) for i in range(len(texts))]})
    size, wanted = sum(len(text.encode()) for text in texts), np.arange(0, len(texts), 3)
    for codec in ("zstd", "snappy"):
        for group in groups:
            path = folder / f"{codec}-{group}.parquet"
            pq.write_table(table, path, row_group_size=group, compression=codec)
            shard = Shard(
                ordinal=0, dataset="w", path=str(path), relative_path=path.name, rows=table.num_rows,
                bytes=path.stat().st_size, fingerprint="f",
            )  # fmt: skip
            piece = Piece(shard=shard, start=0, stop=table.num_rows)
            for where, read in (("device", device_reader.read), ("host", read_piece)):
                took = seconds(partial(_read, read, piece), times)
                yield f"read_parquet on the {where}, {codec}, groups of {group}", size / took
            for where, gather in (("device", device_reader.gather), ("host", None)):
                took = seconds(partial(_read, partial(read_piece, rows=wanted, gather=gather), piece), times)
                yield f"read_parquet again, a third, on the {where}, {codec}, groups of {group}", size / took


def _read(reader: Callable[..., Iterator[Batch]], piece: Piece) -> int:
    """Return how many rows are read; the texts of one batch are held at a time."""
    return sum(len(batch.status) for batch in reader(Dataset(name="w", paths=()), piece, ["text", "id"]))


def measure(count: int, fasttext: list[str], *, times: int = 3) -> dict[str, float]:
    """Return bytes a second by name."""
    texts = documents(count)
    array = pa.array(texts, pa.large_string())
    data, offsets = buffers(array)
    size = int(offsets[-1])
    found = {f"{name}, from the host": rate for name, rate in kernels(data, offsets, times)}
    found |= {f"{name}, from the host": rate for name, rate in models(array, size, fasttext, times)}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "resident.parquet"
        pq.write_table(pa.table({"text": array}), path)
        chunks = list(rapids_kernels.parquet_chunks(str(path), "text", [0], 1 << 31))
        found["judge_texts, on the device"] = size / seconds(lambda: [rapids_kernels.judged(c) for c in chunks], times)
        judged = [rapids_kernels.judged(c) for c in chunks]
        if judged and judged[0] is not None:
            resident = judged[0][0]
            there = int(resident.offsets[-1])
            found |= {f"{n}, on the device": r for n, r in kernels(*buffers(resident), times)}
            every = partial(resident.take, np.arange(len(resident)))
            found["gather_texts, on the device"] = there / seconds(every, times)
            found |= {f"{n}, on the device": r for n, r in models(resident, there, fasttext, times)}
        found |= dict(readers(texts, Path(folder), (1000, 10_000), times))
    return found


def table(found: dict[str, float]) -> str:
    """Return the rates as Markdown, beside those on paper."""
    lines = ["| work | GB/s of one GPU | on paper |", "|---|---|---|"]
    for name, rate in found.items():
        kernel = name.split(",")[0].split(" ")[0]
        paper = f"{device_rates.rate(kernel) / 1e9:.2f}" if kernel in device_rates.KERNELS else ""
        lines.append(f"| {name} | {rate / 1e9:.3f} | {paper} |")
    return "\n".join(lines)


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu_rates", description=__doc__)
    parser.add_argument("--documents", type=int, default=40_000)
    parser.add_argument("--fasttext", action="append", default=[], help="fastText models to time")
    parser.add_argument("--out", type=Path, default=Path("bench-out"))
    given = parser.parse_args()
    if problem := backend.why_no_gpu():
        raise SystemExit(f"no GPU to measure: {problem}. `winnow doctor` tells more.")
    backend.use("gpu")
    device = backend.probe().device
    assert device is not None
    found = measure(given.documents, given.fasttext)
    about = {"date": datetime.now(UTC).date().isoformat(), "card": device.name, "driver": device.driver}
    given.out.mkdir(parents=True, exist_ok=True)
    (given.out / "gpu_rates.json").write_text(json.dumps({**about, "bytes_per_second": found}, indent=1) + "\n")
    print(f"{about}\n{table(found)}")


if __name__ == "__main__":
    main()
