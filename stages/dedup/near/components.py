"""Connected components of the documents that share buckets, and the label (least member) of each document.

Up to AT_ONCE documents, union-find in one task; beyond that, rounds of large-star and small-star through the
exchange, partitioned by document, so that no task holds more than its share. Guarantees: the same labels either way; a
finished round is not repeated. Memory: at once, 45 bytes for every document that shares a bucket in the
one task, and a file of 16 that later tasks map; in rounds, one file of buckets or one destination's edges.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from cluster import storage
from cluster.engines import Engine, Growth, TaskCost
from cluster.exchange import Exchange
from cluster.files.arrow_files import count_rows, open_arrow, read_arrow, write_arrow
from cluster.files.sealed import damaged
from cluster.scale import scaled
from stages.core.arrays import array, places_in, whole
from stages.core.costs import CANDIDATES, Quantity, per_group
from stages.core.run import Run, StageRun
from stages.core.stage import Stage
from stages.kernels.hashes.hashing import mix64
from stages.kernels.survivors.components import join
from stages.kernels.survivors.stars import large_star, small_star

I64 = npt.NDArray[np.int64]
U64 = npt.NDArray[np.uint64]
AT_ONCE = scaled(16_000_000)  # documents that one task may have to join: 700 MB
EDGES_PER_DESTINATION = scaled(2_000_000)
NODE_SEED = 3
COMPONENT_SEED = 2
ROUNDS = 1000  # chains of a billion need about 30

LABELS = pa.schema([("doc", pa.int64()), ("label", pa.int64())])
EDGES = pa.schema([("key", pa.uint64()), ("node", pa.int64()), ("other", pa.int64())])
HOME = pa.schema([("destination", pa.int32()), *LABELS])


@dataclass(frozen=True, kw_only=True)
class Labels:
    """Files of (doc, label) rows, sorted by doc: one of all documents, or one per group of bundles. Picklable."""

    paths: Sequence[str | None]
    by_group: bool
    documents: int  # that share a bucket
    largest: int  # documents of the largest component

    def at(self, run: Run, position: int) -> pa.Table:
        """Return a table that holds the labels of the bundle at `position`, among others."""
        return self.of_group(run.manifest.group_at(position))

    def of_group(self, group: int) -> pa.Table:
        """Return a table that holds the labels of a group of bundles, among others."""
        path = self.paths[group if self.by_group else 0]
        return read_arrow(path) if path else LABELS.empty_table()


def component_keys(labels: pa.Table, doc: I64) -> tuple[U64, npt.NDArray[np.bool_]]:
    """Return the routing key of each document's component, (docs,) uint64, and whether it has one, (docs,) bool."""
    known = array(labels, "doc").astype(np.int64, copy=False)
    at = places_in(known, doc)
    found, label = at >= 0, np.zeros(len(doc), np.uint64)
    label[found] = array(labels, "label")[at[found]]
    return mix64(label, COMPONENT_SEED), found


def all_fit_one_task(run: Run) -> bool:
    """Tell whether one task can join the buckets of a run, however many documents share them."""
    return run.manifest.rows() <= AT_ONCE


def join_buckets(engine: Engine, stage_run: StageRun[Stage], buckets: Sequence[str | None]) -> Labels:
    """Label the documents of files of buckets by component: in one task, or in rounds if there can be too many."""
    run, folder = stage_run.run, stage_run.folder("components")
    if not all_fit_one_task(run):
        records = sum(engine.map(count_rows, [path for path in buckets if path], cost=COUNT))
        if records > AT_ONCE:
            return _in_rounds(engine, run, folder, [path for path in buckets if path])
    path = storage.join(folder, "labels.arrow")
    [(documents, largest)] = engine.map(partial(_components, buckets), [path], cost=JOIN)
    return Labels(paths=(path,), by_group=False, documents=documents, largest=largest)


def _join_tasks(candidates: float) -> float:
    """Return how many tasks join components: one as long as it may hold all candidates."""
    return 1.0 if candidates <= AT_ONCE else _edge_tasks(candidates)


JOIN = TaskCost(name="join components", tasks=Growth(quantity=Quantity.CANDIDATES, law=_join_tasks), work=CANDIDATES)


def _by_edges(name: str) -> TaskCost:
    """Return the cost of tasks, one per destination of edges; no sample of the input is large enough to time them."""
    return TaskCost(name=name, tasks=Growth(quantity=Quantity.CANDIDATES, law=_edge_tasks), work=CANDIDATES, rare=True)


def _edge_tasks(candidates: float) -> float:
    return edge_destinations(2 * candidates)


