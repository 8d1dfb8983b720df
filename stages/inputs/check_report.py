"""What a look at a dataset's files found: columns, problems, lengths, ids, languages. See check.py.

Guarantees: the same files and sample give the same report.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from stages.core.shard import Dataset
from stages.inputs.batches import Batch, ReadStatus
from stages.inputs.columns import Ambiguous, Place, place, source_path
from stages.inputs.files.discover import Found
from stages.inputs.files.formats import kind_of
from stages.inputs.files.left_out import PassedOver

ROLES = ("text", "id", "url")
PERCENTILES = (0, 5, 25, 50, 75, 95, 99, 100)
NOTABLE = 0.1  # share of rows without text that is worth a warning
EXAMPLES = 3
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


def note_columns(dataset: Dataset, file: Found, schema: pa.Schema, report: DatasetCheck) -> None:
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


def note_content(dataset: Dataset, report: DatasetCheck) -> None:
    """Say where `id: content` may mean a column of that name."""
    if dataset.columns.null_ids == "unless_column" and "content" in report.columns:
        report.problems.append(
            "columns.id is content, which stands for the digest of the text, but a column is called so: write "
            "{column: content} or {if_null: content}."
        )


def note_problems(file: Found, batch: Batch, report: DatasetCheck) -> None:
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


def note_mapped(dataset: Dataset, report: DatasetCheck) -> None:
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


def note_profile(batches: list[Batch], report: DatasetCheck) -> None:
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


def note_languages(batches: list[Batch], identify: Identify, report: DatasetCheck) -> None:
    texts: list[str] = []
    for batch in batches:
        chosen = batch.table.column("text").filter(pa.array(batch.status == ReadStatus.OK))
        texts.extend(chosen.to_pylist())
    if texts:
        counts = Counter(identify(texts)).most_common()
        report.languages = {label: round(count / len(texts), 6) for label, count in counts}
