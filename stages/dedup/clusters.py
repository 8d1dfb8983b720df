"""A tree of centroids over a sample of embeddings, grown until each leaf stands for few documents.

The root is split by k-means over parts of the sample: a task sums one part, another adds the sums. Each node below is
split by one task, on its share of the sample. Guarantees: sums are exact (kernels/similarity/lloyd.py), so the tree
depends on the sample alone. Memory: one part of the sample, or a node's share of at most CHILDREN x SAMPLE_PER_CENTROID
vectors; a process that descends the tree holds it once, a vector for each leaf.
"""

from __future__ import annotations

import functools
import logging
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from cluster import storage
from cluster.engines import Engine, Growth, TaskCost
from cluster.exchange import Exchange
from cluster.files.arrow_files import read_arrow, read_arrow_if_there, write_arrow
from cluster.outputs import Outputs
from cluster.scale import scaled
from stages.core.arrays import array, places_in, whole
from stages.core.costs import DOCUMENTS, ONCE, Quantity
from stages.inputs.vectors import VECTOR, to_lists, to_matrix
from stages.kernels.dispatch.space import space
from stages.kernels.similarity import lloyd
from stages.kernels.similarity.cosine import F16, I64, two_nearest

CHILDREN = scaled(1024, least=8)  # of one node
SAMPLE_PER_CENTROID = 64
PART = scaled(65_536)  # vectors of one part of the sample
UNEVEN = 1.5  # a leaf may stand for so many times the documents that it should
LEVELS = 8  # a leaf that is larger then holds vectors that do not part
SAMPLE = pa.schema([("key", pa.uint64()), ("embedding", VECTOR)])
NODE_SAMPLE = pa.schema([("destination", pa.int32()), ("node", pa.int32()), *SAMPLE])
I32 = npt.NDArray[np.int32]
_loading = threading.Lock()


def _parts(documents: float) -> float:
    """Return the parts of the sample of so many documents: 64 in 10,000 of them."""
    return max(1.0, documents * SAMPLE_PER_CENTROID / 10_000 / PART)


PARTS = Growth(quantity=Quantity.DOCUMENTS, law=_parts)
SUM = TaskCost(name="k-means: sum", tasks=PARTS, work=DOCUMENTS)
MOVE = TaskCost(name="k-means: move centroids", tasks=ONCE, work=DOCUMENTS)
COUNT = TaskCost(name="count leaves", tasks=PARTS, work=DOCUMENTS)
SEND = TaskCost(name="send samples to nodes", tasks=PARTS, work=DOCUMENTS)
SPLIT = TaskCost(name="split nodes", tasks=PARTS, work=DOCUMENTS)


@dataclass(frozen=True, eq=False)
class Tree:
    """Nodes below the root, parents before children, those of one parent side by side. parent: -1 for the root."""

    parent: I32
    vectors: F16

    def children(self, node: int) -> slice:
        """Return the rows of a node's children; -1: those of the root."""
        first, last = np.searchsorted(self.parent, [node, node + 1])
        return slice(int(first), int(last))

    def descend(self, vectors: F16, *, second_too: bool = False) -> tuple[I32, I32]:
        """Return (leaf of each vector, another leaf near to it), (docs,) each.

        second_too : the other leaf is the one below the second nearest child of the leaf's parent; else it is the leaf.
        """
        leaf, second = self._descend(vectors, np.full(len(vectors), -1, np.int32))
        if second_too:
            return leaf, self._descend(vectors, second)[0]
        return leaf, leaf

    def _descend(self, vectors: F16, start: I32) -> tuple[I32, I32]:
        at, second = start.copy(), start.copy()
        open_ = np.arange(len(vectors))
        while len(open_):
            going = np.zeros(len(open_), np.bool_)
            for node in np.unique(at[open_]).tolist():
                mine = np.flatnonzero(at[open_] == node)
                below = self.children(node)
                if below.stop > below.start:
                    pair = two_nearest(vectors[open_[mine]], self.vectors[below], space())
                    at[open_[mine]], second[open_[mine]] = pair[0] + below.start, pair[1] + below.start
                    going[mine] = True
            open_ = open_[going]
        return at, second


def read_tree(path: str) -> Tree:
    """Return a tree, read once per process; its path is addressed by what determines it."""
    with _loading:
        return _read_tree(path)


@functools.lru_cache(maxsize=2)
def _read_tree(path: str) -> Tree:
    table = read_arrow(path)
    vectors = to_matrix(table.column("embedding"))
    parent = array(table, "parent").astype(np.int32) if "parent" in table.schema.names else None
    return Tree(np.full(len(vectors), -1, np.int32) if parent is None else parent, vectors)


