"""Compressed JSON lines: read as a stream, and staged once as Parquet so that rows can be reached.

Guarantees: reading the staged copy gives the same batches as the stream did; a truncated stream yields
its readable lines, its cut line as an unreadable row, and a problem. Memory: one row group of text.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import zstandard

from cluster import storage
from cluster.errors import ShardError
from stages.core.shard import Columns, Dataset, Piece, Shard
from stages.inputs import jsonl, parquet
from stages.inputs.batches import Batch, Layout, Problem, ReadStatus, unreadable_batches
from stages.inputs.columns import COLUMN, RAW, TEXT, from_json, parse_json
from stages.inputs.discover import shard_format
from stages.inputs.parquet import Request

READ_BYTES = 64 << 10  # compressed bytes at a time: at most 64 MB once decompressed
CHUNK_BYTES = 2 << 20
GROUP_BYTES = 16 << 20
STAGED = b"winnow.staged"
MAX_WINDOW = 1 << 31  # files made with zstd --long=31
EVERY_LINE = 1 << 32
OWN = [("status", pa.uint8()), ("byte_offset", pa.int64()), ("error", pa.string())]


class Stream:
    """The decompressed bytes of a file. `error` says, once `chunks` has ended, why it ended early."""

    def __init__(self, path: str, kind: str) -> None:
        self.path = path
        self.kind = kind
        self.error: str | None = None
        self._fault: str | None = None

    def chunks(self) -> Iterator[bytes]:
        """Yield about CHUNK_BYTES at a time; ends without an exception where the data are damaged."""
        parts: list[bytes] = []
        size = 0
        for data in self._pieces():
            parts.append(data)
            size += len(data)
            if size >= CHUNK_BYTES:
                yield b"".join(parts)
                parts, size = [], 0
        if size:
            yield b"".join(parts)
        self.error = self._fault  # only now: what comes after it is the rest of a line

    def lines(self) -> Iterator[jsonl.Lines]:
        """Yield whole lines; a block that comes when `error` is set is the line that was cut."""
        return jsonl.cut_lines(self.chunks())

    def _pieces(self) -> Iterator[bytes]:
        with jsonl.open_file(self.path) as file:
            member = None
            while data := file.read(READ_BYTES):
                while data:
                    member = member or self._member()
                    try:
                        yield member.decompress(data)
                    except (zlib.error, zstandard.ZstdError) as error:
                        self._fault = f"the compressed data are corrupt ({error})"
                        return
                    data = b""
                    if member.eof:
                        data = member.unused_data.lstrip(b"\0") if self.kind == "jsonl.gz" else member.unused_data
                        member = None
            if member is not None:
                self._fault = "the compressed file is truncated"

    def _member(self) -> Any:
        """Return the decompressor of one gzip member or zstd frame; a file may hold several."""
        if self.kind == "jsonl.gz":
            return zlib.decompressobj(wbits=31)
        return zstandard.ZstdDecompressor(max_window_size=MAX_WINDOW).decompressobj()


def _batches(request: Request, stream: Stream) -> Iterator[Batch]:
    """Yield what the stream holds of the piece."""
    row, stop = 0, request.piece.stop
    for offset, lines in stream.lines():
        if stream.error is not None:
            error = f"the line is cut: {stream.error}"
            problem = Problem(request.path, row, offset, error)
            rows = request.wanted(row, row + 1)
            yield from unreadable_batches(request.ordinal, rows, jsonl.empty(request), ReadStatus.UNREADABLE, problem)
        else:
            yield from jsonl.from_lines(request, iter([(offset, lines)]), row, stop)
        row += len(lines)
        if row >= stop:
            return
    if stop < EVERY_LINE:
        yield from parquet.lost(request, row, stop, jsonl.empty(request), stream.error or "the file is shorter")


def read_stream(request: Request) -> Iterator[Batch]:
    """Yield the piece's batches from the compressed file itself; see `reading.read_piece`."""
    kind = shard_format(request.path, request.dataset.format)
    return _batches(request, Stream(request.path, str(kind)))


def _whole(dataset: Dataset, path: str, columns: tuple[str, ...]) -> Request:
    shard = Shard(
        ordinal=0, dataset=dataset.name, path=path, relative_path="", rows=EVERY_LINE, bytes=0, fingerprint=""
    )
    piece = Piece(shard=shard, start=0, stop=EVERY_LINE)
    return Request(dataset, piece, path, columns, CHUNK_BYTES, None)


def stream_layout(dataset: Dataset, path: str) -> Layout:
    """Count the lines of a compressed file."""
    stream = Stream(path, str(shard_format(path, dataset.format)))
    rows = size = 0
    for _, lines in stream.lines():
        rows += len(lines)
        size += sum(map(len, lines))
    return Layout(rows, [(rows, size)] if rows else [], _problem(dataset, stream, rows))


def _problem(dataset: Dataset, stream: Stream, rows: int) -> str | None:
    if stream.error is not None:
        return f"{stream.error}; {rows:,} lines could be reached"
    return jsonl.text_missing(dataset, Stream(stream.path, stream.kind).lines()) if rows else None


# --- the staged copy -------------------------------------------------------------------------------------


