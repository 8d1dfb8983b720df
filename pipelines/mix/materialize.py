"""Write the mix: read each surviving document once where it lies and write it once.

Guarantees: every text is checked against the content hash its verdict rests on, then rewritten as the stages
say (`stages.core.edits`); what was written is not written again after an interruption; the same recipe and inputs
give the same bytes. Memory: one bundle of text with `shuffle: shard`, one batch otherwise; `global` goes through
the exchange and sorts 32 MB at a time.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from cluster import storage
from cluster.engines import Engine, Growth, TaskCost
from cluster.errors import DamagedError
from cluster.exchange import Exchange, Written
from cluster.sealed import damaged, read_json, write_json
from pipelines.mix.files import ROW_GROUP_BYTES, MixFile, PartWriter, cut
from pipelines.mix.job import MixJob, Part, input_schema, parts
from pipelines.mix.masking import check_masked, masked
from pipelines.recipe.output import MIX_COLUMNS
from pipelines.run_state import mix_digest
from stages.core.arrays import array, whole
from stages.core.costs import Quantity, per_bundle
from stages.core.edits import apply
from stages.core.view import View
from stages.inputs.fit import fit, is_json
from stages.kernels.hashes.hashing import mix64
from stages.language_id import LanguageId
from stages.outcome.ledger import Outcome, document_copies, group_columns, num_tokens, outcome
from stages.outcome.mixing import SHUFFLE_SALT, is_held_out
from stages.passes.annotate import check_texts, read_rows
from stages.quality import Quality

I64 = npt.NDArray[np.int64]
SLICE_BYTES = 32 << 20  # of text that a global shuffle sorts at once


MIX_BYTES = Growth(quantity=Quantity.MIX_BYTES)
MIX_PARTS = Growth(quantity=Quantity.MIX_PARTS)
WRITE = TaskCost(name="write parts", tasks=MIX_PARTS, work=MIX_BYTES)
SEND = per_bundle("send documents of the mix", MIX_BYTES)
# Slices of SLICE_BYTES are sorted, so that a byte costs the same in any mix: 4.0 to 5.6 ns from 6 to 424 MB (2026-11).
WRITE_SORTED = TaskCost(name="sort and write parts", tasks=MIX_PARTS, work=MIX_BYTES)


def materialize(engine: Engine, job: MixJob, text_bytes: Sequence[int]) -> dict[str, list[MixFile]]:
    """Write the mix; return the files of each dataset."""
    _start_over_if_other(job)
    todo = parts(job.run, job.output, text_bytes)
    _forget_what_is_not_whole(job, todo)
    if job.output.shuffle == "global":
        for dataset in {part.dataset: None for part in todo}:
            _write_shuffled(engine, job, [p for p in todo if p.dataset == dataset], text_bytes)
    else:
        engine.map(partial(_write_part, job), todo, cost=WRITE)
    return _collect(job, todo)


def _start_over_if_other(job: MixJob) -> None:
    """Remove a mix that another recipe made: first the word that it is whole, then its files."""
    marker = storage.join(job.root, ".made-by")
    mine = mix_digest(job.run, job.mix, job.output).encode()
    if storage.exists(marker) and storage.read_bytes(marker) == mine:
        return
    storage.remove(storage.join(job.root, "manifest.json"))
    storage.remove(marker)
    storage.remove(job.records.rpartition("/")[0])
    for dataset in sorted(storage.names(job.root) - {"README.md"}):
        folder = storage.join(job.root, dataset)
        names = [n for n in sorted(storage.names(folder)) if n.startswith(("part-", "holdout-"))]
        storage.remove_files([storage.join(folder, name) for name in names])
    storage.write_bytes(marker, mine)


def _forget_what_is_not_whole(job: MixJob, todo: Iterable[Part]) -> None:
    """Remove the records of parts of which a file is missing, or has another size than it was written with."""
    have: dict[str, dict[str, int]] = {}
    written = storage.names(job.records)
    for part in todo:
        path = _record(job, part.dataset, part.number)
        if path.rpartition("/")[2] not in written:
            continue
        sizes = have.setdefault(part.dataset, storage.sizes(storage.join(job.root, part.dataset)))
        try:
            files = _read_record(path)
        except DamagedError:
            files = None
        if files is None or any(sizes.get(file.path.rpartition("/")[2]) != file.bytes for file in files):
            storage.remove(path)


def _read_record(path: str) -> list[MixFile]:
    """Return the files of a part. Raises DamagedError."""
    try:
        return [MixFile(**file) for file in read_json(path)["files"]]
    except (KeyError, TypeError) as error:
        raise damaged(path, f"it lacks what a record holds ({error})") from None


def _collect(job: MixJob, done: Iterable[Part]) -> dict[str, list[MixFile]]:
    found: dict[str, list[MixFile]] = {d.name: [] for d in job.run.datasets if d.role != "reference"}
    for part in done:
        found[part.dataset].extend(_read_record(_record(job, part.dataset, part.number)))
    return {name: sorted(files, key=lambda f: f.path) for name, files in found.items()}


def _record(job: MixJob, dataset: str, number: int) -> str:
    return storage.join(job.records, f"{dataset}-{number:05d}.json")


def _finish(job: MixJob, dataset: str, number: int, files: list[MixFile]) -> dict[str, int]:
    data = {"dataset": dataset, "files": [f.entry() for f in files]}
    write_json(_record(job, dataset, number), data)
    return {"documents": sum(f.documents for f in files), "bytes": sum(f.bytes for f in files)}


def schema_of(job: MixJob, dataset: str) -> pa.Schema:
    """Return the schema of a dataset's files in the mix."""
    extra = input_schema(job.run, job.output, dataset)
    if job.output.everything:
        text = job.run.dataset(dataset).columns.text
        return pa.schema([pa.field(text, pa.large_string()) if f.name == text else f for f in extra])
    names = {name for name, _ in MIX_COLUMNS}
    renamed = [f.with_name(f"input_{f.name}") if f.name in names else f for f in extra]
    return pa.schema([*MIX_COLUMNS, *renamed])