def sorted_part(_: int, table: pa.Table) -> pa.Table | None:
    """Return one part of the sample by key and vector, each once: the same for any order of arrival."""
    if not table.num_rows:
        return None
    vectors, key = to_matrix(table.column("embedding")), array(table, "key").astype(np.uint64)
    rows = np.ascontiguousarray(vectors).view(np.dtype((np.void, vectors.shape[1] * 2))).reshape(-1)
    order = np.argsort(rows, kind="stable")
    order = order[np.argsort(key[order], kind="stable")]
    same = (key[order][1:] == key[order][:-1]) & (rows[order][1:] == rows[order][:-1])
    return table.combine_chunks().take(pa.array(order[np.r_[True, ~same]]))


@dataclass(frozen=True, kw_only=True)
class Growing:
    """What the tasks that grow a tree are given. share: of the documents that are in the sample."""

    folder: str
    share: float
    per_leaf: float  # documents that a leaf should stand for

    def tree_path(self, level: int) -> str:
        return storage.join(self.folder, f"tree-{level}.arrow")

    def wanted(self, sampled: I64) -> I64:
        """Return how many leaves nodes with so many vectors of the sample should have."""
        return np.ceil(sampled / self.share / self.per_leaf).astype(np.int64)


def grow(engine: Engine, growing: Growing, sample: Outputs, documents: int) -> str | None:
    """Return the path of the tree over a sample; None where it holds no two vectors."""
    parts = sample.present
    if not parts or not _split_root(engine, growing, parts, documents):
        return None
    done = storage.names(growing.folder)
    for level in range(LEVELS + 1):
        if f"tree-{level + 1}.arrow" in done:
            continue
        counts = _leaf_counts(engine, growing.tree_path(level), parts)
        leaves = np.flatnonzero(counts / growing.share > UNEVEN * growing.per_leaf)
        if level == LEVELS or not len(leaves):
            break
        if not _split_leaves(engine, growing, parts, level, leaves, counts[leaves]):
            break
    _warn(growing, counts)
    return growing.tree_path(level)


def _warn(growing: Growing, counts: I64) -> None:
    """Log a leaf that stands for many more documents than it should."""
    largest = counts.max(initial=0) / growing.share
    if largest > 10 * growing.per_leaf:
        logging.getLogger("winnow.semantic_dedup").warning(
            "a cluster of about %s documents cannot be split: their vectors are nearly equal. Drop equal texts before "
            "(exact_dedup), or give the workers memory for it.",
            f"{round(largest):,}",
        )


# --- the root: sums of parts ------------------------------------------------------------------------------


