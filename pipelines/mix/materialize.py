"""Write the mix: read each surviving document once where it lies and write it once.

Guarantees: every text is checked against the content hash its verdict rests on, then rewritten as the stages
say (`stages.core.edits`); what was written is not written again after an interruption; the same recipe and inputs
give the same bytes. Memory: one bundle of text with `shuffle: shard`, one batch otherwise; `global` goes through
the exchange and sorts 32 MB at a time.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from typing_extensions import TypedDict  # pydantic reads it, and needs this one before Python 3.12

from cluster import storage
from cluster.engines import Engine, Growth, TaskCost
from cluster.errors import DamagedError
from cluster.exchange import Exchange, Written
from cluster.files.records import read_record
from cluster.files.sealed import read_json, write_json
from cluster.scale import scaled
from pipelines.mix.documents import KEYS, documents, schema_of
from pipelines.mix.files import ROW_GROUP_BYTES, MixFile, PartWriter, cut
from pipelines.mix.group_sizes import Before, is_apart, is_written, write_group_sizes
from pipelines.mix.job import MixJob, Part, mixed_positions, parts
from pipelines.recipe.output import INTERLEAVED, output_of_mix
from pipelines.run_state import mix_digest
from stages.core.arrays import array
from stages.core.costs import Quantity, per_bundle
from stages.core.digests import digest
from stages.outcome.made_from import together

I64 = npt.NDArray[np.int64]
BEFORE = "before"  # folder of lists of files
HOLDOUT = "holdout"  # folder of held-out documents, where they have one of their own
SLICE_BYTES = scaled(32 << 20, least=256 << 10)  # of text that a global shuffle sorts at once


MIX_BYTES = Growth(quantity=Quantity.MIX_BYTES)
MIX_PARTS = Growth(quantity=Quantity.MIX_PARTS)
WRITE = TaskCost(name="write parts", tasks=MIX_PARTS, work=MIX_BYTES)
SEND = per_bundle("send documents of the mix", MIX_BYTES)
# Slices of SLICE_BYTES are sorted, so that a byte costs the same in any mix: 4.0 to 5.6 ns from 6 to 424 MB (2026-11).
WRITE_SORTED = TaskCost(name="sort and write parts", tasks=MIX_PARTS, work=MIX_BYTES)


def materialize(
    engine: Engine, job: MixJob, text_bytes: Sequence[int], made: Sequence[str] = ()
) -> dict[str, list[MixFile]]:
    """Write the mix; return the files of each dataset, or all under `INTERLEAVED`.

    made : what the rows of each bundle are made from, empty where that is not told.
    """
    todo = [replace(part, made_from=_made_from(job, part, text_bytes, made)) for part in parts(job, text_bytes)]
    _start_over_if_other(job, todo)
    _forget_what_is_not_whole(job, todo)
    _write_sizes(engine, job, todo)
    if job.output.shuffle == "global":
        for dataset in {part.dataset: None for part in todo}:
            _write_shuffled(engine, job, [p for p in todo if p.dataset == dataset], text_bytes)
    else:
        engine.map(partial(_write_part, job), todo, cost=WRITE)
    return _collect(job, todo)


def _made_from(job: MixJob, part: Part, text_bytes: Sequence[int], made: Sequence[str]) -> str:
    """Return the digest of what the files of a part are made from; empty where that is not told."""
    positions: Sequence[int] = part.positions
    if job.output.shuffle == "global":  # any document may be in any part
        bundles = enumerate(job.run.manifest.bundles)
        positions = [p for p, bundle in bundles if bundle.dataset == part.dataset and text_bytes[p]]
    if job.interleaved or not made:
        return ""
    output, schema = output_of_mix(job.output, job.mix).values(), str(schema_of(job, part.dataset))
    sizes = [text_bytes[position] for position in positions]
    found = together(
        [made[position] for position in positions], part.number, sizes, output, schema, sorted(job.run.extra_columns)
    )
    return found if is_written(job, part.dataset) else found.partition(":")[0]


def _start_over_if_other(job: MixJob, todo: Sequence[Part]) -> None:
    """Remove a mix that another recipe made: first the word that it is whole, then its files; no other mix's.

    Files that are made from what they would be made from now stay, and are listed again; those of which only the size
    of groups is not, stay where they are and are listed apart.
    """
    marker = storage.join(job.root, ".made-by")
    mine = mix_digest(job.run, job.mix, job.output).encode()
    if storage.exists(marker) and storage.read_bytes(marker) == mine:
        return
    stay, partly = _unchanged(job, todo)
    kept = {file.path for files in [*stay.values(), *partly.values()] for file in files}
    storage.remove(storage.join(job.root, "manifest.json"))
    storage.remove(marker)
    storage.remove(job.records.rpartition("/")[0])
    for part, files in stay.items():
        _finish(job, part, files)
    for part, files in partly.items():
        write_json(_before(job, part), _record_of(part, files))
    for dataset in sorted(storage.names(job.root) - {"README.md"}):
        inner = [f"{dataset}/{name}" for name in sorted(storage.names(storage.join(job.root, dataset)))]
        for place in (dataset, *(inner if dataset == HOLDOUT else ())):
            names = sorted(storage.names(storage.join(job.root, place)))
            gone = [f"{place}/{n}" for n in names if n.startswith(("part-", "holdout-")) and f"{place}/{n}" not in kept]
            storage.remove_files([storage.join(job.root, name) for name in gone])
    storage.write_bytes(marker, mine)


def _unchanged(job: MixJob, todo: Sequence[Part]) -> tuple[dict[Part, list[MixFile]], dict[Part, list[MixFile]]]:
    """Return the files of each part that are there and made from what they would be made from now.

    And those of parts of which that holds for all but the size of groups.
    """
    stay, partly = dict[Part, list[MixFile]](), dict[Part, list[MixFile]]()
    try:
        before = storage.read_bytes(storage.join(job.root, ".made-by")).decode("utf-8", "replace")
    except FileNotFoundError:
        return stay, partly
    records = storage.join(job.records.rpartition("/")[0], digest("mix", before))
    written, have = storage.names(records), dict[str, dict[str, int]]()
    for part in todo:
        name = _record_name(part.dataset, part.number)
        if part.made_from and name in written:
            with contextlib.suppress(DamagedError):
                path = storage.join(records, name)
                files, made_from = _read_record(path), str(read_json(path).get("made_from"))
                same = made_from.partition(":")[0] == part.made_from.partition(":")[0]
                if same and all(_is_whole(job, have, file) for file in files):
                    if made_from == part.made_from:
                        stay[part] = files
                    elif is_apart(job, part.dataset):
                        partly[part] = files
    return stay, partly


def _write_sizes(engine: Engine, job: MixJob, todo: Sequence[Part]) -> None:
    """Finish the parts of which only the size of groups is another; the files of those that cannot be, go."""
    listed, written = storage.names(storage.join(job.records, BEFORE)), storage.names(job.records)
    for dataset in {part.dataset: None for part in todo}:
        parts = [part for part in todo if part.dataset == dataset]
        found: list[Before] = []
        for part in parts:
            name = _record_name(dataset, part.number)
            if name in listed and name not in written:
                with contextlib.suppress(DamagedError):
                    found.append(Before(part=part, files=tuple(_read_record(_before(job, part)))))
        if not found:
            continue
        ranges = len(parts) if job.output.shuffle == "global" else 0
        for before, files in zip(found, write_group_sizes(engine, job, found, ranges), strict=True):
            if files is not None:
                _finish(job, before.part, files)
            else:
                storage.remove_files([storage.join(job.root, file.path) for file in before.files])
    if listed:
        storage.remove(storage.join(job.records, BEFORE))


def _forget_what_is_not_whole(job: MixJob, todo: Iterable[Part]) -> None:
    """Remove the records of parts of which a file is missing, or has another size than it was written with."""
    have: dict[str, dict[str, int]] = {}
    written = storage.names(job.records)
    for part in todo:
        path = _record(job, part.dataset, part.number)
        if path.rpartition("/")[2] not in written:
            continue
        try:
            files = _read_record(path)
        except DamagedError:
            files = None
        if files is None or not all(_is_whole(job, have, file) for file in files):
            storage.remove(path)


def _is_whole(job: MixJob, have: dict[str, dict[str, int]], file: MixFile) -> bool:
    """Tell whether a file has the size it was written with. have: sizes in the folders that were listed."""
    folder, _, name = file.path.rpartition("/")
    if folder not in have:
        have[folder] = storage.sizes(storage.join(job.root, folder))
    return have[folder].get(name) == file.bytes


class _Record(TypedDict):
    """What is written down of a part."""

    files: list[MixFile]


def _read_record(path: str) -> list[MixFile]:
    """Return the files of a part. Raises DamagedError."""
    return read_record(path, _Record)["files"]


def _collect(job: MixJob, done: Iterable[Part]) -> dict[str, list[MixFile]]:
    names = [INTERLEAVED] if job.interleaved else [d.name for d in job.run.datasets if d.role != "reference"]
    found: dict[str, list[MixFile]] = {name: [] for name in names}
    for part in done:
        found[part.dataset].extend(_read_record(_record(job, part.dataset, part.number)))
    return {name: sorted(files, key=lambda f: f.path) for name, files in found.items()}


def _record(job: MixJob, dataset: str, number: int) -> str:
    return storage.join(job.records, _record_name(dataset, number))


def _record_name(dataset: str, number: int) -> str:
    return f"{dataset}-{number:05d}.json"


def _before(job: MixJob, part: Part) -> str:
    """Return where the list of a part's files lies that were there before, of which most columns stay."""
    return storage.join(job.records, BEFORE, _record_name(part.dataset, part.number))


