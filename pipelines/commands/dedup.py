"""`winnow dedup`: one dataset in, the same dataset without near duplicates out; the longer text wins.

Guarantees: every input column is kept, every dropped row is in the ledger with the row it lost to, and
similarity is verified. A run that was interrupted goes on where it stopped.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NotRequired

from typing_extensions import TypedDict

from cluster import storage
from cluster.errors import DamagedError, LedgerError, RecipeError
from cluster.files.sealed import write_public_json
from cluster.options import available_cores
from pipelines.recipe.output import Output
from pipelines.recipe.recipe import Recipe, load_data
from pipelines.records import DedupResult, FileEntry, read_dedup_result, read_mix_manifest
from pipelines.run import runner
from pipelines.run.ledger_folder import listed_files
from pipelines.run.progress import Progress
from stages.core.digests import digest
from stages.core.shard import Columns, Dataset
from stages.inputs.files.discover import find_shards, look
from stages.inputs.files.formats import kind_of
from stages.inputs.reader import first_columns, has_column
from stages.inputs.schema import EVERY

NAME = "data"
WORK = ".winnow"  # run folder below OUT, removed when all is done
DONE = "dedup.json"
SHARD_BYTES = 32_000_000  # small enough for several threads to write at once
SKETCH = "oph"  # the fastest of which recall is .98 and more: docs/benchmarks.md#sketches
THREADS = 8  # up to so many, threads of this process do the work: they start at once


class DedupCounts(TypedDict):
    """Documents of the one dataset. passed_over: sentences on files of folders and globs that are no data."""

    rows: int
    kept: int
    dropped: int
    passed_over: NotRequired[list[str]]


def dedup(
    paths: str | Sequence[str],
    out: str,
    *,
    jaccard_threshold: float = 0.8,
    shingle_width: int = 24,
    sketch: str = SKETCH,
    text_column: str = "text",
    id_column: str = "id",
    workers: int | None = None,
    progress: Progress | None = None,
) -> DedupCounts:
    """Deduplicate files into the folder `out`; of near duplicates the longer text stays.

    Parameters
    ----------
    paths : files, folders, globs or URLs, in any format that is read.
    out : folder of the result, its ledger and dedup.json.
    jaccard_threshold : similarity of character shingles from which a document is a near duplicate.
    shingle_width : characters in a shingle.
    sketch : of signatures, as of stage `minhash`: permutations or oph.
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
    mapped = _mapped(paths, text_column, id_column)
    recipe = _recipe(paths, mapped, jaccard_threshold, shingle_width, sketch, workers)
    address = digest(recipe.digest())
    done = _finished(out, address)
    if done is not None:
        return done
    output = Output(columns=(EVERY,), shuffle="none", everything=True, shard_bytes=SHARD_BYTES)
    work = storage.join(out, WORK)
    result = runner.run(recipe, work, workers=workers, progress=progress, output=output, with_report=False)
    tally = result.tallies.get(NAME)
    rows, kept = (tally["rows"], tally["kept"]) if tally else (0, 0)
    counts: DedupCounts = {"rows": rows, "kept": kept, "dropped": rows - kept}
    files = _files(work)
    _move(out, work)
    data = {
        "made_by": address,
        "jaccard_threshold": jaccard_threshold,
        "shingle_width": shingle_width,
        "sketch": sketch,
        **counts,
        "files": files,
    }
    write_public_json(storage.join(out, DONE), data)
    storage.remove(work)
    left = [str(item) for item in result.passed_over.get(NAME, [])]
    return {**counts, "passed_over": left} if left else counts


def _recipe(
    paths: Sequence[str],
    columns: dict[str, str],
    threshold: float,
    width: int,
    sketch: str,
    workers: int | None,
) -> Recipe:
    threads = workers or available_cores()
    kind = "threads" if threads <= THREADS else "local"
    sketched = {"use": "minhash", "shingle_width": width, "sketch": sketch}
    near = {"use": "near_dedup", "jaccard_threshold": threshold}
    return load_data(
        {
            "name": "dedup",
            "datasets": {NAME: {"paths": [storage.absolute(p) for p in paths], "columns": columns}},
            "prefer": ["longest"],
            "stages": [{"use": "exact_dedup"}, sketched, near],
            "output": {"shuffle": "none"},
            # On the CPU: a GPU takes seconds to set up, and cuDF needs packages that this command leaves out.
            "cluster": {"kind": kind, "workers": workers, "backend": "cpu"},
        },
        "winnow dedup",
    )


