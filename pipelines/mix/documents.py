"""The documents of a mix: read where they lie, checked, rewritten, with winnow's own columns, in a mix's schema.

Guarantees: every text is checked against the content hash that its verdict rests on, then rewritten as the stages say
(`stages.core.edits`). Memory: one batch of text, the facts of one bundle.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from cluster.errors import RecipeError
from pipelines.mix.job import MixJob, input_schema
from pipelines.mix.masking import check_masked, masked
from pipelines.recipe.output import CELL_COLUMN, INTERLEAVED, MIX_COLUMNS
from stages.core.arrays import array, whole
from stages.core.edits import apply
from stages.core.stage import ShardStage, is_kind
from stages.core.view import View
from stages.inputs.fit import fit, is_json
from stages.kernels.hashes.hashing import mix64
from stages.outcome.copy_numbers import order_hash
from stages.outcome.draw import Drawn, drawn
from stages.outcome.fields import Field, fact_column, values_of
from stages.outcome.mixing import SHUFFLE_SALT
from stages.outcome.verdicts import Outcome, group_columns, num_tokens, outcome
from stages.passes.annotate import check_texts, read_rows

I64 = npt.NDArray[np.int64]
U64 = npt.NDArray[np.uint64]

KEYS = pa.schema(
    [
        ("key", pa.uint64()),  # order of a shuffle
        ("doc", pa.int64()),
        ("held", pa.bool_()),
        ("first", pa.bool_()),  # the first copy of its document
        ("tokens", pa.int64()),  # that this row stands for
        ("dataset", pa.int16()),  # place among the run's
        ("cell", pa.int16()),  # place among the mix's, -1: none
    ]
)


def schema_of(job: MixJob, dataset: str) -> pa.Schema:
    """Return the schema of a dataset's files in the mix; that of all of them where the layout is interleaved."""
    if dataset == INTERLEAVED and job.interleaved:
        return _joined(job)
    extra = input_schema(job.run, job.output, dataset)
    if job.output.everything:
        text = job.run.dataset(dataset).columns.text
        return pa.schema([pa.field(text, pa.large_string()) if f.name == text else f for f in extra])
    own = [*MIX_COLUMNS, *([CELL_COLUMN] if job.mix.cells else [])]
    facts = job.output.facts(job.run.stages)
    names = {name for name, _ in own}
    renamed = [f.with_name(f"input_{f.name}") if f.name in names else f for f in extra]
    return pa.schema([*own, *((name, _type_of(job, field)) for name, field in facts.items()), *renamed])


def _joined(job: MixJob) -> pa.Schema:
    """Return one schema for all datasets. Raises RecipeError where a column has types that do not go together."""
    schemas = {d.name: schema_of(job, d.name) for d in job.run.datasets if d.role != "reference"}
    found: dict[str, pa.Field] = {}
    first: dict[str, str] = {}
    for dataset, schema in schemas.items():
        for field in schema:
            if field.name in found and found[field.name] != field:
                before = found[field.name]
                try:
                    joined = pa.unify_schemas([pa.schema([before]), pa.schema([field])], promote_options="permissive")
                except (pa.ArrowTypeError, pa.ArrowInvalid):
                    raise RecipeError(
                        f"output.layout interleaved: column {field.name} is {before.type} in {first[field.name]} and "
                        f"{field.type} in {dataset}, and one file cannot hold both. Leave it out of output.columns, or "
                        "use layout by_dataset."
                    ) from None
                field = joined.field(0)
            found[field.name] = field
            first.setdefault(field.name, dataset)
    return pa.schema(list(found.values()))


def _type_of(job: MixJob, field: Field) -> pa.DataType:
    """Return the type of a column of facts: as the stage has it, or that of a number or a text."""
    for index in field.stages:
        stage = job.run.stages[index]
        assert isinstance(stage, ShardStage)
        return stage.schema.field(field.fact).type
    return pa.float64() if field.kind == "number" else pa.large_string()


