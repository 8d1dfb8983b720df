"""Read the texts of Parquet straight to the device, by row group and in chunks; the other columns on the host.

Files of other formats are read by their staged Parquet copy: compressed JSON lines, tables. Plain JSON lines have none.

Later reads want some rows, on the host (`gather`): the device reads them, and copies out only these.

Guarantees: the rows, statuses and problems of `reader.read_piece`, and facts with the same bits. What the device
cannot vouch for (a text that is not UTF-8, a file that libcudf cannot read, a chunk that does not fit) is read on the
host, which says what is wrong. Memory, on the device: one chunk of text, about three times as much again while it is
judged, and what libcudf holds for the chunks to come (gpu.READ_AHEAD).
"""

from __future__ import annotations

import dataclasses
import itertools
import logging
import os
from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np
import pyarrow as pa

from cluster import storage
from cluster.device import backend, turns
from cluster.device.halving import ran_out
from stages.core.shard import Dataset, Piece
from stages.core.stage import ShardStage
from stages.inputs import compressed
from stages.inputs.arrow import parquet
from stages.inputs.batches import U8, Batch, ReadStatus
from stages.inputs.columns import place
from stages.inputs.reader import format_of, read_piece
from stages.inputs.request import Wanted
from stages.kernels.dispatch.resident import Judged, Resident

CHUNK_BYTES = 256 << 20
S3 = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_DEFAULT_REGION")  # that KvikIO asks for; AWS_ENDPOINT_URL too
LARGEST_GROUP = 1 << 30  # bytes of text of a row group, of which rows are read again
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


def reads_again(on_error: str) -> bool:
    """Tell whether the device of this process reads texts of later reads, which go to the host."""
    return backend.current() == "gpu" and fits((), on_error)


def groups(dataset: Dataset, piece: Piece, copy: str | None = None) -> tuple[str, list[tuple[int, int]]] | None:
    """Return the text's column and (row group, rows) of a piece; None where it cannot be read on the device.

    That takes a Parquet file within libcudf's reach, cut at its row groups, whose text is a string column of its own.
    copy : the staged Parquet copy of another file (compressed lines, tables).
    """
    path = copy or piece.shard.path
    if not (copy or format_of(dataset, path) == "parquet") or not within_reach(path):
        return None
    try:
        with parquet.opened(path) as file:
            lines = copy is not None and compressed.is_staged(file.schema_arrow)
            where = place(file.schema_arrow, "text" if lines else dataset.columns.text)
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


def within_reach(path: str) -> bool:
    """Tell whether libcudf can open a file: a local one, or of S3 where KvikIO finds its keys in the environment."""
    return storage.is_local(path) or (path.startswith("s3://") and all(os.environ.get(name) for name in S3))


def read(dataset: Dataset, piece: Piece, columns: Sequence[str], copy: str | None = None) -> Iterator[Batch]:
    """Yield the rows of a piece as `read_piece` does, their texts on the device wherever that is possible."""
    found = groups(dataset, piece, copy)
    others = _others(dataset, piece, [name for name in columns if name != "text"], copy) if found else None
    known = _known_status(copy, found[1]) if copy and found else None
    if found is None or others is None or (known is not None and _any_bad(known)):
        yield from read_piece(dataset, piece, columns, path=copy)
        return
    name, left = found
    start = piece.start
    path = copy or piece.shard.path
    while left:
        rows = sum(rows for _, rows in left)
        with turns.taken():  # as long as a text of it lies on the device
            for texts in _texts(_address(path), name, [group for group, _ in left], rows):
                at, many = start - piece.start, len(texts[0])
                status = _status(texts[1]) if known is None else known[at : at + many]
                yield Batch(piece.shard.ordinal, start, others.slice(at, many), status, resident=texts[0])
                start += many
        left, stop = _later(left, piece.stop, start)
        if start < stop:  # the rest of the row group that the device did not read
            yield from read_piece(dataset, Piece(shard=piece.shard, start=start, stop=stop), columns, path=copy)
            start = stop


def _address(path: str) -> str:
    return storage.local_path(path) if storage.is_local(path) else path


def _known_status(copy: str, found: Sequence[tuple[int, int]]) -> U8 | None:
    """Return the statuses that a staged copy of lines holds, of some row groups; None for other copies.

    The copy's text is empty wherever there was none that could be used, so it does not tell why.
    """
    with parquet.opened(copy) as file:
        if not compressed.is_staged(file.schema_arrow):
            return None
        column = file.read_row_groups([group for group, _ in found], columns=["status"]).column(0)
    return np.asarray(column.to_numpy()).astype(np.uint8)


def _any_bad(status: U8) -> bool:
    return any(bool((status == one).any()) for one in ReadStatus if one.bad)


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


def _others(dataset: Dataset, piece: Piece, columns: list[str], copy: str | None) -> pa.Table | None:
    """Return the other columns of a piece; None where something is wrong with them."""
    batches = list(read_piece(dataset, piece, columns, path=copy))
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
    from stages.kernels.gpu import rapids_kernels  # with the host's kernels for each of its own

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


# --- texts of some rows, for the host -------------------------------------------------------------------------


def gather(path: str, column: str, wanted: Sequence[Wanted]) -> Iterator[pa.Array | None]:
    """Yield the wanted texts of each row group, read and gathered on the device; None where the host must read them.

    So it must while others have all turns on the device: cores that wait would be slower than cores that read. Row
    groups of CHUNK_BYTES of text together are read at a time, by one reader. Memory: on the device as in `read`; on the
    host the wanted texts of so many row groups, or of one of at most LARGEST_GROUP.
    """
    for unit in _units(wanted):
        fits = within_reach(path) and unit[0].text_bytes <= LARGEST_GROUP
        found = _gathered(_address(path), column, unit) if fits else None
        yield from itertools.repeat(None, len(unit)) if found is None else found


def _units(wanted: Sequence[Wanted]) -> Iterator[list[Wanted]]:
    """Yield row groups in parts of at most CHUNK_BYTES of text, or single ones."""
    unit, size = list[Wanted](), 0
    for group in wanted:
        if unit and size + group.text_bytes > CHUNK_BYTES:
            yield unit
            unit, size = [], 0
        unit.append(group)
        size += group.text_bytes
    if unit:
        yield unit


def _gathered(path: str, column: str, unit: Sequence[Wanted]) -> list[pa.Array] | None:
    """Return the wanted texts of each row group of a unit; None where the host must look at it."""
    from stages.kernels.gpu import wanted_texts

    starts = np.cumsum([0, *(group.group_rows for group in unit)])
    rows = np.concatenate([group.rows + start for group, start in zip(unit, starts, strict=False)])
    numbers, limit = [group.group for group in unit], CHUNK_BYTES
    while limit >= LEAST_BYTES:
        try:
            with turns.taken_if_free() as free:
                texts = wanted_texts.read(path, column, numbers, limit, rows, int(starts[-1])) if free else None
        except ERRORS as error:
            _say(path, numbers, 0, int(starts[-1]), error)
            limit = limit // 4 if ran_out(error) else 0
            continue
        if texts is None:
            return None
        ends = np.cumsum([0, *(len(group.rows) for group in unit)]).tolist()
        return [texts.slice(start, stop - start) for start, stop in pairwise(ends)]
    return None


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
