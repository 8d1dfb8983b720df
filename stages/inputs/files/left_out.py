"""What a folder or a glob holds beside data: marks of side files, and the list of what was passed over.

Guarantees: a file that a path names outright is never left out; what is left out is counted under a reason, with the
first few names. Nothing is left out for what its texts hold.
"""

from __future__ import annotations

import functools
import posixpath
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import orjson
from typing_extensions import TypedDict  # pydantic reads it, and needs this one before Python 3.12

from cluster import storage
from stages.inputs import json_values
from stages.inputs.files import formats

SHOWN = 3  # names kept for each reason
RUN_FOLDERS = {"mix", "mixes", "ledger", "facts", "decisions", "exchange", "staged", "quarantine"}
RUN_FILES = {"manifest.parquet", "manifest.json", "recipe.lock.yaml", "report.json", "report.html", "timings.json"}
RUN_FILES |= {"passed_over.json", "audit.json"}
SIDE_NAMES = {  # side files that other tools write beside data, and whose content may look like a row
    "dataset_infos.json": "a side file of a dataset hub",
    "dataset_info.json": "a side file of the datasets library",
    "dataset_dict.json": "a side file of the datasets library",
    "state.json": "a side file of the datasets library",
    "indices.arrow": "a side file of the datasets library",
    "dedup.json": "a side file of winnow dedup",
    "croissant.json": "a side file of a dataset hub",
    "metadata.json": "a side file",
    "stats.json": "a side file",
}
CACHE = re.compile(
    r"(cache|tmp)-[0-9a-z_]+(_\d+_of_\d+)?\.arrow"
)  # results that the datasets library keeps beside data
HOLDOUT = re.compile(r"holdout-\d+(-\d+)*\.(parquet|jsonl\.zst)")
PART = re.compile(r"part-\d+(-\d+)*\.(parquet|jsonl\.zst)")
WHOLE_BYTES = 1 << 20  # a larger .json file whose first line is no JSON is data, whatever it holds


class Entry(TypedDict):
    """PassedOver as JSON."""

    reason: str
    count: int
    examples: list[str]


@dataclass(frozen=True)
class PassedOver:
    """Files of a dataset's folders and globs that are not read, for one reason."""

    reason: str
    count: int
    examples: tuple[str, ...]  # full paths

    def to_json(self) -> Entry:
        return {"reason": self.reason, "count": self.count, "examples": list(self.examples)}

    def __str__(self) -> str:
        names = ", ".join(posixpath.basename(path) for path in self.examples)
        more = ", …" if self.count > len(self.examples) else ""
        return f"{self.count:,} passed over: {self.reason} ({names}{more})"


def summary(left: Iterable[tuple[str, str]]) -> list[PassedOver]:
    """Return (path, reason) counted by reason, the commonest first; a path counts once."""
    found: dict[str, list[str]] = {}
    for path, reason in sorted(dict(left).items()):
        found.setdefault(reason, []).append(path)
    ordered = sorted(found.items(), key=lambda item: (-len(item[1]), item[0]))
    return [PassedOver(reason, len(paths), tuple(paths[:SHOWN])) for reason, paths in ordered]


# --- by where a file lies --------------------------------------------------------------------------------


class Marks:
    """Tells what folders are, by the marks that lie in them; asks the storage once for each."""

    def __init__(self, root: str) -> None:
        self.root = root.rstrip("/")
        self.is_run = functools.cache(_is_run)
        self.is_deduplicated = functools.cache(lambda folder: storage.exists(storage.join(folder, "dedup.json")))

    def reason(self, path: str) -> str | None:
        """Return why a file below the root is no data of it, judged by the folders it lies in; None if it may be."""
        parts = path[len(self.root) :].strip("/").split("/")
        for depth, part in enumerate(parts):
            folder = "/".join([self.root, *parts[:depth]])
            last = depth == len(parts) - 1
            if (part in RUN_FILES if last else part in RUN_FOLDERS) and self.is_run(folder):
                return self._in_run(folder, parts[depth:])
            if part in ("ledger", "quarantine") and not last and self.is_deduplicated(folder):
                return f"{part} of winnow dedup"
        return None

    def _in_run(self, folder: str, inner: Sequence[str]) -> str | None:
        if folder != self.root:
            return f"in a run folder of winnow ({posixpath.basename(folder)})"
        depth = {"mix": 2, "mixes": 3}.get(inner[0])
        return None if depth is not None and len(inner) > depth else "winnow's own, beside the mix of a run folder"


