"""Find the shards of a dataset and tell whether one has changed.

Guarantees: the answer is sorted by the path within the dataset, names each file once, and is the same
whatever the order of the recipe's paths; moving the dataset's folder changes no `relative_path`.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import xxhash

from cluster import storage
from cluster.credentials import check_place
from cluster.errors import RecipeError
from stages.core.shard import Dataset
from stages.inputs import globs

SUFFIXES = {
    ".parquet": "parquet",
    ".parq": "parquet",
    ".pq": "parquet",
    **{
        f"{stem}{packed}": f"jsonl{kind}"
        for stem in (".jsonl", ".json", ".ndjson")
        for packed, kind in (("", ""), (".gz", ".gz"), (".zst", ".zst"), (".zstd", ".zst"))
    },
}
FORMATS = ("auto", "parquet", "jsonl")
WILD = frozenset("*?[")
WHOLE_BYTES = 64 << 20
SAMPLE_BYTES = 1 << 20
SAMPLES = 32
GONE = -1  # size of a file that a link leads to and that is not there


@dataclass(frozen=True, kw_only=True)
class Found:
    """One data file: full path or URL, path within its dataset, size in bytes, format.

    `format` is parquet, jsonl, jsonl.gz or jsonl.zst.
    """

    path: str
    relative_path: str
    bytes: int
    format: str

    @property
    def staged(self) -> bool:
        """Whether rows cannot be reached without decompressing from the start."""
        return self.format in ("jsonl.gz", "jsonl.zst")


@dataclass(frozen=True)
class _Match:
    path: str
    root: str
    identity: str
    bytes: int


def shard_format(path: str, declared: str = "auto") -> str | None:
    """Return parquet, jsonl, jsonl.gz or jsonl.zst; None where neither name nor recipe tells."""
    name = path.rsplit("/", 1)[-1].lower()
    by_name = next((kind for suffix, kind in SUFFIXES.items() if name.endswith(suffix)), None)
    if name.endswith((".gz", ".zst", ".zstd")) and by_name in (None, "jsonl"):
        by_name = "jsonl.gz" if name.endswith(".gz") else "jsonl.zst"
        if declared == "auto" and not _has_data_suffix(name):
            return None
    if declared == "auto":
        return by_name
    if declared == "jsonl" and by_name and by_name.startswith("jsonl"):
        return by_name
    return declared


def find_shards(dataset: Dataset) -> list[Found]:
    """Return the data files of a dataset, sorted by `relative_path`.

    A path may be a file, a folder (searched in all subfolders), a glob (`**` crosses folders) or a URL of
    these. Names that begin with a dot or an underscore, and unfinished files, are skipped unless a path
    names them outright.

    Raises
    ------
    RecipeError
        A path matches no data file, the format is unknown, or a file system needs a package.
    """
    if dataset.format not in FORMATS:
        raise RecipeError(
            f"format must be one of {', '.join(FORMATS)}, got {dataset.format!r} (dataset {dataset.name})."
        )
    if not dataset.paths:
        raise RecipeError(f"dataset {dataset.name} has no paths. Name a file, a folder, a glob or a URL.")
    matches = [match for path in dataset.paths for match in _matches(dataset, path)]
    return _name_within(dataset, _once(matches))


def _matches(dataset: Dataset, path: str) -> list[_Match]:
    check_place(path, f"dataset {dataset.name}: the path")
    try:
        found = list(_local(path) if storage.is_local(path) else _remote(path))
    except ImportError as error:
        raise RecipeError(f"dataset {dataset.name}: {path} needs a package that is not installed ({error}).") from error
    explicit = len(found) == 1 and not _is_wild(path) and found[0].path.endswith(path.rsplit("/", 1)[-1])
    visible = found if explicit else [match for match in found if not _hidden(match)]
    usable = [match for match in visible if shard_format(match.path, _loose(dataset, match, explicit, path))]
    if not usable:
        raise RecipeError(_nothing(dataset, path, found, visible))
    for match in usable:
        if match.bytes == GONE:
            what = "is a link to nothing, or vanished just now"
            raise RecipeError(f"dataset {dataset.name}: {match.path} {what}. Bring the file back, or remove the link.")
    return usable


def _loose(dataset: Dataset, match: _Match, explicit: bool, path: str) -> str:
    """Trust the recipe's format for named files and globs; a folder also holds other things."""
    if dataset.format == "auto" or explicit or _is_wild(path):
        return dataset.format
    known = shard_format(match.path)
    fits = known is not None and known.split(".")[0] == dataset.format
    return dataset.format if fits else "auto" if known is None else "none"


def _hidden(match: _Match) -> bool:
    """Tell whether a part of the name below the searched folder begins with a dot or an underscore."""
    parts = match.path[len(match.root) :].strip("/").split("/")
    return any(part.startswith((".", "_")) for part in parts) or storage.TEMPORARY in parts[-1]


def _has_data_suffix(name: str) -> bool:
    return any(name.endswith(suffix) for suffix in SUFFIXES)


def _is_wild(path: str) -> bool:
    return any(character in WILD for character in path)


def _local(path: str) -> Iterator[_Match]:
    """Yield the files that a local path stands for."""
    plain = storage.local_path(path)
    if os.path.exists(plain):  # a name that holds a bracket is no pattern
        found, root = ([plain], os.path.dirname(plain)) if os.path.isfile(plain) else (list(_walk(plain)), plain)
    elif _is_wild(plain):
        found = [hit for hit in globs.matching(plain) if not os.path.isdir(hit)]
        root = _fixed(plain)
    else:
        return
    for name in found:
        size = os.path.getsize(name) if os.path.exists(name) else GONE
        yield _Match(name, root, os.path.realpath(name), size)


