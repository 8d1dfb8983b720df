"""Rows of a hop on their way into slices: which destination each has, and the order that brings those of one together.

Guarantees: rows of one destination stay in the order in which they came.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from cluster.files.packed_rows import pack, row_type
from cluster.files.slices import SliceWriter


def in_blocks(tables: Iterable[pa.Table], schema: pa.Schema, least: int) -> Iterator[pa.Table]:
    """Yield the rows of tables in blocks of `least` bytes or a little more, so that they are not cut batch by batch."""
    waiting: list[pa.Table] = []
    size = 0
    for table in tables:
        if table.num_rows:
            waiting.append(table.select(schema.names).cast(schema))
            size += waiting[-1].nbytes
        if waiting and size >= least:
            yield pa.concat_tables(waiting)
            waiting, size = [], 0
    if waiting:
        yield pa.concat_tables(waiting)


def cut(table: pa.Table, writer: SliceWriter, schema: pa.Schema, route: str, count: int) -> None:
    """Hand the rows of a table to the writer in order of destination, which follows from the column `route`."""
    where = destinations(_whole(table.column(route)), count, ranged=route == "key")
    order = None
    if count > 1 and bool((where[1:] < where[:-1]).any()):  # a device sends records sorted
        order = _stable_order(where)
        where = where[order]
    kind = row_type(schema)
    packed = pack(table, kind, order) if kind else None
    if packed is not None and kind is not None:
        writer.add_packed(packed, where, kind.itemsize)
        return
    rows = (table if order is None else table.take(pa.array(order))).combine_chunks()
    starts = np.flatnonzero(np.r_[True, where[1:] != where[:-1]])
    for start, stop in zip(starts.tolist(), [*starts[1:].tolist(), len(where)], strict=True):
        for batch in rows.slice(start, stop - start).to_batches():
            writer.add(int(where[start]), batch)


def _whole(column: pa.ChunkedArray) -> npt.NDArray[Any]:
    return np.asarray(column.chunk(0) if column.num_chunks == 1 else column.combine_chunks())


def _stable_order(where: npt.NDArray[np.integer[Any]]) -> npt.NDArray[np.int64]:
    """Return the order that sorts destinations and keeps what is equal in place, by radix sorts on 16 bits."""
    order = np.argsort(where.astype(np.uint16, copy=False), kind="stable")
    if where.dtype.itemsize == 2:
        return order
    return order[np.argsort((where[order] >> 16).astype(np.uint16), kind="stable")]


def destinations(keys: npt.NDArray[Any], count: int, *, ranged: bool) -> npt.NDArray[np.integer[Any]]:
    """Return the destination of every key, (rows,); ranged keys are cut into `count` equal ranges."""
    if not ranged:
        return keys.astype(np.uint16 if count <= 1 << 16 else np.uint32)
    high = keys.astype(np.uint64) >> np.uint64(32)
    where = (high * np.uint64(count)) >> np.uint64(32)
    return where.astype(np.uint16 if count <= 1 << 16 else np.uint32)
