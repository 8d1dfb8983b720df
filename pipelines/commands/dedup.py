"""`winnow dedup`: one dataset in, the same dataset without near duplicates out; the longer text wins.

Guarantees: every input column is kept, every dropped row is in the ledger with the row it lost to, and
similarity is verified. A run that was interrupted goes on where it stopped.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence

from typing_extensions import TypedDict

from cluster import storage
from cluster.errors import RecipeError
from cluster.options import available_cores
from pipelines.recipe.output import Output
from pipelines.recipe.recipe import Recipe, load_data
from pipelines.run import runner
from pipelines.run.progress import Progress
from stages.core.digests import digest
from stages.core.shard import Columns, Dataset
from stages.inputs.discover import find_shards
from stages.inputs.reader import passthrough_schema

NAME = "data"
WORK = ".winnow"  # run folder below OUT, removed when all is done
DONE = "dedup.json"
SHARD_BYTES = 32_000_000  # small enough for several threads to write at once
THREADS = 8  # up to so many, threads of this process do the work: they start at once


class DedupCounts(TypedDict):
    """Documents of the one dataset."""

    rows: int
    kept: int
    dropped: int


def dedup(
    paths: str | Sequence[str],
    out: str,
    *,
    jaccard_threshold: float = 0.8,
    shingle_width: int = 24,
    text_column: str = "text",
    id_column: str = "id",
    workers: int | None = None,
    progress: Progress | None = None,
) -> DedupCounts:
    """Deduplicate files into the folder `out`; of near duplicates the longer text stays.

    Parameters
    ----------
    paths : files, folders, globs or URLs of Parquet or JSON lines.
    out : folder of the result, its ledger and dedup.json.
    jaccard_threshold : similarity of character shingles from which a document is a near duplicate.
    shingle_width : characters in a shingle.
    text_column, id_column : columns of the input; without an id column, files and rows name the documents.
    workers : threads or processes; by cores when None.

    Returns
    -------
    How many documents there were, were kept and dropped.

    Raises
    ------
    RecipeError
        when a column is missing, or `out` holds the result of something else.
    """
    paths = [paths] if isinstance(paths, str) else paths
    available = _columns(paths, text_column)
    recipe = _recipe(paths, available, jaccard_threshold, shingle_width, text_column, id_column, workers)
    address = digest(recipe.digest())
    done = _finished(out, address)
    if done is not None:
        return done
    output = Output(columns=tuple(available), shuffle="none", everything=True, shard_bytes=SHARD_BYTES)
    work = storage.join(out, WORK)
    result = runner.run(recipe, work, workers=workers, progress=progress, output=output, with_report=False)
    tally = result.tallies.get(NAME)
    rows, kept = (tally["rows"], tally["kept"]) if tally else (0, 0)
    counts: DedupCounts = {"rows": rows, "kept": kept, "dropped": rows - kept}
    _move(out, work)
    data = {
        "made_by": address,
        "jaccard_threshold": jaccard_threshold,
        "shingle_width": shingle_width,
        **counts,
    }
    storage.write_bytes(storage.join(out, DONE), (json.dumps(data, indent=2) + "\n").encode())
    storage.remove(work)
    return counts


def _recipe(
    paths: Sequence[str],
    available: list[str],
    threshold: float,
    width: int,
    text_column: str,
    id_column: str,
    workers: int | None,
) -> Recipe:
    threads = workers or available_cores()
    kind = "threads" if threads <= THREADS else "local"
    columns = {"text": text_column}
    if id_column in available:
        columns["id"] = id_column
    if "url" in available:
        columns["url"] = "url"
    near = {"use": "near_dedup", "jaccard_threshold": threshold}
    return load_data(
        {
            "name": "dedup",
            "datasets": {NAME: {"paths": [_absolute(p) for p in paths], "columns": columns}},
            "prefer": ["longest"],
            "stages": [{"use": "exact_dedup"}, {"use": "minhash", "shingle_width": width}, near],
            "output": {"shuffle": "none"},
            # On the CPU: a GPU takes seconds to set up, and cuDF needs packages that this command leaves out.
            "cluster": {"kind": kind, "workers": workers, "backend": "cpu"},
        },
        "winnow dedup",
    )


def _absolute(path: str) -> str:
    return os.path.abspath(path) if storage.is_local(path) else path


def _columns(paths: Sequence[str], text_column: str) -> list[str]:
    """Return the columns of the first file with a schema; raise RecipeError when the text is not among them."""
    dataset = Dataset(name=NAME, paths=tuple(paths), columns=Columns(text=text_column))
    for found in find_shards(dataset):
        names = list(passthrough_schema(dataset, [found.path], "all").names)
        if text_column not in names:
            listed = ", ".join(names) or "none"
            raise RecipeError(f"{found.path} has no column {text_column!r}, it has {listed}. Give --text-column.")
        return names
    return [text_column]


def _finished(out: str, address: str) -> DedupCounts | None:
    """Return the counts of an earlier, equal run; raise RecipeError when `out` holds something else."""
    path = storage.join(out, DONE)
    if storage.exists(path):
        data = json.loads(storage.read_bytes(path))
        if data["made_by"] == address:
            return {"rows": data["rows"], "kept": data["kept"], "dropped": data["dropped"]}
        raise RecipeError(f"{out} holds the result of another `winnow dedup`. Remove it or give another -o.")
    strangers = sorted(n for n in storage.names(out) if n.startswith("part-"))
    if strangers and WORK not in storage.names(out):
        raise RecipeError(
            f"{out} already holds {strangers[0]}, which would be mixed up with the result. Give another -o."
        )
    return None


def _move(out: str, work: str) -> None:
    """Bring parts and ledger from the run folder to `out`."""
    parts = storage.join(work, "mix", NAME)
    for name in sorted(storage.names(parts)):
        storage.move(storage.join(parts, name), storage.join(out, name))
    for name in sorted(storage.names(storage.join(work, "ledger"))):
        storage.move(storage.join(work, "ledger", name), storage.join(out, "ledger", name))
    for name in sorted(storage.names(storage.join(work, "quarantine"))):
        storage.move(storage.join(work, "quarantine", name), storage.join(out, "quarantine", name))
