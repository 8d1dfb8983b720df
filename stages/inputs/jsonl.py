"""Read JSON lines by byte range: an index of line numbers, and lines turned into batches.

Guarantees: a row is a physical line (blank and broken ones too; the last needs no newline), so row numbers
are those of `sed -n`, less one. Memory: the lines of one batch, or the longest line; one of
more than LONGEST bytes is skipped without being held, and its row is unreadable.
"""

from __future__ import annotations

import functools
from collections.abc import Generator, Iterable, Iterator, Sequence
from typing import Any, BinaryIO

import numpy as np
import orjson
import pyarrow as pa

from cluster import storage
from cluster.bounds import LONGEST
from stages.core.shard import Dataset
from stages.inputs import exact
from stages.inputs.batches import BATCH_ROWS, I64, U8, Batch, Layout, Problem, ReadStatus, mark_text_status, split
from stages.inputs.collect import Collector
from stages.inputs.columns import COLUMN, RAW, source_path
from stages.inputs.exact import KeyWatch
from stages.inputs.files.file_versions import size_of, stat_token
from stages.inputs.request import Request, half, lost, missing, nothing_read, unreachable
from stages.inputs.schema import Columns
from stages.inputs.values import column_of, getter, ids_of, json_texts_of, texts_of

BLOCK = 2 << 20  # bytes between two entries of the index
PARSE_BYTES = 2 << 20  # parsed at once: 260 MB/s, with 16 MB 130 MB/s (caches, page faults; 2026-11)
GROUP_BYTES = 32 << 20
GROUP_ROWS = 50_000
BOM = b"\xef\xbb\xbf"
TOO_LONG = b"\x00winnow: the line is too long"  # no JSON

Lines = tuple[int, list[bytes]]  # byte offset of the first line, lines without their newline


# --- lines -----------------------------------------------------------------------------------------------


def line_blocks(file: BinaryIO, offset: int, block: int) -> Iterator[Lines]:
    """Yield the file's lines from byte `offset` on, about `block` bytes at a time, whole lines always."""
    file.seek(offset)
    return cut_lines(iter(lambda: file.read(block), b""), offset)


def cut_lines(chunks: Iterable[bytes], offset: int = 0) -> Iterator[Lines]:
    """Cut a stream of bytes into lists of whole lines. The last line may lack its newline.

    In the place of a line of more than LONGEST bytes stands `TOO_LONG`, alone in its list.
    """
    pending: list[bytes] = []
    held = skipped = 0  # bytes of the line that has begun; skipped: they are held no more
    for chunk in chunks:
        first = chunk.find(b"\n")
        if held + (first if first >= 0 else len(chunk)) > LONGEST:
            pending, held, skipped = [], 0, skipped + held
        if skipped:
            if first < 0:
                skipped += len(chunk)
                continue
            yield offset, [TOO_LONG]
            offset, skipped = offset + skipped + first + 1, 0
            chunk = chunk[first + 1 :]
        cut = chunk.rfind(b"\n")
        if cut < 0:
            pending.append(chunk)
            held += len(chunk)
            continue
        data = b"".join([*pending, chunk[:cut]])
        pending, held = [chunk[cut + 1 :]], len(chunk) - cut - 1
        size = len(data) + 1
        lines = data.split(b"\n")
        del data  # a huge line is held once while it is worked on
        yield offset, lines
        offset += size
    rest = b"".join(pending)
    if rest or skipped:
        yield offset, [TOO_LONG if skipped else rest]


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


def open_file(path: str, size: int | None = None) -> BinaryIO:
    """Open a shard; size: in bytes, where it is known. Raises ShardError where it cannot be reached."""
    try:
        return storage.open_read(path, size=size)
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
    if line == TOO_LONG:
        return {}, ReadStatus.UNREADABLE, f"the line has more than {LONGEST:,} bytes"
    if not line.strip():
        return {}, ReadStatus.EMPTY, ""
    try:
        value = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        try:
            value = exact.loads_lenient(line)
        except (ValueError, RecursionError):
            return {}, *_malformed(line, error)
    if isinstance(value, dict):
        return value, ReadStatus.OK, ""
    return {}, ReadStatus.WRONG_TYPE, f"a JSON object is needed, the line holds {_kind(value)}"


def _malformed(line: bytes, error: Exception) -> tuple[ReadStatus, str]:
    try:
        line.decode()
    except UnicodeDecodeError:
        return ReadStatus.INVALID_UTF8, "the line is not valid UTF-8"
    return ReadStatus.INVALID_JSON, f"invalid JSON: {error}"


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
    for row, error in _watch(request).find(chosen, values):
        values[row], status[row], errors[row] = {}, ReadStatus.INVALID_JSON, str(error)
    if request.collector is not None:
        request.collector.add(values, chosen)
    columns: dict[str, pa.Array] = {}
    for name in sorted(request.columns, key="text".__eq__):  # the text last, when all statuses are known
        columns[name], status = _column(request, name, values, chosen, status, errors)
    table = pa.table([columns[name] for name in request.columns], names=list(request.columns))
    problems = _problems(request.path, lines, start, offset, numbers, errors)
    return Batch(request.ordinal, int(numbers[0]), table, status, problems, rows)


