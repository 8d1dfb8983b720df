"""Where a run works: with kind `local` in this process, on threads, where the inputs are too few for worker processes.

A worker process takes two seconds of CPU time until it has loaded what it needs, scheduler and connections another one.
Guarantees: what is chosen follows from recipe and input files alone, from no clock, and changes no byte of a result.
Workers start all the same where the recipe says how they shall be, and where one may die of what it runs: code and
libraries of others, HTML, input that is to be quarantined, a GPU.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping

from cluster.device import backend
from cluster.files import compression
from cluster.options import TASK_TIMEOUT, THREADS_PER_WORKER, ClusterOptions, processes_and_threads
from pipelines.recipe.to_run import Prepared
from stages.core.stage import Stage
from stages.inputs.files import formats
from stages.inputs.files.amount import sizes_if_few

MOST_BYTES = 32_000_000  # of text, about: what eight threads do while worker processes start
MOST_FILES = 64
DENSE = 5  # times its bytes a compressed file, or one of Parquet or Arrow, has of text, about
PAGES = b"WARC/"
# Stages that compute by winnow's own code, whatever their parameters; a stage that is not named here is taken for none.
OWN = {
    *("read", "rewrite", "mix_columns", "exact_dedup", "normalised_hash", "minhash", "near_dedup", "language_id"),
    *("repair", "line_rules", "line_hashes", "line_dedup", "bad_words", "score_cut", "attributes"),
    *("decontaminate", "benchmark_matches"),
}
FOREIGN_KEYS = {  # parameters that bring libraries of others: tokenizers, ICU, Presidio, an ad blocker
    "heuristics": ("tokenizer", "language"),
    "pii": ("detector",),
    "url_rules": ("adblock",),
}
OWN_MODELS = ("column:", "fasttext:")


def where_to_work(prepared: Prepared) -> tuple[ClusterOptions, str]:
    """Return the options to start an engine with, and a sentence where they are not the recipe's; else an empty one."""
    asked, run = prepared.cluster, prepared.run
    if not _leaves_it_open(asked) or run.on_error != "stop" or not all(map(is_own, run.stages)):
        return asked, ""
    sizes = sizes_if_few(run.datasets, MOST_FILES)
    if sizes is None or _text_of(sizes) > MOST_BYTES:
        return asked, ""
    if any(dataset.format == "warc" for dataset in run.datasets) or any(map(_may_hold_pages, sizes)):
        return asked, ""
    if asked.backend == "auto" and not backend.why_no_gpu():
        return asked, ""
    processes, threads = processes_and_threads(asked)
    chosen = dataclasses.replace(asked, kind="threads", workers=min(processes * threads, THREADS_PER_WORKER))
    return chosen, _sentence(sum(sizes.values()))


def _sentence(size: int) -> str:
    shown = f"{size / 1e6:.1f} MB" if size >= 1e5 else f"{size / 1e3:.1f} kB"
    return (
        f"{shown} of input are worked on by threads of this process, without worker processes: these start from "
        f"{MOST_BYTES / 1e6:.0f} MB of text or {MOST_FILES} files, or with --workers"
    )


def _leaves_it_open(asked: ClusterOptions) -> bool:
    """Tell whether nothing is said of worker processes but that they be on this machine."""
    said = (asked.workers, asked.threads_per_worker, asked.memory_limit, asked.dashboard)
    plain = asked.kind == "local" and asked.backend != "gpu" and asked.task_timeout == TASK_TIMEOUT
    return plain and all(value is None for value in said)


def is_own(stage: Stage) -> bool:
    """Tell whether a stage computes by winnow's own code: no library of others, no endpoint, no plug-in."""
    if not type(stage).__module__.startswith("stages."):
        return False
    if stage.use in ("quality", "label"):
        return str(getattr(stage, "model", "")).startswith(OWN_MODELS)
    if stage.use in FOREIGN_KEYS:
        return not any(_brings_others(stage, key) for key in FOREIGN_KEYS[stage.use])
    return stage.use in OWN


def _brings_others(stage: Stage, key: str) -> bool:
    field = next(f for f in dataclasses.fields(stage) if f.name == key)
    return bool(getattr(stage, key) != field.default)


def _text_of(sizes: Mapping[str, int]) -> int:
    """Return about how many bytes of text these files have."""
    return sum(size * (DENSE if _is_dense(path) else 1) for path, size in sizes.items())


def _is_dense(path: str) -> bool:
    return (formats.by_name(os.path.realpath(path)) or "").partition(".")[0] not in ("jsonl", "csv", "tsv") or (
        os.path.splitext(path)[1] in compression.SUFFIXES
    )


def _may_hold_pages(path: str) -> bool:
    """Tell whether a file may be of web pages, whose HTML is read by a library of others: by name or first bytes."""
    kind = formats.by_name(os.path.realpath(path)) or formats.by_name(path)
    try:
        with open(path, "rb") as file:
            start = file.read(16)
    except OSError:  # whoever reads it says why
        return True
    compressed = kind is None and compression.by_magic(start) != ""
    return start.startswith(PAGES) or compressed or (kind or "").startswith("warc")
