"""Lineage: the survivor of every duplicate, found by following representatives, and the size of its group.

A document is dropped by one dedup stage for a representative, which a later stage may drop: a dedup stage, for
another representative (the chain goes on), or a filter (no survivor). A representative is only dropped later in the
recipe, so there are at most as many rounds as dedup stages. Few verdicts, where no filter comes after deduplication,
are followed by one task. Memory: the dropped documents of one group of bundles, or `AT_ONCE` bytes of verdicts some six
times; messages of 24 bytes.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from functools import partial

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from cluster import storage
from cluster.engines import Engine
from cluster.exchange import Exchange
from cluster.files.arrow_files import read_arrow, read_arrow_if_there, write_arrow
from cluster.outputs import Outputs
from cluster.scale import scaled
from stages.core.arrays import array, places_in
from stages.core.costs import per_group
from stages.core.digests import digest
from stages.core.run import Run
from stages.core.shard import ROW_BITS, Bundle
from stages.core.stage import ShardStage
from stages.core.view import View
from stages.dedup.dedup_stage import DedupStage

I64 = npt.NDArray[np.int64]
NONE = -1
AT_ONCE = scaled(32 << 20)  # bytes of the files of verdicts that one task follows: of about a million
MOST_AT_ONCE = 512  # and files, since it asks for them one after the other
VERDICT_BYTES, FILE_BYTES = 21, 1500  # of a verdict, and of a file of them beside these

MESSAGES = pa.schema([("destination", pa.int32()), ("doc", pa.int64()), ("at", pa.int64())])
SETTLED = pa.schema([("doc", pa.int64()), ("survivor", pa.int64())])
HOME = pa.schema([("destination", pa.int32()), *SETTLED])
GROUPS = pa.schema([("doc", pa.int64()), ("group_size", pa.int32()), ("group_datasets", pa.large_string())])


def lineage_digest(run: Run) -> str:
    """Return the digest of everything that decides which documents are kept."""
    last = len(run.stages) - 1
    return digest("lineage", run.decision_digest(last), [run.decision_digest(i) for i in dedup_stages(run)])


def dedup_stages(run: Run) -> list[int]:
    """Return the places of the dedup stages in the run."""
    return [i for i, stage in enumerate(run.stages) if isinstance(stage, DedupStage)]


def _folder(run: Run, hop: str) -> str:
    return storage.join(run.root, "decisions", "lineage", lineage_digest(run), hop)


def trace(engine: Engine, run: Run, *, in_hops: bool = False) -> None:
    """Write survivor and group files of every group of bundles; finished rounds are not repeated.

    in_hops : also where there are few verdicts, for a planner that foresees many.
    """
    if not dedup_stages(run) or _complete(run):
        return
    chases = list[Outputs]()
    if not in_hops and is_one_task(run, *_verdict_files(run)):
        engine.map(partial(_trace_at_once, run), [0], cost=FOLLOW)
    else:
        chases = _trace_in_hops(engine, run)
    storage.write_bytes(storage.join(_folder(run, ""), "complete"), b"")
    for chase in chases:
        storage.remove(chase.folder)


def _trace_in_hops(engine: Engine, run: Run) -> list[Outputs]:
    """Write the files of all groups; return what is to be removed then."""
    rounds, groups = len(dedup_stages(run)), len(run.manifest.groups)
    sources: Sequence[tuple[int, str | None]] = [(g, None) for g in range(groups)]
    chases: list[Outputs] = []
    for round_ in range(rounds):
        emit, follow = partial(_emit, run), partial(_follow, run)
        out = _chase(run, round_).run(engine, sources, emit, follow, emit_cost=SEND, receive_cost=FOLLOW)
        chases.append(out)
        sources = out.numbered
    route = partial(_emit_home, run, chases)
    _home(run).run(engine, range(groups), route, _receive_home, emit_cost=ROUTE, receive_cost=SORT)
    counted = storage.names(_folder(run, "groups"))
    todo = [g for g in range(groups) if f"{g}.arrow" not in counted]
    engine.map(partial(_count_groups, run, chases), todo, cost=COUNT)
    return chases


def _chase(run: Run, round_: int) -> Exchange:
    """Return the exchange of one round: every duplicate is followed to the next representative."""
    folder, groups = _folder(run, f"chase-{round_}"), len(run.manifest.groups)
    return Exchange(folder=folder, destinations=groups, schema=MESSAGES, route="destination", scratch=False)


def _home(run: Run) -> Exchange:
    """Return the exchange that routes survivors to their duplicates."""
    folder, groups = _folder(run, "home"), len(run.manifest.groups)
    return Exchange(folder=folder, destinations=groups, schema=HOME, route="destination", scratch=False)


SEND = per_group("send lost documents")
FOLLOW = per_group("follow representatives")
ROUTE = per_group("route survivors")
SORT = per_group("sort survivors")
COUNT = per_group("count group members")


def _complete(run: Run) -> bool:
    """Tell whether every file exists; removes the rest of a lineage of which some were deleted."""
    if not storage.exists(storage.join(_folder(run, ""), "complete")):
        return False
    counted = storage.names(_folder(run, "groups"))
    groups = range(len(run.manifest.groups))
    if _home(run).has_all_outputs() and all(f"{g}.arrow" in counted for g in groups):
        return True
    storage.remove(_folder(run, ""))
    return False


def _final(run: Run, position: int) -> tuple[View, I64]:
    """Return (view, fate) of a bundle, fate (rows,): representative of duplicates, NONE - 1: filtered, NONE: kept.

    What stages before the first deduplication drop counts as kept: no duplicate is led there. So where no filter comes
    after it, stored verdicts are all that is read.
    """
    view = View.at(run, position)
    fate = np.full(view.bundle.rows, NONE, np.int64)
    for index in range(dedup_stages(run)[0], len(run.stages)):
        stage = run.stages[index]
        if isinstance(stage, DedupStage):
            if stage.applies_to(view.bundle.dataset):
                table = view.stored_decisions(index)
                fate[array(table, "row").astype(np.int64)] = array(table, "representative").astype(np.int64)
        elif not isinstance(stage, ShardStage) or stage.drops:
            rows, decisions = view.decided(index)
            fate[rows[decisions.dropped]] = NONE - 1
    return view, fate


def _messages(run: Run, doc: I64, at: I64) -> pa.Table:
    where = run.manifest.group_of(at).astype(np.int32)
    return pa.table([pa.array(where), pa.array(doc), pa.array(at)], schema=MESSAGES)


def _emit(run: Run, source: tuple[int, str | None]) -> Iterable[pa.Table]:
    group, path = source
    if path is not None:
        table = read_arrow(path)
        table = table.filter(pa.array(array(table, "open").astype(np.bool_)))
        yield _messages(run, array(table, "doc").astype(np.int64), array(table, "at").astype(np.int64))
        return
    for position in run.manifest.groups[group]:
        view, fate = _final(run, position)
        lost = np.flatnonzero(fate >= 0)
        yield _messages(run, view.doc_ids[lost], fate[lost])


def _follow(run: Run, group: int, table: pa.Table) -> pa.Table | None:
    """Follow each duplicate one step: its representative is kept (final), filtered (none), or a duplicate (open)."""
    if not table.num_rows:
        return None
    doc, at = array(table, "doc").astype(np.int64), array(table, "at").astype(np.int64)
    position, row = run.manifest.locate(at)
    next_at = np.full(len(doc), NONE, np.int64)
    for here in run.manifest.groups[group]:
        mine = position == here
        if mine.any():
            next_at[mine] = _final(run, here)[1][row[mine]]
    is_open = next_at >= 0
    lost = next_at == NONE - 1
    at = np.where(is_open, next_at, np.where(lost, NONE, at))
    columns = {"doc": pa.array(doc), "at": pa.array(at), "open": pa.array(is_open)}
    return pa.table(columns)


def _settled(chases: Sequence[Outputs], group: int) -> tuple[I64, I64]:
    """Return (duplicates, survivors) that ended at this group in any round; NONE where no survivor exists."""
    docs, ends = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
    for chase in chases:
        if path := chase[group]:
            table = read_arrow(path)
            closed = ~array(table, "open").astype(np.bool_)
            docs.append(array(table, "doc").astype(np.int64)[closed])
            ends.append(array(table, "at").astype(np.int64)[closed])
    return np.concatenate(docs), np.concatenate(ends)


def _emit_home(run: Run, chases: Sequence[Outputs], group: int) -> Iterable[pa.Table]:
    doc, survivor = _settled(chases, group)
    where = run.manifest.group_of(doc).astype(np.int32)
    yield pa.table([pa.array(where), pa.array(doc), pa.array(survivor)], schema=HOME)


def _receive_home(_: int, table: pa.Table) -> pa.Table:
    return table.select(SETTLED.names).combine_chunks().sort_by("doc")


def _count_groups(run: Run, chases: Sequence[Outputs], group: int) -> None:
    doc, survivor = _settled(chases, group)
    _write_groups(run, group, doc[survivor >= 0], survivor[survivor >= 0])


def _write_groups(run: Run, group: int, doc: I64, survivor: I64) -> None:
    """Write group_size and group_datasets of the survivors with duplicates in one group of bundles."""
    names = [d.name for d in run.datasets]
    order = np.argsort(survivor, kind="stable")
    winners, sizes = np.unique(survivor[order], return_counts=True)
    counts = np.zeros((len(winners), len(names)), np.int64)
    which = np.repeat(np.arange(len(winners)), sizes)
    np.add.at(counts, (which, _dataset_numbers(run, names, doc[order])), 1)
    np.add.at(counts, (np.arange(len(winners)), _dataset_numbers(run, names, winners)), 1)
    kinds, kind = np.unique(counts, axis=0, return_inverse=True)  # few: most groups are small
    texts = [json.dumps({n: int(c) for n, c in zip(names, row, strict=True) if c}) for row in kinds]
    members = pa.array(texts, pa.large_string()).take(pa.array(kind.reshape(-1)))
    columns = [pa.array(winners), pa.array((sizes + 1).astype(np.int32)), members]
    write_arrow(storage.join(_folder(run, "groups"), f"{group}.arrow"), pa.table(columns, schema=GROUPS))


def _dataset_numbers(run: Run, names: list[str], doc: I64) -> I64:
    ordinals = pa.array(doc >> ROW_BITS).dictionary_encode()
    shards = map(run.manifest.shard, ordinals.dictionary.to_pylist())
    numbers = np.array([names.index(shard.dataset) for shard in shards], np.int64)
    found: I64 = numbers[ordinals.indices.to_numpy()]
    return found


# --- few verdicts ----------------------------------------------------------------------------------------


def is_one_task(run: Run, files: int, verdict_bytes: float) -> bool:
    """Tell whether one task follows all verdicts: few, and nothing else decides, as no filter comes after them.

    files, verdict_bytes : of the verdicts.
    """
    rest = (stage for stage in run.stages[dedup_stages(run)[0] :] if not isinstance(stage, DedupStage))
    few = files <= MOST_AT_ONCE and verdict_bytes <= AT_ONCE
    return few and all(isinstance(stage, ShardStage) and not stage.drops for stage in rest)


def _verdict_files(run: Run) -> tuple[int, int]:
    sizes = [size for index in dedup_stages(run) for size in storage.sizes(run.decisions(index).folder).values()]
    return len(sizes), sum(sizes)


def _trace_at_once(run: Run, _: int) -> None:
    """Write the files of all groups."""
    doc, at = _verdicts(run)
    representative = at.copy()
    for _ in dedup_stages(run)[1:]:
        place = places_in(doc, at)
        at = np.where(place >= 0, representative[place], at)
    home, winner = run.manifest.group_of(doc), run.manifest.group_of(at)
    order = np.argsort(winner, kind="stable")
    winner, lost, survivor = winner[order], doc[order], at[order]
    by_home = np.argsort(home, kind="stable")
    home = home[by_home]
    for group in range(len(run.manifest.groups)):
        mine = by_home[slice(*np.searchsorted(home, [group, group + 1]))]
        table = pa.table([pa.array(doc[mine]), pa.array(at[mine])], schema=SETTLED)
        write_arrow(_home(run).output_path(group), table)
        first, last = np.searchsorted(winner, [group, group + 1])
        _write_groups(run, group, lost[first:last], survivor[first:last])


def _verdicts(run: Run) -> tuple[I64, I64]:
    """Return (documents that deduplication dropped, ascending, representative of each)."""
    docs, ends = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
    for position in range(len(run.manifest.bundles)):
        view = View.at(run, position)
        for index in dedup_stages(run):
            if run.stages[index].applies_to(view.bundle.dataset):
                table = view.stored_decisions(index)
                docs.append(view.doc_ids[array(table, "row")])
                ends.append(array(table, "representative").astype(np.int64))
    doc, end = np.concatenate(docs), np.concatenate(ends)
    order = np.argsort(doc)
    return doc[order], end[order]


def survivors_of(run: Run, group: int) -> tuple[I64, I64]:
    """Return (duplicates, survivors) of one group of bundles, sorted by duplicate; NONE where no survivor exists."""
    table = read_arrow_if_there(_home(run).output_path(group)) if dedup_stages(run) else None
    if table is None:
        return np.empty(0, np.int64), np.empty(0, np.int64)
    return array(table, "doc").astype(np.int64), array(table, "survivor").astype(np.int64)


def groups_of(run: Run, group: int) -> pa.Table:
    """Return the survivors with duplicates of one group of bundles, a table in `GROUPS` sorted by document."""
    path = storage.join(_folder(run, "groups"), f"{group}.arrow")
    table = read_arrow_if_there(path) if dedup_stages(run) else None
    return GROUPS.empty_table() if table is None else table


def group_sizes(run: Run, position: int) -> tuple[I64, npt.NDArray[np.int32]]:
    """Return (documents, size of the group of each): those of one bundle that stand for others too."""
    table = groups_of(run, run.manifest.group_at(position))
    doc = array(table, "doc").astype(np.int64, copy=False)
    parts = [slice(first, last) for first, last in rows_of_bundle(run.manifest.bundles[position], doc)]
    size = array(table, "group_size").astype(np.int32, copy=False)
    docs = [np.empty(0, np.int64), *(doc[part] for part in parts)]
    sizes = [np.empty(0, np.int32), *(size[part] for part in parts)]
    return np.concatenate(docs), np.concatenate(sizes)


def rows_of_bundle(bundle: Bundle, doc: I64) -> Iterable[tuple[int, int]]:
    """Yield the range of each piece's documents among these, which ascend."""
    for piece in bundle.pieces:
        start = piece.shard.ordinal << ROW_BITS
        first, last = np.searchsorted(doc, [start + piece.start, start + piece.stop]).tolist()
        yield first, last
