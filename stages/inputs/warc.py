"""WARC and WET files: one row for each page, with the text that an extractor takes out of its HTML.

Rows are records of type `response` (text out of HTML, text/plain as it is; null for other media types, for what is no
HTTP, and where the payload cannot be decoded) and `conversion` (WET: text as it stands). Other records are no
documents. Columns: text, id (WARC-Record-ID), url, date (as written), WARC-Type, Content-Type, http_status.

Guarantees: what is cut or malformed ends the file with an error that names the record, never silently; the text depends
on the bytes, on `extract:` and on the versions that core/extractor.py states. Memory: a block of rows, or the
largest record.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, BinaryIO

import pyarrow as pa

from cluster.bounds import LONGEST
from cluster.files import compression
from cluster.files.expansion import Expansion
from stages.core.extractor import not_installed
from stages.inputs.files.formats import codec_of
from stages.inputs.jsonl import open_file
from stages.inputs.tables import Rows

BLOCK_BYTES = 4 << 20
BLOCK_ROWS = 16_384
TEXT = pa.large_string()
SCHEMA = pa.schema(
    [
        ("text", TEXT),
        ("id", TEXT),
        ("url", TEXT),
        ("date", TEXT),
        ("WARC-Type", TEXT),
        ("Content-Type", TEXT),
        ("http_status", pa.int32()),
    ]
)
HTML = ("text/html", "application/xhtml+xml")
TYPES = ("response", "conversion")
RECORD_ROWS = 8  # a record takes 13 us (2026-11) and has a header of 50 bytes: it counts as so many rows
TOO_LARGE = f"the record has more than {LONGEST:,} bytes"
Extract = Callable[[str], "str | None"]


@dataclass(eq=False)
class Archive:
    """The pages of a WARC file. `error` says, once `rows` has ended, why it ended early."""

    path: str
    format: str
    extract: str = "resiliparse"
    error: str | None = field(default=None, init=False)

    def schema(self) -> pa.Schema:
        """Return the columns, which are the same for every file."""
        return SCHEMA

    def rows(self) -> Iterator[Rows]:
        """Yield blocks of pages; what is cut by damage is a last row with an error."""
        taken: list[dict[str, Any]] = []
        size = total = 0
        errors: dict[int, str] = {}
        for row in self._rows():
            if isinstance(row, str):
                errors[len(taken)] = row
                row = dict.fromkeys(SCHEMA.names)
            taken.append(row)
            size, total = size + len(row.get("text") or ""), total + 1
            if size >= BLOCK_BYTES or len(taken) >= BLOCK_ROWS:
                yield Rows(pa.RecordBatch.from_pylist(taken, SCHEMA), errors)
                taken, size, errors = [], 0, {}
        if self.error is not None:
            errors[len(taken)] = f"the record is cut: {self.error}"
            taken.append(dict.fromkeys(SCHEMA.names))
        if taken:
            yield Rows(pa.RecordBatch.from_pylist(taken, SCHEMA), errors)
        if not total and self.error is None:
            self.error = "the file holds no record of type response or conversion"

    def _rows(self) -> Iterator[dict[str, Any] | str]:
        """Yield pages, and a sentence for each that cannot be read."""
        take_text = _extract(self.extract)
        number = 0
        try:
            for record, block in self._records():
                number += 1
                if str(record.record_type) not in TYPES:
                    continue
                yield TOO_LARGE if block is None else _row(record, block, take_text)
        except compression.Damaged as error:
            self.error = str(error)
        except (OSError, ValueError) as error:
            if isinstance(error, OSError) and error.errno is not None:
                raise
            self.error = f"record {number + 1} is malformed ({error})"

    def _records(self) -> Iterator[tuple[Any, bytes | None]]:
        """Yield header and whole block of every record, None for one of more than LONGEST bytes.

        Raises Damaged where one is cut.
        """
        try:
            from fastwarc.warc import ArchiveIterator
        except ImportError as error:
            raise not_installed(str(error)) from None
        with open_file(self.path) as file:
            allowed = Expansion(codec_of(self.format))
            source: Any = _Forward(compression.reader(compression.pieces_within(file, allowed)))
            number = 0
            with _panics():
                for number, record in enumerate(ArchiveIterator(source, parse_http=False, stream_detect=False), 1):
                    if wrong := allowed.crowds(RECORD_ROWS):
                        raise compression.Damaged(wrong)
                    stated = record.headers.get("Content-Length")
                    size = int(stated) if stated and stated.strip().isdigit() and len(stated) < 20 else -1
                    if size > LONGEST:
                        yield record, None  # passed over by the iterator
                        continue
                    block = record.reader.read(size) if size >= 0 else b""
                    if len(block) != size:
                        raise compression.Damaged(f"record {number} is truncated or malformed")
                    yield record, block
            if source.rest():
                raise compression.Damaged(f"something that is no record follows record {number}")


class _Forward:
    """A stream that is read forward only: fastwarc asks for `tell`, and panics where `seek` is there and fails."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._at = 0

    def read(self, size: int = -1) -> bytes:
        data = self._stream.read(size)
        self._at += len(data)
        return data

    def tell(self) -> int:
        return self._at

    def rest(self) -> bytes:
        """Return what is left, white space aside, up to a block."""
        return self._stream.read(compression.READ_BYTES).strip()


