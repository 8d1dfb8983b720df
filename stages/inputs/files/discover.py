"""Find the shards of a dataset.

Guarantees: the answer is sorted by the path within the dataset, names each file once, and is the same
whatever the order of the recipe's paths; moving the dataset's folder changes no `relative_path`.
"""

from __future__ import annotations

import os
import posixpath
import stat
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any

from cluster import storage
from cluster.credentials import check_place
from cluster.errors import RecipeError
from stages.core.shard import Dataset
from stages.inputs.files import formats, globs, left_out
from stages.inputs.files.file_versions import is_marked, stat_token, token_of
from stages.inputs.files.left_out import PassedOver
from stages.inputs.paths import split_path
from stages.inputs.values import lookup

FORMATS = formats.DECLARED
WILD = frozenset("*?[")
THREADS = 16  # that look into files whose names do not tell
HIDDEN = "hidden or unfinished"
TABLES = {"csv", "tsv", "arrow"}  # kinds that also stand beside data, as lists and caches
GONE = -1  # size of a file that a link leads to and that is not there


@dataclass(frozen=True, kw_only=True, slots=True)
class Found:
    """One data file: full path or URL, path within its dataset, size in bytes, format.

    `format` is a kind and codec (see formats.py) as the name tells; `actual` looks into the file. token: of a file in
    a store, as `stat_token` has it, from the listing that found it; marked: it holds the store's mark of the content.
    """

    path: str
    relative_path: str
    bytes: int
    format: str
    token: str = ""
    marked: bool = False

    @property
    def staged(self) -> bool:
        """Whether rows cannot be reached without reading from the start."""
        return formats.is_staged(self.format)


@dataclass(frozen=True)
class Discovery:
    """The data files of a dataset, sorted by `relative_path`, and what its folders and globs hold beside them."""

    files: list[Found]
    passed_over: list[PassedOver]


@dataclass(frozen=True, slots=True)
class _Match:
    path: str
    root: str
    identity: str
    bytes: int
    token: str = ""
    marked: bool = False


@dataclass
class _Place:
    """What one path of a dataset stands for. format: of each file that is data; left: why others are not."""

    format: dict[str, str] = field(default_factory=dict)
    left: dict[str, str] = field(default_factory=dict)


def shard_format(path: str, declared: str = "auto") -> str | None:
    """Return kind and codec, such as jsonl.gz; None where neither name nor recipe tells."""
    return formats.by_name(path, declared)


def actual(dataset: Dataset, path: str, token: str = "") -> str | None:
    """Return kind and codec by name, recipe and first bytes; None where nothing tells. Raises ShardError.

    token : of the file, where it is known.
    """
    return formats.of_file(path, dataset.format, (lambda _: token) if token else stat_token)


def look(dataset: Dataset, file: Found) -> Found:
    """Return a file with the format that its first bytes tell. Raises ShardError where it cannot be reached."""
    return replace(file, format=actual(dataset, file.path, file.token) or file.format)


def find_shards(dataset: Dataset) -> list[Found]:
    """Return the data files of a dataset, sorted by `relative_path`; see `discover`."""
    return discover(dataset).files


