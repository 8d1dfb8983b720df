"""Which benchmark items had n-grams that did not count as evidence because they are common, noted per bundle.

Guarantees: beside the stage's decisions and addressed as they are, so a run that has nothing left to do knows them
too; the same for any partitioning. Memory: the names of such items.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from cluster import storage
from cluster.files.records import read_record
from cluster.files.sealed import write_json
from stages.core.run import StageRun
from stages.core.stage import Stage

FOLDER = "set-aside"  # in that of the decisions


def write(stage_run: StageRun[Stage], bundle: int, place: npt.NDArray[np.int64], matches: pa.Array) -> None:
    """Note the matches of one bundle that did not count; `place` is the document of each."""
    names = zip(*(matches.field(name).to_pylist() for name in ("benchmark", "item")), strict=True)
    items: dict[str, set[str]] = {}
    documents: dict[str, set[int]] = {}
    for document, (benchmark, item) in zip(place.tolist(), names, strict=True):
        items.setdefault(benchmark, set()).add(item)
        documents.setdefault(benchmark, set()).add(document)
    found = {name: [sorted(items[name]), len(documents[name])] for name in sorted(items)}
    path = storage.join(_folder(stage_run), f"{bundle}.json")
    write_json(path, found)


def read(stage_run: StageRun[Stage]) -> dict[str, tuple[set[str], int]]:
    """Return, per benchmark, the items concerned and the number of documents."""
    found: dict[str, tuple[set[str], int]] = {}
    folder = _folder(stage_run)
    for file in storage.names(folder):
        noted = read_record(storage.join(folder, file), dict[str, tuple[list[str], int]])
        for name, (items, documents) in noted.items():
            known, before = found.get(name, (set(), 0))
            found[name] = known | set(items), before + documents
    return found


def number(count: int, what: str) -> str:
    """Return a number of things in words.

    >>> number(1, "item"), number(1200, "item")
    ('1 item', '1,200 items')
    """
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def _folder(stage_run: StageRun[Stage]) -> str:
    return storage.join(stage_run.decisions.folder, FOLDER)
