"""Columns of a Parquet file replaced: the bytes of a file that was written whole."""

from __future__ import annotations

import contextlib
import io
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cluster.files.parquet_columns import NoParquet, replace_columns, replace_values
from cluster.files.thrift import read_struct, write_struct

OPTIONS = st.fixed_dictionaries(
    {
        "use_dictionary": st.sampled_from([True, False, ["a", "text"]]),
        "write_statistics": st.sampled_from([True, False, ["n"]]),
        "compression": st.sampled_from(["zstd", "none", "snappy"]),
        "data_page_size": st.sampled_from([None, 64]),
        "write_page_checksum": st.booleans(),
        "data_page_version": st.sampled_from(["1.0", "2.0"]),
    }
)
GROUPS = st.lists(st.integers(0, 300), max_size=4)


def table(seed: int, rows: int) -> pa.Table:
    """Return columns of many kinds, some with nulls, some all alike."""
    random = np.random.default_rng([seed, rows])
    number, mask = random.integers(0, 50, rows), random.random(rows) < 0.3
    columns: dict[str, Any] = {
        "a": pa.array([f"w{n}" for n in number], pa.string(), mask=mask),
        "text": pa.array(["x" * int(n) for n in random.integers(0, 90, rows)], pa.large_string()),
        "n": pa.array(random.integers(0, 1 << 60, rows)),
        "flag": pa.array(number > 20),
        "nothing": pa.nulls(rows, pa.float64()),
        "same": pa.array(np.full(rows, 7, np.int32)),
        "list": pa.array([[1, 2]] * rows, pa.list_(pa.int16())),
        "inner": pa.array([{"x": 1, "y": "z"}] * rows, pa.struct({"x": pa.int8(), "y": pa.string()})),
    }
    return pa.table(columns)


def written(tables: list[pa.Table], schema: pa.Schema, options: dict[str, Any]) -> bytes:
    out = io.BytesIO()
    with pq.ParquetWriter(out, schema, **options) as writer:
        for each in tables:
            writer.write_table(each)
    return out.getvalue()


@settings(deadline=None)
@given(st.integers(0, 99), GROUPS, OPTIONS, st.sets(st.sampled_from(table(0, 0).column_names), min_size=1))
def test_bytes_are_those_of_a_file_written_whole(
    seed: int, groups: list[int], options: dict[str, Any], names: set[str]
) -> None:
    before, after = ([table(seed + turn, rows) for rows in groups] for turn in (0, 1))
    whole = [
        pa.table({n: (new if n in names else old).column(n) for n in old.column_names})
        for old, new in zip(before, after, strict=True)
    ]
    schema = table(0, 0).schema.with_metadata({"winnow.format": "9"})
    some = [name for name in schema.names if name in names]
    columns = written([each.select(some) for each in after], pa.schema([schema.field(n) for n in some]), options)
    out = io.BytesIO()
    replace_columns(io.BytesIO(written(before, schema, options)), io.BytesIO(columns), out)
    expected = written(whole, schema, options)
    assert out.getvalue() == expected
    footer = expected[-8 - int.from_bytes(expected[-8:-4], "little") : -8]
    assert write_struct(read_struct(footer)) == footer


@settings(deadline=None)
@given(
    st.integers(0, 99),
    st.lists(st.lists(st.integers(0, 30_000), max_size=3), max_size=3),
    st.sampled_from([True, False]),
    st.sampled_from(["zstd", "none"]),
    st.integers(0, 3),
)
def test_values_replaced_give_the_bytes_of_a_file_written_whole(
    seed: int, groups: list[list[int]], checksum: bool, compression: str, changed: int
) -> None:
    """A row group of several chunks has pages that end where only its writer knows."""
    options = {"use_dictionary": ["a"], "write_statistics": ["n"], "compression": compression}
    options |= {"write_page_checksum": checksum} | ({"compression_level": 1} if compression == "zstd" else {})
    random = np.random.default_rng(seed)
    before = [[table(seed, rows).select(["a", "same", "n"]) for rows in chunks] for chunks in groups]
    sizes = [np.concatenate([np.empty(0, np.int32), *(each["same"] for each in chunks)]) for chunks in before]
    for values in sizes:
        values[random.integers(0, max(1, len(values)), changed)[: len(values)]] = random.integers(0, 99)
    after = []
    for chunks, values in zip(before, sizes, strict=True):
        ends = np.cumsum([each.num_rows for each in chunks], dtype=np.int64)[:-1]
        parts = np.split(values, ends) if chunks else []
        after.append([each.set_column(1, "same", pa.array(part)) for each, part in zip(chunks, parts, strict=True)])
    schema = table(0, 0).select(["a", "same", "n"]).schema
    old, new = (
        written([pa.concat_tables([schema.empty_table(), *chunks]) for chunks in each], schema, options)
        for each in (before, after)
    )
    out = io.BytesIO()
    replace_values(io.BytesIO(old), "same", "<i4", lambda group, values: sizes[group], out)
    assert out.getvalue() == new


def test_files_that_do_not_fit_are_refused() -> None:
    old, other = (written([table(1, rows)], table(1, 1).schema, {}) for rows in (5, 6))
    foreign = written([pa.table({"b": [1] * 5})], pa.schema({"b": pa.int64()}), {})
    indexed = written([table(1, 5)], table(1, 1).schema, {"write_page_index": True})
    for one, two in ((old, other), (old, foreign), (indexed, indexed), (old, b""), (old[:-30], old), (old, old[:9])):
        with pytest.raises(NoParquet):
            replace_columns(io.BytesIO(one), io.BytesIO(two), io.BytesIO())


@pytest.mark.parametrize("compression", ["zstd", "none"])
def test_a_page_of_any_bytes_is_refused_or_read(compression: str) -> None:
    """What lies where a page begins may be cut, zeroed or foreign: no other error than that it is no such file."""
    options = {"use_dictionary": False, "write_statistics": False, "compression": compression}
    whole = written([pa.table({"n": pa.array(range(99), pa.int32())})], pa.schema({"n": pa.int32()}), options)
    refused = 0
    for at in range(4, 60):
        for byte in (0, 0x15, 0x1C, 0x2B, 0x7F, 0xFF, whole[at] ^ 1, whole[at] ^ 0x80):
            file = whole[:at] + bytes([byte]) + whole[at + 1 :]
            try:
                replace_values(io.BytesIO(file), "n", "<i4", lambda _, values: values, io.BytesIO())
            except NoParquet:
                refused += 1
    assert refused > 100
    for junk in (b"", bytes(8), b"\xff" * 8, b"\x15" * 8, b"\x1c" * 8):
        file = whole[:4] + junk + whole[4 + len(junk) :]
        with pytest.raises(NoParquet) if junk else contextlib.nullcontext():
            replace_values(io.BytesIO(file), "n", "<i4", lambda _, values: values, io.BytesIO())
