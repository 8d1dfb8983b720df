"""What reading yields: statuses, problems, batches, layouts, and how a text is judged.

Guarantees: a text is either usable (status OK, valid UTF-8, not blank) or "" under the status that says why.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from enum import IntEnum

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from stages.inputs.schema import Columns
from stages.kernels.dispatch.resident import Documents, Resident
from stages.kernels.text.validity import blank, invalid_utf8, is_valid_utf8, only_white_space

U8 = npt.NDArray[np.uint8]
I64 = npt.NDArray[np.int64]
EVERY_LINE = 1 << 32  # rows of a file that were not counted
BATCH_ROWS = 16_384  # also bounds a batch whose repeated texts look small in the file


class ReadStatus(IntEnum):
    """What a row is, as far as its text is concerned. Values are stored in facts: never renumber."""

    OK = 0
    NULL_TEXT = 1
    EMPTY = 2
    WHITE_SPACE = 3
    INVALID_UTF8 = 4
    WRONG_TYPE = 5
    INVALID_JSON = 6
    UNREADABLE = 7
    MISSING_COLUMN = 8

    @property
    def reason(self) -> str:
        """Name of the status in ledger and report."""
        return self.name.lower()

    @property
    def bad(self) -> bool:
        """Whether the row is a fault of the file (`on_error: stop` stops), not just an empty document."""
        return self >= ReadStatus.INVALID_UTF8


@dataclass(frozen=True)
class Problem:
    """What could not be read: a file (row None) or a row, and where in the (decompressed) bytes."""

    path: str
    row: int | None
    byte_offset: int | None
    error: str


@dataclass(frozen=True)
class Layout:
    """What a file holds, learnt without judging its texts.

    rows: physical rows. row_groups: (rows, decoded text bytes) of the parts at which it may be cut; None
    where unknown. problem: why the file, or a part of it, cannot be used; None when all is well. columns: what
    is known of the input columns that were asked for.
    """

    rows: int
    row_groups: list[tuple[int, int]] | None = None
    problem: str | None = None
    columns: Columns = field(default_factory=Columns)


@dataclass(frozen=True, eq=False)
class Batch:
    """Rows of one shard as they were read.

    ordinal: of the shard. start: physical row in the shard of the first row. table: the columns asked for,
    without the text where it lies on the device (resident).
    status: `ReadStatus` of each row, (rows,) uint8; all OK where the column "text" was not asked for.
    picked: shard rows, (rows,) int64, where the batch is not a range.
    """

    ordinal: int | None
    start: int
    table: pa.Table
    status: U8
    problems: tuple[Problem, ...] = ()
    picked: I64 | None = None
    resident: Resident | None = None

    @property
    def text(self) -> pa.Array | Resident:
        """The texts, without nulls: an Arrow array, or where they lie on the device."""
        if self.resident is not None:
            return self.resident
        column = self.table.column("text")
        return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()

    def documents(self, columns: Sequence[str]) -> pa.Table | Documents:
        """Return these columns, as stages are given them."""
        if self.resident is None:
            return self.table.select(list(columns))
        return Documents(self.table.select([name for name in columns if name != "text"]), self.resident)

    @property
    def rows(self) -> I64:
        """Physical row in the shard of every row of the table, (rows,) int64."""
        if self.picked is not None:
            return self.picked
        return np.arange(self.start, self.start + self.table.num_rows, dtype=np.int64)

    def slice(self, start: int, stop: int) -> Batch:
        """Return rows [start, stop) of the batch without copying; problems go with the first rows."""
        picked = None if self.picked is None else self.picked[start:stop]
        return Batch(
            self.ordinal,
            int(picked[0]) if picked is not None else self.start + start,
            self.table.slice(start, stop - start),
            self.status[start:stop],
            self.problems if start == 0 else (),
            picked,
        )


def mark_text_status(texts: pa.Array, status: U8 | None = None, *, trusted: bool = False) -> tuple[pa.Array, U8]:
    """Return texts without nulls and the status of every row.

    Parameters
    ----------
    texts
        large_string array, possibly with nulls and malformed bytes.
    status
        What is known already, (rows,) uint8; only rows that are OK are judged.
    trusted
        The bytes are known to be valid UTF-8.

    Returns
    -------
    texts : large_string without nulls, "" where the status is not OK.
    status : (rows,) uint8.
    """
    found = np.zeros(len(texts), np.uint8) if status is None else status.copy()
    if texts.null_count:
        nulls = texts.is_null().to_numpy(zero_copy_only=False)
        found[nulls & (found == ReadStatus.OK)] = ReadStatus.NULL_TEXT
        texts = without_nulls(texts)
    if not trusted and not is_valid_utf8(texts):
        malformed = invalid_utf8(texts)
        found[malformed & (found == ReadStatus.OK)] = ReadStatus.INVALID_UTF8
        texts = blank(texts, malformed)
    empty = pc.binary_length(texts).to_numpy(zero_copy_only=False) == 0
    found[empty & (found == ReadStatus.OK)] = ReadStatus.EMPTY
    found[only_white_space(texts) & (found == ReadStatus.OK)] = ReadStatus.WHITE_SPACE
    return blank(texts, (found != ReadStatus.OK) & ~empty), found


def without_nulls(texts: pa.Array) -> pa.Array:
    """Return texts with "" in place of nulls; the same array where there is none."""
    return pc.fill_null(texts, "") if texts.null_count else texts


def split(batch: Batch, batch_bytes: int) -> Iterator[Batch]:
    """Yield the batch in parts of about `batch_bytes` of text (one row at least), without copying."""
    rows = batch.table.num_rows
    if "text" not in batch.table.schema.names or batch.table.column("text").nbytes <= batch_bytes * 3 // 2:
        yield batch
        return
    sizes = pc.binary_length(batch.table.column("text")).to_numpy().astype(np.int64)
    ends = np.cumsum(sizes)
    start = 0
    while start < rows:
        before = int(ends[start - 1]) if start else 0
        stop = max(start + 1, int(np.searchsorted(ends, before + batch_bytes, side="right")))
        yield batch.slice(start, stop)
        start = stop


def unreadable_batches(
    ordinal: int,
    rows: I64 | range,
    empty: pa.Schema,
    status: ReadStatus,
    problem: Problem | None,
) -> Iterator[Batch]:
    """Yield batches for rows of which nothing can be read: "" as text, null elsewhere, one problem."""
    everything = np.arange(rows.start, rows.stop, dtype=np.int64) if isinstance(rows, range) else rows
    for first in range(0, len(everything), BATCH_ROWS):
        part = everything[first : first + BATCH_ROWS]
        columns = [nothing(field, len(part)) for field in empty]
        yield Batch(
            ordinal,
            int(part[0]),
            pa.table(columns, schema=empty),
            np.full(len(part), status, np.uint8),
            (problem,) if problem is not None and first == 0 else (),
            None if isinstance(rows, range) else part,
        )


def nothing(field: pa.Field, rows: int) -> pa.Array:
    """Return what stands in a column for rows that could not be read: "" for text, else null."""
    if field.name == "text":
        return pa.repeat(pa.scalar("", pa.large_string()), rows)
    return pa.nulls(rows, field.type)
