"""A run that meets a damaged file of its folder: the file is removed with what rests on it, and the run goes on.

Guarantees: only what a run makes from the inputs is removed; each file once, so that a disk that damages all it is
given stops the run; every removal is said.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TypeVar

from cluster import storage
from cluster.errors import DamagedError
from stages.core import manifest
from stages.passes.quarantined import piece_name

R = TypeVar("R")
NOTES = ("ledger-made-by", "ledger-made-from.json", "ledger-recipe.lock.yaml", "report-made-from", "card-made-from")
BEFORE_GENERATIONS = ("facts/bundles.json", "facts/inputs.json")


def until_whole(root: str, attempt: Callable[[], R]) -> R:
    """Return what `attempt` returns; after a DamagedError, make what it names be made again and try once more."""
    seen: set[str] = set()
    while True:
        try:
            return attempt()
        except DamagedError as error:
            gone = rests_on(root, error.path)
            if not gone or error.path in seen:
                raise
            seen.add(error.path)
            for path in gone:
                storage.remove(path)
            logging.getLogger("winnow.run").warning("%s Removed: %s.", error, ", ".join(gone))


def rests_on(root: str, path: str) -> list[str]:
    """Return what has to go with a damaged file so that a run makes both again; empty where it cannot.

    Exchange files and decisions go with their whole step, facts with the other parts of their bundle.
    """
    place = path.removeprefix(f"{root}/")
    parts = place.split("/")
    if place == path or ".." in parts:
        return []
    match parts:
        case ["manifest.parquet"]:
            return [path, *(storage.join(root, name) for name in BEFORE_GENERATIONS)]
        case ["exchange", step, *_]:
            return [storage.join(root, "exchange", step)]
        case ["decisions", kind, _, _] if kind == "ledger" or kind.partition(".")[0] == "mix":
            return [path]
        case ["decisions", "mix.cells", _]:
            return [path]
        case ["decisions", kind, _, "before", _] if kind.partition(".")[0] == "mix":
            return [path]  # of files that were there before: without it they are written whole
        case ["decisions", stage, address, _, *_]:
            return [storage.join(root, "decisions", stage, address)]
        case ["facts", "near_dedup", _, _] | ["facts", "types" | "numberings", _]:
            return [path]
        case ["facts", stage, address, name]:
            folder = storage.join(root, "facts", stage, address)
            stem = name.partition(".")[0]
            return [storage.join(folder, n) for n in sorted(storage.names(folder)) if n.partition(".")[0] == stem]
        case ["quarantine", name]:
            facts = _facts_read(root, name)
            return [path, *facts] if facts else []
        case ["decisions", name] if name in NOTES:
            return [path]
        case ["recipe.lock.yaml" | "timings.json"] | ["facts", _]:
            return [path]
        case ["ledger" | "staged" | "mix" | "mixes" | "dropped", *_]:
            return [path]
    return []


def _facts_read(root: str, name: str) -> list[str]:
    """Return the facts that were read with the problems of a quarantine file; none where it is about a whole input."""
    frozen = manifest.read_manifest(root)
    for bundle in frozen.bundles if frozen else ():
        if name in {f"{piece_name(piece)}.jsonl" for piece in bundle.pieces}:
            start = f"{bundle.number}-{bundle.fingerprint}"
            top = storage.join(root, "facts", "read")
            folders = [storage.join(top, address) for address in sorted(storage.names(top))]
            return [storage.join(f, n) for f in folders for n in sorted(storage.names(f)) if n.startswith(start)]
    return []
