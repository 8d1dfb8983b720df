"""Arrow IPC: files (Feather version 2) and streams, read by record batch with only the columns asked for.

Guarantees: every row of the piece exactly once and in order. A stream without its end mark, and a file without its
footer, are truncated: a problem of the whole file. A record batch whose compressed buffers stand for too much ends the
file before they are decompressed. Memory: one record batch of these columns; local files are mapped.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pyarrow as pa

from cluster import storage
from cluster.errors import ShardError
from cluster.files import arrow_messages
from cluster.files.expansion import Expansion, allows, too_many_rows
from stages.core.shard import Dataset
from stages.inputs.arrow import parquet
from stages.inputs.arrow.arrow_bounds import check_offsets
from stages.inputs.arrow.parquet import Corrupt, corruption
from stages.inputs.arrow.parquet_view import Finder, View, check_columns, check_once
from stages.inputs.batches import BATCH_ROWS, EVERY_LINE, Batch, Layout
from stages.inputs.files.file_versions import size_of
from stages.inputs.request import Request, lost, nothing_read
from stages.inputs.schema import Columns

FILE = b"ARROW1"
ENDS = (b"\xff\xff\xff\xff\x00\x00\x00\x00", b"\x00\x00\x00\x00")  # of a stream, as it is written now and before 2019


@dataclass(frozen=True, eq=False)
class Opened:
    """An open IPC file or stream. `batches` can be read once."""

    schema: pa.Schema
    batches: Iterator[pa.RecordBatch]


@contextlib.contextmanager
def opened(path: str, names: Sequence[str] | None = None, size: int | None = None) -> Iterator[Opened]:
    """Yield an IPC file with these top-level columns (None: all). Raises Corrupt or ShardError.

    size : in bytes, where it is known.
    """
    with contextlib.ExitStack() as stack:
        with corruption(path):
            source = stack.enter_context(_source(path, size))
            start = bytes(source.read(6))
            source.seek(0)
            whole = _reader(source, start == FILE, None)
            schema, fields = whole.schema, None
            if names is not None:
                fields = sorted(i for i, name in enumerate(schema.names) if name in set(names))
                fields = fields or [0] if len(schema) else None
            source.seek(0)
            batches = _of_file(source, fields) if start == FILE else _of_stream(path, source, fields)
        yield Opened(schema, _batches(path, source, batches, start != FILE))


def _source(path: str, size: int | None) -> pa.NativeFile:
    if storage.is_local(path):
        return pa.memory_map(storage.local_path(path), "r")
    return pa.PythonFile(storage.open_read(path, size=size), "r")


def _reader(source: pa.NativeFile, is_file: bool, fields: list[int] | None) -> pa.RecordBatchReader:
    options = pa.ipc.IpcReadOptions(included_fields=fields) if fields else None
    return pa.ipc.open_file(source, options=options) if is_file else pa.ipc.open_stream(source, options=options)


def _batches(
    path: str, source: pa.NativeFile, stored: Iterator[pa.RecordBatch], marked: bool
) -> Iterator[pa.RecordBatch]:
    """Yield record batches as they are stored, checked. marked: the file ends with the end mark of a stream."""
    rows, size = 0, source.size()
    with corruption(path):
        for batch in stored:
            rows += batch.num_rows
            if not allows(rows, size):
                raise Corrupt(too_many_rows())
            check_offsets(batch)  # memory is not read beyond the batch's buffers
            yield batch
        if not marked:
            return
        source.seek(max(0, source.size() - 8))
        if not bytes(source.read(8)).endswith(ENDS):
            raise Corrupt("the stream ends without its end mark: the file is truncated")


def _of_file(source: pa.NativeFile, fields: list[int] | None) -> Iterator[pa.RecordBatch]:
    """Yield the record batches of a file, the size of each looked at first."""
    reader, expansion = _reader(source, True, fields), Expansion("arrow")
    dictionaries, records = arrow_messages.message_blocks(source)
    for block in dictionaries:
        _check(arrow_messages.compressed_at(source, block), expansion)
    for number in range(reader.num_record_batches):
        _check(arrow_messages.compressed_at(source, records[number]), expansion)
        yield reader.get_batch(number)


def _of_stream(path: str, source: pa.NativeFile, fields: list[int] | None) -> Iterator[pa.RecordBatch]:
    """Yield the record batches of a stream, the size of each message looked at first."""
    checked = _checked(source)
    if not storage.is_local(path):  # what was looked at is not fetched again
        yield from _reader(pa.PythonFile(_Fed(checked), "r"), False, fields)
        return
    with pa.memory_map(storage.local_path(path)) as beside:
        reader = _reader(beside, False, fields)
        for message in checked:
            if message.type == "record batch":
                yield reader.read_next_batch()
        yield from reader  # none: what is no batch is an error of the reader


def _checked(source: pa.NativeFile) -> Iterator[pa.Message]:
    expansion = Expansion("arrow")
    for message in arrow_messages.messages_of(source):
        _check(message, expansion)
        yield message


def _check(message: pa.Message | None, expansion: Expansion) -> None:
    """Raise Corrupt where a message would decompress to more than a file may hold."""
    if message is None:
        return
    size = arrow_messages.size_of(message)
    if size.compressed and (wrong := expansion.part(size.stored, size.decoded)):
        raise Corrupt(wrong)


class _Fed:
    """Messages as the bytes of a stream, each taken when the one before has been read."""

    closed = False

    def __init__(self, messages: Iterator[pa.Message]) -> None:
        self._messages = messages
        self._held = memoryview(b"")

    def read(self, size: int = -1) -> memoryview:
        if not len(self._held):
            message = next(self._messages, None)
            self._held = memoryview(b"" if message is None else arrow_messages.as_read(message))
        size = len(self._held) if size < 0 else size
        found, self._held = self._held[:size], self._held[size:]
        return found


def schema(path: str, size: int | None = None) -> pa.Schema:
    """Return the schema. Raises Corrupt or ShardError."""
    with opened(path, size=size) as file:
        return file.schema


def layout(dataset: Dataset, path: str, names: Sequence[str] = (), size: int | None = None) -> Layout:
    """Return rows and record batches, what is wrong with the columns, and what those in `names` hold.

    Bytes of a record batch are its share of the file's.
    """
    counts: list[int] = []
    try:
        known = schema(path, size)
        finder = Finder(known, names)
        with opened(path, finder.tops or known.names[:1], size) as file:
            for batch in file.batches:
                counts.append(batch.num_rows)
                finder.add(batch)
    except Corrupt as error:
        return Layout(sum(counts), None, f"the Arrow file is truncated or corrupt ({error})")
    each = (size_of(path) if size is None else size) / max(1, sum(counts))
    groups = [(rows, round(rows * each)) for rows in counts if rows]
    return Layout(sum(counts), groups, check_columns(dataset, known, names), finder.columns())


def columns_of(path: str, names: Sequence[str]) -> Columns:
    """Return what these input columns hold in one file. Raises Corrupt, or ShardError (also on twofold columns)."""
    known = schema(path)
    check_once(path, known, names)
    finder = Finder(known, names)
    if finder.tops:
        with opened(path, finder.tops) as file:
            for batch in file.batches:
                finder.add(batch)
    return finder.columns()


def read(request: Request) -> Iterator[Batch]:
    """Yield the piece's batches; see `reader.read_piece`."""
    row, stop, empty = 0, request.piece.stop, nothing_read(request)

    def records(file: Opened) -> Iterator[tuple[int, pa.RecordBatch]]:
        nonlocal row
        for record in file.batches:
            for first in range(0, record.num_rows, BATCH_ROWS):
                part = record.slice(first, BATCH_ROWS)
                start, row = row, row + part.num_rows
                if len(request.wanted(start, row)):
                    yield start, part
            if row >= stop:
                return

    try:
        view = View(request, schema(request.path, request.size))
        empty = view.empty
        tops = [where.names[0] for where in view.places.values() if where is not None]
        with opened(request.path, tops, request.size) as file:
            yield from parquet.read_records(request, view, records(file))
        error = f"the file has {row:,} rows, the manifest says {request.piece.shard.rows:,}"
        if stop >= EVERY_LINE:
            return
    except Corrupt as caught:
        error = str(caught)
        if stop >= EVERY_LINE:
            raise ShardError(f"{request.path}: {error}. Repair or remove it.") from caught
    yield from lost(request, max(row, request.piece.start), stop, empty, error)