def _mapped(paths: Sequence[str], text_column: str, id_column: str) -> dict[str, str]:
    """Return the columns of text, id and URL: id and URL where a file has them, or is JSON lines and may.

    Raises RecipeError where the first file that tells has no text. Reads footers and first lines only.
    """
    dataset = Dataset(name=NAME, paths=tuple(paths), columns=Columns(text=text_column))
    wanted = {"text": text_column, "id": id_column, "url": "url"}
    seen: set[str] = set()
    for found in (look(dataset, file) for file in find_shards(dataset)):
        names = first_columns(dataset, found.path)
        if names and not seen and not has_column(names, text_column):
            listed = ", ".join(names) or "none"
            raise RecipeError(f"{found.path} has no column {text_column!r}, it has {listed}. Give --text-column.")
        lines = kind_of(found.format) in ("jsonl", "json")  # keys may come later
        seen |= {role for role, path in wanted.items() if lines or has_column(names, path)}
        if len(seen) == len(wanted):
            break
    return {role: path for role, path in wanted.items() if role in seen or role == "text"}


def _finished(out: str, address: str) -> DedupCounts | None:
    """Return the counts of an earlier, equal run; raise RecipeError when `out` holds something else."""
    path = storage.join(out, DONE)
    if storage.exists(path):
        data = _read_result(out)
        if data["made_by"] == address:
            _check_files(out, data.get("files", []))
            return {"rows": data["rows"], "kept": data["kept"], "dropped": data["dropped"]}
        raise RecipeError(
            f"{out} holds the result of another `winnow dedup`: of other inputs or options, or of a version whose "
            "default was --sketch permutations; with that it may be the same. Else give another -o, or remove it."
        )
    strangers = sorted(n for n in storage.names(out) if n.startswith("part-"))
    if strangers and WORK not in storage.names(out):
        raise RecipeError(
            f"{out} already holds {strangers[0]}, which would be mixed up with the result. Give another -o."
        )
    return None


def _read_result(out: str) -> DedupResult:
    """Return what an earlier run wrote down of its result. Raises LedgerError where that is damaged."""
    try:
        return read_dedup_result(storage.join(out, DONE))
    except DamagedError as error:
        why = str(error).partition(": ")[2].partition(". ")[0]
    raise LedgerError(f"{storage.join(out, DONE)} is damaged: {why}. Remove {out} and run again, or give another -o.")


def _files(work: str) -> list[dict[str, Any]]:
    """Return path below `out`, bytes and SHA-256 of every file of the result, from the lists of the run."""
    mix = read_mix_manifest(storage.join(work, "mix", "manifest.json"))["datasets"][NAME]["files"]
    found = [{**file, "path": file["path"].rpartition("/")[2]} for file in mix]
    found += [{**file, "path": f"ledger/{file['path']}"} for file in listed_files(work)]
    return [{key: file[key] for key in ("path", "rows", "bytes", "sha256")} for file in found]


def _check_files(out: str, files: list[FileEntry]) -> None:
    """Raise LedgerError where a file of the result is gone or has another size than it was written with."""
    have = storage.sizes(out)
    have |= {f"ledger/{name}": size for name, size in storage.sizes(storage.join(out, "ledger")).items()}
    for file in files:
        size = have.get(file["path"])
        if size != file["bytes"]:
            what = "is missing" if size is None else f"has {size:,} bytes, {file['bytes']:,} were written"
            raise LedgerError(
                f"{storage.join(out, file['path'])} {what}. Remove {out} and run again, or give another -o."
            )


def _move(out: str, work: str) -> None:
    """Bring parts and ledger from the run folder to `out`."""
    parts = storage.join(work, "mix", NAME)
    for name in sorted(storage.names(parts)):
        storage.move(storage.join(parts, name), storage.join(out, name))
    for name in sorted(storage.names(storage.join(work, "ledger"))):
        storage.move(storage.join(work, "ledger", name), storage.join(out, "ledger", name))
    for name in sorted(storage.names(storage.join(work, "quarantine"))):
        storage.move(storage.join(work, "quarantine", name), storage.join(out, "quarantine", name))