def check_masks(job: MixJob) -> None:
    """Raise RecipeError where a column of the mix that is to be redacted holds no text, or is not there."""
    for dataset in job.run.datasets:
        if dataset.role != "reference":
            check_masked(job.run, job.output, schema_of(job, dataset.name), dataset.name)


def documents(job: MixJob, schema: pa.Schema, position: int) -> Iterator[tuple[pa.Table, pa.Table]]:
    """Yield (documents in `schema`, `KEYS`) of the bundle at `position`: survivors that are in the mix or held out."""
    run = job.run
    found = outcome(run, position)
    taken = drawn(run, job.draw, position, found)
    rows = np.flatnonzero((taken.number > 0) | taken.held)
    if not len(rows):
        return
    facts = _facts(job, position, found, rows, taken)
    names = _read_columns(job, run.dataset(found.view.bundle.dataset).name)
    keys = _keys(job, found.view, rows, taken, array(facts, "num_tokens"))
    for batch, at in read_rows(run, found.view.bundle, rows, names, compared=True):
        here = rows[at]
        check_texts(found.view, here, batch.table)
        mine = facts.take(pa.array(at))
        table = _assemble(job, schema, _rewritten(found.view, here, batch.table), mine)
        table = masked(run, found.view.bundle.dataset, table)
        yield _repeat(job, table, keys.take(pa.array(at)), taken.number[here])


def _read_columns(job: MixJob, dataset: str) -> list[str]:
    source = job.run.dataset(dataset)
    schema = input_schema(job.run, job.output, dataset)
    skip = source.columns.text if job.output.everything else None
    return ["text", *(f"{'json' if is_json(f) else 'column'}:{f.name}" for f in schema if f.name != skip)]


def _facts(job: MixJob, position: int, found: Outcome, rows: I64, taken: Drawn) -> pa.Table:
    """Return winnow's own columns for these rows, all but text."""
    view = found.view
    read = view.read.select(["id", "url"]).take(pa.array(rows))
    language, language_score = _last(view, "language_id", rows, ("language", "language_score"))
    (quality_score,) = _last(view, "quality", rows, ("quality_score",))
    size, _ = group_columns(job.run, position, found.kept)
    columns = {
        "id": read.column("id"),
        "doc_id": pa.array(view.doc_ids[rows]),
        "source": pa.repeat(pa.scalar(view.bundle.dataset), len(rows)),
        "url": read.column("url"),
        "language": language,
        "language_score": language_score,
        "quality_score": quality_score,
        "num_tokens": pa.array(num_tokens(view)[rows]),
        "copies": pa.array(taken.number[rows]),
        "group_size": size.take(pa.array(rows)),
    }
    if job.mix.cells:
        names = pa.array([cell.name for cell in job.mix.cells], pa.string())
        cell = taken.cell[rows].astype(np.int32)
        columns["cell"] = names.take(pa.array(cell, mask=cell < 0))
    for name, field in job.output.facts(job.run.stages).items():
        columns[name] = _fact(job, field, position, found, rows)
    return pa.table(columns)


def _fact(job: MixJob, field: Field, position: int, found: Outcome, rows: I64) -> pa.Array:
    """Return one column of facts, null where no stage judged the dataset or the document has no value."""
    if field.stages:
        column = fact_column(field, found, rows)
        return pa.nulls(len(rows), _type_of(job, field)) if column is None else column
    values = values_of(field, position, found, rows)
    if values.text is not None:
        return values.text.cast(pa.large_string())
    return pa.array(values.number, pa.float64(), from_pandas=True)


def _last(view: View, use: str, rows: I64, names: tuple[str, ...]) -> list[Any]:
    """Return facts of the last stage `use` that applies to the bundle, nulls where there is none."""
    types = dict(MIX_COLUMNS)
    for index in range(len(view.run.stages) - 1, -1, -1):
        stage = view.run.stages[index]
        if is_kind(stage, use) and stage.applies_to(view.bundle.dataset):
            table = view.facts(index, rows, list(names))
            return [table.column(name).cast(types[name]) for name in names]
    return [pa.nulls(len(rows), types[name]) for name in names]