def _split_root(engine: Engine, growing: Growing, parts: list[str], documents: int) -> bool:
    """Write the first level by k-means over some parts of the sample; return whether there is one."""
    if storage.exists(growing.tree_path(0)):
        return True
    clusters = int(min(CHILDREN, max(2, np.ceil(documents / growing.per_leaf))))
    mine = parts[: max(1, -(-4 * SAMPLE_PER_CENTROID * clusters // PART))]  # key ranges: any of them is a sample
    [found] = engine.map(partial(_begin, growing, clusters), [mine[0]], cost=MOVE)
    if found < 2:
        return False
    for turn in range(lloyd.ITERATIONS):
        engine.map(partial(_sum_part, growing, turn), list(enumerate(mine)), cost=SUM)
        [moved] = engine.map(partial(_move, growing, len(mine)), [turn], cost=MOVE)
        if not moved:
            break
    engine.map(partial(_finish_root, growing), [turn + 1], cost=MOVE)
    return True


def _centroids_path(growing: Growing, turn: int) -> str:
    return storage.join(growing.folder, f"centroids-{turn}.arrow")


def _sums_path(growing: Growing, turn: int, part: int) -> str:
    return storage.join(growing.folder, f"sums-{turn}-{part}.arrow")


def _begin(growing: Growing, clusters: int, path: str) -> int:
    centroids = lloyd.first_distinct(to_matrix(read_arrow(path).column("embedding")), clusters)
    write_arrow(_centroids_path(growing, 0), pa.table({"embedding": to_lists(centroids)}), scratch=True)
    return len(centroids)


def _sum_part(growing: Growing, turn: int, part: tuple[int, str]) -> None:
    """Write the sums of one part of the sample, by nearest centroid."""
    number, path = part
    centroids = to_matrix(read_arrow(_centroids_path(growing, turn)).column("embedding"))
    sums, _ = lloyd.partial_sums(to_matrix(read_arrow(path).column("embedding")), centroids, space())
    lists = pa.FixedSizeListArray.from_arrays(pa.array(sums.reshape(-1)), sums.shape[1])
    write_arrow(_sums_path(growing, turn, number), pa.table({"sum": lists}), scratch=True)


def _move(growing: Growing, parts: int, turn: int) -> bool:
    """Add the sums of all parts, in order, and write the next centroids; return whether one of them moved."""
    before = to_matrix(read_arrow(_centroids_path(growing, turn)).column("embedding"))
    total = np.zeros(before.shape, np.float64)
    for part in range(parts):
        sums = whole(read_arrow(_sums_path(growing, turn, part)).column("sum")).flatten()
        total += sums.to_numpy().reshape(before.shape)
    after = lloyd.next_centroids(total, before)
    write_arrow(_centroids_path(growing, turn + 1), pa.table({"embedding": to_lists(after)}), scratch=True)
    return not np.array_equal(before, after)


def _finish_root(growing: Growing, turn: int) -> None:
    vectors = to_matrix(read_arrow(_centroids_path(growing, turn)).column("embedding"))
    _write_tree(growing.tree_path(0), np.full(len(vectors), -1, np.int32), vectors)


def _write_tree(path: str, parent: I32, vectors: F16) -> None:
    write_arrow(path, pa.table({"parent": pa.array(parent), "embedding": to_lists(vectors)}), scratch=True)


# --- the nodes below: a task for each ---------------------------------------------------------------------


def _leaf_counts(engine: Engine, tree: str, parts: list[str]) -> I64:
    """Return how many vectors of the sample lie in each node that has no children, (nodes,)."""
    found = engine.map(partial(_count_leaves, tree), parts, cost=COUNT)
    counts = np.zeros(max((int(leaves.max()) + 1 for leaves, _ in found if len(leaves)), default=0), np.int64)
    for leaves, numbers in found:
        counts[leaves] += numbers
    return counts


def _count_leaves(tree: str, path: str) -> tuple[I32, I64]:
    leaf, _ = read_tree(tree).descend(to_matrix(read_arrow(path).column("embedding")))
    leaves, numbers = np.unique(leaf, return_counts=True)
    return leaves, numbers


def _split_leaves(engine: Engine, growing: Growing, parts: list[str], level: int, leaves: I64, counts: I64) -> bool:
    """Write the next level: the children of these leaves; return whether any could be split."""
    hop = Exchange(
        folder=storage.join(growing.folder, f"nodes-{level}"),
        destinations=len(leaves),
        schema=NODE_SAMPLE,
        route="destination",
    )
    clusters = np.minimum(growing.wanted(counts), CHILDREN)
    most = np.minimum(1.0, clusters * SAMPLE_PER_CENTROID / counts)  # of a node's vectors that its task gets
    leaves_path = storage.join(growing.folder, f"leaves-{level}.arrow")
    table = pa.table({"node": pa.array(leaves), "clusters": pa.array(clusters), "most": pa.array(most)})
    write_arrow(leaves_path, table, scratch=True)
    emit = partial(_emit_nodes, growing, level, leaves_path)
    receive = partial(_split_node, leaves_path)
    found = hop.run(engine, parts, emit, receive, emit_cost=SEND, receive_cost=SPLIT)
    [grown] = engine.map(partial(_join_level, growing, level, found), [leaves_path], cost=MOVE)
    return bool(grown)


def _emit_nodes(growing: Growing, level: int, leaves_path: str, path: str) -> Iterable[pa.Table]:
    """Yield the vectors of one part of the sample that lie in nodes to be split, by node."""
    sample, leaves = read_arrow(path), read_arrow(leaves_path)
    node, _ = read_tree(growing.tree_path(level)).descend(to_matrix(sample.column("embedding")))
    known = array(leaves, "node").astype(np.int64)
    at = places_in(known, node)
    key = array(sample, "key").astype(np.uint64)
    # The keys of a sample fill its share of all; each node takes its own share of these.
    limit = array(leaves, "most").astype(np.float64)[at] * growing.share * 2.0**64
    rows = np.flatnonzero((at >= 0) & (key.astype(np.float64) < limit))
    columns = [pa.array(at[rows].astype(np.int32)), pa.array(node[rows]), *sample.take(pa.array(rows)).columns]
    yield pa.table(columns, schema=NODE_SAMPLE)


def _split_node(leaves_path: str, destination: int, table: pa.Table) -> pa.Table | None:
    """Return the children of one node; none where its vectors do not part."""
    part = sorted_part(destination, table)
    if part is None:
        return None
    clusters = int(read_arrow(leaves_path).column("clusters")[destination].as_py())
    centroids = lloyd.lloyd(to_matrix(part.column("embedding")), clusters, space())
    if len(centroids) < 2:
        return None
    parent = np.full(len(centroids), part.column("node")[0].as_py(), np.int32)
    return pa.table({"parent": pa.array(parent), "embedding": to_lists(centroids)})


def _join_level(growing: Growing, level: int, found: Outputs, _: str) -> int:
    """Write the tree with the children of one more level; return how many there are."""
    tree = read_tree(growing.tree_path(level))
    tables = [table for path in found.present if (table := read_arrow_if_there(path)) is not None]
    if not tables:
        return 0
    new = pa.concat_tables(tables)
    parent = np.concatenate([tree.parent, array(new, "parent").astype(np.int32)])
    vectors = np.concatenate([tree.vectors, to_matrix(new.column("embedding"))])
    _write_tree(growing.tree_path(level + 1), parent, vectors)
    return len(vectors) - len(tree.vectors)