def _watch(request: Request) -> KeyWatch:
    """Return what finds keys that stand twice, in every column that the run reads of the dataset."""
    mapped = request.dataset.columns
    known = request.dataset.types
    asked = (source_path(name, mapped) for name in request.columns)
    paths = [mapped.text, mapped.id, mapped.url, *asked, *(known.names if known is not None else ())]
    return _key_watch(tuple(path for path in paths if path is not None), mapped.text)


@functools.lru_cache(maxsize=64)
def _key_watch(paths: tuple[str, ...], text: str) -> KeyWatch:
    return KeyWatch(paths, text)


def _column(
    request: Request,
    name: str,
    values: list[dict[str, Any]],
    lines: list[bytes],
    status: U8,
    errors: dict[int, str],
) -> tuple[pa.Array, U8]:
    path = source_path(name, request.dataset.columns)
    if path is None:
        return pa.nulls(len(values), pa.large_string()), status
    found = list(map(getter(path), values))
    if name.startswith(RAW):
        return json_texts_of(found, lines, path), status
    if name.startswith(COLUMN):
        return _typed(request, name, found, lines, path), status
    column, wrong = texts_of(found) if name == "text" else ids_of(found, lines, path)
    for row in np.flatnonzero(wrong).tolist():
        if wrong[row] == ReadStatus.INVALID_UTF8:
            errors[row] = half(path, name)
        else:
            errors[row] = f"{path!r} must be a string, the line holds {_kind(found[row])}"
    status = np.maximum(status, wrong)
    return mark_text_status(column, status, trusted=True) if name == "text" else (column, status)


def _typed(request: Request, name: str, values: list[Any], lines: list[bytes], path: str) -> pa.Array:
    known = request.field(name)
    try:
        return column_of(values, lines, path, known)
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError, OverflowError) as error:
        if known is None:
            raise
        raise request.misfit(name, known, error) from error


def _problems(
    path: str, lines: list[bytes], start: int, offset: int, rows: I64 | range, errors: dict[int, str]
) -> tuple[Problem, ...]:
    if not errors:
        return ()
    offsets = offset + np.concatenate([[0], np.cumsum([len(line) + 1 for line in lines])])
    found = sorted(errors.items())
    return tuple(Problem(path, int(rows[at]), int(offsets[int(rows[at]) - start]), e) for at, e in found)


# --- pieces ----------------------------------------------------------------------------------------------


def read(request: Request) -> Iterator[Batch]:
    """Yield the piece's batches; see `reader.read_piece`."""
    with open_file(request.path, request.size) as file:
        for first, last in _runs(request):
            row = first
            counts, rows = index(request.path) if first else (np.zeros(1, np.int64), 1)
            if first < rows:
                blocks = line_blocks(
                    file, find_row(file, counts, first), max(1, min(PARSE_BYTES, request.batch_bytes // 2))
                )
                row = yield from from_lines(request, blocks, first, last + 1)
            error = f"the file ends there, the manifest says {request.piece.shard.rows:,} rows"
            yield from lost(request, row, last + 1, nothing_read(request), error)


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


def layout(dataset: Dataset, path: str, names: Sequence[str] = (), size: int | None = None) -> Layout:
    """Count the lines, group them so that a large file can be cut, and find out what the columns in `names` hold."""
    counts, rows = index(path)
    groups: list[tuple[int, int]] = []
    first = held = 0
    left = size_of(path) if size is None else size
    for here in range(1, len(counts)):
        held += min(BLOCK, left)
        left -= BLOCK
        final = here == len(counts) - 1
        end = rows if final else int(counts[here])
        if end > first and (held >= GROUP_BYTES or end - first >= GROUP_ROWS or final):
            groups.append((end - first, held))
            first, held = end, 0
    with open_file(path, size) as file:
        problem = text_missing(dataset, line_blocks(file, 0, 1 << 18))
        return Layout(rows, groups, problem, collect(line_blocks(file, 0, PARSE_BYTES), names))


def text_missing(dataset: Dataset, blocks: Iterator[Lines]) -> str | None:
    """Return the sentence on a file none of whose lines has the text column. Stops at the first that has."""
    collector = Collector((), dataset.columns.text)
    for _, lines in blocks:
        collector.add(parse(lines)[0], lines)
        if collector.has_text:
            break
    return no_text(dataset, collector)


def no_text(dataset: Dataset, collector: Collector) -> str | None:
    """Return the sentence on a file of which no object has the text column."""
    if collector.has_text or not collector.keys:
        return None
    return missing("text", dataset.columns.text, list(collector.keys), dataset.name)


def first_lines(path: str) -> Iterator[Lines]:
    """Yield the lines of a file from its start, a few at a time."""
    with open_file(path) as file:
        yield from line_blocks(file, 0, 1 << 18)


def collect(blocks: Iterator[Lines], names: Sequence[str]) -> Columns:
    """Return what the columns in `names` hold in these lines. Holds one block."""
    collector = Collector(names)
    if collector.names:
        for offset, lines in blocks:
            whole = [lines[0].removeprefix(BOM), *lines[1:]] if offset == 0 else lines
            for first in range(0, len(whole), BATCH_ROWS):
                part = whole[first : first + BATCH_ROWS]
                collector.add(parse(part)[0], part)
    return collector.columns()