COUNT, COUNT_OPEN = _by_edges("count edges"), _by_edges("count open documents")
CONTRACT = _by_edges("join within files of buckets")
SIZE = _by_edges("count components")
SEND = _by_edges("route labels")
SORT = per_group("sort labels", CANDIDATES, rare=True)
SEND_EDGES, TIE_LARGE = _by_edges("send edges"), _by_edges("tie to the least neighbour")
SEND_STARS, TIE_SMALL = _by_edges("send stars"), _by_edges("tie smaller neighbours")


# --- at once ---------------------------------------------------------------------------------------------


def _components(buckets: Sequence[str | None], labels: str) -> tuple[int, int]:
    """Join buckets that share documents; return (documents, size of the largest component)."""
    if not storage.exists(labels):
        paths = [path for path in buckets if path]
        docs = _distinct(paths)
        label = np.arange(len(docs), dtype=np.int64)
        for path in paths:
            key, found, code = _members(path)
            code = _places(docs, found)[code]
            join(label, _centres(key, code), code)
        write_arrow(labels, pa.table([pa.array(docs), pa.array(docs[label])], schema=LABELS), scratch=True)
    found = array(read_arrow(labels), "label")
    if not len(found):
        return 0, 0
    return len(found), int(np.unique(found, return_counts=True)[1].max())


def _distinct(paths: Sequence[str]) -> I64:
    """Return the distinct doc_ids of all files, ascending; files are gathered until one more sort pays."""
    docs, pending = np.empty(0, np.int64), [np.empty(0, np.int64)]
    for path in paths:
        pending.append(_members(path)[1])
        if sum(map(len, pending)) > len(docs):
            docs, pending = _sorted([docs, *pending]), []
    return _sorted([docs, *pending])


def _sorted(parts: Sequence[I64]) -> I64:
    """Return the distinct values of all parts, ascending; several times faster than `np.unique` (2026-11)."""
    values = np.sort(np.concatenate(parts))
    new = np.ones(len(values), np.bool_)
    np.not_equal(values[1:], values[:-1], out=new[1:])
    return values[new]


def _places(docs: I64, found: I64) -> I64:
    """Return the place of each of `found` in the ascending `docs`; searches in order, which the caches favour."""
    order = np.argsort(found)
    place = np.empty(len(found), np.int64)
    place[order] = np.searchsorted(docs, found[order])
    return place


def _members(path: str) -> tuple[U64, I64, I64]:
    """Return (keys, distinct documents, position of each member among these) of one file of buckets."""
    table = read_arrow(path)
    encoded = whole(table.column("doc")).dictionary_encode()
    return array(table, "key"), encoded.dictionary.to_numpy(), encoded.indices.to_numpy().astype(np.int64)


def _centres(key: U64, code: I64) -> I64:
    """Return the first member of each member's bucket; `key` holds the members of a bucket side by side."""
    if not len(key):
        return code
    starts = np.flatnonzero(np.r_[True, key[1:] != key[:-1]])
    return np.repeat(code[starts], np.diff(np.r_[starts, len(key)]))


# --- in rounds -------------------------------------------------------------------------------------------


def _in_rounds(engine: Engine, run: Run, folder: str, buckets: Sequence[str]) -> Labels:
    """Label every document with the least of its component in rounds, then route the labels to groups of bundles."""
    stars = _stars(engine, folder, buckets)
    sizes = engine.map(_sizes, stars, cost=SIZE)
    home = Exchange(
        folder=storage.join(folder, "home"),
        destinations=len(run.manifest.groups),
        schema=HOME,
        route="destination",
    )
    emit = partial(_emit_labels, run)
    return Labels(
        paths=home.run(engine, stars, emit, _receive_labels, emit_cost=SEND, receive_cost=SORT),
        by_group=True,
        documents=sum(documents for documents, _ in sizes),
        largest=max((largest for _, largest in sizes), default=0),
    )


def edge_destinations(edges: float) -> int:
    """Return the number of destinations for so many edges; depends on the data alone."""
    return max(1, math.ceil(edges / EDGES_PER_DESTINATION))


def _hop(folder: str, name: str, destinations: int) -> Exchange:
    return Exchange(folder=storage.join(folder, name), destinations=destinations, schema=EDGES)


def _stars(engine: Engine, folder: str, buckets: Sequence[str]) -> list[str]:
    """Alternate large-star and small-star until only stars remain; return files of (document, least of component).

    Every hop has as many destinations as the edges that are left ask for.
    """
    log = logging.getLogger("winnow.components")
    first, found = _last_round(folder)
    if not first:
        found = engine.map(partial(_contract, folder), list(enumerate(buckets)), cost=CONTRACT)
    for turn in range(first, ROUNDS):
        edges = sum(engine.map(count_rows, found, cost=COUNT))
        large = _hop(folder, f"large-{turn}", edge_destinations(2 * edges))
        out = large.run(engine, found, _emit_both_ways, _receive_large, emit_cost=SEND_EDGES, receive_cost=TIE_LARGE)
        stars = _files(out)
        tied = engine.map(_tied, stars, cost=COUNT_OPEN)
        still_open = sum(open_ for _, open_ in tied)
        log.info("round %d: %d documents are not tied to their least yet", turn, still_open)
        if not still_open:
            return stars
        small = _hop(folder, f"small-{turn + 1}", edge_destinations(sum(edges for edges, _ in tied)))
        out = small.run(engine, stars, _emit_greater, _receive_small, emit_cost=SEND_STARS, receive_cost=TIE_SMALL)
        found = _files(out)
        storage.write_bytes(_marker(folder, turn + 1), str(small.destinations).encode(), scratch=True)
        for name in (f"large-{turn}", f"small-{turn}" if turn else "contracted"):
            storage.remove(storage.join(folder, name))
    raise AssertionError(f"components are not joined after {ROUNDS} rounds")


