"""What Arrow messages say that they stand for, against what Arrow makes of them; no run folder holds a bomb."""

from __future__ import annotations

import io
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.errors import DamagedError
from cluster.files import arrow_messages
from cluster.files.arrow_files import count_rows, read_arrow, scan_arrow
from cluster.files.sealed import commit_sealed
from cluster.files.slices import read_slice

CODECS = (None, "zstd", "lz4")
NEW = {"file": pa.ipc.new_file, "stream": pa.ipc.new_stream}


def written(table: pa.Table, kind: str, codec: str | None, rows: int = 7, **options: Any) -> bytes:
    sink = io.BytesIO()
    with NEW[kind](sink, table.schema, options=pa.ipc.IpcWriteOptions(compression=codec, **options)) as writer:
        writer.write_table(table, max_chunksize=rows)
    return sink.getvalue()


tables = st.lists(st.tuples(st.text(max_size=30), st.integers(-5, 5), st.none() | st.booleans()), max_size=25).map(
    lambda rows: pa.table(
        {
            "text": pa.array([r[0] for r in rows], pa.string()),
            "kind": pa.array([str(r[1]) for r in rows], pa.string()).dictionary_encode(),
            "flag": pa.array([r[2] for r in rows], pa.bool_()),
            "list": pa.array([[r[1]] * 3 for r in rows], pa.list_(pa.int64())),
        }
    )
)


@given(table=tables, codec=st.sampled_from(CODECS), legacy=st.booleans())
def test_sizes_are_those_that_arrow_decompresses_to(table: pa.Table, codec: str | None, legacy: bool) -> None:
    data = written(table, "stream", codec, use_legacy_format=legacy)
    found = [arrow_messages.size_of(m) for m in arrow_messages.messages_of(pa.BufferReader(data))]
    plain = [
        arrow_messages.size_of(m)
        for m in arrow_messages.messages_of(pa.BufferReader(written(table, "stream", None, use_legacy_format=legacy)))
    ]
    assert len(found) == len(plain)
    for mine, theirs in zip(found, plain, strict=True):
        assert not theirs.compressed
        assert mine.compressed == (codec is not None) or mine.stored == 0
        # stored bodies are padded to whole words, for each of a dozen buffers at most
        assert theirs.stored - 64 * 12 <= mine.decoded <= theirs.stored + 64 * 12


@given(table=tables, codec=st.sampled_from(CODECS))
def test_a_stream_that_is_passed_on_has_the_bytes_that_were_read(table: pa.Table, codec: str | None) -> None:
    for legacy in (False, True):
        data = written(table, "stream", codec, use_legacy_format=legacy)
        again = b"".join(map(arrow_messages.as_read, arrow_messages.messages_of(pa.BufferReader(data))))
        assert data.startswith(again)
        assert len(data) - len(again) == (4 if legacy else 8)  # the end mark


@given(table=tables, codec=st.sampled_from(("zstd", "lz4")), at=st.integers(0, 1 << 20), value=st.integers(0, 255))
def test_changed_bytes_are_an_arrow_error_or_a_size(table: pa.Table, codec: str, at: int, value: int) -> None:
    data = bytearray(written(table, "file", codec))
    data[at % len(data)] = value
    source = pa.BufferReader(bytes(data))
    try:
        for blocks in arrow_messages.message_blocks(source):
            for block in blocks:
                message = arrow_messages.compressed_at(source, block)
                if message is not None:
                    assert arrow_messages.size_of(message).stored <= len(data)
    except (pa.ArrowException, OSError):
        pass


BOMB = pa.table({"text": pa.array(["x" * (1 << 20)] * 40)})


@pytest.mark.parametrize("codec", ["zstd", "lz4"])
def test_a_sidecar_with_compressed_buffers_is_damaged(tmp_path: Path, codec: str) -> None:
    path = str(tmp_path / "0.arrow")
    options = pa.ipc.IpcWriteOptions(compression=codec)
    with commit_sealed(path) as file, pa.ipc.new_file(file, BOMB.schema, options=options) as writer:
        writer.write_table(BOMB)
    before = pa.default_memory_pool().max_memory()
    for read in (read_arrow, count_rows, lambda place: list(scan_arrow(place))):
        with pytest.raises(DamagedError, match="compressed buffers, which winnow does not write") as found:
            read(path)
        assert found.value.path == path
    assert pa.default_memory_pool().max_memory() - before < 20 << 20


def test_a_slice_with_compressed_or_other_messages_is_damaged(tmp_path: Path) -> None:
    import xxhash

    message = bytes(BOMB.to_batches()[0].serialize())
    stream = written(BOMB, "stream", "zstd", rows=300)
    packed = next(
        arrow_messages.as_read(m) for m in arrow_messages.messages_of(pa.BufferReader(stream)) if m.type != "schema"
    )
    path = tmp_path / "0.slices"
    for data in (packed, message[:-4096], b"no message at all, but of some length"):
        index = struct.pack("<QQQQ", 32, xxhash.xxh3_64_intdigest(data), 32 + len(data), 0)
        path.write_bytes(index + data)
        with pytest.raises(DamagedError, match="something else than plain record batches") as found:
            read_slice(str(path), 0, BOMB.schema)
        assert found.value.path == str(path)


def test_a_buffer_that_leads_out_of_its_message_is_an_error() -> None:
    body = np.zeros(16, np.uint8)
    for offset, size in ((-1, 8), (0, -8), (8, 16), (1 << 62, 1 << 62)):
        with pytest.raises(pa.ArrowInvalid, match="leads out"):
            arrow_messages._decoded(np.array([offset]), np.array([size]), body)
    huge = np.frombuffer(struct.pack("<qq", (1 << 63) - 1, (1 << 63) - 1), np.uint8)
    assert arrow_messages._decoded(np.array([0, 8]), np.array([8, 8]), huge) == 2 * ((1 << 63) - 1)
