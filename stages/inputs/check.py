"""Check a dataset on real shards before any work: what `winnow check` shows.

Guarantees: reads the footers or first lines of a few shards and `sample_rows` rows in all, never a whole
large file; the same files and seed give the same report. A fault of the data is a finding, not an exception.
"""

from __future__ import annotations

import dataclasses
import random
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from cluster.errors import RecipeError, ShardError
from stages.core.shard import Dataset, Piece, Shard
from stages.inputs import arrow_ipc, compressed, jsonl, parquet
from stages.inputs.batches import Batch, ReadStatus
from stages.inputs.collect import Collector
from stages.inputs.columns import COLUMN, Ambiguous, Place, place, source_path
from stages.inputs.compressed import EVERY_LINE
from stages.inputs.discover import Found, discover, look
from stages.inputs.formats import kind_of
from stages.inputs.left_out import PassedOver
from stages.inputs.parquet import Request, opened
from stages.inputs.reader import read_piece, table_of
from stages.inputs.schema import EVERY
from stages.inputs.values import getter

ROLES = ("text", "id", "url")
PERCENTILES = (0, 5, 25, 50, 75, 95, 99, 100)
NOTABLE = 0.1  # share of rows without text that is worth a warning
EXAMPLES = 3
BATCH_BYTES = 8 << 20
Identify = Callable[[list[str]], list[str]]


@dataclass(frozen=True, kw_only=True)
class ColumnCheck:
    """A mapped column: role, path in the input, stored type (None: not found in the shards looked at)."""

    role: str
    path: str
    type: str | None


