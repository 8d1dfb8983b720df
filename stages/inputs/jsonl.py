"""Read JSON lines by byte range: an index of line numbers, and lines turned into batches.

Guarantees: a row is a physical line (blank and broken ones too; the last needs no newline), so row numbers
are those of `sed -n`, less one. Memory: the lines of one batch, or the longest line.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Generator, Iterable, Iterator
from typing import Any, BinaryIO

import numpy as np
import orjson
import pyarrow as pa

from cluster import storage
from stages.core.shard import Dataset
from stages.inputs.batches import (
    BATCH_ROWS,
    I64,
    U8,
    Batch,
    Layout,
    Problem,
    ReadStatus,
    mark_text_status,
    split,
)
from stages.inputs.columns import COLUMN, RAW, TEXT, from_json, getter, ids_of, raw_of, source_path, texts_of
from stages.inputs.discover import size_of, stat_token
from stages.inputs.parquet import MALFORMED, Request, lost, missing, unreachable

BLOCK = 2 << 20  # bytes between two entries of the index
PARSE_BYTES = 2 << 20  # parsed at once: 260 MB/s, with 16 MB 130 MB/s (caches, page faults; 2026-11)
GROUP_BYTES = 32 << 20
GROUP_ROWS = 50_000
SAMPLE_LINES = 1000
BOM = b"\xef\xbb\xbf"

Lines = tuple[int, list[bytes]]  # byte offset of the first line, lines without their newline


# --- lines -----------------------------------------------------------------------------------------------


def line_blocks(file: BinaryIO, offset: int, block: int) -> Iterator[Lines]:
    """Yield the file's lines from byte `offset` on, about `block` bytes at a time, whole lines always."""
    file.seek(offset)
    return cut_lines(iter(lambda: file.read(block), b""), offset)


def cut_lines(chunks: Iterable[bytes], offset: int = 0) -> Iterator[Lines]:
    """Cut a stream of bytes into lists of whole lines. The last line may lack its newline."""
    pending: list[bytes] = []
    for chunk in chunks:
        cut = chunk.rfind(b"\n")
        if cut < 0:
            pending.append(chunk)
            continue
        data = b"".join([*pending, chunk[:cut]])
        pending = [chunk[cut + 1 :]]
        size = len(data) + 1
        lines = data.split(b"\n")
        del data  # a huge line is held once while it is worked on
        yield offset, lines
        offset += size
    rest = b"".join(pending)
    if rest:
        yield offset, [rest]


@functools.lru_cache(maxsize=32)
def _index(path: str, token: str) -> tuple[I64, int]:
    """Return (newlines before each block, rows); the token keeps a changed file from being confused."""
    counts = [0]
    last = b"\n"
    with open_file(path) as file:
        while data := file.read(BLOCK):
            counts.append(counts[-1] + data.count(b"\n"))
            last = data[-1:]
    return np.array(counts, np.int64), counts[-1] + (last != b"\n")


def index(path: str) -> tuple[I64, int]:
    """Return the newlines before each block of BLOCK bytes, and the rows of the file."""
    return _index(path, stat_token(path))


def open_file(path: str) -> BinaryIO:
    """Open a shard. Raises ShardError where it cannot be reached."""
    try:
        return storage.open_read(path)
    except OSError as error:
        raise unreachable(path, error) from error


def find_row(file: BinaryIO, counts: I64, row: int) -> int:
    """Return the byte offset of a row that exists."""
    if row == 0:
        return 0
    number = int(np.searchsorted(counts, row, side="left")) - 1  # the row-th newline is in this block
    file.seek(number * BLOCK)
    data = np.frombuffer(file.read(BLOCK), np.uint8)
    newline = np.flatnonzero(data == 10)[row - 1 - int(counts[number])]
    return number * BLOCK + int(newline) + 1


# --- parsing ---------------------------------------------------------------------------------------------


def parse(lines: list[bytes]) -> tuple[list[dict[str, Any]], U8, dict[int, str]]:
    """Return one object per line ({} where there is none), the statuses known by now, errors by line."""
    try:
        values = list(map(orjson.loads, lines))
    except orjson.JSONDecodeError:
        return _parse_each(lines)
    status = np.zeros(len(lines), np.uint8)
    if set(map(type, values)) <= {dict}:
        return values, status, {}
    errors = {}
    for row, value in enumerate(values):
        if not isinstance(value, dict):
            values[row], status[row] = {}, ReadStatus.WRONG_TYPE
            errors[row] = f"a JSON object is needed, the line holds {_kind(value)}"
    return values, status, errors