def _record_of(part: Part, files: list[MixFile]) -> dict[str, object]:
    return {"dataset": part.dataset, "files": [f.entry() for f in files], "made_from": part.made_from}


def _finish(job: MixJob, part: Part, files: list[MixFile]) -> dict[str, int]:
    write_json(_record(job, part.dataset, part.number), _record_of(part, files))
    return {"documents": sum(f.documents for f in files), "bytes": sum(f.bytes for f in files)}


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
                _write_rows(job, main, held, table, keys)
    return _finish(job, part, main.files + held.files)


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
    folder = dataset
    if kind == "holdout" and job.output.holdout_folder:
        folder = HOLDOUT if job.interleaved else f"{HOLDOUT}/{dataset}"
    return PartWriter(
        root=job.root,
        folder=folder,
        stem=f"{kind}-{number:05d}",
        schema=schema,
        target_bytes=job.output.shard_bytes,
        format=job.output.format,
        repeat=bool(job.output.repeat),
    )


def _write_rows(job: MixJob, main: PartWriter, held: PartWriter, table: pa.Table, keys: pa.Table) -> None:
    """Write documents to the mix or to the held-out files; count every copy's tokens."""
    out = array(keys, "held").astype(np.bool_)
    for writer, mine in ((held, out), (main, ~out)):
        if mine.any():
            chosen = pa.array(mine)
            part, own = (table, keys) if mine.all() else (table.filter(chosen), keys.filter(chosen))
            _write_cut(job, writer, part, own)