def stage_compressed(
    dataset: Dataset, path: str, destination: str, extra_columns: tuple[str, ...] | list[str] = ()
) -> Layout:
    """Write the Parquet copy of a compressed JSON lines file, and return its layout.

    The copy holds text, id, url, status and error of every line, and the extra input columns (names or
    dotted paths) as JSON text, so that types are found out when it is read. It appears whole or not at all.
    """
    names = tuple(sorted({RAW + name.removeprefix(COLUMN) for name in extra_columns} - {RAW}))
    request = _whole(dataset, path, ("text", "id", "url", *names))
    stream = Stream(path, str(shard_format(path, dataset.format)))
    fields = [(name, TEXT) for name in request.columns] + OWN
    schema = pa.schema(fields, metadata={STAGED: b"1"})
    with (
        storage.commit(destination) as file,
        pq.ParquetWriter(
            file,
            schema,
            compression="zstd",
            compression_level=1,
            use_dictionary=False,
            write_statistics=False,
        ) as writer,
    ):
        groups = _write_groups(writer, schema, _batches(request, stream))
    rows = sum(count for count, _ in groups)
    return Layout(rows, groups, _problem(dataset, stream, rows))


def _write_groups(writer: pq.ParquetWriter, schema: pa.Schema, batches: Iterator[Batch]) -> list[tuple[int, int]]:
    groups: list[tuple[int, int]] = []
    parts: list[pa.Table] = []
    size = 0

    def flush() -> None:
        nonlocal size
        if parts:
            table = pa.concat_tables(parts)
            writer.write_table(table, row_group_size=table.num_rows)
            groups.append((table.num_rows, size))
            parts.clear()
            size = 0

    for batch in batches:
        more = batch.table.column("text").nbytes
        if size + more > GROUP_BYTES:
            flush()
        parts.append(_to_stage(batch).select(schema.names).cast(schema))
        size += more
    flush()
    return groups


def _to_stage(batch: Batch) -> pa.Table:
    """Return the batch's table with status, byte offset and error of every row."""
    rows = batch.table.num_rows
    offsets: list[int | None] = [None] * rows
    errors: list[str | None] = [None] * rows
    for problem in batch.problems:
        if problem.row is not None:
            offsets[problem.row - batch.start] = problem.byte_offset
            errors[problem.row - batch.start] = problem.error
    table = batch.table.append_column("status", pa.array(batch.status))
    table = table.append_column("byte_offset", pa.array(offsets, pa.int64()))
    return table.append_column("error", pa.array(errors, pa.string()))


def is_staged(schema: pa.Schema) -> bool:
    """Tell whether a Parquet schema is that of a staged copy."""
    return STAGED in (schema.metadata or {})


def staged_columns(path: str) -> list[str]:
    """Return the input columns that a staged copy holds besides text, id and url."""
    return [name.removeprefix(RAW) for name in parquet.schema(path).names if name.startswith(RAW)]


def read_staged(request: Request) -> Iterator[Batch]:
    """Yield the piece's batches from its staged copy; see `reading.read_piece`."""
    stored = {name: f"{COLUMN}{RAW}{name[len(COLUMN) :]}" for name in request.columns if name.startswith(COLUMN)}
    own = [COLUMN + name for name, _ in OWN]
    plain = [name for name in request.columns if not name.startswith(COLUMN)]
    dataset = replace(request.dataset, columns=Columns(text="text", id="id", url="url"))
    inner = replace(request, dataset=dataset, columns=(*plain, *stored.values(), *own))
    for batch in parquet.read(inner):
        yield _from_stage(request, batch, stored)


def _from_stage(request: Request, batch: Batch, stored: dict[str, str]) -> Batch:
    status, offsets, errors = (batch.table.column(COLUMN + name) for name, _ in OWN)
    if status.null_count or any(problem.row is None for problem in batch.problems):
        why = next((p.error for p in batch.problems), "rows are missing")
        raise ShardError(
            f"{request.path}, the staged copy of {request.piece.shard.path}, cannot be used ({why}). "
            "Remove it and run again: it is made anew."
        )
    columns = [
        from_json(parse_json(batch.table.column(stored[name]))) if name in stored else batch.table.column(name)
        for name in request.columns
    ]
    rows = batch.rows
    at = np.flatnonzero(errors.is_valid().to_numpy())
    problems = tuple(
        Problem(request.piece.shard.path, int(rows[i]), offsets[int(i)].as_py(), errors[int(i)].as_py()) for i in at
    )
    table = pa.table(columns, names=list(request.columns))
    found = np.asarray(status.to_numpy()).astype(np.uint8)
    if "text" not in request.columns:
        found[found != ReadStatus.UNREADABLE] = ReadStatus.OK
    return replace(batch, table=table, status=found, problems=problems)


# --- types of JSON columns -------------------------------------------------------------------------------


def first_objects(path: str, kind: str) -> list[dict[str, Any]]:
    """Return the objects on the first lines of a JSON lines file, at most SAMPLE_LINES of them."""
    found: list[dict[str, Any]] = []
    if kind == "jsonl":
        with jsonl.open_file(path) as file:
            return jsonl.first_objects(jsonl.line_blocks(file, 0, CHUNK_BYTES), found)
    return jsonl.first_objects(Stream(path, kind).lines(), found)


def staged_schema(path: str, names: list[str] | None) -> pa.Schema:
    """Return the types of a staged copy's extra columns, as its first rows have them; null where those say nothing."""
    held = staged_columns(path)
    chosen = held if names is None else [name for name in names if name in held]
    with parquet.opened(path) as file:
        columns = [RAW + name for name in chosen]
        batch = next(file.iter_batches(jsonl.SAMPLE_LINES, columns=columns), None) if columns else None
        if batch is None:
            return pa.schema([(name, pa.null()) for name in chosen])
        types = [from_json(parse_json(batch.column(i))).type for i in range(len(columns))]
    return pa.schema(list(zip(chosen, types, strict=True)))
