"""Stratified samples of what a stage decided, by a hash of the content.

Guarantees: the sample depends on the documents and the seed alone, and takes equally many of each stratum as far as
they reach. Memory: of each stratum as many rows as the sample has, without texts.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from stages.asking.population import allot, languages_of
from stages.core.arrays import array, whole
from stages.core.run import Run, StageRun
from stages.core.view import View
from stages.kernels.hashes.hashing import mix64

I64 = npt.NDArray[np.int64]
SALT = 0xCA11B8
ROWS = pa.schema(
    [
        ("doc", pa.int64()),
        ("place", pa.uint64()),
        ("dataset", pa.string()),
        ("language", pa.string()),
        ("score", pa.float64()),
        ("kept", pa.bool_()),
        ("stratum", pa.string()),
    ]
)
Candidates = Callable[[View], "pa.Table | None"]  # rows in the schema ROWS, without `stratum`
Strata = Callable[[pa.Table], pa.Array]


@dataclass(frozen=True, eq=False)
class Sample:
    """A stratified sample. rows: in the schema ROWS, in the order of doc; sizes: documents of every stratum."""

    rows: pa.Table
    sizes: dict[str, int]

    def weights(self) -> npt.NDArray[np.float64]:
        """Return how many documents each row stands for, (rows,)."""
        names = whole(self.rows.column("stratum")).to_pylist()
        count: dict[str, int] = {}
        for name in names:
            count[name] = count.get(name, 0) + 1
        return np.array([self.sizes[name] / count[name] for name in names], np.float64)


def rows_of(view: View, index: int, rows: I64, score: pa.Array, kept: npt.NDArray[np.bool_], seed: int) -> pa.Table:
    """Return bundle rows as candidates of a sample."""
    place = mix64(array(view.read, "h1").astype(np.uint64)[rows], seed ^ SALT)
    languages = languages_of(StageRun(view.run, index + 1), view, rows)
    dataset = pa.repeat(pa.scalar(view.bundle.dataset, pa.string()), len(rows))
    if languages is None:
        languages = pa.repeat(pa.scalar("", pa.string()), len(rows))
    columns = [pa.array(view.doc_ids[rows]), pa.array(place), dataset, languages, score, pa.array(kept)]
    return pa.table(columns, schema=pa.schema(list(ROWS)[:-1]))


def draw(run: Run, candidates: Candidates, strata: Strata, total: int) -> Sample:
    """Return a sample of `total` documents, as evenly over the strata as they reach."""
    sizes: dict[str, int] = {}
    held: dict[str, pa.Table] = {}
    for bundle in run.manifest.bundles:
        table = candidates(View(run, bundle))
        if table is None or not table.num_rows:
            continue
        names = strata(table)
        table = table.append_column("stratum", names)
        for name in names.unique().to_pylist():
            mine = table.filter(pc.equal(names, name))
            sizes[name] = sizes.get(name, 0) + mine.num_rows
            held[name] = _first(pa.concat_tables([held[name], mine]) if name in held else mine, total)
    wanted = allot(sizes, total)
    parts = [_first(held[name], wanted[name]) for name in sorted(held)]
    rows = pa.concat_tables(parts) if parts else ROWS.empty_table()
    return Sample(rows.combine_chunks().sort_by("doc"), sizes)


def _first(table: pa.Table, most: int) -> pa.Table:
    """Return the rows with the least places, by doc where these are equal."""
    if table.num_rows <= most:
        return table
    return table.sort_by([("place", "ascending"), ("doc", "ascending")]).slice(0, most).combine_chunks()
