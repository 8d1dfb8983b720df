"""Deduplication and MinHash signatures of texts in memory: the same stages as on files, on tables and arrays.

Guarantees: the verdicts are those of `winnow dedup` on a file with these rows; rows and columns that stay are the given
ones, in their order, of their types. Memory: the table, twice its texts; a temporary folder holds them once more.
"""

from __future__ import annotations

import html
import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, overload

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from cluster.errors import RecipeError
from cluster.seed import DEFAULT_SEED
from pipelines.commands import dedup as files
from pipelines.commands import minhash as signatures
from pipelines.commands.dedup import DedupCounts
from pipelines.run.progress import Progress
from stages.core.shard import ROW_BITS
from stages.minhash import MinHash

LEDGER = ["row", "kept", "stage", "reason", "similarity", "representative"]
TABLES = "a table: of Arrow, pandas or Polars, or a reader of record batches"

TEXT_TYPES = (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view, pa.types.is_null)


@dataclass(frozen=True)
class Deduplicated:
    """A table without near duplicates. kept: of the kind that was given; dropped: a row for each document that went.

    `dropped` has the columns row (from 0), stage, reason, similarity and representative (the row that it lost to).
    """

    kept: Any
    dropped: pa.Table

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><td>{html.escape(str(entry['values']))}</td><td>{entry['counts']:,}</td></tr>"
            for entry in pc.value_counts(self.dropped.column("reason")).to_pylist()
        )
        head = "<tr><th scope='col'>reason</th><th scope='col'>rows dropped</th></tr>"
        return f"<p>{len(self.kept):,} rows kept, {self.dropped.num_rows:,} dropped</p><table>{head}{rows}</table>"


@overload
def dedup(
    paths: str | Sequence[str],
    out: str,
    *,
    jaccard_threshold: float = ...,
    shingle_width: int = ...,
    sketch: str = ...,
    text_column: str = ...,
    id_column: str = ...,
    workers: int | None = ...,
    progress: Progress | None = ...,
) -> DedupCounts: ...


@overload
def dedup(
    paths: Any,
    out: None = None,
    *,
    jaccard_threshold: float = ...,
    shingle_width: int = ...,
    sketch: str = ...,
    text_column: str = ...,
    workers: int | None = ...,
    progress: Progress | None = ...,
) -> Deduplicated: ...


def dedup(
    paths: Any,
    out: str | None = None,
    *,
    jaccard_threshold: float = 0.8,
    shingle_width: int = 24,
    sketch: str = files.SKETCH,
    text_column: str = "text",
    id_column: str = "id",
    workers: int | None = None,
    progress: Progress | None = None,
) -> DedupCounts | Deduplicated:
    """Deduplicate files into the folder `out`, or a table in memory; of near duplicates the longer text stays.

    Parameters
    ----------
    paths : files, folders, globs or URLs, in any format that is read; or a table of Arrow, pandas or Polars, or a
        reader of record batches.
    out : folder of the result, its ledger and dedup.json; left out for a table.
    jaccard_threshold : similarity of character shingles from which a document is a near duplicate.
    shingle_width : characters in a shingle.
    sketch : of signatures, as of stage `minhash`: permutations or oph.
    text_column, id_column : columns of the input; without an id column, files and rows name the documents. A dotted
        path descends into structs. Of a table no id is read.
    workers : threads or processes; by cores when None.

    Returns
    -------
    Of files: how many documents there were, were kept and dropped. Of a table: `Deduplicated`.

    Raises
    ------
    RecipeError
        A column is missing, or `out` holds the result of something else.

    Examples
    --------
    >>> import pyarrow as pa
    >>> text = "a text of some length, long enough for shingles of twenty-four characters"
    >>> found = dedup(pa.table({"text": [text, text, "another one"], "n": [1, 2, 3]}), workers=1)
    >>> found.kept.column("n").to_pylist(), found.dropped.select(["row", "representative"]).to_pylist()
    ([1, 3], [{'row': 1, 'representative': 0}])
    """
    how: dict[str, Any] = {
        "jaccard_threshold": jaccard_threshold,
        "shingle_width": shingle_width,
        "sketch": sketch,
        "text_column": text_column,
        "workers": workers,
        "progress": progress,
    }
    if isinstance(paths, str | os.PathLike) or _are_paths(paths):
        if out is None:
            raise RecipeError("dedup of files needs `out`, the folder to write to; a table in memory needs none.")
        return files.dedup(paths, out, id_column=id_column, **how)
    if out is not None:
        raise RecipeError(
            "dedup of a table gives a table back, so `out` is left out. Write the result's `kept` yourself."
        )
    return _dedup_table(paths, how)


def _are_paths(found: Any) -> bool:
    return isinstance(found, Sequence) and all(isinstance(path, str | os.PathLike) for path in found)


def _dedup_table(given: Any, how: dict[str, Any]) -> Deduplicated:
    table = arrow_table(given)
    column = how["text_column"]
    written = table.select([column]) if column in table.schema.names else table
    with tempfile.TemporaryDirectory(prefix="winnow-dedup-") as folder:
        pq.write_table(written, os.path.join(folder, "in.parquet"), store_schema=True)
        files.dedup(os.path.join(folder, "in.parquet"), os.path.join(folder, "out"), id_column="", **how)
        ledger = pq.read_table(os.path.join(folder, "out", "ledger"), columns=LEDGER).sort_by("row")
    kept = ledger.column("kept")
    lost = ledger.filter(pc.invert(kept)).drop_columns(["kept"])
    row = pc.bit_wise_and(lost.column("representative"), (1 << ROW_BITS) - 1)
    lost = lost.set_column(lost.schema.get_field_index("representative"), "representative", row)
    mine = given if not isinstance(given, pa.RecordBatchReader) else table
    return Deduplicated(_rows(mine, kept), lost)


