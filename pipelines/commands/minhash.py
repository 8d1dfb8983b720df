"""`winnow minhash`: signatures of files, for other tools, with the bits of cuDF's `Series.str.minhash`, or `oph`.

Guarantees: one output file per input file in the input's row order; a text that is null or cannot be read (bytes
that are no UTF-8) has a null signature and is counted. No text is sampled, however long.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from cluster import storage
from cluster.errors import RecipeError
from cluster.seed import DEFAULT_SEED
from stages.core.arrays import whole
from stages.core.digests import DATA_FORMAT
from stages.core.shard import Columns, Dataset, Piece, Shard
from stages.inputs.exact import TWICE
from stages.inputs.files.discover import Found, find_shards, look
from stages.inputs.files.formats import kind_of
from stages.inputs.reader import (
    Batch,
    ReadStatus,
    count_and_layout,
    passthrough_schema,
    raw_texts,
    read_piece,
    stage_compressed,
)
from stages.minhash import MinHash

NO_CAP = 1 << 60  # shingles: no text has as many


def minhash(
    path: str,
    out: str,
    *,
    shingle_width: int = 24,
    num_permutations: int = 128,
    seed: int = DEFAULT_SEED,
    hash_seed: int | None = None,
    hash_bits: int = 32,
    sketch: str = "permutations",
    a: Sequence[int] = (),
    b: Sequence[int] = (),
    text_column: str = "text",
    id_column: str = "id",
) -> tuple[int, int]:
    """Write OUT/part-NNNNN.parquet with id and signature for every data file of `path`.

    Parameters
    ----------
    path : file, folder or glob of Parquet or JSON lines.
    out : folder, made if it is not there.
    shingle_width, num_permutations, seed, hash_bits, sketch : parameters of stage `minhash`.
    hash_seed, a, b : explicit parameters of the permutations, as many of `a` as of `b`, instead of drawn ones.
    text_column, id_column : columns of the input; without an id column, ids are null.

    Returns
    -------
    (documents, those of them that have no signature).

    Raises
    ------
    RecipeError
        A column is missing, a file cannot be read, or `a` and `b` differ in length.
    """
    stage = stage_of(shingle_width, num_permutations, seed, hash_seed, hash_bits, sketch, a, b)
    dataset = Dataset(name="data", paths=(path,), columns=Columns(text=text_column))
    total = without = 0
    for number, found in enumerate(find_shards(dataset)):
        rows, missing = _write_one(stage, dataset, found, out, number, id_column)
        total += rows
        without += missing
    return total, without


def stage_of(
    shingle_width: int,
    num_permutations: int,
    seed: int,
    hash_seed: int | None,
    hash_bits: int,
    sketch: str,
    a: Sequence[int],
    b: Sequence[int],
) -> MinHash:
    """Return the stage that computes such signatures. Raises RecipeError where `a` and `b` differ in length."""
    explicit = bool(a or b)
    if explicit and len(a) != len(b):
        raise RecipeError(f"--a has {len(a)} numbers and --b has {len(b)}; give as many of each.")
    return MinHash(
        shingle_width=shingle_width,
        num_permutations=len(a) if explicit else num_permutations,
        seed=seed,
        hash_bits=hash_bits,
        sketch=sketch,
        parameters="explicit" if explicit else "nemo",
        a=tuple(a),
        b=tuple(b),
        hash_seed=hash_seed if explicit else None,
        max_shingles=NO_CAP,
    )


def _write_one(
    stage: MinHash, dataset: Dataset, found: Found, out: str, number: int, id_column: str
) -> tuple[int, int]:
    name = f"part-{number:05d}.parquet"
    found = look(dataset, found)
    dataset = _with_id(dataset, found, id_column)
    staging = storage.join(out, f".staged-{name}") if found.staged else None
    layout = (
        stage_compressed(dataset, found.path, staging, (dataset.columns.text,), kind=found.format)
        if staging
        else count_and_layout(dataset, found.path, kind=found.format)
    )
    if layout.problem:
        raise RecipeError(f"{found.path}: {layout.problem}")
    shard = Shard(
        ordinal=0,
        dataset="data",
        path=found.path,
        relative_path=found.relative_path,
        rows=layout.rows,
        bytes=found.bytes,
        fingerprint="",
        format=found.format,
    )
    schema, without = _schema(stage), 0
    with (
        storage.commit(storage.join(out, name)) as file,
        pq.ParquetWriter(file, schema, compression="zstd") as writer,
    ):
        columns = ["text", "id", f"column:{dataset.columns.text}"]
        for batch in read_piece(dataset, Piece(shard=shard, start=0, stop=layout.rows), columns, path=staging):
            _check_keys(batch)
            table = _signatures(stage, schema, batch)
            writer.write_table(table)
            without += table.column("signature").null_count
    if staging:
        storage.remove(staging)
    return layout.rows, without


def _check_keys(batch: Batch) -> None:
    """Raise RecipeError where a line has a key several times that is read."""
    for problem in batch.problems:
        if TWICE in problem.error:
            raise RecipeError(f"{problem.path}, row {problem.row}: {problem.error}. Repair or remove it.")


def _with_id(dataset: Dataset, found: Found, id_column: str) -> Dataset:
    """Map the id column where there is one; JSON lines without it have null ids."""
    lines = kind_of(found.format) in ("jsonl", "json")
    if not lines and not passthrough_schema(dataset, [found.path], [id_column]).names:
        return dataset
    return replace(dataset, columns=replace(dataset.columns, id=id_column))


def _schema(stage: MinHash) -> pa.Schema:
    value = pa.uint32() if stage.hash_bits == 32 else pa.uint64()
    metadata = {"winnow.format": str(DATA_FORMAT)}
    return pa.schema([("id", pa.large_string()), ("signature", pa.list_(value))], metadata=metadata)


def _signatures(stage: MinHash, schema: pa.Schema, batch: Batch) -> pa.Table:
    """Return id and signature of each row; null where there is no text, or none that can be read."""
    raw = raw_texts(whole(batch.table.column(2)))
    usable = np.isin(batch.status, [ReadStatus.OK, ReadStatus.EMPTY, ReadStatus.WHITE_SPACE])
    text = pc.if_else(pa.array(usable), raw, "").fill_null("")
    matrix = stage.signatures(text)
    ends = np.cumsum(np.where(usable, matrix.shape[1], 0))
    offsets = pa.array(np.r_[0, ends].astype(np.int32), mask=np.r_[~usable, False])
    values = pa.array(np.ascontiguousarray(matrix[usable]).reshape(-1))
    signature = pa.ListArray.from_arrays(offsets, values)
    return pa.table([batch.table.column("id"), signature], schema=schema)
