"""What a recipe's inputs hold, learnt from footers and a drawn sample, without freezing anything.

Guarantees: nothing is written but the sample, into the folder it is given; the same files and seed give the
same sample. Parquet documents are counted from footers, JSON lines are extrapolated from the bytes of the
sampled lines. Memory: the sampled rows of one shard, a few numbers for every shard.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import pyarrow as pa
import pyarrow.parquet as pq

from cluster.errors import ShardError
from cluster.files import compression
from stages.core.shard import Dataset
from stages.inputs import compressed, jsonl
from stages.inputs.arrow import parquet
from stages.inputs.check import choose
from stages.inputs.exact import KeyWatch
from stages.inputs.files.discover import Found, find_shards, look
from stages.inputs.files.formats import codec_of, kind_of
from stages.inputs.reader import records

SHARDS = 32  # of a dataset that are sampled
NO_ROWS = "it has no rows that can be read: nothing of it is in the mix."
PLACES = 2  # of a shard at which rows are taken
FOOTERS = 512  # of a dataset that are read; the others are taken to be like them


@dataclass(kw_only=True)
class Input:
    """One dataset before it is frozen.

    layouts: (rows, weight) of the row groups of the Parquet shards whose footers were read, by path. A shard's
    weight is what its footer says of the text column, or its size in bytes; the sample tells how many bytes of
    text a byte of weight stands for. named: the input columns that the recipe reads.
    """

    dataset: Dataset
    files: list[Found]
    layouts: dict[str, list[tuple[int, int]]] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    named: tuple[str, ...] = ()

    @property
    def bytes(self) -> int:
        return sum(f.bytes for f in self.files)

    def kinds(self) -> list[str]:
        """Return the formats that occur."""
        return sorted({f.format for f in self.files})


@dataclass(kw_only=True)
class Drawn:
    """A sample of one dataset: files of the same format as the input's, and what was taken from it."""

    dataset: Dataset
    rows: int = 0
    by_kind: dict[str, list[int]] = field(default_factory=dict)  # format -> [rows, weight]
    whole: bool = True  # nothing was left out


def survey(dataset: Dataset, columns: Sequence[str] = ()) -> Input:
    """Find a dataset's shards and read the footers of the Parquet ones, FOOTERS at most.

    columns : input columns that the recipe reads besides text, id and URL.

    Raises RecipeError where a path matches nothing, ShardError where a column's name is that of several.
    """
    mapped = dataset.columns
    named = [path for path in (mapped.text, mapped.id, mapped.url, *columns) if path is not None]
    found = Input(dataset=dataset, files=find_shards(dataset), named=tuple(named))
    columnar = [f for f in found.files if f.format == "parquet"]
    for file in choose(columnar, FOOTERS, 0) if columnar else []:
        layout = parquet.layout(dataset, file.path)
        parquet.check_once_in(file.path, named)
        if layout.problem:
            found.problems.append(f"{file.relative_path}: {layout.problem}")
        found.layouts[file.path] = list(layout.row_groups or [])
    return found


