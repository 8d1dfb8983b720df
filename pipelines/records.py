"""The JSON that a run folder holds for others, read as the types of artefacts.py.

Guarantees: a record that is cut, changed, or made by hand without what readers rely on is a DamagedError that names
file, place and remedy; keys that only some winnows write may be missing.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any, NotRequired, cast

from typing_extensions import TypedDict  # pydantic reads them, and needs this one before Python 3.12

from cluster import storage
from cluster.errors import LedgerError
from cluster.files.records import as_kind, read_public_record
from cluster.files.sealed import damaged
from pipelines.artefacts import MixFileEntry, MixManifest, files_of_mix
from stages.core.formats import check_format

REMEDY = "`winnow verify RUN --remove`, then `winnow run` with its recipe, makes it again"


class _Dataset(TypedDict):
    """What is asked of a dataset in the manifest of a mix."""

    documents: int
    tokens: int
    bytes: int
    files: NotRequired[list[MixFileEntry]]


class _Mix(TypedDict):
    """What is asked of the manifest of a mix, whatever winnow wrote it."""

    datasets: dict[str, _Dataset]


class _Step(TypedDict):
    """What is asked of a step in timings.json, and of a part of one."""

    name: str
    seconds: float
    documents: NotRequired[int | None]
    bytes: NotRequired[int | None]
    parts: NotRequired[list[_Part]]


class _Part(TypedDict):
    name: str
    seconds: float
    documents: NotRequired[int | None]


class _Timings(TypedDict):
    """What is asked of timings.json, whatever winnow wrote it."""

    stages: NotRequired[list[_Step]]


class FileEntry(TypedDict):
    """A file of a result: its path in the folder, and what it was written with."""

    path: str
    rows: int
    bytes: int
    sha256: str


class DroppedManifest(TypedDict):
    """dropped/manifest.json: the files of dropped documents. made_by: digest of what their content depends on."""

    format: int
    made_by: str
    stages: list[str]
    datasets: dict[str, list[FileEntry]]


class DedupResult(TypedDict):
    """dedup.json: what `winnow dedup` found. made_by: digest of inputs and parameters."""

    made_by: str
    rows: int
    kept: int
    dropped: int
    files: NotRequired[list[FileEntry]]


def read_mix_manifest(path: str) -> MixManifest:
    """Return manifest.json of a mix. Raises FileNotFoundError, DamagedError, LedgerError of an unknown format."""
    found = read_public_record(path, MixManifest)
    as_kind(path, found, _Mix)
    check_format(found.get("format"), path)
    check_inside(path, [file["path"] for file in files_of_mix(found)])
    return cast("MixManifest", found)


def mix_manifest_if_there(path: str) -> MixManifest | None:
    """Return manifest.json of a mix, None where there is none."""
    return read_mix_manifest(path) if storage.exists(path) else None


def read_dropped(path: str) -> DroppedManifest:
    """Return dropped/manifest.json. Raises FileNotFoundError, DamagedError."""
    found = cast("DroppedManifest", read_public_record(path, DroppedManifest))
    check_inside(path, [file["path"] for files in found["datasets"].values() for file in files])
    return found


def read_dedup_result(path: str) -> DedupResult:
    """Return dedup.json. Raises FileNotFoundError, DamagedError."""
    found = cast("DedupResult", read_public_record(path, DedupResult))
    check_inside(path, [file["path"] for file in found.get("files", [])])
    return found


def read_timings(path: str) -> dict[str, Any]:
    """Return timings.json, with keys that this winnow does not know. Raises as `read_mix_manifest`."""
    found = read_public_record(path, _Timings)
    check_format(found.get("format"), path)
    return found


def datasets_of_group(text: str | None) -> dict[str, int]:
    """Return how many members of a group each dataset has, from the ledger's JSON. Raises LedgerError."""
    try:
        found = json.loads(text or "{}")
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict) or not all(isinstance(count, int) for count in found.values()):
        raise LedgerError(f"the ledger's group_datasets holds {str(text)[:80]!r}, no counts by dataset. {REMEDY}.")
    return found


def check_inside(path: str, names: Iterable[str]) -> None:
    """Raise DamagedError where a record lists a file that is not below its folder."""
    for name in names:
        if name.startswith("/") or "://" in name or "\0" in name or ".." in name.split("/"):
            raise damaged(path, f"it lists {name[:80]!r}, which leads out of its folder")