def _is_run(folder: str) -> bool:
    """Tell whether a folder is a run folder: it has the recipe's lock, and what a run writes next."""
    others = (("manifest.parquet",), ("facts", "options.json"))
    return storage.exists(storage.join(folder, "recipe.lock.yaml")) and any(
        storage.exists(storage.join(folder, *other)) for other in others
    )


def by_place(root: str, paths: Sequence[str], *, named: bool) -> dict[str, str]:
    """Return path -> reason of the files below a root that are side files by name or place.

    named : the glob that found them spells the beginning of their names, which therefore are wanted.
    """
    marks, everything = Marks(root), sorted(set(paths))
    folders = {path.rpartition("/")[0]: False for path in paths}
    for folder in folders:
        folders[folder] = not RUN_FOLDERS.isdisjoint(folder[len(root.rstrip("/")) :].split("/"))
    mixes = {
        folder for folder, _, name in (p.rpartition("/") for p in paths) if name[:1] == "p" and PART.fullmatch(name)
    }
    documents = {posixpath.dirname(f"{folder}/")[: -len("documents")] for folder in _above(folders, root, "documents")}
    hubs = {folder[: -len("blobs")] for folder in _above(folders, root, "blobs")} & {
        folder[: -len("snapshots")] for folder in _above(folders, root, "snapshots")
    }
    found: dict[str, str] = {}
    for path in everything:
        folder, _, name = path.rpartition("/")
        reason = marks.reason(path) if folders[folder] or name in RUN_FILES else None
        if reason is None and not named:
            reason = SIDE_NAMES.get(name.lower())
            if name.endswith(".arrow") and CACHE.fullmatch(name):
                reason = "a cache of the datasets library"
            elif folder in mixes and HOLDOUT.fullmatch(name):
                reason = "the hold-out of a mix"
            elif documents and not documents.isdisjoint(_before(path, "attributes")):
                reason = "attributes beside documents (Dolma)"
            elif hubs and not hubs.isdisjoint([*_before(path, "blobs"), *_before(path, "refs")]):
                reason = "blobs of a hub's cache, which snapshots lead to"
        if reason is not None:
            found[path] = reason
    return found


def _before(path: str, name: str) -> Iterator[str]:
    """Yield the beginnings of a path, each with its slash, that a folder of this name follows."""
    place = path.find(f"/{name}/")
    while place >= 0:
        yield path[: place + 1]
        place = path.find(f"/{name}/", place + 1)


def _above(folders: Iterable[str], root: str, name: str) -> set[str]:
    """Return the folders called `name`, below the root, that hold one of these folders or are one of them."""
    found = set()
    for folder in folders:
        parts = folder[len(root.rstrip("/")) :].split("/")
        for depth, part in enumerate(parts):
            if part == name:
                found.add(root.rstrip("/") + "/".join(parts[: depth + 1]))
    return found


# --- by what is in it ------------------------------------------------------------------------------------


def no_documents(path: str, size: int, has_text: Callable[[dict[str, object]], bool]) -> bool:
    """Tell whether a .json file is one JSON value without the text column: settings or figures, no documents.

    A file of several lines of JSON is data, and so is one of which the first HEAD bytes do not tell.
    """
    start = formats.head(path)[0].removeprefix(formats.BOM).lstrip()
    if start.startswith(b"["):
        try:
            first = orjson.loads(next(json_values.values([start]), "null"))
        except (json_values.Broken, orjson.JSONDecodeError):
            return False
        return not (isinstance(first, dict) and has_text(first))
    line, newline, rest = start.partition(b"\n")
    try:
        value = orjson.loads(line)
        if newline and (rest.strip() or size > formats.HEAD):
            return False
    except orjson.JSONDecodeError:
        if size > WHOLE_BYTES:
            return False
        try:
            value = orjson.loads(storage.read_bytes(path).removeprefix(formats.BOM))
        except (orjson.JSONDecodeError, OSError):
            return False
    return isinstance(value, dict) and not has_text(value)