def _parse_each(lines: list[bytes]) -> tuple[list[dict[str, Any]], U8, dict[int, str]]:
    values: list[dict[str, Any]] = []
    status = np.zeros(len(lines), np.uint8)
    errors: dict[int, str] = {}
    for row, line in enumerate(lines):
        value, found, error = _parse_one(line)
        values.append(value)
        status[row] = found
        if error:
            errors[row] = error
    return values, status, errors


def _parse_one(line: bytes) -> tuple[dict[str, Any], ReadStatus, str]:
    if not line.strip():
        return {}, ReadStatus.EMPTY, ""
    try:
        value = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        value, status = _parse_lenient(line)
        if status != ReadStatus.OK:
            return {}, status, MALFORMED if status == ReadStatus.INVALID_UTF8 else f"invalid JSON: {error}"
    if isinstance(value, dict):
        return value, ReadStatus.OK, ""
    return {}, ReadStatus.WRONG_TYPE, f"a JSON object is needed, the line holds {_kind(value)}"


def _parse_lenient(line: bytes) -> tuple[Any, ReadStatus]:
    """Read the NaN and Infinity that Python writes as null; tell malformed text from malformed JSON."""
    try:
        value = json.loads(line.decode())
        return orjson.loads(orjson.dumps(value)), ReadStatus.OK
    except UnicodeDecodeError:
        return None, ReadStatus.INVALID_UTF8
    except (ValueError, RecursionError):
        return None, ReadStatus.INVALID_JSON
    except TypeError:  # orjson.JSONEncodeError: half of a surrogate pair, or a number beyond 64 bits
        return None, ReadStatus.INVALID_UTF8 if b"\\u" in line else ReadStatus.INVALID_JSON


def _kind(value: Any) -> str:
    names = {list: "a list", str: "a string", bool: "a boolean", type(None): "null", dict: "an object"}
    return names.get(type(value), "a number")


def make_batch(request: Request, start: int, offset: int, lines: list[bytes], rows: I64 | None) -> Batch:
    """Turn lines into a batch: `start` and `offset` are row and byte offset of the first line.

    `rows`: the rows of the lines to keep, where it is not all of them.
    """
    if start == 0 and offset == 0 and lines[0].startswith(BOM):
        lines = [lines[0][len(BOM) :], *lines[1:]]
    numbers = range(start, start + len(lines)) if rows is None else rows
    chosen = lines if rows is None else [lines[i] for i in (rows - start).tolist()]
    values, status, errors = parse(chosen)
    columns = []
    for name in request.columns:
        column, status = _column(request, name, values, status, errors)
        columns.append(column)
    table = pa.table(columns, names=list(request.columns))
    problems = _problems(request.path, lines, start, offset, numbers, errors)
    return Batch(request.ordinal, int(numbers[0]), table, status, problems, rows)


def _column(
    request: Request, name: str, values: list[dict[str, Any]], status: U8, errors: dict[int, str]
) -> tuple[pa.Array, U8]:
    path = source_path(name, request.dataset.columns)
    found = list(map(getter(path), values)) if path is not None else [None] * len(values)
    if name == "text":
        texts, wrong = texts_of(found)
        for row in np.flatnonzero(wrong).tolist():
            errors[row] = f"{path!r} must be a string, the line holds {_kind(found[row])}"
        return mark_text_status(texts, np.maximum(status, wrong), trusted=True)
    if name in ("id", "url"):
        return ids_of(found), status
    if name.startswith(RAW):
        return raw_of(found), status
    return from_json(found), status


def _problems(
    path: str, lines: list[bytes], start: int, offset: int, rows: I64 | range, errors: dict[int, str]
) -> tuple[Problem, ...]:
    if not errors:
        return ()
    offsets = offset + np.concatenate([[0], np.cumsum([len(line) + 1 for line in lines])])
    found = sorted(errors.items())
    return tuple(Problem(path, int(rows[at]), int(offsets[int(rows[at]) - start]), e) for at, e in found)


# --- pieces ----------------------------------------------------------------------------------------------


def empty(request: Request) -> pa.Schema:
    """Return the schema of rows that cannot be read."""
    return pa.schema([(n, pa.null() if n.startswith(COLUMN) else TEXT) for n in request.columns])


