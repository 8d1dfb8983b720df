"""Small files that stand for huge ones take bounded memory, and what is too long is named and counted, not read."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import random
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from cluster.bounds import PIECE
from cluster.errors import ShardError
from cluster.files import compression, expansion
from pipelines.recipe.recipe import load_data
from pipelines.run import runner
from pipelines.runfolder import open_run
from stages.core.shard import Columns, Dataset
from stages.inputs import compressed, delimited, json_values, jsonl, warc
from stages.inputs.batches import BATCH_ROWS

SIZE = 400 << 20
CODECS = ("gz", "bz2", "xz", "zst", "lz4")


def bomb(codec: str) -> bytes:
    """Return as few bytes as possible that decompress to SIZE zeros."""
    block = bytes(1 << 20)
    if codec == "zst":
        packer = zstandard.ZstdCompressor(level=19).compressobj()
        return b"".join([*(packer.compress(block) for _ in range(SIZE >> 20)), packer.flush()])
    if codec == "lz4":
        return compression.compress(bytes(SIZE >> 3), codec)
    made: dict[str, Callable[[], Any]] = {
        "gz": lambda: zlib.compressobj(9, wbits=31),
        "bz2": bz2.BZ2Compressor,
        "xz": lambda: lzma.LZMACompressor(preset=1),
    }
    packer = made[codec]()
    return b"".join([*(packer.compress(block) for _ in range(SIZE >> 20)), packer.flush()])


@pytest.mark.parametrize("codec", CODECS)
def test_a_bomb_comes_in_pieces(codec: str) -> None:
    packed = bomb(codec)
    assert len(packed) < 1 << 20
    sizes = [len(piece) for piece in compression.pieces(io.BytesIO(packed), codec)]
    assert sum(sizes) == (SIZE >> 3 if codec == "lz4" else SIZE)
    assert max(sizes) <= (64 << 20 if codec == "zst" else PIECE)


@pytest.mark.parametrize("codec", CODECS)
@given(data=st.data())
def test_members_of_any_size_come_back_whole(codec: str, data: st.DataObject) -> None:
    parts = data.draw(st.lists(st.binary(max_size=300), min_size=1, max_size=4))
    times = data.draw(st.integers(1, 3000))
    packed = b"".join(compression.compress(part * times, codec) for part in parts)
    assert b"".join(compression.pieces(io.BytesIO(packed), codec)) == b"".join(part * times for part in parts)


def test_what_is_read_as_a_whole_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compression, "LARGEST_SIDE_FILE", 1 << 20)
    (tmp_path / "list.txt.gz").write_bytes(gzip.compress(bytes(2 << 20)))
    with pytest.raises(compression.Damaged, match="more than 1,048,576 bytes"):
        compression.read_all(str(tmp_path / "list.txt.gz"))


@given(st.lists(st.integers(0, 40), max_size=12), st.lists(st.integers(1, 50), min_size=1, max_size=60), st.booleans())
def test_lines_that_are_too_long_are_marked_and_all_others_kept(
    lengths: list[int], cuts: list[int], newline: bool
) -> None:
    lines = [bytes([97 + n % 26]) * size for n, size in enumerate(lengths)]
    data = b"\n".join(lines) + (b"\n" if newline and lines else b"")

    def chunks() -> Iterator[bytes]:
        at = n = 0
        while at < len(data):
            yield data[at : at + cuts[n % len(cuts)]]
            at, n = at + cuts[n % len(cuts)], n + 1

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(jsonl, "LONGEST", 20)
        blocks = list(jsonl.cut_lines(chunks()))
    found = [line for _, part in blocks for line in part]
    whole = data.split(b"\n")[:-1] if data.endswith(b"\n") or not data else data.split(b"\n")
    assert len(found) == len(whole)
    for line, right in zip(found, whole, strict=True):
        assert line == right or (line == jsonl.TOO_LONG and len(right) > 20)
        assert line != jsonl.TOO_LONG or len(right) > 20
    row = 0
    for offset, part in blocks:
        assert offset == sum(len(line) + 1 for line in whole[:row])
        row += len(part)


def run(folder: Path, name: str, data: bytes, on_error: str) -> list[dict[str, Any]]:
    (folder / name).write_bytes(data)
    columns = {"text": "text"}
    recipe = {
        "datasets": {"d": {"paths": str(folder / name), "columns": columns}},
        "on_error": on_error,
        "max_quarantined": 1.0,
        "cluster": {"kind": "inline"},
    }
    runner.run(load_data(recipe, "test"), str(folder / f"run-{on_error}"), with_report=False)
    return [row for table in open_run(str(folder / f"run-{on_error}")).ledger() for row in table.to_pylist()]


LINES = [b'{"text": "short"}', b'{"text": "' + b"x" * 9_000_000 + b'"}', b'{"text": "another"}']


@pytest.mark.parametrize("codec", ["", "gz", "zst", "bz2"])
def test_a_line_that_is_too_long_is_an_unreadable_row(
    tmp_path: Path, codec: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jsonl, "LONGEST", 4_000_000)  # above what comes at a time, as it is by default
    monkeypatch.setattr(compression, "ZSTD_STEP", 16)
    name = "a.jsonl" + (f".{codec}" if codec else "")
    data = compression.compress(b"\n".join(LINES) + b"\n", codec)
    rows = run(tmp_path, name, data, "quarantine")
    assert [(row["kept"], row["reason"]) for row in rows] == [(True, None), (False, "unreadable"), (True, None)]
    named = b"".join(p.read_bytes() for p in (tmp_path / "run-quarantine" / "quarantine").iterdir())
    assert b"the line has more than 4,000,000 bytes" in named
    assert name.encode() in named
    with pytest.raises(ShardError, match="row 1: the line has more than"):
        run(tmp_path, name, data, "stop")


def test_other_formats_name_what_is_too_long(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (delimited, json_values):
        monkeypatch.setattr(module, "LONGEST", 100_000)
    table = b"text\nfine\n" + b"y" * 5_000_000 + b"\n"
    values = json.dumps([{"text": "fine"}, {"text": "y" * 5_000_000}]).encode()
    for name, data in (("a.csv", table), ("b.csv.gz", compression.compress(table, "gz")), ("c.json", values)):
        (tmp_path / name).mkdir()
        with pytest.raises(ShardError, match=r"has more than 100,000"):
            run(tmp_path / name, name, data, "stop")
        rows = run(tmp_path / name, name, data, "quarantine")
        assert rows[0]["kept"]
        assert not all(row["kept"] for row in rows)


def test_a_parquet_file_that_swells_is_named_and_not_read(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    text = "x" * (300 << 20)
    pq.write_table(pa.table({"text": [text]}), tmp_path / "in" / "a.parquet", compression="zstd", use_dictionary=False)
    many = pa.table({"text": ["y" * (1 << 20)] * 300})
    pq.write_table(many, tmp_path / "in" / "b.parquet", compression="zstd", use_dictionary=False)
    pq.write_table(pa.table({"text": ["fine"]}), tmp_path / "in" / "c.parquet")
    recipe = {
        "datasets": {"d": {"paths": str(tmp_path / "in")}},
        "max_quarantined": 1.0,
        "cluster": {"kind": "inline"},
    }
    with pytest.raises(ShardError, match=r"a\.parquet .*values of more than"):
        runner.run(load_data(recipe, "test"), str(tmp_path / "stop"), with_report=False)
    runner.run(load_data({**recipe, "on_error": "quarantine"}, "test"), str(tmp_path / "run"), with_report=False)
    named = b"".join(p.read_bytes() for p in (tmp_path / "run" / "quarantine").iterdir())
    assert b"a.parquet" in named
    assert b"which is no text" in named
    counts = open_run(str(tmp_path / "run")).counts["d"]
    assert (counts.rows, counts.kept) == (302, 1)


def test_a_page_that_is_too_large_is_an_unreadable_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("fastwarc")
    monkeypatch.setattr(warc, "LONGEST", 10_000)
    records = b""
    for text in (b"first", b"z" * 50_000, b"last"):
        records += b"WARC/1.0\r\nWARC-Type: conversion\r\nContent-Type: text/plain\r\n"
        records += b"WARC-Record-ID: <urn:x>\r\nWARC-Date: 2026-01-01T00:00:00Z\r\n"
        records += b"Content-Length: %d\r\n\r\n%s\r\n\r\n" % (len(text), text)
    rows = run(tmp_path, "a.warc.gz", gzip.compress(records), "quarantine")
    assert [(row["kept"], row["reason"]) for row in rows] == [(True, None), (False, "unreadable"), (True, None)]


WARC = b"WARC/1.0\r\nWARC-Type: %s\r\nContent-Length: 0\r\n\r\n\r\n\r\n"
MANY_ROWS = {  # what a repeated row of each kind is, and what stands before and behind
    "blank.jsonl": (b"", b"\n", b""),
    "objects.jsonl": (b"", b"{}\n", b""),
    "copies.jsonl": (b"", b'{"text": "the same again and again"}\n', b""),
    "list.json": (b"[", b"{},", b"{}]"),
    "blank.csv": (b"text,id\n", b"\n", b""),
    "one-column.csv": (b"text\n", b"\n", b""),
    "rows.tsv": (b"text\tid\n", b"a\tb\n", b""),
    "pages.warc": (b"", WARC % b"conversion", b""),
    "requests.warc": (b"", WARC % b"request", b""),
}


@pytest.mark.parametrize("name", MANY_ROWS)
def test_few_bytes_that_stand_for_many_rows_end_a_file(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if "warc" in name:
        pytest.importorskip("fastwarc")
    monkeypatch.setattr(expansion, "FREE_ROWS", 1000)
    head, row, tail = MANY_ROWS[name]
    name = f"{name}.zst"
    packed = compression.compress(head + row * 60_000 + tail, "zst")
    with pytest.raises(ShardError, match=r"more than 1,000 rows and 10 for each byte, which are no texts; [0-9,]+ "):
        run(tmp_path, name, packed, "stop")
    rows = run(tmp_path, name, packed, "quarantine")
    assert len(rows) <= 2 + 1000 + 10 * len(packed) < 60_000
    named = b"".join(p.read_bytes() for p in (tmp_path / "run-quarantine" / "quarantine").iterdir())
    assert b"which are no texts" in named


@pytest.mark.parametrize("codec", ["gz", "zst"])
def test_a_stretch_that_swells_ends_a_file_wherever_it_begins(
    tmp_path: Path, codec: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(expansion, "FREE_BYTES", 1 << 20)
    draw = random.Random(1)
    good = [json.dumps({"text": draw.randbytes(2000).hex()}).encode() for _ in range(300)]
    for name, data in (("sound", good), ("swollen", [*good, b'{"text": "' + b"x" * (8 << 20) + b'"}', *good])):
        packed = compression.compress(b"\n".join(data) + b"\n", codec)
        (tmp_path / name).mkdir()
        if name == "sound":
            assert all(row["kept"] for row in run(tmp_path / name, f"a.jsonl.{codec}", packed, "stop"))
            continue
        with pytest.raises(ShardError, match=r"1,048,576 bytes and 200 times as many as are stored, which is no text"):
            run(tmp_path / name, f"a.jsonl.{codec}", packed, "stop")
        rows = run(tmp_path / name, f"a.jsonl.{codec}", packed, "quarantine")
        assert [row["kept"] for row in rows] == [True] * len(good) + [False]


def test_line_breaks_are_held_a_chunk_at_a_time(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl.zst"
    path.write_bytes(compression.compress(b"\n" * (20 << 20), "zst"))
    sizes = [len(chunk) for chunk in compressed.Stream(str(path), "jsonl.zst").chunks()]
    assert sum(sizes) == 20 << 20
    assert max(sizes) <= 2 * compressed.CHUNK_BYTES


def test_rows_without_text_make_row_groups_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compressed, "GROUP_ROWS", 40_000)
    path = tmp_path / "a.jsonl.gz"
    path.write_bytes(compression.compress(b"\n" * 200_000, "gz"))
    dataset = Dataset(name="d", paths=(str(path),), columns=Columns(text="text"))
    layout = compressed.stage_lines(dataset, str(path), "jsonl.gz", str(tmp_path / "staged.parquet"))
    assert layout.row_groups is not None
    assert layout.rows == 200_000
    assert max(rows for rows, _ in layout.row_groups) <= 40_000 + BATCH_ROWS


def test_columnar_files_of_many_rows_in_few_bytes_are_named_and_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(expansion, "FREE_ROWS", 1000)
    (tmp_path / "in").mkdir()
    rows = 2_000_000
    columns = {
        "equal": pa.DictionaryArray.from_arrays(np.zeros(rows, np.int8), ["a text"]).cast(pa.string()),
        "nulls": pa.nulls(rows, pa.string()),
    }
    for name, column in columns.items():
        table = pa.table({"text": column})
        pq.write_table(table, tmp_path / "in" / f"{name}.parquet", compression="zstd", row_group_size=rows // 3)
    nothing = pa.table({"text": pa.nulls(rows), "n": pa.nulls(rows)})
    for kind, opened in (("arrow", pa.ipc.new_file), ("arrows", pa.ipc.new_stream)):
        with opened(tmp_path / "in" / f"nothing.{kind}", nothing.schema) as writer:
            writer.write_table(nothing)
    pq.write_table(pa.table({"text": ["fine"]}), tmp_path / "in" / "z.parquet")
    for path in sorted((tmp_path / "in").glob("[!z]*")):
        (tmp_path / path.name).mkdir()
        with pytest.raises(ShardError, match="more than 1,000 rows and 10 for each byte"):
            run(tmp_path / path.name, path.name, path.read_bytes(), "stop")
    recipe = {"datasets": {"d": {"paths": str(tmp_path / "in")}}, "on_error": "quarantine", "max_quarantined": 1.0}
    runner.run(load_data({**recipe, "cluster": {"kind": "inline"}}, "test"), str(tmp_path / "r"), with_report=False)
    counts = open_run(str(tmp_path / "r")).counts["d"]
    assert (counts.rows, counts.kept) == (1, 1)
    assert len(list((tmp_path / "r" / "quarantine").iterdir())) == 4


def test_a_plain_file_of_many_short_rows_is_read_to_its_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(expansion, "FREE_ROWS", 1000)
    for name, data in (("a.jsonl", b"\n" * 30_000), ("a.csv", b"text\n" + b"\n" * 30_000)):
        (tmp_path / name).mkdir()
        assert len(run(tmp_path / name, name, data, "stop")) == 30_000  # the staged copy is much smaller


@pytest.mark.parametrize("codec", ["zstd", "lz4"])
@pytest.mark.parametrize("kind", ["arrow", "arrows"])
@pytest.mark.parametrize("what", ["text", "dictionary"])
def test_an_arrow_file_that_swells_is_named_before_it_is_decompressed(
    tmp_path: Path, codec: str, kind: str, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(expansion, "FREE_BYTES", 1 << 20)
    texts = pa.array(["x" * (100 << 20)])
    column = texts.dictionary_encode() if what == "dictionary" else texts
    table = pa.table({"text": column})
    new = pa.ipc.new_file if kind == "arrow" else pa.ipc.new_stream
    sink = io.BytesIO()
    with new(sink, table.schema, options=pa.ipc.IpcWriteOptions(compression=codec)) as writer:
        writer.write_table(table)
    del texts, column, table
    taken = pa.total_allocated_bytes()
    data = sink.getvalue()
    with pytest.raises(ShardError, match=r"1,048,576 bytes and 200 times as many as are stored, which is no text"):
        run(tmp_path, f"a.{kind}", data, "stop")
    (tmp_path / "in").mkdir()
    pq.write_table(pa.table({"text": ["fine"]}), tmp_path / "in" / "z.parquet")
    (tmp_path / "in" / f"a.{kind}").write_bytes(data)
    recipe = {"datasets": {"d": {"paths": str(tmp_path / "in")}}, "on_error": "quarantine", "max_quarantined": 1.0}
    runner.run(load_data({**recipe, "cluster": {"kind": "inline"}}, "test"), str(tmp_path / "r"), with_report=False)
    assert open_run(str(tmp_path / "r")).counts["d"].kept == 1
    assert pa.total_allocated_bytes() - taken < 30 << 20


def test_compressed_arrow_files_of_real_texts_are_read(tmp_path: Path) -> None:
    draw = random.Random(2)
    texts = [draw.choice(["", draw.randbytes(draw.randrange(300)).hex()]) for _ in range(5000)]
    table = pa.table({"text": texts, "empty": pa.nulls(5000, pa.float64()), "one": [7] * 5000})
    for kind, new in (("arrow", pa.ipc.new_file), ("arrows", pa.ipc.new_stream)):
        sink = io.BytesIO()
        with new(sink, table.schema, options=pa.ipc.IpcWriteOptions(compression="zstd")) as writer:
            writer.write_table(table, max_chunksize=900)
        (tmp_path / kind).mkdir()
        assert len(run(tmp_path / kind, f"a.{kind}", sink.getvalue(), "stop")) == 5000
