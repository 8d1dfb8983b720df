"""Write documents as files of a target size: Parquet (zstd) or JSON lines (zstd), each with its digest.

Guarantees: a file appears whole or not at all, a file is closed once it reaches the target size, and the
same rows give the same bytes. Memory: the row group being written.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from cluster import storage
from cluster.files.digesting import Digesting
from pipelines.artefacts import CellCount, MixFileEntry
from pipelines.mix.json_rows import Losses, json_lines
from stages.core.digests import DATA_FORMAT

Counted = dict[tuple[str, str], tuple[int, int, int]]  # (dataset, cell) -> documents, rows, tokens
ROW_GROUP_BYTES = 32 << 20  # text in a row group
LEVEL = 1  # of zstd: 3 writes 2 % less at half the speed (measured on 600 MB of web text)


@dataclass(frozen=True, kw_only=True)
class MixFile:
    """One finished file of the mix. path is relative to the mix folder; tokens count every copy.

    losses: values that the format cannot hold, by column and what became of them. cells: what it holds by dataset and
    cell ("": none), where that is counted.
    """

    path: str
    rows: int
    documents: int
    tokens: int
    bytes: int
    sha256: str
    losses: dict[str, int] = field(default_factory=dict)
    cells: dict[str, dict[str, CellCount]] = field(default_factory=dict)

    def entry(self) -> MixFileEntry:
        """Return the file's entry in mix/manifest.json."""
        entry: MixFileEntry = {
            "path": self.path,
            "rows": self.rows,
            "documents": self.documents,
            "tokens": self.tokens,
            "bytes": self.bytes,
            "sha256": self.sha256,
        }
        if self.losses:
            entry["losses"] = self.losses
        if self.cells:
            entry["cells"] = self.cells
        return entry


def lost_values(files: Mapping[str, Iterable[MixFile]]) -> list[str]:
    """Return a sentence on each kind of value that the format of these datasets' files cannot hold."""
    sentences = []
    for name, written in files.items():
        found: Counter[str] = Counter()
        for file in written:
            found.update(file.losses)
        sentences += [f"the mix of {name} lost {count:,} values of {what}" for what, count in sorted(found.items())]
    return sentences


@dataclass(kw_only=True)
class PartWriter:
    """Writes tables of one dataset to STEM.parquet, STEM-1.parquet … of about `target_bytes` each.

    Use as a context manager; `files` lists what was written.
    """

    root: str  # of the mix
    folder: str  # below the root: the dataset
    stem: str
    schema: pa.Schema
    target_bytes: int
    format: str = "parquet"  # or jsonl.zst
    repeat: bool = False  # whether rows stand for themselves: then each counts its own tokens once
    files: list[MixFile] = field(default_factory=list)
    _stack: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)
    _sink: Any = None
    _out: Digesting | None = None
    _rows: int = 0
    _documents: int = 0
    _tokens: int = 0
    _cells: Counted = field(default_factory=dict)

    def __enter__(self) -> PartWriter:
        return self

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        if kind is None:
            self._close()
        else:
            self._stack.__exit__(kind, error, trace)

    def write(self, table: pa.Table, documents: int, tokens: int, cells: Counted | None = None) -> None:
        """Append rows that stand for so many documents and tokens; cells: of each dataset and cell, where counted."""
        if not table.num_rows:
            return
        if self._sink is None:
            self._open()
        assert self._out is not None
        self._sink.write(table)
        self._rows += table.num_rows
        self._documents += documents
        self._tokens += tokens
        for key, counts in (cells or {}).items():
            before = self._cells.get(key, (0, 0, 0))
            self._cells[key] = (before[0] + counts[0], before[1] + counts[1], before[2] + counts[2])
        if self._out.size >= self.target_bytes:
            self._close()

    def _path(self) -> str:
        number = len(self.files)
        name = f"{self.stem}-{number}" if number else self.stem
        return f"{self.folder}/{name}.{self.format}"

    def _open(self) -> None:
        self._stack = contextlib.ExitStack()
        file = self._stack.enter_context(storage.commit(storage.join(self.root, self._path())))
        self._out = Digesting(file)
        sink = _Parquet if self.format == "parquet" else _JsonLines
        self._sink = self._stack.enter_context(contextlib.closing(sink(self._out, self.schema, self.target_bytes)))

    def _close(self) -> None:
        if self._sink is None or self._out is None:
            return
        path = self._path()
        self._stack.close()
        losses = self._sink.losses
        self.files.append(
            MixFile(
                path=path,
                rows=self._rows,
                documents=self._documents,
                tokens=self._tokens,
                bytes=self._out.size,
                sha256=self._out.digest.hexdigest(),
                losses={f"{name}: {what}": count for (name, what), count in sorted(losses.items())},
                cells=_nested(self._cells),
            )
        )
        self._cells = {}
        self._sink = self._out = None
        self._rows = self._documents = self._tokens = 0


def _nested(counted: Counted) -> dict[str, dict[str, CellCount]]:
    """Return counts by dataset, then cell, in alphabetical order."""
    found: dict[str, dict[str, CellCount]] = {}
    for (dataset, cell), (documents, rows, tokens) in sorted(counted.items()):
        found.setdefault(dataset, {})[cell] = {"documents": documents, "rows": rows, "tokens": tokens}
    return found


class _Parquet:
    def __init__(self, out: Digesting, schema: pa.Schema, target_bytes: int) -> None:
        self._group_bytes = min(ROW_GROUP_BYTES, target_bytes)  # only a written row group shows in the file's size
        metadata = {**(schema.metadata or {}), b"winnow.format": str(DATA_FORMAT).encode()}
        sink = pa.PythonFile(out, mode="w")
        self._writer = pq.ParquetWriter(
            sink,
            schema.with_metadata(metadata),
            compression="zstd",
            compression_level=LEVEL,
            use_dictionary=["source", "language"],
            write_statistics=["doc_id"],
            write_page_checksum=True,
        )
        self.losses: Losses = Counter()  # Parquet has a type for every value
        self._pending: list[pa.Table] = []
        self._bytes = 0

    def write(self, table: pa.Table) -> None:
        self._pending.append(table)
        self._bytes += table.nbytes
        if self._bytes >= self._group_bytes:
            self._flush()

    def _flush(self) -> None:
        if self._pending:
            table = pa.concat_tables(self._pending)
            self._writer.write_table(table, row_group_size=max(1, table.num_rows))
            self._pending, self._bytes = [], 0

    def close(self) -> None:
        self._flush()
        self._writer.close()


class _JsonLines:
    def __init__(self, out: Digesting, schema: pa.Schema, target_bytes: int) -> None:
        import zstandard

        self.losses: Losses = Counter()
        sink: Any = out
        self._writer: Any = zstandard.ZstdCompressor(level=3).stream_writer(sink, closefd=False)

    def write(self, table: pa.Table) -> None:
        for batch in table.to_batches(max_chunksize=1000):
            self._writer.write(json_lines(batch, self.losses))

    def close(self) -> None:
        self._writer.close()


def cut(table: pa.Table, size: int = ROW_GROUP_BYTES) -> Iterator[pa.Table]:
    """Yield slices of a table of about `size` bytes."""
    if not table.num_rows:
        return
    rows = max(1, table.num_rows * size // max(1, table.nbytes))
    for start in range(0, table.num_rows, rows):
        yield table.slice(start, rows)
