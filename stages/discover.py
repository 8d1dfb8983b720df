"""Find the shards of a dataset and tell whether one has changed.

Guarantees: the answer is sorted by the path within the dataset, names each file once, and is the same
whatever the order of the recipe's paths; moving the dataset's folder changes no `within`.
"""

from __future__ import annotations

import glob
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import PurePosixPath

from cluster import storage
from cluster.errors import RecipeError
from stages.shard import Dataset

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


@dataclass(frozen=True, kw_only=True)
class Found:
    """One data file: full path or URL, path within its dataset, size in bytes, format.

    `format` is parquet, jsonl, jsonl.gz or jsonl.zst.
    """

    path: str
    within: str
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
    """Return the data files of a dataset, sorted by `within`.

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
    try:
        found = list(_local(path) if storage.is_local(path) else _remote(path))
    except ImportError as error:
        raise RecipeError(
            f"dataset {dataset.name}: {path} needs a package that is not installed ({error})."
        ) from error
    explicit = len(found) == 1 and not _is_wild(path) and found[0].path.endswith(path.rsplit("/", 1)[-1])
    visible = found if explicit else [match for match in found if not _hidden(match)]
    usable = [match for match in visible if shard_format(match.path, _loose(dataset, match, explicit, path))]
    if not usable:
        raise RecipeError(_nothing(dataset, path, found, visible))
    return usable


def _loose(dataset: Dataset, match: _Match, explicit: bool, path: str) -> str:
    """Trust the recipe's format for named files and globs; a folder also holds other things."""
    if dataset.format == "auto" or explicit or _is_wild(path):
        return dataset.format
    known = shard_format(match.path)
    fits = known is not None and known.split(".")[0] == dataset.format
    return dataset.format if fits else "auto" if known is None else "none"