def _rows(given: Any, kept: pa.ChunkedArray) -> Any:
    """Return the rows of a table that are kept, as the kind of table that it is."""
    if isinstance(given, pa.Table | pa.RecordBatch):
        return given.filter(kept.combine_chunks())
    mask = kept.to_numpy()
    if hasattr(given, "filter") and hasattr(given, "to_arrow"):  # Polars
        import polars

        return given.filter(polars.Series(mask))
    if hasattr(given, "loc"):  # pandas
        return given.loc[mask]
    return arrow_table(given).filter(pa.array(mask))


def arrow_table(given: Any) -> pa.Table:
    """Return a table as an Arrow table. Raises RecipeError where it is none."""
    if isinstance(given, pa.Table):
        return given
    if isinstance(given, pa.RecordBatch):
        return pa.Table.from_batches([given])
    if isinstance(given, pa.RecordBatchReader):
        return given.read_all()
    if hasattr(given, "__arrow_c_stream__"):  # Polars, pandas and whatever else exports its columns
        return pa.table(given)
    if hasattr(given, "loc"):
        return pa.Table.from_pandas(given, preserve_index=False)
    raise RecipeError(f"{TABLES} is needed, or paths of files, got {type(given).__name__}.")


@overload
def minhash(
    path: str,
    out: str,
    *,
    shingle_width: int = ...,
    num_permutations: int = ...,
    seed: int = ...,
    hash_seed: int | None = ...,
    hash_bits: int = ...,
    sketch: str = ...,
    a: Sequence[int] = ...,
    b: Sequence[int] = ...,
    text_column: str = ...,
    id_column: str = ...,
) -> tuple[int, int]: ...


@overload
def minhash(
    path: Any,
    out: None = None,
    *,
    shingle_width: int = ...,
    num_permutations: int = ...,
    seed: int = ...,
    hash_seed: int | None = ...,
    hash_bits: int = ...,
    sketch: str = ...,
    a: Sequence[int] = ...,
    b: Sequence[int] = ...,
) -> npt.NDArray[np.unsignedinteger]: ...


def minhash(
    path: Any,
    out: str | None = None,
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
) -> tuple[int, int] | npt.NDArray[np.unsignedinteger]:
    """Write MinHash signatures of files, or return those of texts in memory: those of stage `minhash`.

    Parameters
    ----------
    path : file, folder or glob; or texts: an array of Arrow, numpy, pandas or Polars, or a list.
    out : folder of the signatures, made if it is not there; left out for texts.
    shingle_width, num_permutations, seed, hash_bits, sketch : parameters of stage `minhash`.
    hash_seed, a, b : explicit parameters of the permutations, as many of `a` as of `b`, instead of drawn ones.
    text_column, id_column : columns of the files; without an id column, ids are null.

    Returns
    -------
    Of files: (documents, those of them that have no signature). Of texts: the signatures, (texts, permutations) uint32,
    or uint64 with hash_bits 64.

    Raises
    ------
    RecipeError
        A column is missing, a file cannot be read, a text is null, or `a` and `b` differ in length.

    Examples
    --------
    >>> minhash(["some text", "another text"], num_permutations=4, shingle_width=5).shape
    (2, 4)
    """
    if isinstance(path, str | os.PathLike):
        if out is None:
            raise RecipeError(
                "minhash of files needs `out`, the folder to write to; texts are given as a list or array."
            )
        return signatures.minhash(
            os.fspath(path),
            out,
            shingle_width=shingle_width,
            num_permutations=num_permutations,
            seed=seed,
            hash_seed=hash_seed,
            hash_bits=hash_bits,
            sketch=sketch,
            a=a,
            b=b,
            text_column=text_column,
            id_column=id_column,
        )
    if out is not None:
        raise RecipeError("minhash of texts gives an array back, so `out` is left out.")
    stage = signatures.stage_of(shingle_width, num_permutations, seed, hash_seed, hash_bits, sketch, a, b)
    return _signatures(stage, path)


def _signatures(stage: MinHash, texts: Any) -> npt.NDArray[np.unsignedinteger]:
    array = _text_array(texts)
    if array.null_count:
        first = int(np.flatnonzero(array.is_null().to_numpy(zero_copy_only=False))[0])
        raise RecipeError(f"text {first} is null and has no signature. Leave it out, or give an empty text.")
    return stage.signatures(array)


def _text_array(texts: Any) -> pa.Array:
    """Return texts as one array of large strings. Raises RecipeError where they are none."""
    if hasattr(texts, "to_arrow"):
        texts = texts.to_arrow()
    try:
        found = texts if isinstance(texts, pa.Array | pa.ChunkedArray) else pa.array(texts)
    except (pa.ArrowInvalid, pa.ArrowTypeError, TypeError) as error:
        raise RecipeError(f"minhash needs texts, got {type(texts).__name__} ({error}).") from None
    kind = found.type.value_type if pa.types.is_dictionary(found.type) else found.type
    if isinstance(texts, dict) or not any(test(kind) for test in TEXT_TYPES):
        raise RecipeError(f"minhash needs texts, got {type(texts).__name__} of {kind}.")
    found = found.cast(pa.large_string())
    whole: pa.Array = found.combine_chunks() if isinstance(found, pa.ChunkedArray) else found
    return whole if isinstance(whole, pa.Array) else pa.concat_arrays(whole.chunks)
