"""Read the texts of a Parquet file straight to the device, by row group and in chunks; the other columns on the host.

Guarantees: the rows, statuses and problems of `reader.read_piece`, and facts with the same bits. What the device
cannot vouch for (a text that is not UTF-8, a file that libcudf cannot read, a chunk that does not fit) is read on the
host, which says what is wrong. Memory, on the device: one chunk of text, about three times as much again while it is
judged, and what libcudf holds for the chunks to come (gpu.READ_AHEAD).
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa

from cluster import storage
from cluster.device import backend, turns
from cluster.device.halving import ran_out
from stages.core.shard import Dataset, Piece
from stages.core.stage import ShardStage
from stages.inputs.arrow import parquet
from stages.inputs.batches import U8, Batch, ReadStatus
from stages.inputs.columns import place
from stages.inputs.reader import format_of, read_piece
from stages.kernels.dispatch.resident import Judged, Resident
from stages.kernels.gpu import rapids_kernels

CHUNK_BYTES = 256 << 20
LEAST_BYTES = 16 << 20  # of a chunk; what does not fit then is read on the host
# What libcudf's exceptions become in Python (pylibcudf/exception_handler.pxd).
ERRORS = (MemoryError, RuntimeError, ValueError, TypeError, ArithmeticError, LookupError, OSError)
TEXTS = (pa.types.is_string, pa.types.is_large_string)


def fits(stages: Sequence[ShardStage], on_error: str) -> bool:
    """Tell whether these stages can do with texts on a device.

    libcudf checks no page's checksum; where damaged pages are to be put in quarantine, the host reads.
    """
    return on_error == "stop" and not any(stage.host_text for stage in stages)


def possible(stages: Sequence[ShardStage], on_error: str) -> bool:
    """Tell whether texts may stay on the device of this process."""
    return backend.current() == "gpu" and fits(stages, on_error)


def groups(dataset: Dataset, piece: Piece) -> tuple[str, list[tuple[int, int]]] | None:
    """Return the text's column and (row group, rows) of a piece; None where it cannot be read on the device.

    That takes a Parquet file on a local file system, cut at its row groups, whose text is a string column of its own.
    """
    path = piece.shard.path
    if format_of(dataset, path) != "parquet" or not storage.is_local(path):
        return None
    try:
        with parquet.opened(path) as file:
            where = place(file.schema_arrow, dataset.columns.text)
            sizes = [file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)]
    except parquet.Corrupt:
        return None
    if where is None or where.json or "." in where.leaf or not any(test(where.type) for test in TEXTS):
        return None
    bounds = np.concatenate([[0], np.cumsum(sizes)])
    if piece.start not in bounds or piece.stop not in bounds:
        return None
    first, last = np.searchsorted(bounds, [piece.start, piece.stop], side="left")
    return where.leaf, [(i, sizes[i]) for i in range(int(first), int(last)) if sizes[i]]


def read(dataset: Dataset, piece: Piece, columns: Sequence[str]) -> Iterator[Batch]:
    """Yield the rows of a piece as `read_piece` does, their texts on the device wherever that is possible."""
    found = groups(dataset, piece)
    others = _others(dataset, piece, [name for name in columns if name != "text"]) if found else None
    if found is None or others is None:
        yield from read_piece(dataset, piece, columns)
        return
    name, left = found
    start = piece.start
    while left:
        rows = sum(rows for _, rows in left)
        with turns.taken():  # as long as a text of it lies on the device
            for texts in _texts(storage.local_path(piece.shard.path), name, [group for group, _ in left], rows):
                table = others.slice(start - piece.start, len(texts[0]))
                yield Batch(piece.shard.ordinal, start, table, _status(texts[1]), resident=texts[0])
                start += len(texts[0])
        left, stop = _later(left, piece.stop, start)
        if start < stop:  # the rest of the row group that the device did not read
            yield from read_piece(dataset, Piece(shard=piece.shard, start=start, stop=stop), columns)
            start = stop


def _later(groups: list[tuple[int, int]], end: int, row: int) -> tuple[list[tuple[int, int]], int]:
    """Return the row groups that begin after a row, and the row where the one before them ends.

    groups : (row group, rows), the last of which ends before row `end`.

    Examples
    --------
    >>> [_later([(4, 5), (5, 5), (6, 5)], 15, row) for row in (0, 7, 10, 15)]
    [([(5, 5), (6, 5)], 5), ([(6, 5)], 10), ([], 15), ([], 15)]
    """
    later: list[tuple[int, int]] = []
    for group, rows in reversed(groups):
        if end - rows <= row:
            break
        later.insert(0, (group, rows))
        end -= rows
    return later, end


def _others(dataset: Dataset, piece: Piece, columns: list[str]) -> pa.Table | None:
    """Return the other columns of a piece; None where something is wrong with them."""
    batches = list(read_piece(dataset, piece, columns))
    if not batches or any(batch.problems or batch.status.any() for batch in batches):
        return None
    table = pa.concat_tables([batch.table for batch in batches])
    return table if table.num_rows == piece.rows else None


def _texts(path: str, name: str, groups: list[int], rows: int) -> Iterator[tuple[Resident, Judged]]:
    """Yield the texts of row groups in order; ends early at what the host must look at."""
    done, limit = 0, CHUNK_BYTES
    while done < rows and limit >= LEAST_BYTES:
        try:
            for found in _chunks(path, name, groups, limit, done):
                done += len(found[0])
                yield found
            break
        except ERRORS as error:
            limit //= 4
            if not ran_out(error):
                limit = 0
            _say(path, groups, done, rows, error)
    if done > rows:
        raise AssertionError(f"{path} gave {done} rows of row groups {groups[0]} to {groups[-1]}, its footer {rows}")


def _chunks(path: str, name: str, groups: list[int], limit: int, skip: int) -> Iterator[tuple[Resident, Judged]]:
    """Yield what is read and judged after the first `skip` rows, up to a chunk with a text that is not UTF-8."""
    for raw in rapids_kernels.parquet_chunks(path, name, groups, limit):
        rows = len(raw.column)
        found = rapids_kernels.judged(raw) if skip < rows else None
        if skip >= rows:
            skip -= rows
            continue
        if found is None:
            return
        yield _after(*found, skip) if skip else found
        skip = 0


def _after(texts: Resident, marks: Judged, skip: int) -> tuple[Resident, Judged]:
    """Return all but the first `skip` rows."""
    rest = np.arange(skip, len(texts))
    left = {name: getattr(marks, name)[skip:] for name in ("null", "empty", "blank", "characters")}
    return texts.take(rest), dataclasses.replace(marks, **left)


def _status(marks: Judged) -> U8:
    """Return the status of every row, as `mark_text_status` does."""
    status = np.where(marks.blank, np.uint8(ReadStatus.WHITE_SPACE), np.uint8(ReadStatus.OK))
    status[marks.empty] = ReadStatus.EMPTY
    status[marks.null] = ReadStatus.NULL_TEXT
    return status.astype(np.uint8)


def _say(path: str, groups: list[int], done: int, rows: int, error: Exception) -> None:
    logging.getLogger("winnow.gpu").warning(
        "%s, row groups %d to %d, after %d of %d rows: %s; trying smaller chunks or the host",
        path,
        groups[0],
        groups[-1],
        done,
        rows,
        error,
    )