def _rewritten(view: View, rows: I64, table: pa.Table) -> pa.Table:
    """Return the documents as they are written: the edits of all stages applied to the texts that were judged."""
    edits = view.edits.among(rows)
    if not len(edits):
        return table
    text = apply(whole(table.column("text")), edits)
    return table.set_column(table.schema.get_field_index("text"), "text", text)


def _assemble(job: MixJob, schema: pa.Schema, read: pa.Table, facts: pa.Table) -> pa.Table:
    """Return the documents in the mix's schema: text, winnow's own columns, input columns."""
    own = {} if job.output.everything else {name: facts.column(name) for name in facts.schema.names}
    columns = []
    for name, kind in zip(schema.names, schema.types, strict=True):
        if name not in own and job.interleaved and not _has(read.schema.names, name):
            columns.append(pa.nulls(read.num_rows, kind))
            continue
        column = own[name] if name in own else read.column(_source(read.schema.names, name))
        columns.append(column if column.type == kind else pa.chunked_array([fit(whole(column), pa.field(name, kind))]))
    return pa.table(columns, schema=schema)


def _has(names: list[str], name: str) -> bool:
    """Tell whether a column of the mix is in this dataset: interleaved files have those of all."""
    return name == "text" or _source(names, name) != "text"


def _source(names: list[str], name: str) -> str:
    """Return where a column of the mix lies in what was read."""
    inputs = (name, name.removeprefix("input_"))
    return next((f"{kind}:{i}" for i in inputs for kind in ("column", "json") if f"{kind}:{i}" in names), "text")


def _keys(job: MixJob, view: View, rows: I64, taken: Drawn, tokens: I64) -> pa.Table:
    """Return `KEYS` of these rows, one each. tokens: of each text.

    Interleaved, equal texts of other documents lie elsewhere: id and URL go into the key.
    """
    content = array(view.read, "h1").astype(np.uint64)[rows]
    if job.interleaved:
        named = view.read.select(["id", "url"]).take(pa.array(rows))
        content = mix64(content ^ order_hash(whole(named.column("id")), whole(named.column("url"))), 3)
    place = [d.name for d in job.run.datasets].index(view.bundle.dataset)
    held, number = taken.held[rows], taken.number[rows]
    columns = [
        pa.array(content),
        pa.array(view.doc_ids[rows]),
        pa.array(held),
        pa.array(np.ones(len(rows), np.bool_)),
        pa.array(tokens * np.where(held, 1, number)),
        pa.array(np.full(len(rows), place, np.int16)),
        pa.array(taken.cell[rows]),
    ]
    return pa.table(columns, schema=KEYS)


def _repeat(job: MixJob, table: pa.Table, keys: pa.Table, number: Any) -> tuple[pa.Table, pa.Table]:
    """Repeat the rows of documents with several copies, if the recipe asks for it; give each row its place."""
    content, seed = array(keys, "key").astype(np.uint64), job.mix.seed ^ SHUFFLE_SALT
    if not job.output.repeat or not (number > 1).any():
        return table, keys.set_column(0, "key", pa.array(mix64(content, seed)))
    times = np.maximum(number, 1)
    which = np.repeat(np.arange(len(times)), times)
    turn = np.arange(len(which)) - np.repeat(np.cumsum(times) - times, times)
    repeated = keys.take(pa.array(which))
    own = {
        "key": mix64(content[which] + turn.astype(np.uint64), seed),
        "first": turn == 0,
        "tokens": array(keys, "tokens")[which] // times[which],
    }
    for name, values in own.items():
        repeated = repeated.set_column(KEYS.get_field_index(name), KEYS.field(name), pa.array(values))
    return table.take(pa.array(which)), repeated
