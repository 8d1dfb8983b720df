"""Survivors of each group of candidates, with true similarities where the estimate does not settle it.

A destination decides as far as it can from 8-bit signature slots and names the pairs whose true Jaccard
it needs; one pass over the bundles brings just those texts, and it decides again. Guarantees: a pair is
computed once and kept as a fact, so another threshold reads no text for it. Memory: one destination's
candidates and TEXT_BYTES of the texts of its open pairs, which lie in mapped files; texts over LONGEST
bytes are never fetched, their estimate decides and the ledger says so.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from cluster import storage
from cluster.engine import Engine
from cluster.exchange import Exchange, read_arrow, write_arrow
from stages.annotate import read_rows
from stages.base import BoolArray, array, digest, whole
from stages.dedup import ESTIMATED, EXACT, VERDICTS, survivor_order, verdicts
from stages.kernels.answers import Result
from stages.kernels.component_survivors import component_survivors
from stages.kernels.hashing import buffers
from stages.kernels.jaccard import estimate_pairs, exact_pairs, standard_error
from stages.kernels.normalise import normalise
from stages.kernels.survivors import resolve
from stages.minhash import MinHash
from stages.near_buckets import Groups
from stages.near_components import Labels, component_keys
from stages.near_dedup import NearDedup, minhash_stage, near_stage
from stages.run import Run

I64 = npt.NDArray[np.int64]
F64 = npt.NDArray[np.float64]
LONGEST = 16 << 20  # bytes of a text that is still compared by its shingles
TEXT_BYTES = 64 << 20  # of text compared at a time
SURE = 4.5  # standard errors from the threshold where the estimate is trusted: 7 in a million pairs

PAIRS = pa.schema([("left", pa.int64()), ("right", pa.int64())])
SIMILARITIES = pa.schema([*PAIRS, ("similarity", pa.float64())])  # float32 would round .7 below .7
KEYED = pa.schema([("key", pa.uint64()), *SIMILARITIES])
AT_HOME = pa.schema([("destination", pa.int32()), *SIMILARITIES])
WANTED = pa.schema([("destination", pa.int32()), ("doc", pa.int64()), ("home", pa.int32())])
TEXTS = pa.schema([("destination", pa.int32()), ("doc", pa.int64()), ("text", pa.large_string())])
NO, YES, UNKNOWN = 0, 1, 2


def survivors(engine: Engine, run: Run, index: int, groups: Groups) -> list[str | None]:
    """Return the files of verdicts, one per destination."""
    known = [_recall_pairs(engine, run, index, groups)]
    for turn in range(1 << 16):
        task = partial(_attempt, run, index, groups, known, turn)
        open_pairs = sum(engine.map(task, range(groups.destinations)))
        if not open_pairs:
            break
        known.append(_compare(engine, run, index, groups.destinations, turn))
    return [_verdicts_path(run, index, d) for d in range(groups.destinations)]


def _path(run: Run, index: int, hop: str, name: str) -> str:
    return storage.join(run.exchange_folder(index, hop), name)


def _verdicts_path(run: Run, index: int, destination: int) -> str:
    return _path(run, index, "verdicts", f"{destination}.arrow")


def _open_path(run: Run, index: int, turn: int, destination: int) -> str:
    return _path(run, index, f"open-{turn}", f"{destination}.arrow")


def _settled_path(run: Run, index: int, turn: int, destination: int) -> str:
    return _path(run, index, f"settled-{turn}", f"{destination}.arrow")


def _left_path(run: Run, index: int, turn: int, destination: int) -> str:
    return _path(run, index, f"left-{turn}", f"{destination}.arrow")


def _attempt(run: Run, index: int, groups: Groups, known: list[list[str | None]], turn: int, d: int) -> int:
    """Decide destination `d` or write down the pairs it has to know; return how many those are."""
    members, documents = groups.members[d], groups.documents[d]
    if storage.exists(_verdicts_path(run, index, d)):
        return 0
    if storage.exists(_open_path(run, index, turn, d)):
        return int(read_arrow(_open_path(run, index, turn, d)).num_rows)
    settled = [read_arrow(_settled_path(run, index, t, d)) for t in range(turn)]
    if members is None or documents is None:
        write_arrow(_verdicts_path(run, index, d), VERDICTS.empty_table())
        return 0
    table, buckets = read_arrow(documents), read_arrow(members)
    if turn:
        table, buckets = _still_open(table, buckets, read_arrow(_left_path(run, index, turn - 1, d)))
    judge = Judge(run, index, table, [paths[d] for paths in known])
    result = _decide(run, near_stage(run, index), judge, buckets)
    now = _verdicts(judge, result)
    if not len(result.unknown_left):
        write_arrow(_verdicts_path(run, index, d), pa.concat_tables([*settled, now]))
        return 0
    write_arrow(_settled_path(run, index, turn, d), now)
    left = pa.table([pa.array(judge.doc[result.open_group])], names=["doc"])
    write_arrow(_left_path(run, index, turn, d), left)
    pairs = [pa.array(judge.doc[side]) for side in (result.unknown_left, result.unknown_right)]
    write_arrow(_open_path(run, index, turn, d), pa.table(pairs, schema=PAIRS))
    return len(result.unknown_left)


def _still_open(table: pa.Table, buckets: pa.Table, left: pa.Table) -> tuple[pa.Table, pa.Table]:
    """Return the candidates and bucket members of the groups that are not settled."""
    wanted = whole(left.column("doc"))
    return tuple(t.filter(pc.is_in(whole(t.column("doc")), wanted)) for t in (table, buckets))


def _decide(run: Run, stage: NearDedup, judge: Judge, buckets: pa.Table) -> Result:
    start, member = _buckets(buckets, judge.doc)
    decide = resolve if stage.mode == "representative" else component_survivors
    return decide(
        start,
        member,
        survivor_order(run, judge.table),
        array(judge.table, "rank").astype(np.int32),
        array(judge.table, "protected").astype(np.bool_),
        array(judge.table, "eligible").astype(np.bool_),
        stage.within_dataset == "keep_all",
        stage.further_tries,
        judge,
    )


def _verdicts(judge: Judge, result: Result) -> pa.Table:
    """Return the documents that settled groups lose."""
    lost = np.flatnonzero((result.lost_to >= 0) & ~result.open_group)
    winner = result.lost_to[lost]
    similarity, kind = judge.similarity(winner, lost)
    return verdicts(judge.doc[lost], judge.doc[winner], similarity, kind)


def _buckets(table: pa.Table, doc: I64) -> tuple[I64, I64]:
    """Return bucket starts (buckets + 1,) and members as positions in `doc` (members,)."""
    bucket = array(table, "bucket")
    starts = np.flatnonzero(np.r_[True, bucket[1:] != bucket[:-1]])
    member = pc.index_in(whole(table.column("doc")), pa.array(doc)).to_numpy().astype(np.int64)
    return np.r_[starts, len(bucket)].astype(np.int64), member


class Judge:
    """Answers whether two documents of a destination are similar: no, yes, or unknown without text."""

    def __init__(self, run: Run, index: int, table: pa.Table, known: list[str | None]) -> None:
        self.table = table
        self.stage = near_stage(run, index)
        self.doc = array(table, "doc").astype(np.int64)
        self._h1, self._h2 = array(table, "h1"), array(table, "h2")
        self._long = array(table, "num_bytes").astype(np.int64) > LONGEST
        column = whole(table.column("slots"))
        width = column.type.byte_width
        data = np.frombuffer(column.buffers()[1], np.uint8, len(column) * width, column.offset * width)
        self._slots = data.reshape(-1, width)
        self._margin = 0.0
        if self.stage.verify == "exact":
            self._margin = SURE * float(standard_error(self.stage.threshold, width))
        self._pairs, self._values = self._load([path for path in known if path])

    def _load(self, paths: list[str]) -> tuple[I64, F64]:
        """Read verified pairs as sorted keys (position of left * documents + position of right)."""
        keys, values = [np.empty(0, np.int64)], [np.empty(0, np.float64)]
        candidates = pa.array(self.doc)
        for path in paths:
            pairs = read_arrow(path)
            left, right = (pc.index_in(whole(pairs.column(side)), candidates) for side in PAIRS.names)
            here = pc.and_(left.is_valid(), right.is_valid())  # others belong to groups that are settled
            keys.append(self._key(*(side.filter(here).to_numpy().astype(np.int64) for side in (left, right))))
            values.append(whole(pairs.column("similarity")).filter(here).to_numpy())
        joined, position = np.unique(np.concatenate(keys), return_index=True)
        return joined, np.concatenate(values)[position]

    def _key(self, left: I64, right: I64) -> I64:
        return np.minimum(left, right) * np.int64(len(self.doc)) + np.maximum(left, right)

    def similarity(self, left: I64, right: I64) -> tuple[F64, npt.NDArray[np.uint8]]:
        """Return the similarity that decides about each pair and its kind, (pairs,).

        A verified one counts only where the estimate is near the threshold: what other runs verified
        besides must not change a verdict.
        """
        left, right = np.asarray(left, np.int64), np.asarray(right, np.int64)
        value = estimate_pairs(self._slots, left, right).astype(np.float64)
        kind = np.full(len(left), ESTIMATED, np.uint8)
        known, at = self._known(left, right)
        known &= self._is_close(value, left, right)
        value[known] = self._values[at[known]]
        same = (self._h1[left] == self._h1[right]) & (self._h2[left] == self._h2[right])
        value[same] = 1.0
        kind[known | same] = EXACT
        return value, kind

    def _is_close(self, value: F64, left: I64, right: I64) -> BoolArray:
        """Tell which estimates do not settle their pair, (pairs,) bool."""
        close: BoolArray = np.abs(value - self.stage.threshold) < self._margin
        return close & ~(self._long[left] | self._long[right])

    def _known(self, left: I64, right: I64) -> tuple[BoolArray, I64]:
        if not len(self._pairs):
            return np.zeros(len(left), np.bool_), np.zeros(len(left), np.int64)
        keys = self._key(left, right)
        at = np.minimum(np.searchsorted(self._pairs, keys), len(self._pairs) - 1)
        return self._pairs[at] == keys, at

    def __call__(self, left: I64, right: I64) -> npt.NDArray[np.uint8]:
        """Return NO, YES or UNKNOWN for pairs of document positions, (pairs,) uint8."""
        if self.stage.verify == "none":
            return np.full(len(left), YES, np.uint8)
        value, kind = self.similarity(left, right)
        answer = np.where(value >= self.stage.threshold, YES, NO).astype(np.uint8)
        answer[(kind == ESTIMATED) & self._is_close(value, left, right)] = UNKNOWN
        return answer


def _compare(engine: Engine, run: Run, index: int, destinations: int, turn: int) -> list[str | None]:
    """Fetch the texts of all open pairs and return the files of their true similarities."""
    wanted = Exchange(
        folder=run.exchange_folder(index, f"wanted-{turn}"),
        destinations=len(run.manifest.groups),
        schema=WANTED,
        route="destination",
    )
    opened = [(d, path) for d in range(destinations) if storage.exists(path := _open_path(run, index, turn, d))]
    lists = wanted.run(engine, opened, partial(_emit_wanted, run, index, turn), _receive_wanted)
    texts = _texts(run, index, destinations, turn)
    sources = [(group, path) for group, path in enumerate(lists) if path]
    receive = partial(_receive_texts, run, index, destinations, turn)
    return texts.run(engine, sources, partial(_emit_texts, run, index), receive)


def _texts(run: Run, index: int, destinations: int, turn: int) -> Exchange:
    """Return the hop that brings texts to the pairs of one turn."""
    folder = run.exchange_folder(index, f"texts-{turn}")
    return Exchange(folder=folder, destinations=destinations, schema=TEXTS, route="destination")


def _emit_wanted(run: Run, index: int, turn: int, source: tuple[int, str]) -> Iterable[pa.Table]:
    """Name the documents of open pairs whose text no earlier turn brought."""
    home, path = source
    before = [p for t in range(turn) if storage.exists(p := _open_path(run, index, t, home))]
    doc = np.setdiff1d(_named(path), np.concatenate([np.empty(0, np.int64), *map(_named, before)]))
    columns = [run.manifest.group_of(doc).astype(np.int32), doc, np.full(len(doc), home, np.int32)]
    yield pa.table([pa.array(c) for c in columns], schema=WANTED)


def _named(path: str) -> I64:
    """Return the documents that a file of pairs names, sorted."""
    table = read_arrow(path)
    return np.unique(np.concatenate([array(table, side) for side in PAIRS.names])).astype(np.int64)


def _receive_wanted(_: int, table: pa.Table) -> pa.Table | None:
    return table.combine_chunks().sort_by("doc") if table.num_rows else None


def _emit_texts(run: Run, index: int, source: tuple[int, str]) -> Iterable[pa.Table]:
    """Read the wanted rows of one group of bundles, in file order."""
    group, path = source
    wanted = read_arrow(path)
    doc, home = array(wanted, "doc").astype(np.int64), array(wanted, "home").astype(np.int32)
    position, row = run.manifest.locate(doc)
    how = minhash_stage(run, index).normalise
    for here in run.manifest.groups[group]:
        mine = position == here
        if mine.any():
            bundle = run.manifest.bundles[here]
            for batch, at in read_rows(run, bundle, row[mine], ["text"]):
                text = normalise(whole(batch.table.column("text")), how)
                columns = [pa.array(home[mine][at]), pa.array(doc[mine][at]), text]
                yield pa.table(columns, schema=TEXTS)


def _receive_texts(run: Run, index: int, destinations: int, turn: int, d: int, table: pa.Table) -> pa.Table | None:
    """Compute the true Jaccard of every open pair of destination `d`."""
    path = _open_path(run, index, turn, d)
    if not storage.exists(path):
        return None
    pairs = read_arrow(path)
    named = pa.array(_named(path))
    for before in range(turn):
        known = _texts(run, index, destinations, before).gathered(d)
        table = pa.concat_tables([table, known.filter(pc.is_in(known.column("doc"), named))])
    doc = array(table, "doc").astype(np.int64)
    order = np.argsort(doc)
    left, right = (order[np.searchsorted(doc[order], array(pairs, s).astype(np.int64))] for s in ("left", "right"))
    value = _similarities(minhash_stage(run, index), table.column("text"), left, right)
    columns = [pairs.column("left"), pairs.column("right"), pa.array(value)]
    return pa.table(columns, schema=SIMILARITIES)


def _similarities(how: MinHash, text: pa.ChunkedArray, left: I64, right: I64) -> F64:
    """Return the true Jaccard of pairs of rows, a few TEXT_BYTES of text at a time; the texts are mapped files."""
    size = np.asarray(pc.binary_length(text), np.int64)
    order = np.lexsort((right, left))
    block = np.cumsum(size[left[order]] * (np.diff(left[order], prepend=-1) != 0) + size[right[order]]) // TEXT_BYTES
    value = np.empty(len(left), np.float64)
    for pairs in np.split(order, np.flatnonzero(np.diff(block)) + 1):
        rows, place = np.unique(np.r_[left[pairs], right[pairs]], return_inverse=True)
        data, offsets = buffers(_taken(text, rows))
        ends = place[: len(pairs)], place[len(pairs) :]
        value[pairs] = exact_pairs(data, offsets, *ends, how.shingle_width, words=how.shingles == "words")
    return value


def _taken(text: pa.ChunkedArray, rows: I64) -> pa.Array:
    """Return these rows, ascending, and copy no others: `take` on chunks would join all of them first."""
    starts = np.cumsum([0, *map(len, text.chunks)])
    bounds = np.searchsorted(rows, starts)
    parts = [
        chunk.take(pa.array(rows[first:last] - start))
        for chunk, start, first, last in zip(text.chunks, starts, bounds, bounds[1:], strict=False)
        if last > first
    ]
    return pa.concat_arrays(parts) if parts else pa.array([], text.type)


def _facts_folder(run: Run, index: int) -> str:
    """Where verified pairs lie: addressed by what a true similarity depends on, besides the texts."""
    how = minhash_stage(run, index)
    address = digest("pairs", how.shingle_width, how.shingles, how.normalise)
    return storage.join(run.root, "facts", "near_dedup", address)


def keep_pairs(engine: Engine, run: Run, index: int, groups: Groups) -> None:
    """Keep the verified pairs of this run as facts."""
    engine.map(partial(_keep_pairs, run, index), range(groups.destinations))


def _keep_pairs(run: Run, index: int, d: int) -> None:
    found = []
    turn = 0
    while storage.names(folder := run.exchange_folder(index, f"texts-{turn}")):
        path = storage.join(folder, f"out-{d}.arrow")
        if storage.exists(path):
            found.append(read_arrow(path))
        turn += 1
    if found:
        name = f"{run.decision_digest(index)}-{d}.arrow"
        write_arrow(storage.join(_facts_folder(run, index), name), pa.concat_tables(found))


def _recall_pairs(engine: Engine, run: Run, index: int, groups: Groups) -> list[str | None]:
    """Route the pairs that earlier runs verified to the destinations of their components."""
    folder = _facts_folder(run, index)
    mine = run.decision_digest(index)
    names = sorted(n for n in storage.names(folder) if n.endswith(".arrow") and not n.startswith(mine))
    sources = [storage.join(folder, name) for name in names]
    if near_stage(run, index).verify != "exact" or not sources:
        return [None] * groups.destinations
    hop = Exchange(folder=run.exchange_folder(index, "known"), destinations=groups.destinations, schema=KEYED)
    found: list[tuple[int, str]] = [(0, path) for path in sources]
    if groups.labels.by_group:
        home = Exchange(
            folder=run.exchange_folder(index, "known-home"),
            destinations=len(run.manifest.groups),
            schema=AT_HOME,
            route="destination",
        )
        paths = home.run(engine, sources, partial(_emit_home, run), _receive_known)
        found = [(group, path) for group, path in enumerate(paths) if path]
    return hop.run(engine, found, partial(_emit_known, groups.labels), _receive_known)


def _emit_home(run: Run, source: str) -> Iterable[pa.Table]:
    table = read_arrow(source)
    where = run.manifest.group_of(array(table, "left").astype(np.int64)).astype(np.int32)
    yield pa.table([pa.array(where), *table.columns], schema=AT_HOME)


def _emit_known(labels: Labels, source: tuple[int, str]) -> Iterable[pa.Table]:
    """Send pairs where their first document goes; the judge passes over those whose second one is not there."""
    group, path = source
    table = read_arrow(path)
    key, here = component_keys(labels.of_group(group), array(table, "left").astype(np.int64))
    yield pa.table([pa.array(key), *table.columns], schema=KEYED).filter(pa.array(here))


def _receive_known(_: int, table: pa.Table) -> pa.Table | None:
    return table.select(SIMILARITIES.names).combine_chunks() if table.num_rows else None