def _walk(folder: str) -> Iterator[str]:
    """Yield the files below a folder, through links too; a folder that links lead to again is entered once."""
    seen: set[str] = set()
    for place, folders, names in os.walk(folder, followlinks=True):
        seen.add(os.path.realpath(place))
        folders[:] = [name for name in sorted(folders) if os.path.realpath(os.path.join(place, name)) not in seen]
        yield from (os.path.join(place, name) for name in names)


def _remote(path: str) -> Iterator[_Match]:
    """Yield the files that a URL stands for, through fsspec."""
    fs, inner = storage.filesystem(path)
    if fs.isfile(inner):
        found, root = {inner: fs.info(inner)}, inner.rsplit("/", 1)[0]
    elif fs.isdir(inner):
        found, root = fs.find(inner, detail=True), inner
    elif _is_wild(inner):
        found, root = fs.glob(inner, detail=True), _fixed(inner)
    else:
        return
    for name, info in found.items():
        if info.get("type", "file") == "file":
            url = fs.unstrip_protocol(name)
            yield _Match(url, fs.unstrip_protocol(root), url, int(info.get("size") or 0))


def _fixed(pattern: str) -> str:
    """Return the folder above the first wildcard."""
    first = min(i for i, character in enumerate(pattern) if character in WILD)
    return pattern[:first].rpartition("/")[0]


def _once(matches: list[_Match]) -> list[_Match]:
    """Name each file once, under the root that is furthest up: the same whatever the order of paths."""
    best: dict[str, _Match] = {}
    for match in sorted(matches, key=lambda m: (len(m.root), m.root, m.path)):
        best.setdefault(match.identity, match)
    return list(best.values())


def _name_within(dataset: Dataset, matches: list[_Match]) -> list[Found]:
    """Give every file a name of its own within the dataset, sorted by it."""
    names = {m.path: m.path[len(m.root) :].strip("/") for m in matches}
    often = Counter(names.values())
    if any(count > 1 for count in often.values()):  # two folders with the same names inside: tell them apart
        above = _above([m.root for m in matches])
        names = {m.path: m.path[len(above) :].strip("/") for m in matches}
    found = [
        Found(path=m.path, relative_path=names[m.path], bytes=m.bytes, format=str(_format(dataset, m.path)))
        for m in matches
    ]
    return sorted(found, key=lambda f: (f.relative_path, f.path))


def _format(dataset: Dataset, path: str) -> str | None:
    return shard_format(path, dataset.format)


def _above(roots: list[str]) -> str:
    """Return the folder that all of these folders lie in."""
    parts = [root.rstrip("/").split("/") for root in roots]
    common = []
    for level in zip(*parts, strict=False):
        if len(set(level)) > 1:
            break
        common.append(level[0])
    return "/".join(common)


def _nothing(dataset: Dataset, path: str, found: list[_Match], visible: list[_Match]) -> str:
    place = f"dataset {dataset.name}: {path}"
    known = ", ".join(sorted(SUFFIXES))
    if not found:
        what = "matches nothing" if _is_wild(path) else "does not exist or is empty"
        return f"{place} {what}. A file, a folder, a glob or a URL with data files ({known}) is needed."
    example = (visible or found)[0].path
    if not visible:
        return f"{place} holds hidden or unfinished files only, such as {example}. Name the files themselves."
    return (
        f"{place} holds no data file of format {dataset.format}; there is {example}, for example. Known "
        f"names end in {known}; for others set `format: parquet` or `format: jsonl` and name the files, "
        "or a glob."
    )


# --- has a file changed ----------------------------------------------------------------------------------


def fingerprint(path: str, size: int) -> str:
    """Return 32 hexadecimal digits that stand for the content of a file.

    Every byte of a local file counts, and of one in a store up to WHOLE_BYTES. A larger one there would be transferred
    once more: its size, both ends, SAMPLES blocks between, and the store's marks of its version (`stat_token`) count.
    """
    state = xxhash.xxh3_128()
    whole = storage.is_local(path) or size <= WHOLE_BYTES
    with storage.open_read(path) as file:
        if whole:
            while data := file.read(SAMPLE_BYTES):
                state.update(data)
        else:
            for number in range(SAMPLES):
                file.seek((size - SAMPLE_BYTES) * number // (SAMPLES - 1))
                state.update(file.read(SAMPLE_BYTES))
    if not whole:
        state.update(f"{size} {stat_token(path)}".encode())
    return str(state.hexdigest())


def size_of(path: str) -> int:
    """Return the size of a file in bytes. Raises FileNotFoundError."""
    if storage.is_local(path):
        return os.stat(storage.local_path(path)).st_size
    fs, inner = storage.filesystem(path)
    return int(fs.info(inner)["size"] or 0)


def stat_token(path: str) -> str:
    """Return a string that changes when a file is written again; reads no content."""
    if storage.is_local(path):
        stat = os.stat(storage.local_path(path))
        return f"{stat.st_size}-{stat.st_mtime_ns}-{stat.st_ino}-{stat.st_ctime_ns}"
    fs, inner = storage.filesystem(path)
    info = fs.info(inner)
    marks = [info.get(key) for key in ("ETag", "etag", "mtime", "LastModified", "last_modified", "updated", "created")]
    return "-".join([str(info.get("size")), *(str(mark) for mark in marks if mark is not None)])


def same_token(known: str, now: str) -> bool:
    """Tell whether a token is the one that is known; earlier ones of local files lack the time of the last change."""
    return known == now or (known.count("-") == 2 and now.count("-") == 3 and now.startswith(f"{known}-"))
