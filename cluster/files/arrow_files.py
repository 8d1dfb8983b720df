"""Sealed Arrow files: tables as whole files, batch by batch, or as far as their headers.

Guarantees: what is read whole, or of a local file, is checked (`sealed.py`); a file with compressed buffers, which
winnow does not write and which may stand for any memory, is damaged then. Memory: local files are mapped; of remote
ones what is read.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import pyarrow as pa

from cluster import storage
from cluster.files.arrow_messages import compressed_at, message_blocks
from cluster.files.sealed import check_file, commit_sealed, damaged, is_sealed, read_sealed, reading

COMPRESSED = "it holds compressed buffers, which winnow does not write"


def open_arrow(path: str) -> pa.ipc.RecordBatchFileReader:
    """Open an Arrow file for random access to its record batches.

    Local files are checked and memory-mapped; of remote files only the batches that are read are fetched, unchecked.
    """
    if storage.is_local(path):
        return _reader(path, read_sealed(path))
    return pa.ipc.open_file(pa.PythonFile(storage.open_read(path, ranges=True), mode="r"))


def count_rows(path: str) -> int:
    """Return the number of rows of an Arrow file, from the headers of its record batches."""
    reader = open_arrow(path)
    return sum(reader.get_batch(i).num_rows for i in range(reader.num_record_batches))


def read_arrow(path: str) -> pa.Table:
    """Return a whole Arrow file, checked. Raises DamagedError."""
    data = read_sealed(path)
    reader = _reader(path, data)
    if is_sealed(data):
        return reader.read_all()
    with reading(path):
        table = reader.read_all()
        table.validate(full=True)
    return table


def _reader(path: str, data: pa.Buffer) -> pa.ipc.RecordBatchFileReader:
    source = pa.BufferReader(data)
    check_plain(path, source)
    with reading(path):
        return pa.ipc.open_file(source)


def check_plain(path: str, source: pa.NativeFile) -> None:
    """Raise DamagedError where an Arrow file of a run folder holds compressed buffers."""
    with reading(path):
        compressed = any(compressed_at(source, block) for blocks in message_blocks(source) for block in blocks)
    if compressed:
        raise damaged(path, COMPRESSED)


def read_arrow_if_there(path: str) -> pa.Table | None:
    """Return a whole Arrow file, checked, or None where there is none: one request. Raises DamagedError."""
    try:
        return read_arrow(path)
    except FileNotFoundError:
        return None


def scan_arrow(path: str, columns: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
    """Yield the record batches of an Arrow file, checked, these columns of them; what was passed is not held."""
    if not storage.is_local(path):
        table = read_arrow(path)
        yield from (table if columns is None else table.select(list(columns))).to_batches()
        return
    check_file(path)
    with pa.OSFile(storage.local_path(path)) as file:
        check_plain(path, file)
        schema = pa.ipc.open_file(file).schema
        fields = None if columns is None else [schema.get_field_index(name) for name in columns]
        reader = pa.ipc.open_file(file, options=pa.ipc.IpcReadOptions(included_fields=fields))
        for number in range(reader.num_record_batches):
            batch = reader.get_batch(number)
            yield batch if columns is None else batch.select(list(columns))


def write_arrow(path: str, table: pa.Table, *, scratch: bool = False) -> None:
    """Commit a table as one sealed Arrow file."""
    write_tables(path, [table], table.schema, scratch=scratch)


def write_tables(path: str, tables: Iterable[pa.Table], schema: pa.Schema, *, scratch: bool = False) -> None:
    """Commit tables of one schema, which may be made one after the other, as one sealed Arrow file."""
    with commit_sealed(path, scratch=scratch) as file, pa.ipc.new_file(file, schema) as writer:
        for table in tables:
            writer.write_table(table)