@contextlib.contextmanager
def _panics() -> Iterator[None]:
    """Turn a panic of fastwarc, which is no Exception, into Damaged: the bytes are what it cannot cope with."""
    try:
        yield
    except BaseException as error:
        if type(error).__name__ != "PanicException":
            raise
        raise compression.Damaged(f"a record is malformed ({error})") from None


def _row(record: Any, block: bytes, take_text: Extract) -> dict[str, Any]:
    headers = record.headers
    kind = str(record.record_type)
    row = {
        "id": headers.get("WARC-Record-ID"),
        "url": (headers.get("WARC-Target-URI") or "").strip("<>") or None,
        "date": headers.get("WARC-Date"),
        "WARC-Type": kind,
        "Content-Type": headers.get("Content-Type"),
    }
    if kind == "conversion":
        return {**row, "text": block.decode("utf-8", "replace")}
    status, media, charset, body = _http(block)
    row |= {"Content-Type": media, "http_status": status}
    if body is None or media not in (*HTML, "text/plain"):
        return row
    text = _decoded(body, charset, media in HTML)
    return {**row, "text": take_text(text) if media in HTML else text}


def _http(block: bytes) -> tuple[int | None, str | None, str | None, bytes | None]:
    """Return status, media type, charset and decoded body of an HTTP response; None where it cannot be decoded."""
    from fastwarc.warc import WarcRecord

    head = b"WARC/1.0\r\nWARC-Type: response\r\nContent-Type: application/http; msgtype=response\r\nContent-Length: %d"
    try:
        record = WarcRecord.from_bytes(head % len(block) + b"\r\n\r\n" + block + b"\r\n\r\n")
        record.parse_http(auto_decode="all", quirks_mode=True)
        status = record.http_headers.status_code if record.http_headers else None
    except (OSError, ValueError):
        return None, None, None, None
    if not isinstance(status, int):
        return None, None, None, None
    media = (record.http_content_type or "").lower() or None
    try:
        body = record.reader.read(LONGEST + 1)
        return status, media, record.http_charset, body if len(body) <= LONGEST else None
    except (OSError, ValueError):
        return status, media, None, None


def _decoded(body: bytes, charset: str | None, html: bool) -> str:
    """Return a body as text: by the HTTP header's charset, else the page's, else the detected one."""
    from resiliparse.parse.encoding import bytes_to_str, detect_encoding, map_encoding_to_html5

    named = map_encoding_to_html5(charset, fallback_utf8=False) if charset else None
    return bytes_to_str(body, named or detect_encoding(body, from_html_meta=html) or "utf-8", errors="replace")


def _extract(name: str) -> Extract:
    """Return the function that takes the text out of HTML. Raises RecipeError where its package is missing."""
    if name == "none":
        return lambda html: html
    try:
        if name == "trafilatura":
            from trafilatura import extract

            return lambda html: extract(html, include_comments=False) or ""
        from resiliparse.extract.html2text import extract_plain_text
    except ImportError as error:
        raise not_installed(str(error)) from None
    return lambda html: str(extract_plain_text(html, main_content=True, alt_texts=False))