def discover(dataset: Dataset) -> Discovery:
    """Find the data files of a dataset.

    A path may be a file, a folder (searched in all subfolders), a glob (`**` crosses folders) or a URL of
    these. Names that begin with a dot or an underscore, unfinished files, side files of winnow and other tools, and
    formats that are not read or not asked for are passed over unless a path names them outright.

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
    matches: list[_Match] = []
    every = _Place()
    for path in dataset.paths:
        found, place = _matches(dataset, path)
        matches += found
        every.format.update(place.format)
        every.left.update(place.left)
    files = _name_within(every.format, _once(matches))
    read = {match.path for match in matches}
    left = ((path, reason) for path, reason in every.left.items() if path not in read)
    return Discovery(files, left_out.summary(left))


def check_paths(datasets: Iterable[Dataset]) -> None:
    """Raise RecipeError for a local path that is not there, globs apart: at once, before workers are started."""
    for dataset in datasets:
        for path in dataset.paths:
            plain = storage.is_local(path) and not is_wild(path)
            if plain and not os.path.lexists(storage.local_path(path)):
                raise RecipeError(_nothing(dataset, path, [], _Place()))


def _matches(dataset: Dataset, path: str) -> tuple[list[_Match], _Place]:
    check_place(path, f"dataset {dataset.name}: the path")
    try:
        found = list(_local(path) if storage.is_local(path) else _remote(path))
    except ImportError as error:
        raise RecipeError(f"dataset {dataset.name}: {path} needs a package that is not installed ({error}).") from error
    explicit = len(found) == 1 and not is_wild(path) and found[0].path.endswith(path.rsplit("/", 1)[-1])
    place = _named(dataset, found[0]) if explicit else _searched(dataset, path, found)
    usable = [match for match in found if match.path in place.format]
    if not usable:
        raise RecipeError(_nothing(dataset, path, found, place))
    for match in usable:
        if match.bytes == GONE:
            what = "is a link to nothing, or vanished just now"
            raise RecipeError(f"dataset {dataset.name}: {match.path} {what}. Bring the file back, or remove the link.")
    return usable, place


def _named(dataset: Dataset, match: _Match) -> _Place:
    """Take a file that a path names outright: by its name, else by what is in it."""
    known = formats.by_name(match.path, dataset.format)
    if known is None and match.bytes != GONE:
        known = formats.detect(match.path, dataset.format)
    if known is not None:
        return _Place({match.path: known})
    return _Place(left={match.path: _strange(match)})


def _searched(dataset: Dataset, path: str, found: list[_Match]) -> _Place:
    """Sort what a folder or a glob holds into data and what is passed over."""
    place = _Place()
    named = is_wild(path) and path.rsplit("/", 1)[-1][:1] not in WILD
    visible = []
    for match in found:
        if _hidden(match):
            place.left[match.path] = HIDDEN
        else:
            visible.append(match)
    if visible:
        place.left.update(left_out.by_place(visible[0].root, [match.path for match in visible], named=named))
    rest = [match for match in visible if match.path not in place.left]
    judged = _in_parallel(storage.is_local(path), lambda match: _judged(dataset, path, match, named), rest)
    for match, (known, reason) in zip(rest, judged, strict=True):
        if known is not None:
            place.format[match.path] = known
        else:
            place.left[match.path] = reason
    _other_tables(dataset, place)
    return place


def _in_parallel(local: bool, judge: Callable[[_Match], tuple[str | None, str]], matches: list[_Match]) -> list[Any]:
    """Return the judgement of every file; threads look into those elsewhere, where each look takes a while."""
    if local:
        return list(map(judge, matches))
    with ThreadPoolExecutor(THREADS) as threads:
        return list(threads.map(judge, matches))


def _judged(dataset: Dataset, path: str, match: _Match, named: bool) -> tuple[str | None, str]:
    """Return the format of a file that a folder or a glob holds, or why it is passed over."""
    known = formats.by_name(match.path)
    if known is None and dataset.format != "auto" and is_wild(path) and not formats.packed(match.path):
        return formats.by_name(match.path, dataset.format), ""  # the recipe's word for what a glob names
    if match.bytes == GONE:
        return known, "a link to nothing"
    if known is None:
        known = formats.detect(match.path, text=False) if match.bytes else None
        if known is None:
            return None, _strange(match)
    if dataset.format not in ("auto", formats.kind_of(known)):
        return None, f"format is {formats.kind_of(known)}, the recipe reads {dataset.format}"
    is_json = match.path.lower().endswith(".json")
    if is_json and not named and left_out.no_documents(match.path, match.bytes, _has_text(dataset)):
        return None, f"one JSON value without the column {dataset.columns.text!r}"
    return known, ""


def _has_text(dataset: Dataset) -> Callable[[dict[str, object]], bool]:
    path = dataset.columns.text
    return lambda row: path in row or lookup(row, path) is not None


def _strange(match: _Match) -> str:
    """Return why a file whose name tells no format is not read."""
    what = formats.packed(match.path) or (match.bytes > 0 and formats.stranger(match.path))
    if what:
        return what
    ending = posixpath.splitext(match.path)[1].lower()
    return f"no format that is read ({ending})" if ending and len(ending) < 12 else "the name tells no format"


def _other_tables(dataset: Dataset, place: _Place) -> None:
    """Leave out CSV, TSV and Arrow files that lie beside data of another format and of which none has the text."""
    if dataset.format != "auto":
        return
    kinds: dict[str, list[str]] = {}
    for path, format in place.format.items():
        kinds.setdefault(formats.kind_of(format), []).append(path)
    for kind in TABLES & set(kinds):
        if len(kinds) > 1 and not any(_table_has_text(dataset, path, place.format[path]) for path in kinds[kind]):
            for path in kinds.pop(kind):
                del place.format[path]
                place.left[path] = f"{kind} without the column {dataset.columns.text!r}, beside other data"


def _table_has_text(dataset: Dataset, path: str, format: str) -> bool:
    names = formats.column_names(path, format)
    return names is None or split_path(names, dataset.columns.text) is not None


def _hidden(match: _Match) -> bool:
    """Tell whether a part of the name below the searched folder begins with a dot or an underscore."""
    inner = f"/{match.path[len(match.root) :].strip('/')}"
    return "/." in inner or "/_" in inner or storage.TEMPORARY in inner.rpartition("/")[2]


def is_wild(path: str) -> bool:
    """Tell whether a path holds characters of a glob."""
    return any(character in WILD for character in path)


def _local(path: str) -> Iterator[_Match]:
    """Yield the files that a local path stands for."""
    plain = storage.local_path(path)
    if os.path.exists(plain):  # a name that holds a bracket is no pattern
        found, root = ([plain], os.path.dirname(plain)) if os.path.isfile(plain) else (list(walk(plain)), plain)
    elif is_wild(plain):
        found = [hit for hit in globs.matching(plain) if not os.path.isdir(hit)]
        root = _fixed(plain)
    else:
        return
    folders: dict[str, str] = {}
    for name in found:
        real, size = _file_at(name, folders)
        yield _Match(name, root, real, size)


def _file_at(name: str, folders: dict[str, str]) -> tuple[str, int]:
    """Return (real path, bytes) of a file by one look at it, a further one at what a link leads to.

    folders : the real paths of folders that were met, to which this one's is added.
    """
    try:
        found = os.lstat(name)
        if stat.S_ISLNK(found.st_mode):
            return os.path.realpath(name), os.stat(name).st_size
    except OSError:
        return os.path.realpath(name), GONE
    folder, _, last = name.rpartition("/")
    if folder not in folders:
        folders[folder] = os.path.realpath(folder or ("/" if name.startswith("/") else "."))
    real = f"{folders[folder].rstrip('/')}/{last}"
    return (name if real == name else real), found.st_size


def walk(folder: str) -> Iterator[str]:
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
    elif is_wild(inner):
        found, root = fs.glob(inner, detail=True), _fixed(inner)
    else:
        return
    for name, info in found.items():
        if info.get("type", "file") == "file":
            url = fs.unstrip_protocol(name)
            marked = is_marked(info)
            yield _Match(url, fs.unstrip_protocol(root), url, int(info.get("size") or 0), token_of(info), marked)


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


def _name_within(format: dict[str, str], matches: list[_Match]) -> list[Found]:
    """Give every file a name of its own within the dataset, sorted by it."""
    names = {m.path: m.path[len(m.root) :].strip("/") for m in matches}
    often = Counter(names.values())
    if any(count > 1 for count in often.values()):  # two folders with the same names inside: tell them apart
        above = _above([m.root for m in matches])
        names = {m.path: m.path[len(above) :].strip("/") for m in matches}
    found = [
        Found(
            path=m.path,
            relative_path=names[m.path],
            bytes=m.bytes,
            format=format[m.path],
            token=m.token,
            marked=m.marked,
        )
        for m in matches
    ]
    return sorted(found, key=lambda f: (f.relative_path, f.path))


def _above(roots: list[str]) -> str:
    """Return the folder that all of these folders lie in."""
    parts = [root.rstrip("/").split("/") for root in roots]
    common = []
    for level in zip(*parts, strict=False):
        if len(set(level)) > 1:
            break
        common.append(level[0])
    return "/".join(common)


def _nothing(dataset: Dataset, path: str, found: list[_Match], place: _Place) -> str:
    where = f"dataset {dataset.name}: {path}"
    known = formats.KNOWN
    if not found:
        what = "matches nothing" if is_wild(path) else "does not exist or is empty"
        return f"{where} {what}. A file, a folder, a glob or a URL with data files ({known}) is needed."
    if set(place.left.values()) == {HIDDEN}:
        return f"{where} holds hidden or unfinished files only, such as {found[0].path}. Name the files themselves."
    reasons = "; ".join(str(item) for item in left_out.summary(place.left.items()))
    return (
        f"{where} holds no data file of format {dataset.format}: {reasons}. Known names end in {known}; for others set "
        f"`format:` ({', '.join(FORMATS[1:])}) and name the files, or a glob."
    )
