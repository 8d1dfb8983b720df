"""What is read of one piece, and what is said where that cannot be done.

Guarantees: every row that is asked for comes, under a status where it cannot be read.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
import pyarrow as pa

from cluster.errors import ShardError
from stages.core.shard import Dataset, Piece
from stages.inputs.batches import I64, Batch, Problem, ReadStatus, unreadable_batches
from stages.inputs.collect import Collector
from stages.inputs.columns import COLUMN, TEXT, Ambiguous

MALFORMED = "the text is not valid UTF-8"


class Wanted(NamedTuple):
    """Rows of one row group whose texts are wanted. text_bytes: of all its texts, decoded, as the footer tells."""

    group: int
    group_rows: int
    text_bytes: int
    rows: I64  # of the row group, ascending, each once


class Gather(Protocol):
    """Reads texts of row groups elsewhere than on the host."""

    def __call__(self, path: str, column: str, wanted: Sequence[Wanted]) -> Iterator[pa.Array | None]:
        """Yield the wanted texts of each row group as large_string, well-formed; None where the host must read them."""


@dataclass(frozen=True)
class Request:
    """What is read of one piece."""

    dataset: Dataset
    piece: Piece
    path: str
    columns: tuple[str, ...]
    batch_bytes: int
    rows: I64 | None

    collector: Collector | None = None  # is told of every line, where it is JSON
    gather: Gather | None = None  # reads the texts of `rows` of Parquet files; None: they are read here
    compared: bool = False  # texts are compared with what was judged before they are used

    @property
    def size(self) -> int | None:
        """Bytes of the file, where the manifest has them."""
        shard = self.piece.shard
        return shard.bytes if shard.bytes and self.path == shard.path else None

    @property
    def ordinal(self) -> int:
        return self.piece.shard.ordinal

    def field(self, name: str) -> pa.Field | None:
        """Return what the dataset's schema says of a "column:NAME"; None where nothing is known."""
        types = self.dataset.types
        at = -1 if types is None or not name.startswith(COLUMN) else types.get_field_index(name[len(COLUMN) :])
        return types.field(at) if types is not None and at >= 0 else None

    def misfit(self, name: str, known: pa.Field, error: Exception) -> ShardError:
        """Return the error of a file with a value that its dataset's type cannot hold: the file changed."""
        return ShardError(
            f"{self.path}: a value of {name[len(COLUMN) :]!r} does not fit {known.type}, the type it has in dataset "
            f"{self.dataset.name} ({error}). The file changed since it was frozen: run again with --refresh."
        )

    def wanted(self, start: int, stop: int) -> I64 | range:
        """Return which rows of [start, stop) are asked for; a range where it is all of them."""
        start, stop = max(start, self.piece.start), min(stop, self.piece.stop)
        if self.rows is None:
            return range(start, max(start, stop))
        first, last = np.searchsorted(self.rows, [start, max(start, stop)])
        return self.rows[first:last]


def nothing_read(request: Request) -> pa.Schema:
    """Return the schema of rows that cannot be read."""
    types = {n: known.type if (known := request.field(n)) is not None else pa.null() for n in request.columns}
    return pa.schema([(n, types[n] if n.startswith(COLUMN) else TEXT) for n in request.columns])


def lost(request: Request, start: int, stop: int, empty: pa.Schema, error: str) -> Iterator[Batch]:
    """Yield rows [start, stop) as unreadable, with one problem."""
    rows = request.wanted(start, stop)
    if len(rows):
        problem = Problem(request.path, None, None, f"rows {start} to {stop - 1} are unreadable: {error}")
        yield from unreadable_batches(request.ordinal, rows, empty, ReadStatus.UNREADABLE, problem)


# --- sentences -------------------------------------------------------------------------------------------


def missing(role: str, path: str, names: Sequence[str], dataset: str) -> str:
    """Return the sentence on a column that a file does not have."""
    shown = ", ".join(names[:40]) + (" …" if len(names) > 40 else "")
    remedy = f"set datasets.{dataset}.columns.{role} in the recipe" if role in ("text", "id", "url") else ""
    remedy = remedy or "name one of these where the recipe names it"
    wanted = f"column {path!r}" + (f" (mapped to {role})" if role != path and not role.startswith(COLUMN) else "")
    return f"{wanted} does not exist; the file has {shown or 'no columns'}; {remedy}"


def twofold(path: str, error: Ambiguous, role: str = "") -> str:
    """Return the sentence on a path that names one of several columns."""
    mapped = f", mapped to {role}," if role else ""
    return f"column {path!r}{mapped} is not one column: {error}; rename all but one of them"


def half(path: str, role: str) -> str:
    """Return the sentence on a string that is no valid Unicode."""
    mapped = f" (mapped to {role})" if path != role else ""
    return f"{path!r}{mapped} is not valid UTF-8: it holds half of a surrogate pair, or bytes that are no character"


def unreachable(path: str, error: OSError) -> ShardError:
    """Build the error of a file that cannot be opened or read now, though it may be whole."""
    return ShardError(
        f"{path} cannot be read: {error.strerror or error}. Check that it is there and that every worker may read it."
    )
