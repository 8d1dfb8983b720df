"""A run folder that is finished: the result that stands in it, given again without workers.

Guarantees: a result is given again only where recipe, models, sample, limit and inputs are those of the finished run,
and every file of the folder has the size, times and inode (in an object store: size and ETag) that it had then, so that
nothing is missing, cut or overwritten; whatever else is met, the run goes its usual way. A store is asked for listings
of folders, not for files; one that gives files neither ETag nor times has no finished runs. Memory: one line for each
file of the folder, and the manifest.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from cluster import storage
from cluster.errors import WinnowError
from cluster.files.sealed import read_json, write_json
from pipelines.ledger_blocks import COUNTS
from pipelines.recipe.to_run import Prepared
from pipelines.run.result import RunResult, result_of
from pipelines.run_state import LOCK, mix_digest
from stages.core import manifest
from stages.core.digests import digest
from stages.inputs.files.file_versions import token_of
from stages.outcome.lineage import lineage_digest
from stages.passes.freeze import is_as_frozen

NOTE = "finished.json"
APART = {  # what readers write anew, or what is compared by content
    ".lock",
    LOCK,
    "report.html",
    "report.json",
    "audit.json",
    f"facts/{NOTE}",
    "facts/options.json",
    "decisions/report-made-from",
    COUNTS,
}


class _Unmarked(Exception):
    """A store tells nothing of a file that would change with it."""


def note_finished(prepared: Prepared, result: RunResult) -> None:
    """Write down that a run is finished, with its result."""
    root = prepared.run.root
    with contextlib.suppress(_Unmarked):
        state = _state(prepared)
        write_json(_path(root), {"state": state, "files": _files(root), "result": result.to_json()})


def result_if_finished(prepared: Prepared, *, limit: int | None, mixes: Sequence[str] = ()) -> RunResult | None:
    """Return the result of a run that is finished as it is asked for; None where something is to do, or may be."""
    root = prepared.run.root
    if mixes:
        return None
    try:
        noted: dict[str, Any] = read_json(_path(root))
        frozen = manifest.read_manifest(root)
        if frozen is None or frozen.limit != limit or "report.html" not in storage.names(root):
            return None
        run = replace(prepared.run, manifest_digest=frozen.digest)
        if noted["state"] != _state(replace(prepared, run=run)) or noted["files"] != _files(root):
            return None
        if not is_as_frozen(run, frozen):
            return None
        return replace(result_of(noted["result"]), root=root, was_done=True)
    except (WinnowError, _Unmarked, OSError, AttributeError, LookupError, TypeError, ValueError):
        return None  # the usual way says what is wrong


def _path(root: str) -> str:
    return storage.join(root, "facts", NOTE)


def _state(prepared: Prepared) -> str:
    """Return the digest of everything that ledger, mixes and report of a run are made from."""
    run = prepared.run
    mixes = [mix_digest(run, mix, prepared.output) for mix in prepared.mixes]
    made = lineage_digest(run)
    return digest(made, mixes, prepared.digest, prepared.sample, bool(prepared.dropped), run.manifest_digest)


def _files(root: str) -> str:
    """Return the digest of names and marks of all files of a run folder. Raises _Unmarked."""
    entries = _entries(storage.local_path(root), "") if storage.is_local(root) else _listed(root, "")
    return digest(*sorted(entries))


def _entries(folder: str, inside: str) -> Iterator[str]:
    with os.scandir(folder) as entries:
        for entry in entries:
            path = f"{inside}{entry.name}"
            if path in APART:
                continue
            if entry.is_dir():
                yield from _entries(entry.path, f"{path}/")
            else:
                found = entry.stat()
                yield f"{path} {found.st_size} {found.st_mtime_ns} {found.st_ctime_ns} {found.st_ino}"


def _listed(folder: str, inside: str) -> Iterator[str]:
    for entry in storage.listed(folder):
        path = f"{inside}{entry['name']}"
        if path in APART:
            continue
        if entry["type"] == "directory":
            yield from _listed(storage.join(folder, entry["name"]), f"{path}/")
        else:
            token = token_of(entry)
            if token == str(entry["size"]):
                raise _Unmarked(path)
            yield f"{path} {token}"
