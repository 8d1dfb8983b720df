"""Fuzz target: input files of every format and codec, read as a run reads them.

A case changes the bytes of a file, or of what it is compressed from. What must hold: the only error is a WinnowError;
every row that the layout counts comes once and in order, with a text that is valid UTF-8; reading again, reading some
rows, and reading less at a time give the same; and where a format carries a checksum of its content, a file of which
nothing is said to be wrong holds the rows that were written.
"""

from __future__ import annotations

import io
import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from cluster.errors import WinnowError
from cluster.files import compression
from stages.core.shard import Columns, Dataset, Piece, Shard
from stages.inputs.arrow.arrow_bounds import check_offsets
from stages.inputs.batches import ReadStatus
from stages.inputs.files.discover import Found, look
from stages.inputs.reader import count_and_layout, read_piece, stage_compressed
from tests.support import archives
from tests.support.fuzzing import mutated

ROWS: list[dict[str, Any]] = [
    {
        "text": f"Das Dokument {n}: größer, «quoted» and \U0001f33f. " * (n % 5)
        + ("line\nbreak, \t" if n % 3 else '"'),
        "id": f"id-{n}",
        "url": f"https://site.example/{n}",
        "score": n / 7,
        "meta": {"a": [n, n + 1], "b": None if n % 2 else f"b{n}"},
    }
    for n in range(12)
]
FLAT = [{name: row[name] for name in ("text", "id", "url", "score")} for row in ROWS]
DATASET = Dataset(name="d", paths=(), columns=Columns(text="text", id="id", url="url"))
SUFFIX = {"arrows": "arrows", "array": "json", "pretty": "json", "values": "json", "lzma": "jsonl.lzma"}
TEXTUAL = ("jsonl", "array", "pretty", "values", "csv", "tsv", "warc", "wet")
# codecs of which a whole stream has a checksum of its content, and Parquet pages
CHECKED = ("jsonl.gz", "jsonl.bz2", "jsonl.xz", "jsonl.zst-checked", "parquet-pages")


def _parquet(**options: Any) -> bytes:
    sink = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(ROWS), sink, **{"row_group_size": 5, **options})
    return sink.getvalue()


def _arrow(codec: str, new: Any) -> bytes:
    table = pa.Table.from_pylist(ROWS)
    table = table.set_column(1, "id", table["id"].dictionary_encode())
    sink = pa.BufferOutputStream()
    with new(sink, table.schema, options=pa.ipc.IpcWriteOptions(compression=codec)) as writer:
        writer.write_table(table, max_chunksize=5)
    return bytes(sink.getvalue().to_pybytes())


def _warc() -> bytes:
    return archives.info() + b"".join(archives.page(row["text"], n) for n, row in enumerate(ROWS[:6]))


def _wet() -> bytes:
    return archives.info() + b"".join(archives.conversion(row["text"], n) for n, row in enumerate(ROWS[:6]))


def _plain(kind: str) -> bytes:
    """Return the bytes of a kind before a codec."""
    if kind in ("warc", "wet"):
        return _warc() if kind == "warc" else _wet()
    return archives.made(FLAT if kind in ("csv", "tsv") else ROWS, kind)


PARQUET = {
    "parquet": lambda: _parquet(),
    "parquet-pages": lambda: _parquet(write_page_checksum=True, compression="zstd", use_dictionary=False),
    "parquet-v2": lambda: _parquet(data_page_version="2.0", compression="gzip", data_page_size=64),
    "parquet-delta": lambda: _parquet(
        use_dictionary=False,
        compression="lz4",
        column_encoding={"text": "DELTA_BYTE_ARRAY", "id": "DELTA_LENGTH_BYTE_ARRAY", "score": "BYTE_STREAM_SPLIT"},
    ),
    "parquet-brotli": lambda: _parquet(compression="brotli", write_statistics=False),
}
ARROW = {
    "arrow": lambda: _arrow("lz4", pa.ipc.new_file),
    "arrows": lambda: _arrow("zstd", pa.ipc.new_stream),
    "arrow-plain": lambda: archives.made(ROWS, "arrow"),
}
PACKED = ("jsonl.gz", "jsonl.bz2", "jsonl.xz", "jsonl.lzma", "jsonl.lz4", "jsonl.zst", "jsonl.zst-checked")
KINDS = (*PARQUET, *ARROW, *TEXTUAL, *PACKED, "csv.gz", "array.zst", "warc.gz", "wet.zst")


def kinds() -> tuple[str, ...]:
    return KINDS


@dataclass(frozen=True)
class Ready:
    """A whole file, what it is made from, and where changed ones are written."""

    kind: str
    whole: bytes
    plain: bytes
    others: tuple[bytes, ...]
    path: Path
    right: list[tuple[int, str]]

    @property
    def extra(self) -> tuple[str, ...]:
        """Input columns that are read beside text, id and url."""
        return () if self.kind.startswith(("csv", "tsv", "warc", "wet")) else ("meta",)