def read(request: Request) -> Iterator[Batch]:
    """Yield the piece's batches; see `reading.read_piece`."""
    with open_file(request.path) as file:
        for first, last in _runs(request):
            row = first
            counts, rows = index(request.path) if first else (np.zeros(1, np.int64), 1)
            if first < rows:
                blocks = line_blocks(
                    file, find_row(file, counts, first), max(1, min(PARSE_BYTES, request.batch_bytes // 2))
                )
                row = yield from from_lines(request, blocks, first, last + 1)
            error = f"the file ends there, the manifest says {request.piece.shard.rows:,} rows"
            yield from lost(request, row, last + 1, empty(request), error)


def _runs(request: Request) -> list[tuple[int, int]]:
    """Return (first, last) rows to read without a gap; far-off rows are reached by the index."""
    piece = request.piece
    if request.rows is None:
        return [(piece.start, piece.stop - 1)] if piece.rows else []
    rows = request.wanted(piece.start, piece.stop)
    if not len(rows):
        return []
    numbers = np.asarray(rows)
    block = np.searchsorted(index(request.path)[0], numbers, side="left")
    ends = np.flatnonzero(np.diff(block) > 1)
    firsts, lasts = numbers[np.concatenate([[0], ends + 1])], numbers[np.concatenate([ends, [-1]])]
    return list(zip(firsts.tolist(), lasts.tolist(), strict=True))


def from_lines(request: Request, blocks: Iterator[Lines], row: int, stop: int) -> Generator[Batch, None, int]:
    """Yield batches of the wanted rows below `stop`; `row` is the first line's. Returns the next row."""
    for offset, lines in blocks:
        for part_offset, part in _limited(offset, lines):
            rows = request.wanted(row, min(row + len(part), stop))
            if len(rows):
                yield from split(_batch_of(request, row, part_offset, part, rows), request.batch_bytes)
            row += len(part)
        if row >= stop:
            break
    return row


def _batch_of(request: Request, row: int, offset: int, lines: list[bytes], rows: I64 | range) -> Batch:
    """Turn the wanted ones of these lines into a batch; `row` and `offset` are those of the first line."""
    if not isinstance(rows, range):
        return make_batch(request, row, offset, lines, rows)
    skipped = rows.start - row
    offset += sum(map(len, lines[:skipped])) + skipped
    return make_batch(request, rows.start, offset, lines[skipped : rows.stop - row], None)


def _limited(offset: int, lines: list[bytes]) -> Iterator[Lines]:
    """Cut a block of very short lines, which as objects would need far more memory than as bytes."""
    for first in range(0, len(lines), BATCH_ROWS):
        part = lines[first : first + BATCH_ROWS]
        yield offset, part
        offset += sum(map(len, part)) + len(part)


# --- layout ----------------------------------------------------------------------------------------------


def layout(dataset: Dataset, path: str) -> Layout:
    """Count the lines, and group them so that a large file can be cut."""
    counts, rows = index(path)
    groups: list[tuple[int, int]] = []
    first = size = 0
    left = size_of(path)
    for here in range(1, len(counts)):
        size += min(BLOCK, left)
        left -= BLOCK
        final = here == len(counts) - 1
        end = rows if final else int(counts[here])
        if end > first and (size >= GROUP_BYTES or end - first >= GROUP_ROWS or final):
            groups.append((end - first, size))
            first, size = end, 0
    with open_file(path) as file:
        return Layout(rows, groups, text_missing(dataset, line_blocks(file, 0, 1 << 18)))


def text_missing(dataset: Dataset, blocks: Iterator[Lines]) -> str | None:
    """Return the sentence on a file none of whose lines has the text column. Stops at the first that has."""
    path = dataset.columns.text
    get = getter(path)
    names: dict[str, None] = {}
    for _, lines in blocks:
        for value in parse(lines)[0]:
            if get(value) is not None or path in value:
                return None
            if len(names) < 100:
                names.update(dict.fromkeys(value))
    return missing("text", path, list(names), dataset.name) if names else None


def first_objects(blocks: Iterator[Lines], found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the objects of the first SAMPLE_LINES lines that hold one, appended to `found`."""
    for _, lines in blocks:
        found.extend(value for value in parse(lines[: 2 * SAMPLE_LINES])[0] if value)
        if len(found) >= SAMPLE_LINES:
            break
    return found[:SAMPLE_LINES]


def json_schema(objects: list[dict[str, Any]], names: list[str] | None) -> pa.Schema:
    """Return name and type of input columns (None: all keys), as these objects have them; null: they say nothing."""
    keys = list(dict.fromkeys(key for value in objects for key in value)) if names is None else names
    fields = []
    for key in keys:
        kind = from_json(list(map(getter(key), objects))).type
        if names is None or not pa.types.is_null(kind) or any(key in value for value in objects):
            fields.append((key, kind))
    return pa.schema(fields)


def typed(schema: pa.Schema) -> pa.Schema:
    """Return the schema with text in place of null: what nothing is known of is passed through as text."""
    return pa.schema([f.with_type(TEXT) if pa.types.is_null(f.type) else f for f in schema])
