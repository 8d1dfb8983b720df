"""Compressed JSON lines and JSON arrays: read as a stream, and staged once as Parquet so that rows can be reached.

Guarantees: reading the staged copy gives the same batches as the stream did; a truncated stream yields
its readable lines, its cut line as an unreadable row, and a problem. Memory: one row group of text.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from cluster.errors import ShardError
from cluster.files import compression
from cluster.files.expansion import Expansion
from cluster.files.sealed import commit_sealed
from stages.core.shard import Columns as Mapping
from stages.core.shard import Dataset, Piece, Shard
from stages.inputs import json_values, jsonl
from stages.inputs.arrow import parquet
from stages.inputs.batches import EVERY_LINE, Batch, Layout, Problem, ReadStatus, unreadable_batches
from stages.inputs.collect import Collector
from stages.inputs.columns import COLUMN, RAW, TEXT, json_lines
from stages.inputs.files.formats import codec_of, kind_of
from stages.inputs.request import Request, lost, nothing_read
from stages.inputs.schema import EVERY, Columns, from_json
from stages.inputs.values import column_of, loads

CHUNK_BYTES = 2 << 20
GROUP_BYTES = 16 << 20
GROUP_ROWS = 1 << 18  # of texts that are short or empty
STAGED = b"winnow.staged"
COLUMNS = "winnow.columns"
OWN = [("status", pa.uint8()), ("byte_offset", pa.int64()), ("error", pa.string())]


class Stream:
    """The decompressed bytes of a file. `error` says, once `chunks` or `lines` has ended, why it ended early."""

    def __init__(self, path: str, kind: str) -> None:
        self.path = path
        self.kind = kind
        self.error: str | None = None
        self._fault: str | None = None
        self._expansion = Expansion(codec_of(kind))

    def chunks(self) -> Iterator[bytes]:
        """Yield about CHUNK_BYTES at a time; ends without an exception where the data are damaged."""
        yield from self._blocks()
        self.error = self._fault  # only now: what comes after it is the rest of a line

    def _blocks(self) -> Iterator[bytes]:
        parts: list[bytes] = []
        size = 0
        for piece in self._pieces():  # of 64 MB of line breaks the lines are not to be held at once
            for start in range(0, len(piece), CHUNK_BYTES):
                parts.append(piece[start : start + CHUNK_BYTES])
                size += len(parts[-1])
                if size >= CHUNK_BYTES:
                    yield b"".join(parts)
                    parts, size = [], 0
        if size:
            yield b"".join(parts)

    def lines(self) -> Iterator[jsonl.Lines]:
        """Yield whole lines; a block that comes when `error` is set is the line that was cut."""
        for offset, lines in jsonl.cut_lines(self.chunks()) if kind_of(self.kind) != "json" else self._values():
            if self.error is None and (wrong := self._expansion.crowds(len(lines))):
                self.error = wrong
                yield offset, [b""]
                return
            yield offset, lines

    def _values(self) -> Iterator[jsonl.Lines]:
        """Yield the values of an array, or of JSON over several lines, as lines."""
        try:
            yield from json_values.rows(self._blocks())
            self.error = self._fault
        except json_values.Broken as error:
            self.error = self._fault or str(error)
            yield 0, [b""]

    def _pieces(self) -> Iterator[bytes]:
        with jsonl.open_file(self.path) as file:
            try:
                yield from compression.pieces_within(file, self._expansion)
            except compression.Damaged as error:
                self._fault = str(error)


def batches_of(request: Request, stream: Stream) -> Iterator[Batch]:
    """Yield what the stream holds of the piece."""
    row, stop = 0, request.piece.stop
    for offset, lines in stream.lines():
        if stream.error is not None:
            error = f"the line is cut: {stream.error}"
            problem = Problem(request.path, row, offset or None, error)
            rows = request.wanted(row, row + 1)
            yield from unreadable_batches(request.ordinal, rows, nothing_read(request), ReadStatus.UNREADABLE, problem)
        else:
            yield from jsonl.from_lines(request, iter([(offset, lines)]), row, stop)
        row += len(lines)
        if row >= stop:
            return
    if stop < EVERY_LINE:
        yield from lost(request, row, stop, nothing_read(request), stream.error or "the file is shorter")


def read_stream(request: Request, kind: str) -> Iterator[Batch]:
    """Yield the piece's batches from the compressed file itself; see `reader.read_piece`."""
    return batches_of(request, Stream(request.path, kind))


def whole(dataset: Dataset, path: str, columns: tuple[str, ...], collector: Collector | None = None) -> Request:
    shard = Shard(
        ordinal=0, dataset=dataset.name, path=path, relative_path="", rows=EVERY_LINE, bytes=0, fingerprint=""
    )
    piece = Piece(shard=shard, start=0, stop=EVERY_LINE)
    return Request(dataset, piece, path, columns, CHUNK_BYTES, None, collector)