def _marker(folder: str, turn: int) -> str:
    """Return the path of the file that says a round is finished, and how many destinations its edges lie in."""
    return storage.join(folder, f"round-{turn}")


def _last_round(folder: str) -> tuple[int, list[str]]:
    """Return the last round that is finished and the files of its edges; (0, []) where there is none."""
    last = max((int(n.removeprefix("round-")) for n in storage.names(folder) if n.startswith("round-")), default=0)
    if not last:
        return 0, []
    return last, _files(_hop(folder, f"small-{last}", _destinations(_marker(folder, last))).outputs())


def _destinations(marker: str) -> int:
    """Return what the file of a finished round says. Raises DamagedError."""
    text = storage.read_bytes(marker)
    if not text.isdigit():
        raise damaged(marker, "it is empty" if not text else "it holds no number")
    return int(text)


def _files(outputs: Sequence[str | None]) -> list[str]:
    return [path for path in outputs if path]


def _edges(node: I64, other: I64) -> pa.Table:
    columns = [pa.array(mix64(node, NODE_SEED)), pa.array(node), pa.array(other)]
    return pa.table(columns, schema=EDGES)


def _ends(path: str) -> tuple[I64, I64]:
    table = read_arrow(path)
    return array(table, "node").astype(np.int64, copy=False), array(table, "other").astype(np.int64, copy=False)


def _contract(folder: str, source: tuple[int, str]) -> str:
    """Write the edges of one file of buckets after union-find within it, one per document; return their file."""
    number, path = source
    target = storage.join(folder, "contracted", f"{number}.arrow")
    if not storage.exists(target):
        key, found, code = _members(path)
        docs = np.sort(found)
        label = np.arange(len(docs), dtype=np.int64)
        code = _places(docs, found)[code]
        join(label, _centres(key, code), code)
        tied = np.flatnonzero(label != np.arange(len(docs)))
        edges = pa.table([pa.array(docs[tied]), pa.array(docs[label[tied]])], names=["node", "other"])
        write_arrow(target, edges, scratch=True)
    return target


def _emit_both_ways(path: str) -> Iterable[pa.Table]:
    node, other = _ends(path)
    yield _edges(node, other)
    yield _edges(other, node)


def _emit_greater(path: str) -> Iterable[pa.Table]:
    yield _edges(*_ends(path))


def _receive_large(_: int, table: pa.Table) -> pa.Table | None:
    high, low, still_open = large_star(array(table, "node").astype(np.int64), array(table, "other").astype(np.int64))
    if not table.num_rows:
        return None
    edges = pa.table([pa.array(high), pa.array(low)], names=["node", "other"])
    return edges.replace_schema_metadata({"open": str(still_open)})


def _receive_small(_: int, table: pa.Table) -> pa.Table | None:
    high, low = small_star(array(table, "node").astype(np.int64), array(table, "other").astype(np.int64))
    return pa.table([pa.array(high), pa.array(low)], names=["node", "other"]) if len(high) else None


def _tied(path: str) -> tuple[int, int]:
    """Return (edges, documents that are not tied to their least yet) of one file of large-star."""
    return count_rows(path), int(open_arrow(path).schema.metadata[b"open"])


def _sizes(path: str) -> tuple[int, int]:
    """Return (documents, size of the largest component) of one file of stars."""
    counts = np.unique(_ends(path)[1], return_counts=True)[1] + 1
    return int(counts.sum()), int(counts.max(initial=0))


def _emit_labels(run: Run, path: str) -> Iterable[pa.Table]:
    doc, label = _ends(path)
    centres = np.unique(label)
    doc, label = np.r_[doc, centres], np.r_[label, centres]
    where = run.manifest.group_of(doc).astype(np.int32)
    yield pa.table([pa.array(where), pa.array(doc), pa.array(label)], schema=HOME)


def _receive_labels(_: int, table: pa.Table) -> pa.Table | None:
    if not table.num_rows:
        return None
    order = pa.array(np.argsort(array(table, "doc"), kind="stable"))
    return table.select(LABELS.names).combine_chunks().take(order)