def _write_part(job: MixJob, part: Part) -> dict[str, int]:
    """Write the files of one part, one batch or one bundle at a time."""
    if storage.exists(_record(job, part.dataset, part.number)):
        return {"documents": 0, "bytes": 0}
    schema = schema_of(job, part.dataset)
    main = _writer(job, part.dataset, "part", part.number, schema)
    held = _writer(job, part.dataset, "holdout", part.number, schema)
    with main, held:
        for position in part.positions:
            for table, keys in _in_order(job, schema, position):
                _write_rows(main, held, table, keys)
    return _finish(job, part.dataset, part.number, main.files + held.files)


def _in_order(job: MixJob, schema: pa.Schema, position: int) -> Iterator[tuple[pa.Table, pa.Table]]:
    """Yield (documents, their keys) of one bundle, shuffled inside the bundle if wished."""
    batches = documents(job, schema, position)
    if job.output.shuffle != "shard":
        yield from batches
        return
    pairs = list(batches)
    if not pairs:
        return
    table = pa.concat_tables([t for t, _ in pairs]).combine_chunks()
    keys = pa.concat_tables([k for _, k in pairs])
    order = np.lexsort([array(keys, "doc"), array(keys, "key")])
    for start in range(0, len(order), 4096):
        chosen = pa.array(order[start : start + 4096])
        yield table.take(chosen), keys.take(chosen)


def _writer(job: MixJob, dataset: str, kind: str, number: int, schema: pa.Schema) -> PartWriter:
    return PartWriter(
        root=job.root,
        folder=dataset,
        stem=f"{kind}-{number:05d}",
        schema=schema,
        target_bytes=job.output.shard_bytes,
        format=job.output.format,
        repeat=job.output.repeat,
    )


def _write_rows(main: PartWriter, held: PartWriter, table: pa.Table, keys: pa.Table) -> None:
    """Write documents to the mix or to the held-out files; count every copy's tokens."""
    out = array(keys, "held").astype(np.bool_)
    first, tokens = array(keys, "first").astype(np.bool_), array(keys, "tokens").astype(np.int64)
    for writer, mine in ((held, out), (main, ~out)):
        if mine.any():
            part = table if mine.all() else table.filter(pa.array(mine))
            _write_cut(writer, part, first[mine], tokens[mine])