def draw(found: Input, rows: int, seed: int, folder: str) -> Drawn:
    """Write a sample of about `rows` rows to `folder` and return what was drawn.

    The rows lie at PLACES random places of up to SHARDS shards spread over the dataset; of compressed lines
    they are the first ones, because the others cannot be reached without reading everything before.
    """
    rng = random.Random(f"{seed} {found.dataset.name}")
    chosen = choose(found.files, min(SHARDS, max(1, rows)), seed)
    drawn = Drawn(dataset=found.dataset, whole=len(chosen) == len(found.files))
    paths = []
    for number, file in enumerate(chosen):
        want = max(1, rows // len(chosen))
        target = os.path.join(folder, f"{number:03d}-{file.relative_path.rsplit('/', 1)[-1]}")
        file = look(found.dataset, file)
        lines = kind_of(file.format) in ("jsonl", "json")
        take = _draw_parquet if file.format == "parquet" else _draw_lines if lines else _draw_table
        count, weight, whole = take(found, file, want, rng, target)
        if count:
            paths.append(target)
            totals = drawn.by_kind.setdefault(file.format, [0, 0])
            totals[0], totals[1] = totals[0] + count, totals[1] + weight
        drawn.rows += count
        drawn.whole &= whole
    if paths:
        drawn.dataset = replace(found.dataset, paths=tuple(paths))
    else:
        drawn.dataset = _no_rows(found, folder)
    return drawn


def _no_rows(found: Input, folder: str) -> Dataset:
    """Return the dataset with an empty file in place of its own, which hold no rows, and note that."""
    if NO_ROWS not in found.problems:
        found.problems.append(NO_ROWS)
    os.makedirs(folder, exist_ok=True)
    path = os.path.join(folder, "no-rows.jsonl")
    open(path, "wb").close()
    return replace(found.dataset, paths=(path,), format="jsonl")


def _draw_parquet(found: Input, file: Found, rows: int, rng: random.Random, target: str) -> tuple[int, int, bool]:
    """Copy rows at random places, every column; return (rows, weight, whether that is the whole file)."""
    try:
        with parquet.opened(file.path) as source, parquet.corruption(file.path):
            total, groups = source.metadata.num_rows, source.num_row_groups
            if not total:
                return 0, 0, True
            picked = range(groups) if rows >= total else sorted(rng.sample(range(groups), min(PLACES, groups)))
            left, each = rows, -(-rows // len(picked))
            batches: list[pa.RecordBatch] = []
            for group in picked:
                size = total if rows >= total else min(each, left)
                batch = next(source.iter_batches(batch_size=max(1, size), row_groups=[group]), None)
                if batch is not None:
                    batches.append(batch)
                    left -= batch.num_rows
            codec = source.metadata.row_group(0).column(0).compression.lower()
            table = pa.Table.from_batches(batches, schema=source.schema_arrow)
    except parquet.Corrupt as error:
        found.problems.append(f"{file.relative_path}: {error}")
        return 0, 0, True
    os.makedirs(os.path.dirname(target), exist_ok=True)
    pq.write_table(table, target, compression="none" if codec == "uncompressed" else codec)
    weight = sum(size for _, size in parquet.layout(found.dataset, target).row_groups or [])
    return table.num_rows, weight, table.num_rows == total


def _check_keys(found: Input, file: Found, lines: list[bytes]) -> None:
    """Raise ShardError where a drawn line has a key several times that the recipe reads."""
    watch = KeyWatch(found.named, found.dataset.columns.text)
    for row, error in watch.find(lines, jsonl.parse(lines)[0]):
        raise ShardError(f"{file.path}: {error}, in line {lines[row][:80].decode('utf-8', 'replace')!r}.")


def _draw_lines(found: Input, file: Found, rows: int, rng: random.Random, target: str) -> tuple[int, int, bool]:
    """Copy lines; return (lines, bytes in the input's own compression, whether that is the whole file)."""
    whole = False
    if file.format == "jsonl":
        lines = list(_places(file, rows, rng))
    else:
        stream = compressed.Stream(file.path, file.format)
        lines = []
        for _, block in stream.lines():
            lines.extend(block)
            if len(lines) >= rows:
                break
        else:
            whole = True
        whole &= len(lines) <= rows
        lines = lines[:rows]
    _check_keys(found, file, lines)
    data = compression.compress(b"".join(b" ".join(line.split(b"\n")) + b"\n" for line in lines), codec_of(file.format))
    if lines:
        os.makedirs(os.path.dirname(target), exist_ok=True)
        with open(target, "wb") as out:
            out.write(data)
    size = file.bytes if whole else len(data)
    return len(lines), size, whole or len(data) >= file.bytes


def _draw_table(found: Input, file: Found, rows: int, rng: random.Random, target: str) -> tuple[int, int, bool]:
    """Copy the first rows of a CSV, TSV, Arrow or WARC file as Parquet; return (rows, bytes, whether that is all)."""
    parts, count, whole = [], 0, True
    try:
        for record in records(found.dataset, file.path, file.format):
            parts.append(record.slice(0, rows - count))
            count += parts[-1].num_rows
            if count >= rows:
                whole = False
                break
    except parquet.Corrupt as error:
        found.problems.append(f"{file.relative_path}: {error}")
    if not count:
        return 0, 0, True
    table = pa.Table.from_batches(parts)
    os.makedirs(os.path.dirname(target), exist_ok=True)
    pq.write_table(table, target, compression="zstd")
    parquet.check_once_in(target, found.named)
    return count, file.bytes if whole else min(file.bytes, os.path.getsize(target)), whole


def _places(file: Found, rows: int, rng: random.Random) -> Iterator[bytes]:
    """Yield lines from the start of a file and, where it is long, as many from a place drawn at random."""
    with jsonl.open_file(file.path) as source:
        half = -(-rows // 2) if file.bytes > 2 * jsonl.PARSE_BYTES else rows
        yield from _first(source, 0, half)
        if half < rows:
            start = rng.randrange(jsonl.PARSE_BYTES, file.bytes - jsonl.PARSE_BYTES)
            yield from _first(source, start, rows - half)


def _first(source: object, offset: int, rows: int) -> Iterator[bytes]:
    """Yield the first whole lines after a byte offset."""
    skip = offset > 0  # the first line found is only the end of one
    for _, block in jsonl.line_blocks(source, offset, jsonl.PARSE_BYTES):  # type: ignore[arg-type]
        for line in block[1:] if skip else block:
            if not rows:
                return
            rows -= 1
            yield line
        skip = False
