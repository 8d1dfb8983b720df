"""CSV and TSV: the first row names the columns, every value is text as it is written.

Guarantees: a row is a record, whatever line breaks its quotes hold; values are never turned into numbers, dates or
nulls. A row with too few or too many fields is unreadable and named; quotes that do not close, or text after a
closing quote, end the file with an error, where a lenient reader would swallow rows. Empty lines are no rows, except
in a file of one column. Memory: a block of rows, or the longest one.

Quotes are those of RFC 4180, in TSV too (as pandas and spreadsheets write it): a quote inside quotes is doubled.
Python's reader is used because it is strict; it takes 200 MB a second (2026-11).
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, ClassVar, TextIO

import pyarrow as pa

from cluster.bounds import LONGEST
from cluster.files import compression
from cluster.files.expansion import Expansion
from stages.inputs.arrow.parquet import Corrupt
from stages.inputs.files.formats import codec_of, kind_of
from stages.inputs.jsonl import open_file
from stages.inputs.tables import Rows

BLOCK_BYTES = 4 << 20  # characters of a block of rows
BLOCK_ROWS = 16_384
TEXT = pa.large_string()
TOO_LONG = "line too long"


@dataclass(eq=False)
class Delimited:
    """The rows of a CSV or TSV file. `error` says, once `rows` has ended, why it ended early."""

    delimiters: ClassVar[dict[str, str]] = {"csv": ",", "tsv": "\t"}

    path: str
    format: str
    error: str | None = field(default=None, init=False)
    _reader: Any = field(default=None, init=False)
    _lines: int = field(default=0, init=False)  # read up to the end of the last record
    _ended: bool = field(default=True, init=False)  # what was read last ends a line

    def schema(self) -> pa.Schema:
        """Return the columns that the first row names, all text. Raises Corrupt where there is none."""
        try:
            for names in self._records():
                return pa.schema([(name, TEXT) for name in names])
        except (compression.Damaged, csv.Error) as error:
            raise Corrupt(_sentence(error)) from error
        raise Corrupt("the file is empty: its first row must name the columns")

    def rows(self) -> Iterator[Rows]:
        """Yield blocks of rows; what is cut by damage is a last row with an error."""
        records = self._records()
        names: list[str] = []
        held = _Block(names)
        try:
            names.extend(next(records))
            for record in records:
                held.add(record)
                if held.full:
                    yield held.take()
        except (compression.Damaged, csv.Error) as error:
            self.error = _sentence(error)
            inside = names and (not self._ended or self._reader.line_num != self._lines)
            if inside or isinstance(error, csv.Error):
                held.add_error(f"the row is cut: {self.error}")
        except StopIteration:
            return
        if held.count:
            yield held.take()

    def _records(self) -> Iterator[list[str]]:
        """Yield the fields of every record, bytes that are no UTF-8 as surrogates."""
        csv.field_size_limit(LONGEST)
        codec, delimiter = codec_of(self.format), self.delimiters[kind_of(self.format)]
        with open_file(self.path) as file:
            allowed = Expansion(codec)
            raw = compression.reader(self._watched(compression.pieces_within(file, allowed)))
            start = raw.peek(2)[:2]  # type: ignore[attr-defined]
            if start in (b"\xff\xfe", b"\xfe\xff"):
                raise Corrupt("the file is UTF-16 text; save it as UTF-8")
            text = io.TextIOWrapper(raw, encoding="utf-8-sig", errors="surrogateescape", newline="")
            self._reader = csv.reader(_lines(text), delimiter=delimiter, strict=True)
            width = 0
            for record in self._reader:
                self._lines = self._reader.line_num
                width = width or len(record)
                if wrong := allowed.crowds(1):
                    raise compression.Damaged(wrong)
                if record:
                    yield record
                elif width == 1:
                    yield [""]

    def _watched(self, pieces: Iterator[bytes]) -> Iterator[bytes]:
        for piece in pieces:
            self._ended = piece.endswith((b"\n", b"\r"))
            yield piece


def _lines(text: TextIO) -> Iterator[str]:
    """Yield lines. Raises csv.Error where one has more than LONGEST characters."""
    while line := text.readline(LONGEST + 1):
        if len(line) > LONGEST:
            raise csv.Error(TOO_LONG)
        yield line


def _sentence(error: Exception) -> str:
    if isinstance(error, csv.Error) and ("field limit" in str(error) or TOO_LONG in str(error)):
        return f"a line or a field has more than {LONGEST:,} characters"
    if isinstance(error, csv.Error):
        what = "a quote is not closed" if "unexpected end" in str(error) else f"quotes are used wrongly: {error}"
        return f"{what} (quotes inside a quoted value must be doubled)"
    return str(error)


class _Block:
    """Rows that are held until they are handed on. `names` may still grow while no row is held."""

    def __init__(self, names: list[str]) -> None:
        self.names = names
        self.count = self.size = 0
        self.columns: list[list[str | None]] = []
        self.errors: dict[int, str] = {}

    @property
    def full(self) -> bool:
        return self.size >= BLOCK_BYTES or self.count >= BLOCK_ROWS

    def add(self, record: list[str]) -> None:
        width = len(self.names)
        if len(record) != width:
            self.add_error(f"the row has {len(record)} fields, the first row names {width} columns")
            return
        self.columns = self.columns or [[] for _ in self.names]
        for column, value in zip(self.columns, record, strict=True):
            column.append(value)
        self.count += 1
        self.size += sum(map(len, record))

    def add_error(self, error: str) -> None:
        self.errors[self.count] = error
        self.columns = self.columns or [[] for _ in self.names]
        for column in self.columns:
            column.append(None)
        self.count += 1

    def take(self) -> Rows:
        columns = [_texts(column) for column in self.columns]
        found = Rows(
            pa.RecordBatch.from_arrays(columns, schema=pa.schema([(n, TEXT) for n in self.names])), self.errors
        )
        self.count = self.size = 0
        self.columns, self.errors = [], {}
        return found


def _texts(values: list[str | None]) -> pa.Array:
    """Return texts as they were written; bytes that are no UTF-8 stand in them unchanged."""
    try:
        return pa.array(values, TEXT)
    except UnicodeEncodeError:
        data = [None if value is None else value.encode("utf-8", "surrogateescape") for value in values]
        return pa.array(data, pa.large_binary()).view(TEXT)
