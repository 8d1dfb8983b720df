"""Datasets, shards, pieces, bundles and the manifest that freezes them.

A document is `doc_id = ordinal << 32 | row` (int64). A bundle is what one task works on: many small
shards of one dataset, or a slice of a large one. Bundles are fixed by the manifest, never by the
number of workers, so that every sidecar fits every later run. Rows of a bundle are numbered
0..rows-1 across its pieces, in order. Its ordinals need not ascend (a refresh bundles what is left by name), nor
then do its doc_ids: what is to be read in order is sorted by bundle row, never by doc_id.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from cluster.errors import LedgerError

ROW_BITS = 32
MAX_ROWS = 1 << ROW_BITS
MAX_ORDINAL = 1 << 31
DIRECT = ("parquet", "jsonl", "arrow")  # formats whose rows are reached where they lie; others are staged as Parquet
COMPRESSED = (".gz", ".zst", ".zstd")  # names of what was staged before the manifest knew formats


@dataclass(frozen=True, kw_only=True)
class Columns:
    """Column mapping of a dataset; a dotted path descends into structs or JSON strings.

    null_ids: "content": a document without an id gets the digest of its text; "unless_column": the same, and an
    error where a column is called `content`.
    """

    text: str = "text"
    id: str | None = None
    url: str | None = None
    null_ids: str | None = None

    def reading(self) -> dict[str, str | None]:
        """Return what facts depend on, as the key of an address."""
        key: dict[str, str | None] = {"text": self.text, "id": self.id, "url": self.url}
        return {**key, "null_ids": "content"} if self.null_ids else key


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """A named source: paths of its shards, format, column mapping.

    types: the input columns of all its files, widened (inputs/schema.py); None where that is not known yet.
    optional: of id and url, what some files may lack.
    """

    name: str
    paths: tuple[str, ...]
    format: str = "auto"  # auto | parquet | jsonl | csv | tsv | arrow | warc (auto goes by name and first bytes)
    columns: Columns = field(default_factory=Columns)
    licence: str | None = None
    role: str = "source"  # source | reference (compared against, never written)
    extract: str = "resiliparse"  # what takes the text out of a WARC file's HTML: resiliparse | trafilatura | none
    types: pa.Schema | None = field(default=None, compare=False, repr=False)
    optional: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Shard:
    """One input file of a dataset, frozen in the manifest."""

    ordinal: int
    dataset: str
    path: str  # full path or URL
    relative_path: str  # within the dataset: the tie-break that survives moving the folder
    rows: int  # physical rows (lines for JSONL), unreadable ones included
    bytes: int
    fingerprint: str  # of the content; see stages/inputs/files/file_versions.py
    retired: bool = False  # replaced or removed by --refresh
    file_rows: int | None = None  # of the whole file, of which a limit may have taken fewer
    format: str = ""  # parquet, jsonl.gz, … as found when it was frozen; "": by name, as old manifests have it
    text_bytes: int | None = None  # decoded text of the whole file, as far as it tells; None in old manifests

    @property
    def staged(self) -> bool:
        """Whether its rows are read from a Parquet copy."""
        return self.format not in DIRECT if self.format else self.path.endswith(COMPRESSED)


@dataclass(frozen=True, kw_only=True, slots=True)
class Piece:
    """Rows [start, stop) of a shard."""

    shard: Shard
    start: int
    stop: int

    @property
    def rows(self) -> int:
        return self.stop - self.start


@dataclass(frozen=True, kw_only=True)
class Bundle:
    """The pieces one task works on; all of one dataset."""

    number: int
    dataset: str
    pieces: tuple[Piece, ...]

    @property
    def rows(self) -> int:
        return sum(piece.rows for piece in self.pieces)

    @property
    def fingerprint(self) -> str:
        """Digest of a bundle's content: fingerprints and row ranges of its pieces, not names."""
        parts = [f"{p.shard.fingerprint}:{p.start}:{p.stop}" for p in self.pieces]
        return hashlib.blake2b("|".join(parts).encode(), digest_size=8).hexdigest()

    def doc_ids(self) -> npt.NDArray[np.int64]:
        """Return the doc_id of every row, shape (rows,); ascending inside a piece only."""
        parts = [
            (np.int64(p.shard.ordinal) << ROW_BITS) + np.arange(p.start, p.stop, dtype=np.int64) for p in self.pieces
        ]
        return np.concatenate(parts) if parts else np.empty(0, np.int64)


def check_ascending(rows: npt.NDArray[np.integer], what: str) -> None:
    """Raise LedgerError unless `rows` ascend strictly: a binary search in others would miss some."""
    wrong = np.flatnonzero(rows[1:] <= rows[:-1])
    if len(wrong):
        before, after = rows[wrong[0]], rows[wrong[0] + 1]
        raise LedgerError(
            f"{what} must ascend, each one once; got {after} after {before}. Nothing was taken from them: a fault of "
            "winnow or a damaged file. Report this with the run folder."
        )


def check_limits(shards: Sequence[Shard]) -> None:
    """Raise LedgerError for a shard whose rows or ordinal do not fit a doc_id."""
    for shard in shards:
        if shard.rows >= MAX_ROWS or shard.ordinal >= MAX_ORDINAL:
            raise LedgerError(f"shard {shard.path} has {shard.rows} rows; at most {MAX_ROWS - 1} can be addressed.")