def stream_layout(dataset: Dataset, path: str, kind: str, names: Sequence[str] = ()) -> Layout:
    """Count the lines of a compressed file, and find out what the columns in `names` hold."""
    stream = Stream(path, kind)
    rows = size = 0

    def counted() -> Iterator[jsonl.Lines]:
        nonlocal rows, size
        for offset, lines in stream.lines():
            rows += len(lines)
            size += sum(map(len, lines))
            if stream.error is None:
                yield offset, lines

    blocks = counted()
    columns = jsonl.collect(blocks, names)
    for _ in blocks:  # what nothing was to be learnt from is counted all the same
        pass
    return Layout(rows, [(rows, size)] if rows else [], _problem(dataset, stream, rows), columns)


def _problem(dataset: Dataset, stream: Stream, rows: int) -> str | None:
    damage = _damage(stream, rows)
    return damage or (jsonl.text_missing(dataset, Stream(stream.path, stream.kind).lines()) if rows else None)


def _damage(stream: Stream, rows: int) -> str | None:
    return None if stream.error is None else f"{stream.error}; {rows:,} lines could be reached"


# --- the staged copy -------------------------------------------------------------------------------------


def stage_lines(
    dataset: Dataset, path: str, kind: str, destination: str, extra_columns: tuple[str, ...] | list[str] = ()
) -> Layout:
    """Write the Parquet copy of a compressed JSON lines file, and return its layout.

    The copy holds text, id, url, status and error of every line, and the extra input columns (names, dotted paths, or
    EVERY) as JSON text, exactly as written; what they hold is noted in its footer. It appears whole or not at all.
    """
    wanted = {name.removeprefix(COLUMN) for name in extra_columns} - {""}
    if EVERY in wanted:
        wanted |= set(jsonl.collect(_sound_lines(Stream(path, kind)), [EVERY]).columns)
    names = tuple(RAW + name for name in sorted(wanted - {EVERY}))
    collector = Collector(sorted(wanted), dataset.columns.text)
    request = whole(dataset, path, ("text", "id", "url", *names), collector)
    stream = Stream(path, kind)
    fields = [(name, TEXT) for name in request.columns] + OWN
    schema = pa.schema(fields, metadata={STAGED: b"2"})
    with (
        commit_sealed(destination) as file,
        pq.ParquetWriter(
            file,
            schema,
            compression="zstd",
            compression_level=1,
            use_dictionary=False,
            write_statistics=False,
            write_page_checksum=True,
        ) as writer,
    ):
        groups = _write_groups(writer, schema, batches_of(request, stream))
        writer.add_key_value_metadata({COLUMNS: json.dumps(collector.columns().to_json())})
    rows = sum(count for count, _ in groups)
    problem = _damage(stream, rows) or jsonl.no_text(dataset, collector)
    return Layout(rows, groups, problem, collector.columns())


def _sound_lines(stream: Stream) -> Iterator[jsonl.Lines]:
    """Yield whole lines, and not the one at which a damaged stream ends."""
    for block in stream.lines():
        if stream.error is None:
            yield block


def staged_columns(path: str) -> Columns:
    """Return what a staged copy's extra columns hold."""
    with parquet.opened(path) as file:
        return from_json(json.loads(file.metadata.metadata[COLUMNS.encode()]))


def _write_groups(writer: pq.ParquetWriter, schema: pa.Schema, batches: Iterator[Batch]) -> list[tuple[int, int]]:
    groups: list[tuple[int, int]] = []
    parts: list[pa.Table] = []
    size = rows = 0

    def flush() -> None:
        nonlocal size, rows
        if parts:
            table = pa.concat_tables(parts)
            writer.write_table(table, row_group_size=table.num_rows)
            groups.append((table.num_rows, size))
            parts.clear()
            size = rows = 0

    for batch in batches:
        more = batch.table.column("text").nbytes
        if size + more > GROUP_BYTES or rows >= GROUP_ROWS:
            flush()
        parts.append(_to_stage(batch).select(schema.names).cast(schema))
        size, rows = size + more, rows + batch.table.num_rows
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


def _restored(request: Request, name: str, texts: pa.ChunkedArray) -> pa.Array:
    """Return an input column from the JSON texts of its values."""
    if name.startswith(RAW):
        return texts
    lines = [b'{"v":' + (line or b"null") + b"}" for line in json_lines(texts)]
    return column_of([loads(line)["v"] for line in lines], lines, "v", request.field(name))


def read_staged(request: Request) -> Iterator[Batch]:
    """Yield the piece's batches from its staged copy; see `reader.read_piece`."""
    stored = {
        name: f"{COLUMN}{RAW}{name.removeprefix(COLUMN).removeprefix(RAW)}"
        for name in request.columns
        if name.startswith((COLUMN, RAW))
    }
    own = [COLUMN + name for name, _ in OWN]
    plain = [name for name in request.columns if not name.startswith((COLUMN, RAW))]
    dataset = replace(request.dataset, columns=Mapping(text="text", id="id", url="url"), types=None)
    dataset = replace(dataset, optional=tuple(stored.values()))  # a copy has the columns that its file has
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
        _restored(request, name, batch.table.column(stored[name])) if name in stored else batch.table.column(name)
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
