"""Check a dataset on real shards before any work: what `winnow check` shows.

Guarantees: reads the footers or first lines of a few shards and `sample_rows` rows in all, never a whole
large file; the same files and seed give the same report. A fault of the data is a finding, not an exception.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Generator, Iterator, Sequence

from cluster.errors import RecipeError, ShardError
from cluster.seed import DEFAULT_SEED
from stages.core.shard import Dataset, Piece, Shard
from stages.inputs import compressed, jsonl
from stages.inputs.arrow import arrow_ipc, parquet
from stages.inputs.arrow.parquet import Request, opened
from stages.inputs.batches import EVERY_LINE, Batch
from stages.inputs.check_report import (
    ROLES,
    DatasetCheck,
    Identify,
    note_columns,
    note_content,
    note_languages,
    note_mapped,
    note_problems,
    note_profile,
)
from stages.inputs.collect import Collector
from stages.inputs.columns import COLUMN
from stages.inputs.files.discover import Found, discover, look
from stages.inputs.files.formats import kind_of
from stages.inputs.reader import read_piece, table_of
from stages.inputs.schema import EVERY
from stages.inputs.values import getter

BATCH_BYTES = 8 << 20


def check_dataset(
    dataset: Dataset,
    *,
    sample_rows: int = 2000,
    max_shards: int = 8,
    seed: int = DEFAULT_SEED,
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
    note_content(dataset, report)
    note_mapped(dataset, report)
    note_profile(batches, report)
    if identify is not None:
        note_languages(batches, identify, report)
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
        note_columns(dataset, file, opened_file.schema_arrow, report)
    if layout.rows:
        number = rng.randrange(len(layout.row_groups))
        start = sum(count for count, _ in layout.row_groups[:number])
        piece = _piece(dataset, file, layout.rows, start, min(layout.rows, start + rows))
        for batch in read_piece(dataset, piece, ROLES, batch_bytes=BATCH_BYTES):
            note_problems(file, batch, report)
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
    note_columns(dataset, file, schema, report)
    problem = parquet.check_columns(dataset, schema, columns)
    if problem:
        report.problems.append(f"{file.relative_path}: {problem}.")
        return
    count = 0
    for batch in read_piece(dataset, _piece(dataset, file, EVERY_LINE, 0, EVERY_LINE), ROLES, batch_bytes=BATCH_BYTES):
        count += batch.table.num_rows
        note_problems(file, batch, report)
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
        note_problems(file, batch, report)
        yield batch
    schema = collector.columns().schema()
    if not schema.names:
        report.warnings.append(f"{file.relative_path} holds no JSON objects on the lines looked at.")
        return
    note_columns(dataset, file, schema, report)
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