@dataclass(kw_only=True)
class DatasetCheck:
    """What was found out about one dataset. `problems` would stop a run, `warnings` would not.

    Shares and profiles are those of `sampled_rows` rows out of `looked_at` shards. lengths: characters at
    percentiles. rows_estimate: extrapolated from bytes, None where it cannot be.
    """

    dataset: str
    shards: int = 0
    bytes: int = 0
    formats: dict[str, int] = field(default_factory=dict)
    looked_at: list[str] = field(default_factory=list)
    unread: list[str] = field(default_factory=list)  # those of them that could not be opened
    rows_estimate: int | None = None
    columns: dict[str, str] = field(default_factory=dict)
    mapped: list[ColumnCheck] = field(default_factory=list)
    sampled_rows: int = 0
    statuses: dict[str, float] = field(default_factory=dict)
    ids_sampled: int = 0
    ids_repeated: int = 0
    ids_null: int = 0
    lengths: dict[str, int] = field(default_factory=dict)
    languages: dict[str, float] = field(default_factory=dict)
    passed_over: list[PassedOver] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether nothing was found that would stop a run."""
        return not self.problems

    def to_json(self) -> dict[str, Any]:
        """Return the report as plain values, ready for JSON."""
        return {**dataclasses.asdict(self), "ok": self.ok}


def check_dataset(
    dataset: Dataset,
    *,
    sample_rows: int = 2000,
    max_shards: int = 8,
    seed: int = 0,
    identify: Identify | None = None,
    columns: Sequence[str] = (),
) -> DatasetCheck:
    """Check that a dataset can be read as its recipe says, and profile a sample of it.

    Parameters
    ----------
    sample_rows
        Rows to read, spread evenly over the shards looked at.
    max_shards
        Shards to look at: the first, the last, and some between.
    identify
        Returns a language label for each text; without it there is no language profile.
    columns
        Input columns that the recipe reads or passes through besides text, id and URL.
    """
    report = DatasetCheck(dataset=dataset.name)
    try:
        place = discover(dataset)
    except (RecipeError, ShardError) as error:
        report.problems.append(str(error))
        return report
    found = place.files
    report.passed_over = place.passed_over
    report.shards, report.bytes = len(found), sum(f.bytes for f in found)
    chosen = list(_looked_into(dataset, choose(found, max_shards, seed), report))
    actual = {f.path: f.format for f in chosen}
    report.formats = dict(Counter(actual.get(f.path, f.format) for f in found))
    report.looked_at = [f.relative_path for f in chosen]
    rows = max(1, sample_rows // max(1, len(chosen)))
    batches = list(_sample(dataset, chosen, rows, seed, report, columns))
    _content(dataset, report)
    _mapped(dataset, report)
    _profile(batches, report)
    if identify is not None:
        _languages(batches, identify, report)
    return report


def _looked_into(dataset: Dataset, files: Sequence[Found], report: DatasetCheck) -> Iterator[Found]:
    """Yield files with the format that their first bytes tell; note those that cannot be reached."""
    for file in files:
        try:
            yield look(dataset, file)
        except ShardError as error:
            report.problems.append(str(error))
            report.unread.append(file.relative_path)


def choose(found: Sequence[Found], count: int, seed: int) -> list[Found]:
    """Return the first shard, the last and some between drawn by `seed`, in order."""
    if len(found) <= max(count, 2):
        return list(found)
    between = random.Random(seed).sample(range(1, len(found) - 1), max(0, count - 2))
    return [found[i] for i in sorted({0, len(found) - 1, *between})]


# --- sampling --------------------------------------------------------------------------------------------


def _sample(
    dataset: Dataset,
    chosen: list[Found],
    rows: int,
    seed: int,
    report: DatasetCheck,
    columns: Sequence[str],
) -> Iterator[Batch]:
    """Yield batches of about `rows` rows of every shard; note columns and problems on the way."""
    rng = random.Random(seed)
    known_rows = known_bytes = 0
    for file in chosen:
        try:
            if file.format == "parquet":
                count = yield from _sample_parquet(dataset, file, rows, rng, report, columns)
                known_rows, known_bytes = known_rows + count, known_bytes + file.bytes
            elif kind_of(file.format) in ("jsonl", "json"):
                yield from _sample_lines(dataset, file, rows, rng, report, columns)
            else:
                yield from _sample_table(dataset, file, rows, report, columns)
        except (ShardError, RecipeError) as error:
            report.problems.append(str(error))
            report.unread.append(file.relative_path)
    if known_bytes and set(report.formats) == {"parquet"}:
        report.rows_estimate = round(known_rows * report.bytes / known_bytes)


def _sample_parquet(
    dataset: Dataset,
    file: Found,
    rows: int,
    rng: random.Random,
    report: DatasetCheck,
    columns: Sequence[str],
) -> Generator[Batch, None, int]:
    layout = parquet.layout(dataset, file.path)
    if layout.problem:
        report.problems.append(f"{file.relative_path}: {layout.problem}.")
    if layout.row_groups is None:
        report.unread.append(file.relative_path)
        return 0
    with opened(file.path) as opened_file:
        problem = layout.problem or parquet.check_columns(dataset, opened_file.schema_arrow, columns)
        if problem and problem != layout.problem:
            report.problems.append(f"{file.relative_path}: {problem}.")
        _note_columns(dataset, file, opened_file.schema_arrow, report)
    if layout.rows:
        number = rng.randrange(len(layout.row_groups))
        start = sum(count for count, _ in layout.row_groups[:number])
        piece = _piece(dataset, file, layout.rows, start, min(layout.rows, start + rows))
        for batch in read_piece(dataset, piece, ROLES, batch_bytes=BATCH_BYTES):
            _note_problems(file, batch, report)
            yield batch
    else:
        report.warnings.append(f"{file.relative_path} holds no rows.")
    return layout.rows


def _sample_table(
    dataset: Dataset, file: Found, rows: int, report: DatasetCheck, columns: Sequence[str]
) -> Iterator[Batch]:
    """Yield the first rows of a CSV, TSV, Arrow or WARC file."""
    try:
        table = table_of(dataset, file.path, file.format)
        schema = table.schema() if table is not None else arrow_ipc.schema(file.path)
    except parquet.Corrupt as error:
        report.problems.append(f"{file.relative_path}: {error}.")
        report.unread.append(file.relative_path)
        return
    _note_columns(dataset, file, schema, report)
    problem = parquet.check_columns(dataset, schema, columns)
    if problem:
        report.problems.append(f"{file.relative_path}: {problem}.")
        return
    count = 0
    for batch in read_piece(dataset, _piece(dataset, file, EVERY_LINE, 0, EVERY_LINE), ROLES, batch_bytes=BATCH_BYTES):
        count += batch.table.num_rows
        _note_problems(file, batch, report)
        yield batch.slice(0, rows)
        if count >= rows:
            return


def _sample_lines(
    dataset: Dataset,
    file: Found,
    rows: int,
    rng: random.Random,
    report: DatasetCheck,
    columns: Sequence[str],
) -> Iterator[Batch]:
    if file.format == "jsonl":
        blocks = _line_samples(file, rows, rng)
    else:
        stream = compressed.Stream(file.path, file.format)
        blocks = _whole_lines(stream, file, rows, report)
    collector = Collector([EVERY])
    wanted = (*ROLES, *(COLUMN + name for name in columns))
    request = Request(dataset, _piece(dataset, file, rows, 0, rows), file.path, wanted, BATCH_BYTES, None, collector)
    get, found = getter(dataset.columns.text), False
    for offset, lines in blocks:
        found = found or any(dataset.columns.text in v or get(v) is not None for v in jsonl.parse(lines)[0])
        batch = jsonl.make_batch(request, 0 if offset == 0 else -1, offset, lines, None)
        _note_problems(file, batch, report)
        yield batch
    schema = collector.columns().schema()
    if not schema.names:
        report.warnings.append(f"{file.relative_path} holds no JSON objects on the lines looked at.")
        return
    _note_columns(dataset, file, schema, report)
    path = dataset.columns.text
    if not found:
        report.problems.append(f"{file.relative_path}: {parquet.missing('text', path, schema.names, dataset.name)}.")


def _line_samples(file: Found, rows: int, rng: random.Random) -> Iterator[jsonl.Lines]:
    """Yield lines from the start of a file and, where it is long, as many from a place drawn at random."""
    with jsonl.open_file(file.path) as opened_file:
        yield from _first(jsonl.line_blocks(opened_file, 0, jsonl.PARSE_BYTES), (rows + 1) // 2)
        if file.bytes > 2 * jsonl.PARSE_BYTES:
            place = rng.randrange(jsonl.PARSE_BYTES, file.bytes - jsonl.PARSE_BYTES)
            blocks = jsonl.line_blocks(opened_file, place, jsonl.PARSE_BYTES)
            offset, lines = next(blocks)
            if len(lines) > 1:  # the first of them is only the end of a line
                yield from _first(iter([(offset + len(lines[0]) + 1, lines[1:])]), rows // 2)


def _whole_lines(stream: compressed.Stream, file: Found, rows: int, report: DatasetCheck) -> Iterator[jsonl.Lines]:
    for block in _first(stream.lines(), rows):
        if stream.error is None:  # else it is the line that was cut
            yield block
    if stream.error is not None:
        report.problems.append(f"{file.relative_path}: {stream.error}.")


def _first(blocks: Iterator[jsonl.Lines], rows: int) -> Iterator[jsonl.Lines]:
    for offset, lines in blocks:
        if rows > 0:
            yield offset, lines[:rows]
        rows -= len(lines)
        if rows <= 0:
            return


def _piece(dataset: Dataset, file: Found, rows: int, start: int, stop: int) -> Piece:
    shard = Shard(
        ordinal=0,
        dataset=dataset.name,
        path=file.path,
        relative_path=file.relative_path,
        rows=rows,
        bytes=file.bytes,
        fingerprint="",
        format=file.format,
    )
    return Piece(shard=shard, start=start, stop=stop)


# --- findings --------------------------------------------------------------------------------------------


def _note_columns(dataset: Dataset, file: Found, schema: pa.Schema, report: DatasetCheck) -> None:
    """Remember the columns of a shard; say where they differ from those seen before."""
    seen = {name: str(kind) for name, kind in zip(schema.names, schema.types, strict=True)}
    for role in ROLES:
        path = source_path(role, dataset.columns)
        where = _found(schema, path) if path is not None else None
        if path is not None and path not in seen and where is not None:
            seen[path] = "JSON text" if where.json else str(where.type)
    lines = kind_of(file.format) in ("jsonl", "json")  # keys may be absent, and numbers may turn into floats
    if report.columns and not lines:
        missing = sorted(set(report.columns) - set(seen))
        changed = [n for n in seen if report.columns.get(n, seen[n]) != seen[n]]
        if missing:
            report.warnings.append(f"{file.relative_path} lacks columns that other shards have: {', '.join(missing)}.")
        report.warnings.extend(
            f"{file.relative_path}: column {n!r} is {seen[n]}, elsewhere {report.columns[n]}." for n in changed
        )
    report.columns = {**seen, **report.columns}


def _found(schema: pa.Schema, path: str) -> Place | None:
    """Return where a path lies; None where that is nowhere or in several columns, which is a problem already."""
    try:
        return place(schema, path)
    except Ambiguous:
        return None


def _content(dataset: Dataset, report: DatasetCheck) -> None:
    """Say where `id: content` may mean a column of that name."""
    if dataset.columns.null_ids == "unless_column" and "content" in report.columns:
        report.problems.append(
            "columns.id is content, which stands for the digest of the text, but a column is called so: write "
            "{column: content} or {if_null: content}."
        )


def _note_problems(file: Found, batch: Batch, report: DatasetCheck) -> None:
    """Turn the first problems of a sample into sentences; the rest are counted in `statuses`."""
    rows = [p for p in batch.problems if p.row is not None]
    for problem in rows[:EXAMPLES]:
        known = problem.row is not None and problem.row >= 0 and batch.start >= 0
        place = f"row {problem.row}" if known else f"byte {problem.byte_offset}"
        report.problems.append(f"{file.relative_path}, {place}: {problem.error}.")
    if len(rows) > EXAMPLES:
        report.problems.append(f"{file.relative_path}: {len(rows) - EXAMPLES} more rows like these in the sample.")
    for problem in batch.problems:
        already = any(problem.error in text for text in report.problems)
        if problem.row is None and not already:
            report.problems.append(f"{file.relative_path}: {problem.error}.")


def _mapped(dataset: Dataset, report: DatasetCheck) -> None:
    for role in ROLES:
        path = source_path(role, dataset.columns)
        if path is None:
            continue
        kind = report.columns.get(path)
        if kind is None and report.columns:
            top = next((c for c in report.columns if path.startswith(f"{c}.")), None)
            kind = f"in {top} ({report.columns[top]})" if top else None
        report.mapped.append(ColumnCheck(role=role, path=path, type=kind))
        if kind is None and role != "text" and not any(repr(path) in text for text in report.problems):
            report.warnings.append(f"column {path!r}, mapped to {role}, was not seen in the sample.")


def _profile(batches: list[Batch], report: DatasetCheck) -> None:
    """Fill in status shares, length profile and id uniqueness."""
    if not batches:
        return
    status = np.concatenate([batch.status for batch in batches])
    report.sampled_rows = len(status)
    for known in ReadStatus:
        share = float((status == known).mean()) if len(status) else 0.0
        if share:
            report.statuses[known.reason] = round(share, 6)
        if share > NOTABLE and known != ReadStatus.OK and not known.bad:
            report.warnings.append(f"{share:.0%} of the sampled rows have no text ({known.reason}).")
    _lengths(batches, status, report)
    _ids(batches, report)


def _lengths(batches: list[Batch], status: np.ndarray[Any, np.dtype[np.uint8]], report: DatasetCheck) -> None:
    lengths = np.concatenate([pc.utf8_length(batch.table.column("text")).to_numpy() for batch in batches])
    lengths = lengths[status == ReadStatus.OK]
    if len(lengths):
        values = np.percentile(lengths, PERCENTILES, method="lower")
        report.lengths = {f"p{p}": int(v) for p, v in zip(PERCENTILES, values, strict=True)}


def _ids(batches: list[Batch], report: DatasetCheck) -> None:
    if not any(column.role == "id" for column in report.mapped):
        return
    ids = pa.chunked_array([c for batch in batches for c in batch.table.column("id").chunks], pa.large_string())
    report.ids_null = ids.null_count
    report.ids_sampled = len(ids) - ids.null_count
    report.ids_repeated = report.ids_sampled - len(pc.unique(ids.drop_null()))
    if report.ids_repeated:
        report.warnings.append(
            f"{report.ids_repeated} of {report.ids_sampled} sampled ids occur more than once; winnow does "
            "not need unique ids, but they no longer name one document."
        )
    if report.ids_null:
        report.warnings.append(f"{report.ids_null} of {len(ids)} sampled rows have no id.")


def _languages(batches: list[Batch], identify: Identify, report: DatasetCheck) -> None:
    texts: list[str] = []
    for batch in batches:
        chosen = batch.table.column("text").filter(pa.array(batch.status == ReadStatus.OK))
        texts.extend(chosen.to_pylist())
    if texts:
        counts = Counter(identify(texts)).most_common()
        report.languages = {label: round(count / len(texts), 6) for label, count in counts}
