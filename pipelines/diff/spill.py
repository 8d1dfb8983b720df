"""Bring rows with equal keys together on disk, so that streams of any length can be joined.

Guarantees: a part holds at most ROWS rows, unless so many have one and the same key. `cluster.exchange` does not serve
here: its hop has one schema, is cut into a number of destinations known before, and leaves files to resume from; here
streams of several schemas and unknown length are joined, and cut further where a part comes out too large.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from stages.core.arrays import array
from stages.kernels.hashes.hashing import buffers
from stages.kernels.hashes.text_digest import text_digest

ROWS = 1 << 20  # of one part, all streams together
WAYS = 64  # parts at a time, each an open file per stream
BITS = 6  # of the key that tell WAYS parts apart
LAST = 64 // BITS - 1  # level below which no bits are left
KEY = "key"
MIX = np.uint64(0x9E3779B97F4A7C15)


def key_of_numbers(values: npt.NDArray[np.int64]) -> pa.Array:
    """Return spread keys of whole numbers: uint64, shape (rows,)."""
    spread = values.astype(np.uint64) * MIX
    return pa.array(spread ^ (spread >> np.uint64(32)))


def key_of_texts(texts: pa.Array) -> pa.Array:
    """Return keys of texts: uint64, shape (rows,); equal texts have equal keys."""
    first, _ = text_digest(*buffers(texts.cast(pa.large_string())))
    return pa.array(first)


def together(streams: list[Iterable[pa.Table]], schemas: list[pa.Schema], level: int = 0) -> Iterator[list[pa.Table]]:
    """Yield parts, each a table per stream, such that rows with equal `key` are in one part.

    Memory: a part, and a batch for each of WAYS parts; disk: the streams, once per level.
    """
    with tempfile.TemporaryDirectory(prefix="winnow-diff-") as folder:
        counts = np.zeros(WAYS, np.int64)
        for number, (stream, schema) in enumerate(zip(streams, schemas, strict=True)):
            counts += _cut(stream, schema, Path(folder), number, level)
        for part in np.flatnonzero(counts).tolist():
            paths = [Path(folder) / f"{number}-{part}.arrow" for number in range(len(streams))]
            if counts[part] > ROWS and level < LAST:
                yield from together([read_stream(path) for path in paths], schemas, level + 1)
            else:
                yield [_whole(path, schema) for path, schema in zip(paths, schemas, strict=True)]


def _cut(stream: Iterable[pa.Table], schema: pa.Schema, folder: Path, number: int, level: int) -> npt.NDArray[np.int64]:
    """Write a stream into files by some bits of its keys; return the rows of each."""
    counts = np.zeros(WAYS, np.int64)
    with contextlib.ExitStack() as stack:
        writers: dict[int, Any] = {}
        for table in stream:
            ways = (array(table, KEY) >> np.uint64(BITS * level)) & np.uint64(WAYS - 1)
            order = np.argsort(ways, kind="stable")
            counts += np.bincount(ways.astype(np.int64), minlength=WAYS)
            ends = np.searchsorted(ways[order], np.arange(WAYS + 1))
            for way in np.unique(ways).tolist():
                if way not in writers:
                    file = stack.enter_context(pa.OSFile(str(folder / f"{number}-{way}.arrow"), "wb"))
                    writers[way] = stack.enter_context(pa.ipc.new_stream(file, schema))
                writers[way].write_table(table.take(pa.array(order[ends[way] : ends[way + 1]])).cast(schema))
    return counts


def read_stream(path: Path) -> Iterator[pa.Table]:
    """Yield the batches of an Arrow stream; none where there is no file."""
    if path.exists():
        with pa.OSFile(str(path)) as file, pa.ipc.open_stream(file) as reader:
            for batch in reader:
                yield pa.Table.from_batches([batch])


def _whole(path: Path, schema: pa.Schema) -> pa.Table:
    return pa.concat_tables([schema.empty_table(), *read_stream(path)]).combine_chunks()
