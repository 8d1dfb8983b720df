"""Texts of wanted rows that were gathered elsewhere than on the host, as columns of the batches that the host reads.

Guarantees: a batch has the rows, the type and the buffers that reading and taking on the host give it, so that what is
written of it has the same bytes. Memory: what is gathered at a time (Gather says how much).
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from stages.inputs.arrow.parquet_view import View
from stages.inputs.arrow.swollen import swollen
from stages.inputs.batches import I64
from stages.inputs.request import Request, Wanted

MOST_BYTES = (1 << 31) - 1  # of the texts of a row group: as much as offsets of 32 bits reach


def bytes_of(group: pq.RowGroupMetaData, leaves: Sequence[str]) -> int:
    """Return the decoded size of these columns of a row group, as far as the footer tells."""
    columns = [group.column(i) for i in range(group.num_columns)]
    mine = [c for c in columns if any(f"{c.path_in_schema}.".startswith(f"{leaf}.") for leaf in leaves)]
    return sum(int(c.total_uncompressed_size) for c in mine)


def gathered(
    request: Request, file: pq.ParquetFile, view: View, groups: Sequence[int], bounds: Sequence[int]
) -> Iterator[pa.Array | None]:
    """Yield the wanted texts of each of these row groups; None where the host must read them.

    bounds : the first row of every row group, and the last one's end.
    """
    if request.gather is None or request.rows is None or not view.text_leaf:
        yield from itertools.repeat(None, len(groups))
        return
    metadata = {number: file.metadata.row_group(number) for number in groups}
    sound = [number for number in groups if not swollen(metadata[number])]
    wanted = [
        Wanted(
            group=number,
            group_rows=metadata[number].num_rows,
            text_bytes=bytes_of(metadata[number], [view.text_leaf]),
            rows=np.asarray(request.wanted(bounds[number], bounds[number + 1])) - bounds[number],
        )
        for number in sound
    ]
    found = request.gather(request.path, view.text_leaf, wanted)
    known = set(sound)
    for number in groups:
        texts = next(found) if number in known else None
        yield texts if texts is None or texts.nbytes <= MOST_BYTES else None


def part(texts: pa.Array, wanted: I64 | range, start: int, stop: int) -> pa.Array:
    """Return the texts of the wanted rows in [start, stop) out of those of all wanted rows, without copying.

    >>> part(pa.array(["a", "b", "c"]), np.array([3, 5, 9]), 4, 10).to_pylist()
    ['b', 'c']
    """
    first, last = np.searchsorted(np.asarray(wanted), [start, stop])
    return texts.slice(int(first), int(last - first))


def as_taken(texts: pa.Array, kind: pa.DataType) -> pa.Array:
    """Return texts in a type of strings with the buffers of an array that rows were taken from: a mask as well.

    >>> [b is not None for b in as_taken(pa.array(["a"], pa.large_string()), pa.string()).buffers()]
    [True, True, True]
    """
    texts = texts.cast(kind)
    if texts.null_count:
        return texts.take(pa.array(np.arange(len(texts))))
    mask = pa.py_buffer(np.packbits(np.ones(len(texts), np.bool_), bitorder="little"))
    _, offsets, data = texts.buffers()
    width = 4 if pa.types.is_string(kind) else 8
    ends = offsets.slice(texts.offset * width, (len(texts) + 1) * width) if offsets is not None else None
    return pa.Array.from_buffers(kind, len(texts), [mask, ends, data])
