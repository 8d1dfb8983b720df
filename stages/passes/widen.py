"""Give every input column of a dataset one type, after its shards are frozen and before a row is read.

Guarantees: the types depend on the live shards alone, not on the order in which they came; shards that were frozen
earlier are not read again, unless one was retired or other columns are asked for. Memory: one dataset's columns.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial

import pyarrow as pa

from cluster.engines import Engine, Growth, TaskCost
from cluster.errors import RecipeError, ShardError
from stages.core.costs import Quantity
from stages.core.manifest import Manifest
from stages.core.run import Run
from stages.core.shard import Dataset, Piece, Shard
from stages.core.types import Types, read_types, shards_address
from stages.core.types import write_types as store_types
from stages.inputs import schema
from stages.inputs.columns import COLUMN
from stages.inputs.fit import fit
from stages.inputs.reader import file_columns, read_piece
from stages.inputs.schema import Columns

SHARDS_PER_TASK = 64
FILES = Growth(quantity=Quantity.FILES)
LOOK = TaskCost(name="look at columns", tasks=FILES, work=FILES, rare=True)
TRY = TaskCost(name="try types", tasks=FILES, work=FILES, rare=True)
Fresh = Mapping[str, Columns]  # dataset -> what the shards hold that were just frozen


def write_types(
    engine: Engine, run: Run, manifest: Manifest, fresh: Fresh, new: Sequence[Shard], old: Manifest | None
) -> None:
    """Store the types of every dataset's columns. fresh: what the shards in `new` hold; old: the manifest before."""
    for dataset in run.datasets:
        names = run.wanted(dataset.name)
        live = manifest.live_of(dataset.name)
        stored = read_types(run.root, dataset.name)
        if not names or (stored and stored.names == names and stored.shards == shards_address(live)):
            continue
        added = {s.ordinal for s in new if s.dataset == dataset.name}
        before = _address_of_rest(dataset.name, [s for s in live if s.ordinal not in added], old)
        if stored is not None and stored.names == names and stored.shards == before:
            found = schema.from_json(stored.columns) | fresh.get(dataset.name, Columns())
        elif len(added) == len(live):
            found = fresh.get(dataset.name, Columns())
        else:
            found = _join(engine.map(partial(_columns, run, dataset), _tasks(live), cost=LOOK))
        _check_content(dataset, found)
        final = _settled(engine, run, dataset, live, found)
        store_types(run.root, dataset.name, Types(shards_address(live), names, found.to_json(), final.schema()))


def _address_of_rest(dataset: str, rest: Sequence[Shard], old: Manifest | None) -> str:
    """Return the address that the types of these shards, frozen before, are stored by: that of `old` if it has them."""
    known = {(s.path, s.rows, s.fingerprint) for s in (old.live_of(dataset) if old else ())}
    same = old is not None and known == {(s.path, s.rows, s.fingerprint) for s in rest}
    return old.address(dataset) if old is not None and same else shards_address(rest)


def _tasks(shards: Sequence[Shard]) -> list[list[Shard]]:
    return [list(shards[i : i + SHARDS_PER_TASK]) for i in range(0, len(shards), SHARDS_PER_TASK)]


def _join(parts: Sequence[Columns]) -> Columns:
    found = Columns()
    for part in parts:
        found |= part
    return found


def _columns(run: Run, dataset: Dataset, shards: Sequence[Shard]) -> Columns:
    """Return what the columns hold in these shards; compressed ones are staged if need be."""
    from stages.passes.annotate import staged

    names = run.wanted(dataset.name)
    return _join([file_columns(dataset, staged(run, s) or s.path, names) for s in shards])


def _check_content(dataset: Dataset, found: Columns) -> None:
    """Raise RecipeError where `id: content` may mean a column of that name."""
    if dataset.columns.null_ids == "unless_column" and "content" in found.columns:
        raise RecipeError(
            f"datasets.{dataset.name}.columns.id is content, which stands for the digest of the text, but the dataset "
            "has a column of that name. Write `id: {column: content}` for the column, or `id: {if_null: content}` "
            "for the digest."
        )


def _settled(engine: Engine, run: Run, dataset: Dataset, live: Sequence[Shard], found: Columns) -> Columns:
    """Return the columns with those marked of which a value does not fit the widest type; reads only doubtful ones."""
    doubtful = found.doubtful()
    if not doubtful:
        return found
    widest = found.schema()
    fields = pa.schema([widest.field(name) for name in doubtful])
    wrong = engine.map(partial(_misfits, run, dataset, fields), _tasks(live), cost=TRY)
    return found.mark(sorted({name for names in wrong for name in names}))


def _misfits(run: Run, dataset: Dataset, fields: pa.Schema, shards: Sequence[Shard]) -> list[str]:
    """Return which columns have a value that does not fit its field exactly."""
    from stages.passes.annotate import staged

    wrong: set[str] = set()
    for shard in shards:
        copy = staged(run, shard)
        has = file_columns(dataset, copy or shard.path, fields.names).columns
        names = [name for name in fields.names if name in has and name not in wrong]
        if not names or copy:  # the kinds of JSON values say it all
            continue
        piece = Piece(shard=shard, start=0, stop=shard.rows)
        for batch in read_piece(replace(dataset, types=None), piece, [COLUMN + name for name in names]):
            wrong |= {name for name in names if not _fits(batch.table.column(COLUMN + name), fields.field(name))}
    return sorted(wrong)


def _fits(column: pa.ChunkedArray, field: pa.Field) -> bool:
    try:
        for chunk in column.chunks:
            fit(chunk, field)
    except (pa.ArrowInvalid, ShardError):
        return False
    return True