def _write_cut(job: MixJob, writer: PartWriter, table: pa.Table, keys: pa.Table) -> None:
    offset = 0
    for piece in cut(table, min(ROW_GROUP_BYTES, writer.target_bytes)):
        mine = keys.slice(offset, piece.num_rows)
        first, tokens = array(mine, "first"), array(mine, "tokens")
        cells = _cells(job, mine) if job.counts_cells else {}
        writer.write(piece, int(first.sum()), int(tokens.sum()), cells)
        offset += piece.num_rows


def _cells(job: MixJob, keys: pa.Table) -> dict[tuple[str, str], tuple[int, int, int]]:
    """Return documents, rows and tokens per dataset and cell; the cell of held-out documents is ""."""
    datasets, names = [d.name for d in job.run.datasets], [*job.draw.names(job.run), ""]
    cell = np.where(array(keys, "held"), -1, array(keys, "cell")).astype(np.int64)
    pairs = array(keys, "dataset").astype(np.int64) * len(names) + (cell + len(names)) % len(names)
    distinct, place = np.unique(pairs, return_inverse=True)
    sums = np.zeros((len(distinct), 3), np.int64)
    counted = np.stack([array(keys, "first"), np.ones(len(pairs), np.int64), array(keys, "tokens")], axis=1)
    np.add.at(sums, place.reshape(-1), counted.astype(np.int64))
    return {
        (datasets[pair // len(names)], names[pair % len(names)]): (int(d), int(r), int(t))
        for pair, (d, r, t) in zip(distinct.tolist(), sums, strict=True)
    }


def _write_shuffled(engine: Engine, job: MixJob, todo: list[Part], text_bytes: Sequence[int]) -> None:
    """Write one dataset in an order that depends on content alone, through the exchange."""
    dataset = todo[0].dataset
    schema = schema_of(job, dataset)
    positions = [position for part in todo for position in part.positions]
    if job.interleaved:
        positions = mixed_positions(job, text_bytes)
    volume = sum(text_bytes[p] for p in positions) * (job.volume if job.interleaved else 1.0)
    slices = max(1, round(volume / len(todo) / SLICE_BYTES))
    hop = Exchange(
        folder=storage.join(job.exchange, dataset),
        destinations=len(todo) * slices,
        schema=pa.schema([*KEYS, *[f.with_name(f"mix_{f.name}") for f in schema]]),
    )
    written = storage.names(job.records)
    missing = [replace(p, positions=()) for p in todo if _record_name(dataset, p.number) not in written]
    if missing:
        sent = hop.scatter(engine, positions, partial(_emit_shuffled, job, schema, hop.schema), cost=SEND)
        write = partial(_write_sorted, job, hop, sent, schema, slices)
        engine.map(write, missing, cost=WRITE_SORTED)


def _emit_shuffled(job: MixJob, schema: pa.Schema, wide: pa.Schema, position: int) -> Iterable[pa.Table]:
    for table, keys in documents(job, schema, position):
        yield pa.table([*keys.columns, *table.columns], schema=wide)


def _write_sorted(
    job: MixJob, hop: Exchange, written: Written, schema: pa.Schema, slices: int, part: Part
) -> dict[str, int]:
    """Write one part: its slices of the key range in turn, each sorted by key."""
    main, held = (_writer(job, part.dataset, kind, part.number, schema) for kind in ("part", "holdout"))
    with main, held:
        for piece in range(part.number * slices, (part.number + 1) * slices):
            table = hop.gather(written, piece).combine_chunks()
            order = np.lexsort([array(table, "first"), array(table, "doc"), array(table, "key")])
            table = table.take(pa.array(order))
            texts = table.select(table.schema.names[len(KEYS) :]).rename_columns(schema.names)
            _write_rows(job, main, held, texts, table.select(KEYS.names))
    return _finish(job, part, main.files + held.files)
