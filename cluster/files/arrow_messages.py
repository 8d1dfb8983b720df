"""What the record batches of an Arrow file or stream say that they decompress to, read before Arrow believes it.

A compressed buffer begins with the size of what it stands for, and Arrow takes that much memory at once. Guarantees:
the metadata of a message and 8 bytes of each compressed buffer are read, nothing is decompressed; whatever leads out of
the message is an ArrowInvalid. Memory: local files are mapped; of others one message.

The layout is that of Arrow's format/Message.fbs and File.fbs: tables of FlatBuffers, of which the few fields that are
needed are looked up here.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

I64 = npt.NDArray[np.int64]
Blocks = npt.NDArray[np.void]  # of type BLOCK
DICTIONARY, RECORD = 2, 3  # kinds of message that have buffers
EARLIER = b"ARROW:experimental_compression"  # of Arrow 0.17: a key of the message, not yet a field of the batch
CONTINUED = b"\xff\xff\xff\xff"  # before the length of a message, since Arrow 0.15
END = struct.Struct("<i6s")  # of a file: length of the footer, and the magic bytes
BLOCK = np.dtype([("offset", "<i8"), ("head", "<i4"), ("gap", "<i4"), ("body", "<i8")])
BUFFER = np.dtype([("offset", "<i8"), ("size", "<i8")])


@dataclass(frozen=True)
class Size:
    """Bytes of the body of a message, and of what it decompresses to; the same where it is not compressed."""

    stored: int
    decoded: int
    compressed: bool


class _Table:
    """A table in a FlatBuffer, looked up field by field."""

    def __init__(self, data: memoryview, at: int) -> None:
        self._data, self._at = data, at
        self._fields = at - _number("<i", data, at)

    def place(self, field: int) -> int:
        """Return where a field is stored, 0 where it has its default."""
        slot = 4 + 2 * field
        if slot + 2 > _number("<H", self._data, self._fields):
            return 0
        offset = _number("<H", self._data, self._fields + slot)
        return self._at + offset if offset else 0

    def byte(self, field: int) -> int:
        place = self.place(field)
        return _number("<B", self._data, place) if place else 0

    def table(self, field: int) -> _Table | None:
        place = self.place(field)
        return _Table(self._data, place + _number("<I", self._data, place)) if place else None

    def rows(self, field: int, kind: np.dtype[np.void]) -> npt.NDArray[np.void]:
        """Return a vector of structs."""
        place = self.place(field)
        if not place:
            return np.empty(0, kind)
        start = place + _number("<I", self._data, place)
        count = _number("<I", self._data, start)
        if start + 4 + count * kind.itemsize > len(self._data):
            raise pa.ArrowInvalid("a vector leads out of the metadata")
        return np.frombuffer(self._data, kind, count, start + 4)


def _number(form: str, data: memoryview, at: int) -> int:
    if at < 0:
        raise pa.ArrowInvalid("an offset leads out of the metadata")
    try:
        return int(struct.unpack_from(form, data, at)[0])
    except struct.error:
        raise pa.ArrowInvalid("an offset leads out of the metadata") from None


def _root(data: memoryview) -> _Table:
    return _Table(data, _number("<I", data, 0))


def is_compressed(metadata: pa.Buffer | bytes) -> bool:
    """Tell whether a message, by its metadata, holds a batch with compressed buffers."""
    batch = _batch(memoryview(metadata))
    return batch is not None and _compressed(metadata, batch)


def _batch(data: memoryview) -> _Table | None:
    message = _root(data)
    kind = message.byte(1)
    batch = message.table(2) if kind in (DICTIONARY, RECORD) else None
    return batch.table(1) if batch is not None and kind == DICTIONARY else batch


def _compressed(metadata: pa.Buffer | bytes, batch: _Table) -> bool:
    return bool(batch.place(3)) or EARLIER in bytes(metadata)


def size_of(message: pa.Message) -> Size:
    """Return what a message holds and stands for. Raises ArrowInvalid where its buffers lead out of it."""
    body = message.body
    stored = 0 if body is None else body.size
    batch = _batch(memoryview(message.metadata))
    if batch is None or not _compressed(message.metadata, batch):
        return Size(stored, stored, False)
    buffers = batch.rows(2, BUFFER)
    data = np.frombuffer(body, np.uint8) if stored else np.empty(0, np.uint8)
    return Size(stored, _decoded(buffers["offset"], buffers["size"], data), True)


def _decoded(offset: I64, size: I64, body: npt.NDArray[np.uint8]) -> int:
    """Return what the buffers of a batch decompress to, together."""
    if bool(((offset < 0) | (size < 0) | (size > len(body)) | (offset > len(body) - size)).any()):
        raise pa.ArrowInvalid("a buffer leads out of the body of its message")
    held = size >= 8  # an empty buffer has no size; Arrow refuses others of less
    places = offset[held][:, None] + np.arange(8)
    stated = body[places].reshape(-1).view("<i8") if len(places) else np.empty(0, np.int64)
    plain = stated < 0  # -1: the bytes behind it are not compressed
    counted = [*stated[~plain].tolist(), *size[held][plain].tolist()]  # whole numbers: 64 bits may overflow
    return int(sum(counted))


def message_blocks(source: pa.NativeFile) -> tuple[Blocks, Blocks]:
    """Return where the messages of a file lie: those of its dictionaries, and of its record batches.

    Raises ArrowInvalid where the file has no footer.
    """
    end = source.size()
    source.seek(max(0, end - END.size))
    last = bytes(source.read(END.size))
    length = END.unpack(last)[0] if len(last) == END.size else -1
    if not 0 < length <= end - END.size:
        raise pa.ArrowInvalid("the footer leads out of the file")
    source.seek(end - END.size - length)
    footer = _root(memoryview(source.read(length)))
    return footer.rows(2, BLOCK), footer.rows(3, BLOCK)


def compressed_at(source: pa.NativeFile, block: np.void) -> pa.Message | None:
    """Return the message of a block of a file if its buffers are compressed; else only its metadata are read."""
    offset, head = int(block["offset"]), int(block["head"])
    if not (offset >= 0 and head > 0 and offset + head <= source.size()):
        raise pa.ArrowInvalid("a block leads out of the file")
    source.seek(offset)
    metadata = source.read(head)
    mark = 8 if metadata[:4] == CONTINUED else 4
    if not is_compressed(metadata[mark:]):
        return None
    source.seek(offset)
    try:
        return pa.ipc.read_message(source)
    except EOFError:
        raise pa.ArrowInvalid("a block leads out of the file") from None


def messages_of(source: pa.NativeFile) -> Iterator[pa.Message]:
    """Yield the messages of a stream as they come, from where the source is, to its end mark or its end."""
    while True:
        try:
            yield pa.ipc.read_message(source)
        except EOFError:
            return


def plain_batches(data: bytes | memoryview | pa.Buffer, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    """Yield the record batches of a sequence of bare messages. Raises ArrowInvalid where one is compressed."""
    reader, size = pa.BufferReader(data), len(data)
    while reader.tell() < size:
        message = pa.ipc.read_message(reader)
        if is_compressed(message.metadata):
            raise pa.ArrowInvalid("the record batch is compressed")
        yield pa.ipc.read_record_batch(message, schema)


def as_read(message: pa.Message) -> bytes:
    """Return a message of a stream as the bytes that it was read from."""
    metadata = bytes(message.metadata)
    mark = b"" if len(metadata) % 8 else CONTINUED  # mark, length and metadata fill whole words
    return mark + struct.pack("<i", len(metadata)) + metadata + bytes(message.body or b"")
