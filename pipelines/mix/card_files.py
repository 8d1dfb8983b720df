"""Which files of a mix a loader reads: configurations of dataset hubs, with the rows and a digest of their files.

`load_dataset` prepares a local folder once and finds it again by its card alone, so the card tells the contents apart
(`dataset_info.description`): another mix under the same names is not taken for the one before. Rows of each split make
it stop at files that are missing or too many. Few files are named one by one, so that no other is read even where rows
are not counted (streaming). Guarantees: made from the manifest. Memory: the manifest, and one path for each named file.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, cast

from pipelines.artefacts import MixFileEntry
from pipelines.recipe.output import INTERLEAVED
from pipelines.runfolder import RunFolder

NAMED = 64  # files of a mix that are named one by one; of more, a pattern
DEFAULTS = ("default", "all", "everything", "whole_mix")  # the first that no dataset is called
SPLITS = {"part-": "train", "holdout-": "holdout"}


@dataclass
class Split:
    """The files of one split of a configuration."""

    files: list[MixFileEntry] = field(default_factory=list)

    @property
    def rows(self) -> int:
        return sum(file["rows"] for file in self.files)

    def paths(self, whole: int, shared: bool) -> list[str] | str:
        """Return the names of the files, or a pattern. whole: files of the mix; shared: by all datasets."""
        if whole <= NAMED:
            return sorted(file["path"] for file in self.files)
        folder, _, name = self.files[0]["path"].rpartition("/")
        if shared:
            folder = f"{folder.rpartition('/')[0]}/*".lstrip("/")
        return f"{folder}/{name.partition('-')[0]}-*"


@dataclass(frozen=True)
class Config:
    """A configuration: all of a mix, or one dataset of it."""

    name: str
    datasets: tuple[str, ...]  # of which its files are; none: of all
    splits: dict[str, Split]

    @property
    def bytes(self) -> int:
        return sum(file["bytes"] for split in self.splits.values() for file in split.files)

    @property
    def digest(self) -> str:
        """What tells the contents of its files apart from any other's."""
        lines = sorted(f"{f['path']} {f['sha256']}\n" for split in self.splits.values() for f in split.files)
        return hashlib.sha256("".join(lines).encode()).hexdigest()[:16]


def configs_of(folder: RunFolder) -> list[Config]:
    """Return the configuration of everything, then, unless each file is a sample of it, one for each dataset."""
    manifest = cast("dict[str, Any]", folder.mix_manifest)
    by_dataset = {n: list(e.get("files") or []) for n, e in (manifest.get("datasets") or {}).items()}
    everything = [*(f for files in by_dataset.values() for f in files), *(manifest.get("files") or [])]
    default = next(name for name in DEFAULTS if name not in by_dataset)
    found = [Config(default, (), _splits(everything))]
    if not folder.interleaved:
        found += [Config(name, (name,), _splits(files)) for name, files in by_dataset.items() if files]
    return [config for config in found if config.splits]


def _splits(files: Iterable[MixFileEntry]) -> dict[str, Split]:
    found: dict[str, Split] = {}
    for file in files:
        name = file["path"].rpartition("/")[2]
        split = next(split for start, split in SPLITS.items() if name.startswith(start))
        found.setdefault(split, Split()).files.append(file)
    return {split: found[split] for split in SPLITS.values() if split in found}


def config_entry(config: Config, whole: int) -> dict[str, Any]:
    """Return what the card says of a configuration's files. whole: files of the mix."""
    entry: dict[str, Any] = {"config_name": config.name}
    if not config.datasets:
        entry["default"] = True
    shared = not config.datasets and not _in_one_folder(config)
    entry["data_files"] = [{"split": name, "path": split.paths(whole, shared)} for name, split in config.splits.items()]
    return entry


def _in_one_folder(config: Config) -> bool:
    return any(file["path"].startswith(f"{INTERLEAVED}/") for split in config.splits.values() for file in split.files)


def info_entry(config: Config) -> dict[str, Any]:
    """Return what the card says of a configuration's contents, but for its features."""
    return {
        "config_name": config.name,
        "description": f"winnow mix, files {config.digest}",
        "download_size": config.bytes,
        "splits": [{"name": name, "num_examples": split.rows} for name, split in config.splits.items()],
    }
