"""Every document that entered or left between two runs, counted by stage, reason, language and domain.

    from pipelines.diff.diff import diff
    found = diff("RUN1", "RUN2", out="changes.parquet")

Guarantees: works from manifest and ledger alone; what facts and mix add (language, domain) is left empty where they are
gone. Memory: a batch of each ledger and a part of a join, whatever the runs hold; scratch: the documents that changed,
those of files that one run alone has, and of the runs' doc_ids, languages and URLs once.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from cluster import storage
from cluster.errors import RecipeError
from pipelines.diff import tree
from pipelines.diff.matched import Found, matched
from pipelines.diff.names import Names, named
from pipelines.diff.spill import read_stream
from pipelines.diff.sums import ENTERED, LEFT, Sums, changed
from pipelines.runfolder import RunFolder, open_run
from pipelines.staleness import PAGES, Stale, stale_sentences
from stages.core.digests import DATA_FORMAT

CHANGES = pa.schema(
    [
        ("change", pa.string()),
        ("dataset", pa.string()),
        ("path", pa.string()),
        ("row", pa.int64()),
        ("id", pa.string()),
        ("old_doc_id", pa.int64()),
        ("new_doc_id", pa.int64()),
        ("stage", pa.string()),
        ("reason", pa.string()),
        ("value", pa.float64()),
        ("threshold", pa.float64()),
        ("representative", pa.int64()),
        ("tokens", pa.int64()),
    ]
)
NAMED = CHANGES.append(pa.field("language", pa.string())).append(pa.field("domain", pa.string()))
SIDES = ((ENTERED, "new_doc_id"), (LEFT, "old_doc_id"))  # change, and the number in the run that keeps it


def diff(old: str, new: str, *, out: str | None = None, trust: bool = False) -> tree.Diff:
    """Return what changed from run folder `old` to run folder `new`.

    Parameters
    ----------
    out : Parquet file to write, one row for each document that entered or left (columns of NAMED); `stage` and `reason`
        are those of the run that does not keep it, null where that run has no such document.
    trust : see `open_run`.

    Raises
    ------
    RecipeError
        One of them is no run folder.
    LedgerError
        A ledger is not finished or does not fit its manifest.
    """
    before, after = (open_run(path, trust=trust, warn=False) for path in (old, new))
    if before.root == after.root:
        raise RecipeError(f"{before.root} is named twice. Name two run folders, the older one first.")
    found, sums = Found(), Sums()
    with tempfile.TemporaryDirectory(prefix="winnow-diff-") as folder:
        _first_pass(before, after, found, sums, folder)
        names = Names(folder)
        with _rows_file(out) as write:
            for change, doc_id in SIDES:
                run = after if change == ENTERED else before
                for table in named(run, read_stream(_path(folder, change)), CHANGES, doc_id):
                    names.add(table)
                    write(table.select(NAMED.names).cast(NAMED))
        languages, (domains, number) = names.languages(), names.domains()
    return {
        "format": DATA_FORMAT,
        "old": before.root,
        "new": after.root,
        "stale": [f"{run.root}: {text}" for run in (before, after) for text in stale_sentences(_of_ledger(run))],
        "recipe": recipe_changes(before.recipe, after.recipe),
        "matching": _matching(found),
        "datasets": sums.dataset_trees(),
        "causes": sums.cause_trees(),
        "moved": sums.moved_trees(),
        "languages": languages,
        "domains": domains,
        "domains_counted": number,
    }


def _of_ledger(run: RunFolder) -> list[Stale]:
    """Return what is stale of that which is compared: ledger and mixes, not their pages."""
    return [part for part in run.stale if part["what"].partition(" ")[0] not in PAGES]


def _first_pass(old: RunFolder, new: RunFolder, found: Found, sums: Sums, folder: str) -> None:
    """Count all documents, and write those that entered and left into a file each."""
    with contextlib.ExitStack() as stack:
        writers: dict[str, Any] = {}
        for change, _ in SIDES:
            file = stack.enter_context(pa.OSFile(str(_path(folder, change)), "wb"))
            writers[change] = stack.enter_context(pa.ipc.new_stream(file, CHANGES))
        for table in matched(old, new, found):
            moves = changed(table)
            sums.add(table, moves)
            for change, writer in writers.items():
                mine = moves.filter(pc.equal(moves.column("change"), change))
                if mine.num_rows:
                    writer.write_table(mine.select(CHANGES.names).cast(CHANGES))


def _path(folder: str, change: str) -> Path:
    return Path(folder) / f"{change}.arrow"


@contextlib.contextmanager
def _rows_file(out: str | None) -> Iterator[Any]:
    """Yield what writes rows of NAMED to the file `out`, or nowhere."""
    if out is None:
        yield lambda _: None
        return
    with storage.commit(out) as file, pq.ParquetWriter(file, NAMED, compression="zstd") as writer:
        yield writer.write_table


def _matching(found: Found) -> tree.Matching:
    return {
        "files_in_both": found.files,
        "files_only_old": found.only_old,
        "files_only_new": found.only_new,
        "by_row": found.by_row,
        "by_id": found.by_id,
        "unmatched_old": found.unmatched_old,
        "unmatched_new": found.unmatched_new,
    }


def recipe_changes(old: dict[str, Any], new: dict[str, Any]) -> list[tree.KeyChange]:
    """Return the keys whose values differ; a stage is named by its `name`, and its place is a key of its own.

    >>> [c["key"] for c in recipe_changes({"seed": 0, "mix": {"a": 1}}, {"seed": 1, "mix": {"a": 1, "b": 2}})]
    ['mix.b', 'seed']
    """
    one, other = dict(_flat(old)), dict(_flat(new))
    return [
        {"key": key, "old": one.get(key), "new": other.get(key)}
        for key in sorted({*one, *other})
        if one.get(key) != other.get(key)
    ]


def _flat(value: Any, key: str = "") -> Iterator[tuple[str, str]]:
    """Yield (dotted key, value as text) of nested plain values."""
    if isinstance(value, dict) and value:
        for name, part in value.items():
            yield from _flat(part, f"{key}.{name}" if key else str(name))
    elif key == "stages" and isinstance(value, list):
        for place, stage in enumerate(value):
            yield from _flat({**stage, "place": place}, f"stages.{stage.get('name') or stage['use']}")
    else:
        yield key, str(value)