def prepare(kind: str, folder: Path) -> Ready:
    """Make the file of a kind, and read it: what is compiled or loaded once is no part of a case."""
    plain = {**PARQUET, **ARROW}[kind]() if kind in {**PARQUET, **ARROW} else _plain(kind.partition(".")[0])
    whole = packed(plain, kind)
    base, _, codec = kind.partition(".")
    name = f"x.{SUFFIX.get(base, base.partition('-')[0])}" + (f".{codec.partition('-')[0]}" if codec else "")
    others = (*(_plain(other) for other in ("jsonl", "csv", "warc")), whole)
    ready = Ready(kind, whole, plain, others, folder / name, [])
    ready.path.write_bytes(whole)
    rows, wrong = rows_of(ready)
    assert not wrong, (kind, wrong)
    assert len(rows) in (len(ROWS), 6), (kind, rows)
    return Ready(kind, whole, plain, others, folder / name, rows)


def packed(plain: bytes, kind: str) -> bytes:
    """Return bytes compressed by the codec of a kind, of two members where there can be several."""
    codec = kind.partition(".")[2]
    if codec == "zst-checked":
        import zstandard

        return zstandard.ZstdCompressor(write_checksum=True).compress(plain)
    if codec == "lzma":
        import lzma

        return lzma.compress(plain, lzma.FORMAT_ALONE)
    half = plain.find(b"\n", len(plain) // 2) + 1
    return compression.compress(plain[:half], codec) + compression.compress(plain[half:], codec) if codec else plain


def case(ready: Ready, draw: random.Random) -> str:
    """Read a changed file."""
    inside = "." in ready.kind and draw.random() < 0.4
    data = packed(mutated(ready.plain, draw, ready.others), ready.kind) if inside else mutated(ready.whole, draw)
    ready.path.write_bytes(data)
    try:
        rows, wrong = rows_of(ready)
    except WinnowError as error:
        return "refused" if len(str(error)) < 5_000 else f"a sentence of {len(str(error))} characters"
    if wrong:
        return "refused"
    if ready.kind in CHECKED and not inside and data != ready.whole:
        assert rows == ready.right, "other rows, and nothing is said to be wrong"
    return "read"


def rows_of(ready: Ready) -> tuple[list[tuple[int, str]], list[str]]:
    """Return (status, text, id, url) of every row, and all that is said to be wrong; checks the reader's promises."""
    size = ready.path.stat().st_size
    file = look(DATASET, Found(path=str(ready.path), relative_path=ready.path.name, bytes=size, format=""))
    shard = Shard(
        ordinal=0,
        dataset="d",
        path=str(ready.path),
        relative_path=ready.path.name,
        rows=0,
        bytes=size,
        fingerprint="",
        format=file.format,
    )
    copy = None
    if shard.staged:
        copy = str(ready.path.with_name("copy.parquet"))
        layout = stage_compressed(DATASET, shard.path, copy, ready.extra, kind=file.format)
        assert layout.rows == count_and_layout(DATASET, shard.path, ready.extra, kind=file.format).rows
    else:
        layout = count_and_layout(DATASET, shard.path, ready.extra, kind=file.format)
    wrong = [layout.problem] if layout.problem else []
    if layout.rows > 10_000:
        return [], [f"{layout.rows} rows"]  # made up: what cannot be read comes as so many unreadable rows
    piece = Piece(shard=shard, start=0, stop=layout.rows)
    rows, more = _read(ready, piece, copy, None)
    assert len(rows) == layout.rows, f"{len(rows)} rows came, the layout counts {layout.rows}"
    again, _ = _read(ready, piece, copy, None, batch_bytes=200)
    assert _agree(again, rows), "read in smaller batches, rows differ"
    some = np.arange(1, layout.rows, 3)
    few, _ = _read(ready, piece, copy, some)
    assert _agree(few, [rows[i] for i in some]), "some rows differ from those that are read with all"
    return rows, wrong + more


def _agree(one: list[Any], other: list[Any]) -> bool:
    """Tell whether rows are the same, those apart that one of the two reads could not reach."""
    bad = {int(status) for status in ReadStatus if status.bad}
    return len(one) == len(other) and all(a == b or {a[0], b[0]} & bad for a, b in zip(one, other, strict=True))


def _read(ready: Ready, piece: Piece, copy: str | None, some: Any, **options: Any) -> tuple[list[Any], list[str]]:
    names = ["text", "id", "url", *(f"column:{name}" for name in ready.extra)]
    found: list[Any] = []
    wrong: list[str] = []
    at = 0
    for batch in read_piece(DATASET, piece, names, path=copy, rows=some, **options):
        want = some if some is not None else np.arange(piece.start, piece.stop)
        assert (batch.rows == want[at : at + len(batch.rows)]).all(), "rows are not in order"
        at += len(batch.rows)
        batch.table.select(["text", "id", "url"]).validate(full=True)
        for record in batch.table.to_batches():
            check_offsets(record)  # input columns may hold strings that are no UTF-8: they stand as they are
        texts = batch.table.column("text")
        assert not texts.null_count
        columns = [array.to_pylist() for array in (texts, batch.table.column("id"), batch.table.column("url"))]
        found += list(zip(batch.status.tolist(), *columns, strict=True))
        wrong += [problem.error for problem in batch.problems]
        wrong += [status.reason for status in ReadStatus if status.bad and (batch.status == status).any()]
    return found, wrong