def _write_cut(writer: PartWriter, table: pa.Table, first: npt.NDArray[np.bool_], tokens: I64) -> None:
    offset = 0
    for piece in cut(table, min(ROW_GROUP_BYTES, writer.target_bytes)):
        end = offset + piece.num_rows
        writer.write(piece, int(first[offset:end].sum()), int(tokens[offset:end].sum()))
        offset = end


KEYS = pa.schema(
    [
        ("key", pa.uint64()),  # order of a shuffle
        ("doc", pa.int64()),
        ("held", pa.bool_()),
        ("first", pa.bool_()),  # the first copy of its document
        ("tokens", pa.int64()),  # that this row stands for
    ]
)


def check_masks(job: MixJob) -> None:
    """Raise RecipeError where a column of the mix that is to be redacted holds no text, or is not there."""
    for dataset in job.run.datasets:
        if dataset.role != "reference":
            check_masked(job.run, job.output, schema_of(job, dataset.name), dataset.name)


def documents(job: MixJob, schema: pa.Schema, position: int) -> Iterator[tuple[pa.Table, pa.Table]]:
    """Yield (documents in `schema`, `KEYS`) of the bundle at `position`: survivors that are in the mix or held out."""
    run = job.run
    found = outcome(run, position)
    h1 = array(found.view.read, "h1").astype(np.uint64)
    number = document_copies(run, job.mix, job.epochs, found)
    held = found.kept & is_held_out(h1, job.mix)
    rows = np.flatnonzero((number > 0) | held)
    if not len(rows):
        return
    facts = _facts(job, position, found, rows, number)
    names = _read_columns(job, run.dataset(found.view.bundle.dataset).name)
    for batch, at in read_rows(run, found.view.bundle, rows, names):
        here = rows[at]
        check_texts(found.view, here, batch.table)
        mine = facts.take(pa.array(at))
        table = _assemble(job, schema, _rewritten(found.view, here, batch.table), mine)
        table = masked(run, found.view.bundle.dataset, table)
        keys = _keys(job, h1[here], found.view.doc_ids[here], held[here], array(mine, "num_tokens"), number[here])
        yield _repeat(job, table, keys, number[here], h1[here])


def _read_columns(job: MixJob, dataset: str) -> list[str]:
    source = job.run.dataset(dataset)
    schema = input_schema(job.run, job.output, dataset)
    skip = source.columns.text if job.output.everything else None
    return ["text", *(f"{'json' if is_json(f) else 'column'}:{f.name}" for f in schema if f.name != skip)]


def _facts(job: MixJob, position: int, found: Outcome, rows: I64, number: npt.NDArray[np.int32]) -> pa.Table:
    """Return winnow's own columns for these rows, all but text."""
    view = found.view
    read = view.read.select(["id", "url"]).take(pa.array(rows))
    language, language_score = _last(view, LanguageId, rows, ("language", "language_score"))
    (quality_score,) = _last(view, Quality, rows, ("quality_score",))
    size, _ = group_columns(job.run, position, found)
    columns = {
        "id": read.column("id"),
        "doc_id": pa.array(view.doc_ids[rows]),
        "source": pa.repeat(pa.scalar(view.bundle.dataset), len(rows)),
        "url": read.column("url"),
        "language": language,
        "language_score": language_score,
        "quality_score": quality_score,
        "num_tokens": pa.array(num_tokens(view)[rows]),
        "copies": pa.array(number[rows]),
        "group_size": size.take(pa.array(rows)),
    }
    return pa.table(columns)


def _last(view: View, kind: type[Any], rows: I64, names: tuple[str, ...]) -> list[Any]:
    """Return facts of the last stage of this kind that applies to the bundle, nulls where there is none."""
    types = dict(MIX_COLUMNS)
    for index in range(len(view.run.stages) - 1, -1, -1):
        stage = view.run.stages[index]
        if isinstance(stage, kind) and stage.applies_to(view.bundle.dataset):
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
        column = own[name] if name in own else read.column(_source(read.schema.names, name))
        columns.append(column if column.type == kind else pa.chunked_array([fit(whole(column), pa.field(name, kind))]))
    return pa.table(columns, schema=schema)


