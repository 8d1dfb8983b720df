"""Put the facts of a bundle, and verdicts on it, together from those of bundles that held its shards before.

Where shards are added, a bundle may take in another one or be cut in another way (`arrange.py`). Its documents are the
same, so their facts are copied, row by row, and no text is read again; verdicts are copied as they are, for
`stages/dedup/kept.py`, which knows what doc_ids in them mean. Guarantees: a row whose facts are not there is
left to the first read; so are the rows of pieces of which something could not be read, unless they are cut as they
were. Memory: of one bundle, and of those it came from, the facts of one stage.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from cluster import storage
from cluster.engines import Engine, Growth, TaskCost
from stages.core.arrays import array
from stages.core.costs import Quantity
from stages.core.manifest import Manifest
from stages.core.shard import Bundle, Piece
from stages.core.sidecar import Sidecars
from stages.passes import quarantined

NAME = re.compile(r"([0-9]+-[0-9a-f]{16})([0-9a-f]{8})(?:\.[0-9]+)?\.arrow")  # bundle, and how it was read
FILES = Growth(quantity=Quantity.FILES)
ADOPT = TaskCost(name="adopt facts", tasks=FILES, work=FILES, rare=True)


@dataclass(frozen=True)
class Source:
    """Rows [first, last) of a bundle as it was, which are rows `at`, … of a new one.

    bad: something of them could not be read, and they are cut in another way now.
    """

    bundle: Bundle
    first: int
    last: int
    at: int
    bad: bool


@dataclass(frozen=True)
class Adoption:
    """The facts of one stage to be put together for one bundle. folder: where they lie."""

    folder: str
    reading: str
    bundle: Bundle
    sources: tuple[Source, ...]


def adopt_facts(engine: Engine, root: str, old: Manifest, new: Manifest) -> None:
    """Write the facts of bundles of `new` that `old` does not have, as far as there are facts of their shards."""
    known = {(bundle.number, bundle.fingerprint) for bundle in old.bundles}
    fresh = [bundle for bundle in new.bundles if (bundle.number, bundle.fingerprint) not in known]
    found = _sources(root, old, fresh) if fresh else []
    if any(sources for _, sources in found):
        engine.map(_adopt, list(_adoptions(root, found)), cost=ADOPT)


def _sources(root: str, old: Manifest, fresh: Sequence[Bundle]) -> list[tuple[Bundle, list[Source]]]:
    """Return where the rows of each bundle lay before."""
    lay: dict[tuple[str, str, str], list[tuple[Piece, Bundle, int]]] = {}
    for bundle in old.bundles:
        offset = 0
        for piece in bundle.pieces:
            key = piece.shard.dataset, piece.shard.path, piece.shard.fingerprint
            lay.setdefault(key, []).append((piece, bundle, offset))
            offset += piece.rows
    listed = storage.names(quarantined.folder_of(root))
    return [(bundle, list(_of_bundle(bundle, lay, listed))) for bundle in fresh]


def _of_bundle(
    bundle: Bundle, lay: dict[tuple[str, str, str], list[tuple[Piece, Bundle, int]]], listed: set[str]
) -> Iterator[Source]:
    offset = 0
    for piece in bundle.pieces:
        for before, home, place in lay.get((piece.shard.dataset, piece.shard.path, piece.shard.fingerprint), ()):
            first, last = max(piece.start, before.start), min(piece.stop, before.stop)
            same = (piece.start, piece.stop) == (before.start, before.stop)
            if first < last:
                row, bad = place + first - before.start, not same and quarantined.is_about(listed, before)
                yield Source(home, row, row + last - first, offset + first - piece.start, bad)
        offset += piece.rows


def _adoptions(root: str, found: Sequence[tuple[Bundle, list[Source]]]) -> Iterator[Adoption]:
    """Yield what is to be written, by one listing for each folder of facts."""
    for kind in ("facts", "decisions"):
        top = storage.join(root, kind)
        for folder in [storage.join(top, use, n) for use in sorted(storage.names(top)) for n in _addresses(top, use)]:
            there: dict[str, set[str]] = {}
            for name in storage.names(folder):
                if match := NAME.fullmatch(name):
                    there.setdefault(match[1], set()).add(match[2])
            for bundle, every in found if there else ():
                mine = there.get(_stem(bundle), set())
                sources = [source for source in every if kind == "decisions" or not source.bad]
                for reading in sorted({r for source in sources for r in there.get(_stem(source.bundle), ())} - mine):
                    yield Adoption(folder, reading, bundle, tuple(sources))


def _addresses(top: str, use: str) -> list[str]:
    return sorted(storage.names(storage.join(top, use)))


def _stem(bundle: Bundle) -> str:
    return f"{bundle.number}-{bundle.fingerprint}"


def _adopt(job: Adoption) -> None:
    sidecars = Sidecars(job.folder)
    if storage.exists(sidecars.path(job.bundle, job.reading)):
        return
    parts: list[pa.Table] = []
    for source in sorted(job.sources, key=lambda source: source.at):
        table = sidecars.read_if_there(source.bundle, job.reading)
        if table is not None:
            row = array(table, "row").astype(np.int64)
            first, last = np.searchsorted(row, [source.first, source.last])
            moved = pa.array((row[first:last] - source.first + source.at).astype(np.uint32))
            parts.append(table.slice(first, last - first).set_column(0, table.schema.field("row"), moved))
    if not parts:
        return
    whole = pa.concat_tables(parts)
    facts = whole.drop_columns(["row"])
    with sidecars.writer(job.bundle, job.reading, facts.schema.remove_metadata()) as writer:
        writer.append(array(whole, "row"), facts)
