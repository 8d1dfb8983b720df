"""`python -m benchmarks.gpu` (make bench-gpu): signatures on one GPU, and a whole near-dedup run on all of them.

Prints documents/s, MB/s and TB/h for each GPU beside published figures of others, with date, card, driver and
command, and writes them to bench-out/gpu.json. Ends with a message where there is no GPU; quotes nothing then.
"""

from __future__ import annotations

import argparse
import importlib
import json
import shlex
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks import inputs
from cluster.device import backend
from stages.kernels.hashes.hashing import buffers
from stages.kernels.similarity import minhash

ANCHORS = {  # NeMo Curator as published: fuzzy dedup of 8 TB in 2.05 h, MinHash of 2.0 M documents/s, on 8 H100
    "NeMo Curator fuzzy dedup": "0.49 TB/h for each of 8 H100",
    "NeMo Curator MinHash": "250,000 documents/s for each of 8 GPUs",
}
BATCH_BYTES = 256 << 20
WARM_BYTES = 1_000_000
PARTS = 64  # files of the whole run
REPETITIONS = 5


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    made = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description=__doc__)
    made.add_argument("--data", type=Path, help="folder of Parquet files with a column text")
    made.add_argument("--megabytes", type=float, default=2000, help="text of the whole run; repeated, marked, if short")
    made.add_argument("--gpus", type=int, help="workers of the whole run (default: all GPUs)")
    made.add_argument("--out", type=Path, default=Path("bench-out"))
    return made


def main(arguments: list[str] | None = None) -> None:
    """Measure, print, write."""
    options = parser().parse_args(arguments)
    if problem := backend.why_no_gpu():
        raise SystemExit(f"no GPU to measure: {problem}. `winnow doctor` tells more.")
    texts = inputs.source(options.data, options.out)
    run = whole_run(texts, options.megabytes, options.gpus)  # first: this process has no part of a GPU yet
    device = backend.probe().device
    assert device is not None
    result = {
        "date": datetime.now(UTC).date().isoformat(),
        "card": device.name,
        "driver": device.driver,
        "versions": backend.versions(),
        "command": shlex.join(["python", "-m", "benchmarks.gpu", *(arguments or sys.argv[1:])]),
        "run": run,
        "signatures": signatures(texts),
        "others": ANCHORS,
    }
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "gpu.json").write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result, indent=2))


def signatures(texts: list[str]) -> dict[str, Any]:
    """Time 128 permutations of width 24 on one GPU, texts and signatures crossing the bus included."""
    backend.use("gpu")
    statistics: Any = importlib.import_module("rmm.statistics")
    column = pa.array(grown(texts, BATCH_BYTES), pa.large_string())
    data, offsets = buffers(column)
    family = minhash.nemo_parameters(128)
    minhash.signatures(data, offsets, family, 24)  # compiles; cuDF puts its handler of full memory below the counter
    statistics.enable_statistics()
    seconds = []
    for _ in range(REPETITIONS):
        fresh = data.copy()  # texts that lie on the device already would not cross the bus again
        begin = time.perf_counter()
        minhash.signatures(fresh, offsets, family, 24)
        seconds.append(time.perf_counter() - begin)
    median = sorted(seconds)[REPETITIONS // 2]
    peak = int(statistics.get_statistics().peak_bytes)
    return {**rates(len(column), int(offsets[-1]), median, 1), "seconds": seconds, "peak_device_bytes": peak}


def whole_run(texts: list[str], megabytes: float, gpus: int | None) -> dict[str, Any]:
    """Time a run from Parquet to deduplicated Parquet, one worker for each GPU, start of workers excluded."""
    deduplicate(grown(texts, WARM_BYTES), gpus)  # kernels are compiled by the first run on a machine, and kept on disk
    rows = grown(texts, int(megabytes * 1e6))
    timings = deduplicate(rows, gpus)
    seconds = sum(stage["seconds"] for stage in timings["stages"])
    found = rates(len(rows), sum(len(text.encode()) for text in rows), seconds, int(timings["workers"]))
    return {**found, "seconds": {s["name"]: s["seconds"] for s in timings["stages"]}}


def deduplicate(rows: list[str], gpus: int | None) -> dict[str, Any]:
    """Return the timings of a run over these texts."""
    from pipelines.recipe.recipe import load_data
    from pipelines.run import runner

    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory() as run_dir:
        for part in range(PARTS):
            pq.write_table(pa.table({"text": rows[part::PARTS]}), f"{folder}/{part}.parquet", compression="zstd")
        recipe = load_data(
            {
                "name": "bench-gpu",
                "datasets": {"web": {"paths": folder + "/*.parquet"}},
                "stages": [{"use": "minhash"}, {"use": "near_dedup", "jaccard_threshold": 0.8}],
                "cluster": {"kind": "local-cuda", "backend": "gpu", "workers": gpus or "auto"},
            },
            "benchmarks.gpu",
        )
        runner.run(recipe, run_dir, with_report=True)
        found: dict[str, Any] = json.loads((Path(run_dir) / "timings.json").read_text())
    return found


def rates(documents: int, size: int, seconds: float, gpus: int) -> dict[str, Any]:
    """Return what one GPU did: documents/s, MB/s, TB/h."""
    each = 1 / seconds / gpus
    return {
        "gpus": gpus,
        "documents": documents,
        "megabytes": size / 1e6,
        "documents_per_second_and_gpu": documents * each,
        "megabytes_per_second_and_gpu": size / 1e6 * each,
        "terabytes_per_hour_and_gpu": size / 1e12 * 3600 * each,
    }


def grown(texts: list[str], size: int) -> list[str]:
    """Return texts of `size` bytes in all; rounds after the first differ in every word, so none is a copy."""
    found: list[str] = []
    total = turn = 0
    while total < size:
        for text in texts:
            made = text if turn == 0 else text.replace(" ", f" {turn}")
            found.append(made)
            total += len(made.encode())
            if total >= size:
                break
        turn += 1
    return found


if __name__ == "__main__":
    main()