def _source(names: list[str], name: str) -> str:
    """Return where a column of the mix lies in what was read."""
    inputs = (name, name.removeprefix("input_"))
    return next((f"{kind}:{i}" for i in inputs for kind in ("column", "json") if f"{kind}:{i}" in names), "text")


def _keys(job: MixJob, h1: Any, doc: I64, held: Any, tokens: Any, number: Any) -> pa.Table:
    key = mix64(h1, job.mix.seed ^ SHUFFLE_SALT)
    stands_for = tokens * np.where(held, 1, number)
    columns = [
        pa.array(key),
        pa.array(doc),
        pa.array(held),
        pa.array(np.ones(len(doc), np.bool_)),
        pa.array(stands_for),
    ]
    return pa.table(columns, schema=KEYS)


def _repeat(job: MixJob, table: pa.Table, keys: pa.Table, number: Any, h1: Any) -> tuple[pa.Table, pa.Table]:
    """Repeat the rows of documents with several copies, if the recipe asks for it."""
    if not job.output.repeat or not (number > 1).any():
        return table, keys
    times = np.maximum(number, 1)
    which = np.repeat(np.arange(len(times)), times)
    turn = np.arange(len(which)) - np.repeat(np.cumsum(times) - times, times)
    key = mix64(h1[which] + turn.astype(np.uint64), job.mix.seed ^ SHUFFLE_SALT)
    tokens = array(keys, "tokens")[which] // times[which]
    columns = [
        pa.array(key),
        keys.column("doc").take(pa.array(which)),
        keys.column("held").take(pa.array(which)),
        pa.array(turn == 0),
        pa.array(tokens),
    ]
    return table.take(pa.array(which)), pa.table(columns, schema=KEYS)


def _write_shuffled(engine: Engine, job: MixJob, todo: list[Part], text_bytes: Sequence[int]) -> None:
    """Write one dataset in an order that depends on content alone, through the exchange."""
    dataset = todo[0].dataset
    schema = schema_of(job, dataset)
    positions = [position for part in todo for position in part.positions]
    slices = max(1, round(sum(text_bytes[p] for p in positions) / len(todo) / SLICE_BYTES))
    hop = Exchange(
        folder=storage.join(job.exchange, dataset),
        destinations=len(todo) * slices,
        schema=pa.schema([*KEYS, *[f.with_name(f"mix_{f.name}") for f in schema]]),
    )
    numbers = [part.number for part in todo if not storage.exists(_record(job, dataset, part.number))]
    if numbers:
        written = hop.scatter(engine, positions, partial(_emit_shuffled, job, schema, hop.schema), cost=SEND)
        write = partial(_write_sorted, job, hop, written, (dataset, schema, slices))
        engine.map(write, numbers, cost=WRITE_SORTED)


def _emit_shuffled(job: MixJob, schema: pa.Schema, wide: pa.Schema, position: int) -> Iterable[pa.Table]:
    for table, keys in documents(job, schema, position):
        yield pa.table([*keys.columns, *table.columns], schema=wide)


def _write_sorted(
    job: MixJob, hop: Exchange, written: Written, how: tuple[str, pa.Schema, int], number: int
) -> dict[str, int]:
    """Write one part: its slices of the key range in turn, each sorted by key."""
    dataset, schema, slices = how
    main, held = (_writer(job, dataset, kind, number, schema) for kind in ("part", "holdout"))
    with main, held:
        for piece in range(number * slices, (number + 1) * slices):
            table = hop.gather(written, piece).combine_chunks()
            order = np.lexsort([array(table, "first"), array(table, "doc"), array(table, "key")])
            table = table.take(pa.array(order))
            texts = table.select(table.schema.names[len(KEYS) :]).rename_columns(schema.names)
            _write_rows(main, held, texts, table.select(KEYS.names))
    return _finish(job, dataset, number, main.files + held.files)
