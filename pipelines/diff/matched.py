"""Which row of one run's ledger is which row of another's.

A file is the same in both where its content is (fingerprint and rows in manifest.parquet), wherever it lies; its
documents then match row by row. Of files that only one run has, documents match by dataset and native id; of ids that
occur more than once, the first matches the first. A document without an id in such a file matches none. Memory: a
batch of each ledger, a part of `spill`, and both manifests.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.diff.spill import KEY, key_of_texts, together
from pipelines.runfolder import RunFolder
from stages.core.arrays import whole

SIDE = {  # of either ledger
    "doc_id": pa.int64(),
    "kept": pa.bool_(),
    "copies": pa.int32(),
    "stage": pa.string(),
    "reason": pa.string(),
    "value": pa.float64(),
    "threshold": pa.float64(),
    "representative": pa.int64(),
    "num_tokens": pa.int64(),
}
NAMES = {"dataset": pa.string(), "path": pa.string(), "row": pa.int64(), "id": pa.string()}
Shard = dict[str, Any]  # a row of the manifest


@dataclass
class Found:
    """How documents were matched, counted as tables come."""

    files: int = 0  # in both runs
    only_old: int = 0  # files
    only_new: int = 0
    by_row: int = 0  # documents
    by_id: int = 0
    unmatched_old: int = 0
    unmatched_new: int = 0


def schema() -> pa.Schema:
    """Return the columns of a table of matched documents: names, then those of SIDE as old_… and new_…."""
    sides = [(f"{side}_{name}", kind) for side in ("old", "new") for name, kind in SIDE.items()]
    return pa.schema([*NAMES.items(), *sides])


def matched(old: RunFolder, new: RunFolder, found: Found) -> Iterator[pa.Table]:
    """Yield every document of either run once, with its ledger rows; what one run has not is null there."""
    pairs, old_rest, new_rest = pair_files(old.manifest.to_pylist(), new.manifest.to_pylist())
    found.files, found.only_old, found.only_new = len(pairs), len(old_rest), len(new_rest)
    for one, other in _aligned(_ledger(old, [p[0] for p in pairs]), _ledger(new, [p[1] for p in pairs])):
        found.by_row += one.num_rows
        yield _side_by_side(other, one, other)
    yield from _by_id(old, new, old_rest, new_rest, found)


def pair_files(old: list[Shard], new: list[Shard]) -> tuple[list[tuple[Shard, Shard]], list[Shard], list[Shard]]:
    """Return (pairs with the same content, files of the old run alone, files of the new run alone)."""
    pairs: list[tuple[Shard, Shard]] = []
    for key in (
        lambda s: (s["dataset"], s.get("within") or s["path"], s["fingerprint"], s["rows"]),
        lambda s: (s["dataset"], s["fingerprint"], s["rows"]),
        lambda s: (s["fingerprint"], s["rows"]),
    ):
        more, old, new = _pair_by(key, old, new)
        pairs += more
    return pairs, old, new


def _pair_by(
    key: Callable[[Shard], Hashable], old: list[Shard], new: list[Shard]
) -> tuple[list[tuple[Shard, Shard]], list[Shard], list[Shard]]:
    waiting: dict[Hashable, list[Shard]] = defaultdict(list)
    for shard in reversed(new):
        waiting[key(shard)].append(shard)
    pairs, rest = [], []
    for shard in old:
        if waiting.get(key(shard)):
            pairs.append((shard, waiting[key(shard)].pop()))
        else:
            rest.append(shard)
    taken = {id(other) for _, other in pairs}
    return pairs, rest, [shard for shard in new if id(shard) not in taken]


def _ledger(run: RunFolder, shards: list[Shard]) -> Iterator[pa.Table]:
    """Yield the ledger of files in the given order."""
    wanted = [*NAMES, *SIDE]
    for shard in shards:
        for table in run.ledger_of([shard], wanted):  # type: ignore[list-item]
            yield table.select(wanted).cast(pa.schema([*NAMES.items(), *SIDE.items()]))


def _aligned(one: Iterator[pa.Table], other: Iterator[pa.Table]) -> Iterator[tuple[pa.Table, pa.Table]]:
    """Yield two streams of equally many rows in tables of equal length."""
    left, right = next(one, None), next(other, None)
    while left is not None and right is not None:
        rows = min(left.num_rows, right.num_rows)
        if rows:
            yield left.slice(0, rows), right.slice(0, rows)
        left = left.slice(rows) if rows < left.num_rows else next(one, None)
        right = right.slice(rows) if rows < right.num_rows else next(other, None)


def _side_by_side(names: pa.Table, old: pa.Table | None, new: pa.Table | None) -> pa.Table:
    rows = names.num_rows
    columns = [names.column(name) for name in NAMES]
    for side in (old, new):
        columns += [pa.nulls(rows, kind) if side is None else side.column(name) for name, kind in SIDE.items()]
    return pa.Table.from_arrays(columns, schema=schema())


def _by_id(
    old: RunFolder, new: RunFolder, old_rest: list[Shard], new_rest: list[Shard], found: Found
) -> Iterator[pa.Table]:
    """Yield the documents of files that one run alone has, those with the same dataset and id side by side."""
    keyed = pa.schema([*NAMES.items(), *SIDE.items(), (KEY, pa.uint64())])
    streams = [(_keyed(t) for t in _ledger(run, rest)) for run, rest in ((old, old_rest), (new, new_rest))]
    for one, other in together(list(streams), [keyed, keyed]):
        mine, theirs = _occurrences(one), _occurrences(other)
        both = mine.select(["dataset", "id", "occurrence", "at"]).join(
            theirs.select(["dataset", "id", "occurrence", "at"]).rename_columns(["dataset", "id", "occurrence", "to"]),
            keys=["dataset", "id", "occurrence"],
            join_type="inner",
        )
        both = both.sort_by("at")
        at, to = both.column("at"), both.column("to")
        if both.num_rows:
            yield _side_by_side(other.take(to), one.take(at), other.take(to))
        alone, fresh = _without(one, at), _without(other, to)
        found.by_id += both.num_rows
        found.unmatched_old += alone.num_rows
        found.unmatched_new += fresh.num_rows
        for names, left, right in ((alone, alone, None), (fresh, None, fresh)):
            if names.num_rows:
                yield _side_by_side(names, left, right)


def _keyed(table: pa.Table) -> pa.Table:
    names = pc.binary_join_element_wise(
        table.column("dataset"), pc.fill_null(table.column("id"), ""), pa.scalar("\0"), null_handling="replace"
    )
    return table.append_column(KEY, key_of_texts(whole(names)))


def _occurrences(table: pa.Table) -> pa.Table:
    """Return dataset, id, how often the id came before (in the ledger's order) and the row, of rows with an id."""
    table = table.append_column("at", pa.array(np.arange(table.num_rows)))
    table = table.filter(pc.is_valid(table.column("id"))).sort_by(
        [("dataset", "ascending"), ("id", "ascending"), ("doc_id", "ascending")]
    )
    codes = [table.column(name).combine_chunks().dictionary_encode().indices.to_numpy() for name in ("dataset", "id")]
    new = np.ones(table.num_rows, np.bool_)
    if table.num_rows:
        new[1:] = (np.diff(codes[0]) != 0) | (np.diff(codes[1]) != 0)
    place = np.arange(table.num_rows)
    return table.append_column("occurrence", pa.array(place - place[new][np.cumsum(new) - 1]))


def _without(table: pa.Table, rows: pa.ChunkedArray) -> pa.Table:
    rest = np.ones(table.num_rows, np.bool_)
    rest[rows.to_numpy()] = False
    return table.filter(pa.array(rest))
