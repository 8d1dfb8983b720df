"""WARC and WET bytes made by hand, and small tables in every format that inputs may have."""

from __future__ import annotations

import csv
import gzip
import io
import json
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from cluster.files import compression

HTML = "<html><head><title>t</title></head><body><nav><a href=/>home</a></nav><p>{}</p></body></html>"
Row = dict[str, Any]


def record(kind: str, body: bytes, media: str, number: int = 0, url: str = "https://site.example/") -> bytes:
    """Return one WARC record."""
    head = (
        f"WARC/1.0\r\nWARC-Type: {kind}\r\nWARC-Record-ID: <urn:uuid:{number:04d}>\r\n"
        f"WARC-Date: 2024-01-02T03:04:05Z\r\n"
        f"WARC-Target-URI: {url}{number}\r\nContent-Type: {media}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body + b"\r\n\r\n"


def response(body: bytes, number: int = 0, headers: str = "Content-Type: text/html; charset=utf-8\r\n") -> bytes:
    """Return the record of a page as it came over HTTP."""
    http = f"HTTP/1.1 200 OK\r\n{headers}\r\n".encode()
    return record("response", http + body, "application/http; msgtype=response", number)


def info() -> bytes:
    return record("warcinfo", b"software: by hand\r\n", "application/warc-fields")


def page(text: str, number: int = 0) -> bytes:
    return response(HTML.format(text).encode(), number)


def conversion(text: str, number: int = 0) -> bytes:
    """Return a record of a WET file."""
    return record("conversion", text.encode(), "text/plain", number)


def zipped(records: list[bytes]) -> bytes:
    """Return records as Common Crawl keeps them: one gzip member each."""
    return b"".join(gzip.compress(part, mtime=0) for part in records)


def made(rows: list[Row], format: str) -> bytes:
    """Return rows of texts as the bytes of a format: kind and codec, `arrows` for an IPC stream, `array` for JSON."""
    kind, _, codec = format.partition(".")
    return compression.compress(_MADE[kind](rows), codec)


def _jsonl(rows: list[Row]) -> bytes:
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)


def _delimited(rows: list[Row], delimiter: str) -> bytes:
    out = io.StringIO(newline="")
    writer = csv.DictWriter(out, list(rows[0]), delimiter=delimiter)
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue().encode()


def _arrow(rows: list[Row], new: Any) -> bytes:
    sink = pa.BufferOutputStream()
    table = pa.Table.from_pylist(rows)
    with new(sink, table.schema) as writer:
        writer.write_table(table, max_chunksize=2)
    return bytes(sink.getvalue().to_pybytes())


def _parquet(rows: list[Row]) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pylist(rows), sink, row_group_size=2)
    return bytes(sink.getvalue().to_pybytes())


_MADE = {
    "jsonl": _jsonl,
    "array": lambda rows: json.dumps(rows).encode(),
    "pretty": lambda rows: json.dumps(rows, indent=2).encode(),
    "values": lambda rows: "\n".join(json.dumps(row, indent=2) for row in rows).encode(),
    "csv": lambda rows: _delimited(rows, ","),
    "tsv": lambda rows: _delimited(rows, "\t"),
    "arrow": lambda rows: _arrow(rows, pa.ipc.new_file),
    "arrows": lambda rows: _arrow(rows, pa.ipc.new_stream),
    "parquet": _parquet,
}
