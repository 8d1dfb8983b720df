"""Tables and arrays in memory: the verdicts and signatures of files, and what stays is what was given."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import winnow

TEXT = "a text of some length, long enough for shingles of twenty-four characters to be there in numbers"
ROWS = {"text": [TEXT, TEXT + " x", "something quite different from the rest", TEXT, None], "n": [1, 2, 3, 4, 5]}
KINDS: dict[str, Callable[[Any], Any]] = {
    "arrow": pa.table,
    "batch": lambda rows: pa.RecordBatch.from_pydict(rows),
    "pandas": lambda rows: pd.DataFrame(rows, index=list("abcde")),
    "polars": pl.DataFrame,
    "reader": lambda rows: pa.table(rows).to_reader(max_chunksize=2),
}


@pytest.mark.parametrize("kind", KINDS)
def test_rows_that_stay_are_those_given_and_verdicts_those_of_files(kind: str, tmp_path: Path) -> None:
    given = KINDS[kind](ROWS)
    found = winnow.dedup(given, workers=1)
    pq.write_table(pa.table(ROWS), tmp_path / "in.parquet")
    counts = winnow.dedup(str(tmp_path / "in.parquet"), str(tmp_path / "out"), workers=1)
    kept = pq.read_table(sorted((tmp_path / "out").glob("part-*.parquet")), columns=["n"]).column("n").to_pylist()
    assert list(map(int, np.asarray(found.kept["n"]))) == sorted(kept) == [2, 3]
    assert type(found.kept) is (pa.Table if kind == "reader" else type(given))
    assert found.dropped.num_rows == counts["dropped"] == 3
    lost = {row["row"]: (row["stage"], row["representative"]) for row in found.dropped.to_pylist()}
    assert lost == {0: ("near_dedup", 1), 3: ("near_dedup", 1), 4: ("read", None)} or lost[3] == ("exact_dedup", 0)
    if kind == "pandas":
        assert list(found.kept.index) == ["b", "c"]
    assert "2 rows kept, 3 dropped" in found._repr_html_()


def test_a_column_may_lie_inside_another() -> None:
    found = winnow.dedup(pa.table({"doc": [{"body": TEXT}, {"body": TEXT}]}), text_column="doc.body", workers=1)
    assert found.kept.num_rows == 1


def test_signatures_in_memory_are_those_of_files(tmp_path: Path) -> None:
    texts = [TEXT, "b", ""]
    pq.write_table(pa.table({"text": texts}), tmp_path / "in.parquet")
    winnow.minhash(str(tmp_path / "in.parquet"), str(tmp_path / "out"), num_permutations=16)
    of_files = np.array(pq.read_table(tmp_path / "out").column("signature").to_pylist(), np.uint32)
    kinds: list[Any] = [texts, pa.array(texts), pa.chunked_array([texts[:1], texts[1:]]), np.array(texts)]
    for given in [*kinds, pd.Series(texts), pl.Series(texts), pa.array(texts).dictionary_encode()]:
        found = winnow.minhash(given, num_permutations=16)
        assert found.dtype == np.uint32
        assert (found == of_files).all()


@pytest.mark.parametrize(
    ("call", "why"),
    [
        (lambda: winnow.minhash([TEXT, None]), "text 1 is null"),
        (lambda: winnow.minhash([1, 2]), "needs texts, got list of int64"),
        (lambda: winnow.minhash({"a": 1}), "needs texts, got dict"),
        (lambda: winnow.minhash([TEXT], "out"), "`out` is left out"),
        (lambda: winnow.minhash("in.parquet"), "needs `out`"),
        (lambda: winnow.dedup("in.parquet"), "needs `out`"),
        (lambda: winnow.dedup(pa.table(ROWS), "out"), "`out` is left out"),
        (lambda: winnow.dedup(3), "is needed, or paths of files, got int"),
        (lambda: winnow.dedup(pa.table({"body": [TEXT]}), workers=1), "has no column 'text', it has body"),
    ],
)
def test_what_is_wrong_is_told(call: Callable[[], object], why: str) -> None:
    with pytest.raises(winnow.RecipeError, match=why):
        call()
