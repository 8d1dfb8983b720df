"""What an export says of itself: export.json, the list of its parts, where its run lies; whether its files are whole.

Guarantees: a file that is missing, cut, flipped or of another shape is a DamagedError whose remedy is `winnow export`;
sizes are checked here, digests by `winnow verify EXPORT`. Memory: a batch of the list of parts.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from dataclasses import fields
from typing import Any, NotRequired, cast

import pyarrow as pa
from typing_extensions import TypedDict  # pydantic reads them, and needs this one before Python 3.12

from cluster import storage
from cluster.errors import DamagedError
from cluster.files.records import as_kind, read_public_record, read_record
from cluster.files.sealed import batches, damaged
from pipelines.export.settings import FORMATS, Settings, check_settings
from pipelines.records import check_inside
from stages.core.digests import DATA_FORMAT
from stages.core.formats import check_format

PARTS = pa.schema(
    [
        ("part", pa.int32()),
        ("first_sequence", pa.int64()),
        ("sequences", pa.int64()),
        ("tokens", pa.int64()),
        ("path", pa.string()),  # of the tokens
        ("files", pa.string()),  # JSON: every file of the part, with bytes and SHA-256
    ],
    metadata={"winnow.format": str(DATA_FORMAT)},
)
REMEDY = "The `winnow export` that made it makes it again: remove the folder first"


class PartFile(TypedDict):
    """A file of a part."""

    path: str
    bytes: int
    sha256: str


class About(TypedDict):
    """What readers ask of export.json, beside the settings."""

    address: str
    format: str
    manifest_digest: str
    parts: int
    sequences: int
    files: NotRequired[list[PartFile]]


class RunNote(TypedDict):
    """trace/run.json: where the run folder lies, from the root and from the export."""

    run: str
    beside: str


@contextlib.contextmanager
def of_an_export() -> Iterator[None]:
    """Give damage that is met inside the remedy of exports."""
    try:
        yield
    except DamagedError as error:
        why = str(error).removeprefix(f"{error.path} is damaged: ").partition(". ")[0]
        raise damaged(error.path, why, REMEDY) from None


def read_about(root: str) -> dict[str, Any]:
    """Return export.json. Raises FileNotFoundError, DamagedError, LedgerError of an unknown format."""
    path = storage.join(root, "export.json")
    with of_an_export():
        found = read_public_record(path, About)
        check_format(found.get("winnow_export"), path)
        check_inside(path, [file["path"] for file in beside_parts(found)])
        settings_of(root, found)
    return found


def settings_of(root: str, about: dict[str, Any]) -> Settings:
    """Return the settings that export.json states. Raises DamagedError."""
    path = storage.join(root, "export.json")
    found = as_kind(path, {f.name: about.get(f.name) for f in fields(Settings)}, Settings)
    if found.format not in FORMATS or found.dtype not in ("uint16", "uint32", "int32"):
        raise damaged(path, f"there is no format {found.format} of {found.dtype}")
    check_settings(found)
    return found


def read_run_note(root: str) -> RunNote:
    """Return where the run folder of an export lies. Raises FileNotFoundError, DamagedError."""
    with of_an_export():
        return read_record(storage.join(root, "trace", "run.json"), RunNote)


def parts_path(root: str) -> str:
    return storage.join(root, "trace", "parts.parquet")


def part_files(root: str) -> Iterator[PartFile]:
    """Yield every file of every part, as the list of parts has them. Raises FileNotFoundError, DamagedError."""
    path = parts_path(root)
    with of_an_export():
        for table in batches(path, 1024, PARTS.names):
            for text in table.column("files").to_pylist():
                yield from files_of_part(root, text)


def files_of_part(root: str, text: str) -> list[PartFile]:
    """Return the files of a part from its row in the list of parts. Raises DamagedError."""
    path = parts_path(root)
    with of_an_export():
        try:
            found = as_kind(path, json.loads(text), list[PartFile])
        except (ValueError, TypeError, RecursionError):
            raise damaged(path, "its lists of files are no JSON") from None
        check_inside(path, [file["path"] for file in found])
    return found


def beside_parts(about: dict[str, Any]) -> list[PartFile]:
    """Return the files that export.json lists itself; none of an export that listed none."""
    return cast("list[PartFile]", about.get("files") or [])


def is_whole(root: str, about: dict[str, Any]) -> bool:
    """Tell whether every file that an export lists is there with the size it was written with."""
    try:
        listed = [(file["path"], file["bytes"]) for file in beside_parts(about)]
        return storage.have_sizes(root, listed) and storage.have_sizes(
            root, ((file["path"], file["bytes"]) for file in part_files(root))
        )
    except (FileNotFoundError, DamagedError):
        return False
