"""What the local files of datasets take on disk, at a glance: no file is opened, and few are looked at."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterable, Iterator

from cluster import storage
from stages.core.shard import Dataset
from stages.inputs.files import globs
from stages.inputs.files.discover import is_wild, walk


def sizes_if_few(datasets: Iterable[Dataset], most: int) -> dict[str, int] | None:
    """Return the bytes of each file below the datasets' paths, data or not; None in a store, and for more than `most`.

    None, too, where a file cannot be looked at: whoever reads it says why.
    """
    paths = [path for dataset in datasets for path in dataset.paths]
    if not all(storage.is_local(path) for path in paths):
        return None
    found = itertools.islice(itertools.chain.from_iterable(map(_files, paths)), most + 1)
    try:
        sizes = {file: os.stat(file).st_size for file in found}
    except OSError:
        return None
    return sizes if len(sizes) <= most else None


def _files(path: str) -> Iterator[str]:
    plain = storage.local_path(path)
    if os.path.isdir(plain):
        return walk(plain)
    if is_wild(plain) and not os.path.exists(plain):
        return globs.matching(plain)
    return iter((plain,))
