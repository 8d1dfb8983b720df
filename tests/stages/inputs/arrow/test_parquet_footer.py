"""A footer that contradicts its schema is an error before Arrow, which ends the process over it, is asked."""

from __future__ import annotations

import io

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from stages.inputs.arrow import parquet_footer
from stages.inputs.arrow.parquet_footer import check_chunks

NESTED = pa.table(
    {
        "text": ["a", None, "c" * 500],
        "n": pa.array([1, 2, None], pa.int32()),
        "list": [[1, 2], None, []],
        "deep": [{"a": [{"b": "x"}]}, None, {"a": None}],
        "map": pa.array([[("k", 1)], None, []], pa.map_(pa.string(), pa.int64())),
        "flag": [True, False, None],
    }
)


def footer(table: pa.Table = NESTED, **options: object) -> pq.FileMetaData:
    file = io.BytesIO()
    pq.write_table(table, file, row_group_size=1, **options)
    return pq.read_metadata(file)


@pytest.mark.parametrize("version", ["1.0", "2.6"])
def test_what_arrow_writes_passes(version: str) -> None:
    check_chunks(footer(version=version))
    check_chunks(footer(NESTED.slice(0, 0)))
    check_chunks(footer(pa.table({"x": []})))
    check_chunks(footer(NESTED, write_page_index=True, sorting_columns=[pq.SortingColumn(0)]))


def test_levels_are_those_of_arrow() -> None:
    sink = pa.BufferOutputStream()
    metadata = footer()
    metadata.write_metadata_file(sink)
    data = memoryview(sink.getvalue()).cast("B")[4:-8]
    found = parquet_footer._Reader(data).struct(parquet_footer.KEPT, 0)
    schema = metadata.schema
    columns = [schema.column(i) for i in range(len(schema.names))]
    assert [(r, d) for _, r, d in parquet_footer._leaves(found[parquet_footer.SCHEMA])] == [
        (c.max_repetition_level, c.max_definition_level) for c in columns
    ]
    assert len(found[parquet_footer.GROUPS]) == 3


@pytest.mark.parametrize(
    ("chunk", "leaf"),
    [
        ({3: {16: {3: 5}}}, (6, 0, 3)),
        ({3: {16: {2: 1}}}, (6, 1, 3)),
        ({3: {16: {1: 7}}}, (1, 0, 0)),
        ({}, (6, 0, 0)),
        ({3: {}, 8: {}}, (6, 0, 0)),
    ],
    ids=["definitions", "repetitions", "bytes of numbers", "nothing", "encrypted"],
)
def test_a_chunk_that_contradicts_its_column_is_an_error(chunk: dict[int, object], leaf: tuple[int, int, int]) -> None:
    with pytest.raises(pa.ArrowInvalid):
        parquet_footer._check_chunk(chunk, *leaf)


def test_a_footer_that_is_cut_or_too_deep_is_an_error() -> None:
    sink = pa.BufferOutputStream()
    footer().write_metadata_file(sink)
    data = memoryview(sink.getvalue()).cast("B")[4:-8]
    for size in (0, 1, 50, len(data) // 2):
        with pytest.raises(pa.ArrowInvalid):
            parquet_footer._check(data[:size])
    with pytest.raises(pa.ArrowInvalid):
        parquet_footer._check(memoryview(b"\x1c" * 10_000))  # structs inside structs
