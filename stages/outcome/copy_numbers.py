"""Copy numbers: the rank of each kept document among those of its dataset with the same text.

A mix that draws a fraction would take all copies of one text or none if it drew by content alone. Copies are ordered by
id, URL, path within the dataset and row, so a number does not depend on the order of files, but where all of these are
equal.

Guarantees: numbers of one text are 0, 1, 2, … without a gap. Memory: the documents of one destination of an exchange;
those with a number above 0 of one group of bundles.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from cluster import storage
from cluster.engines import Engine
from cluster.exchange import Exchange
from cluster.files.arrow_files import read_arrow
from stages.core.arrays import array, whole
from stages.core.costs import per_bundle, per_destination, per_group
from stages.core.digests import digest
from stages.core.exchange_stage import destinations_for
from stages.core.run import Run
from stages.core.shard import ROW_BITS
from stages.kernels.hashes.hashing import buffers, content_hash, mix64
from stages.outcome.lineage import lineage_digest
from stages.outcome.verdicts import lookup, outcome

I64 = npt.NDArray[np.int64]
U64 = npt.NDArray[np.uint64]
RECORDS = pa.schema([("key", pa.uint64()), ("dataset", pa.int16()), ("order", pa.uint64()), ("doc", pa.int64())])
NUMBERS = pa.schema([("destination", pa.int32()), ("doc", pa.int64()), ("number", pa.int64())])
SEND = per_bundle("send contents")
COUNT = per_destination("number copies")
ROUTE = per_destination("route copy numbers")
SORT = per_group("sort copy numbers")


def datasets_with_copies(run: Run) -> list[str]:
    """Return the datasets of the mix of which two kept documents may have one text: no exact_dedup saw to it."""
    found = [d.name for d in run.datasets if d.role != "reference"]
    for stage in run.stages:
        if stage.use == "exact_dedup" and not getattr(stage, "keeps_all_within", False):
            protected = getattr(stage, "protect", ())
            found = [name for name in found if not stage.applies_to(name) or name in protected]
    return found


def number_copies(engine: Engine, run: Run) -> str:
    """Write the numbers above 0 of every group of bundles; return their address, empty where no text can repeat."""
    if not datasets_with_copies(run):
        return ""
    address = _address(run)
    whole_before = storage.exists(_marker(run, address))
    if whole_before and not _home(run, address).has_all_outputs():  # some were deleted
        storage.remove(_folder(run, address))
        whole_before = False
    if not whole_before:
        found = Exchange(
            folder=storage.join(_folder(run, address), "contents"),
            destinations=destinations_for(run.manifest.rows()),
            schema=RECORDS,
        )
        positions = range(len(run.manifest.bundles))
        emit, count = partial(_emit, run), partial(_number, run)
        paths = found.run(engine, positions, emit, count, emit_cost=SEND, receive_cost=COUNT)
        sources = [path for path in paths if path]
        _home(run, address).run(engine, sources, _route, _sorted, emit_cost=ROUTE, receive_cost=SORT)
        storage.write_bytes(_marker(run, address), b"")
        storage.remove(found.folder)
    return address


def _address(run: Run) -> str:
    return digest("copy numbers", 1, lineage_digest(run))


def copies_folder(run: Run) -> str:
    """Return where the numbers of a run lie, if it has any."""
    return _folder(run, _address(run))


def _folder(run: Run, address: str) -> str:
    return storage.join(run.root, "decisions", "copy_numbers", address)


def _marker(run: Run, address: str) -> str:
    return storage.join(_folder(run, address), "complete")


def _home(run: Run, address: str) -> Exchange:
    folder, groups = storage.join(_folder(run, address), "home"), len(run.manifest.groups)
    return Exchange(folder=folder, destinations=groups, schema=NUMBERS, route="destination", scratch=False)


def _emit(run: Run, position: int) -> Iterable[pa.Table]:
    name = run.manifest.bundles[position].dataset
    if name not in datasets_with_copies(run):
        return
    found = outcome(run, position)
    rows = np.flatnonzero(found.kept)
    read = found.view.read.select(["h1", "id", "url"]).take(pa.array(rows))
    place = [d.name for d in run.datasets].index(name)
    columns = [
        pa.array(array(read, "h1").astype(np.uint64)),
        pa.array(np.full(len(rows), place, np.int16)),
        pa.array(order_hash(whole(read.column("id")), whole(read.column("url")))),
        pa.array(found.view.doc_ids[rows]),
    ]
    yield pa.table(columns, schema=RECORDS)


def order_hash(ids: pa.Array, urls: pa.Array) -> U64:
    """Return a number by which documents with one text are ordered: a hash of id and URL, (rows,)."""
    texts = [pc.fill_null(column.cast(pa.large_string()), "") for column in (ids, urls)]
    first, second = (content_hash(*buffers(text))[0] for text in texts)
    return mix64(first ^ mix64(second, 1), 2)


def _number(run: Run, _: int, table: pa.Table) -> pa.Table | None:
    """Number the copies of each text; return those of a number above 0, routed to their group."""
    key, dataset = array(table, "key").astype(np.uint64), array(table, "dataset")
    order, doc = array(table, "order").astype(np.uint64), array(table, "doc").astype(np.int64)
    repeated = _repeated(key)
    key, dataset, order, doc = key[repeated], dataset[repeated], order[repeated], doc[repeated]
    if not len(key):
        return None
    sort = np.lexsort([doc & ((1 << ROW_BITS) - 1), _paths(run, doc), order, dataset, key])
    key, dataset, doc = key[sort], dataset[sort], doc[sort]
    fresh = np.r_[True, (key[1:] != key[:-1]) | (dataset[1:] != dataset[:-1])]
    starts = np.flatnonzero(fresh)
    number = np.arange(len(key)) - starts[np.cumsum(fresh) - 1]
    again = number > 0
    if not again.any():
        return None
    groups = run.manifest.group_of(doc[again]).astype(np.int32)
    return pa.table([pa.array(groups), pa.array(doc[again]), pa.array(number[again])], schema=NUMBERS)


def _repeated(keys: U64) -> npt.NDArray[np.bool_]:
    """Mark the keys that occur more than once, (rows,) bool."""
    order = np.argsort(keys, kind="stable")
    same = keys[order][1:] == keys[order][:-1]
    found = np.zeros(len(keys), np.bool_)
    found[order[1:][same]] = True
    found[order[:-1][same]] = True
    return found


def _paths(run: Run, doc: I64) -> U64:
    """Return a hash of the path within its dataset of each document's file, (rows,)."""
    ordinals, place = np.unique(doc >> ROW_BITS, return_inverse=True)
    paths = pa.array([run.manifest.shard(int(o)).relative_path for o in ordinals], pa.large_string())
    hashes: U64 = content_hash(*buffers(paths))[0]
    found: U64 = hashes[place.reshape(-1)]
    return found


def _route(path: str) -> Iterable[pa.Table]:
    yield read_arrow(path)


def _sorted(_: int, table: pa.Table) -> pa.Table:
    return table.select(["doc", "number"]).combine_chunks().sort_by("doc")


def numbers_of(run: Run, address: str, position: int) -> I64:
    """Return the copy number of every row of the bundle at `position`, (rows,)."""
    table = read_arrow(_home(run, address).output_path(run.manifest.group_at(position)))
    known, number = array(table, "doc").astype(np.int64), array(table, "number").astype(np.int64)
    return np.maximum(lookup(known, number, run.manifest.bundles[position].doc_ids()), 0)
