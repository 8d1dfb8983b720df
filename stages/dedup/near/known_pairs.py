"""Verified pairs as facts: stored by one run, read by the next.

Guarantees: another threshold reads no text for a pair that was compared before. Memory: the pairs of one file.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import partial

import numpy as np
import pyarrow as pa

from cluster import storage
from cluster.engines import Engine
from cluster.exchange import Batches, Exchange, Streamed, as_they_come
from cluster.files.arrow_files import open_arrow, scan_arrow, write_tables
from cluster.outputs import Outputs
from stages.core.arrays import array
from stages.core.costs import CANDIDATES, per_group
from stages.core.numbering import note_numbering, translated
from stages.core.run import Run
from stages.dedup.near.buckets import Groups, per_candidates
from stages.dedup.near.components import Labels, component_keys
from stages.dedup.near.job import NearJob
from stages.dedup.near.judge import PAIRS

SIMILARITIES = pa.schema([*PAIRS, ("similarity", pa.float64())])  # float32 would round .7 below .7
KEYED = pa.schema([("key", pa.uint64()), *SIMILARITIES])
TEXTS = pa.schema([("destination", pa.int32()), ("doc", pa.int64()), ("text", pa.large_string())])
NUMBERING = b"winnow.numbering"
AT_HOME = pa.schema([("destination", pa.int32()), *SIMILARITIES])


KEEP = per_candidates("keep verified pairs")
RECALL = per_candidates("route known pairs")
SORT = per_group("sort known pairs", CANDIDATES, rare=True)
SEND, RECEIVE = per_candidates("send known pairs"), per_candidates("receive known pairs")


def texts_hop(near: NearJob, destinations: int, round_: int) -> Exchange:
    """Return the exchange that brings texts to the undecided pairs of one round; destinations write similarities."""
    folder = near.folder(f"texts-{round_}")
    return Exchange(folder=folder, destinations=destinations, schema=TEXTS, route="destination", reread=True)


def keep_pairs(engine: Engine, near: NearJob, groups: Groups) -> None:
    """Store the verified pairs of this run as facts, one file per destination."""
    rounds = sum(name.startswith("texts-") for name in storage.names(near.folder("")))
    found = [texts_hop(near, groups.destinations, round_).outputs_so_far() for round_ in range(rounds)]
    some = sorted({d for outputs in found for d, _ in outputs.numbered})
    engine.map(partial(_keep_pairs, near, found, note_numbering(near.run)), some, cost=KEEP)


def _keep_pairs(near: NearJob, found: Sequence[Outputs], numbering: str, d: int) -> None:
    paths = [path for outputs in found if (path := outputs[d])]
    name = f"{near.run.decision_digest(near.index)}-{d}.arrow"
    schema = SIMILARITIES.with_metadata({NUMBERING: numbering})
    write_tables(storage.join(near.pairs_folder, name), _tables(paths), schema)


def _tables(paths: Iterable[str]) -> Iterator[pa.Table]:
    """Yield the pairs of files, those of one round of a destination at a time."""
    for path in paths:
        yield from (pa.Table.from_batches([batch]) for batch in scan_arrow(path))


def _today(run: Run, source: str) -> Iterator[pa.Table]:
    """Yield the pairs of a file of facts with today's doc_ids; those of which a document is gone are left out."""
    name = (open_arrow(source).schema.metadata or {}).get(NUMBERING)
    if name is None:
        return  # of an earlier winnow, whose doc_ids could mean other documents by now
    for table in _tables([source]):
        sides = [translated(run, name.decode(), array(table, side).astype(np.int64)) for side in PAIRS.names]
        here = (sides[0] >= 0) & (sides[1] >= 0)
        columns = [*(pa.array(side) for side in sides), table.column("similarity")]
        yield pa.table(columns, schema=SIMILARITIES).filter(pa.array(here))


def recall_pairs(engine: Engine, near: NearJob, groups: Groups) -> Sequence[str | None]:
    """Route the verified pairs of earlier runs to the destinations of their components; return its files."""
    folder = near.pairs_folder
    mine = near.run.decision_digest(near.index)
    names = sorted(n for n in storage.names(folder) if n.endswith(".arrow") and not n.startswith(mine))
    sources = [storage.join(folder, name) for name in names]
    if near.verify != "exact" or not sources:
        return Outputs.of(near.folder("known"), groups.destinations, range(groups.destinations))
    hop = Exchange(folder=near.folder("known"), destinations=groups.destinations, schema=KEYED)
    found: list[tuple[int, str]] = [(0, path) for path in sources]
    if groups.labels.by_group:
        home = Exchange(
            folder=near.folder("known-home"),
            destinations=len(near.run.manifest.groups),
            schema=AT_HOME,
            route="destination",
        )
        emit = partial(_emit_home, near.run)
        paths = home.run(engine, sources, emit, Streamed(_receive_known), emit_cost=RECALL, receive_cost=SORT)
        found = paths.numbered
    send = partial(_emit_known, near.run, groups.labels)
    return hop.run(engine, found, send, Streamed(_receive_known), emit_cost=SEND, receive_cost=RECEIVE)


def _emit_home(run: Run, source: str) -> Iterable[pa.Table]:
    for table in _today(run, source):
        where = run.manifest.group_of(array(table, "left").astype(np.int64)).astype(np.int32)
        yield pa.table([pa.array(where), *table.columns], schema=AT_HOME)


def _emit_known(run: Run, labels: Labels, source: tuple[int, str]) -> Iterable[pa.Table]:
    """Yield pairs, routed by their first document; the judge skips pairs whose second document is elsewhere."""
    group, path = source
    known = labels.of_group(group)
    for table in _tables([path]) if labels.by_group else _today(run, path):
        key, here = component_keys(known, array(table, "left").astype(np.int64))
        yield pa.table([pa.array(key), *table.columns], schema=KEYED).filter(pa.array(here))


def _receive_known(_: int, batches: Batches) -> Iterator[pa.Table]:
    return (table.select(SIMILARITIES.names) for table in as_they_come(_, batches))
