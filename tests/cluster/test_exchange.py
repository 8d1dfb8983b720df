"""The exchange brings equal keys together, whatever the sources, and does nothing twice."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cluster.engines import InlineEngine
from cluster.errors import LedgerError
from cluster.exchange import Exchange, destinations, read_arrow

SCHEMA = pa.schema([("key", pa.uint64()), ("value", pa.int64())])


def emit(chunk: list[tuple[int, int]]) -> list[pa.Table]:
    keys, values = zip(*chunk, strict=True) if chunk else ((), ())
    return [pa.table([pa.array(keys, pa.uint64()), pa.array(values, pa.int64())], schema=SCHEMA)]


def receive(_: int, table: pa.Table) -> pa.Table | None:
    return table.combine_chunks() if table.num_rows else None


def collect(paths: list[str | None]) -> list[list[tuple[int, int]]]:
    tables = [read_arrow(path) for path in paths if path]
    return [sorted((r["key"], r["value"]) for r in t.to_pylist()) for t in tables]


@settings(max_examples=25, deadline=None)
@given(
    rows=st.lists(st.tuples(st.integers(0, 2**64 - 1), st.integers(0, 50)), max_size=60),
    sources=st.integers(1, 5),
    count=st.integers(1, 7),
)
def test_equal_keys_meet_and_no_row_is_lost(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[int, int]], sources: int, count: int
) -> None:
    chunks = [rows[i::sources] for i in range(sources)]
    folder = str(tmp_path_factory.mktemp("hop"))
    hop = Exchange(folder=folder, destinations=count, schema=SCHEMA)
    found = collect(hop.run(InlineEngine(), chunks, emit, receive))
    assert sorted(row for part in found for row in part) == sorted(rows)
    for key in {key for key, _ in rows}:
        assert sum(any(k == key for k, _ in part) for part in found) == 1


def test_finished_tasks_are_not_done_again(tmp_path: Path) -> None:
    calls: list[str] = []

    def counted_emit(name: str) -> list[pa.Table]:
        calls.append(name)
        return emit([(1 << 60, 1), (1 << 63, 2)])

    hop = Exchange(folder=str(tmp_path), destinations=2, schema=SCHEMA)
    first = hop.run(InlineEngine(), ["a", "b"], counted_emit, receive)
    (tmp_path / "map-1.arrow").unlink()
    (tmp_path / "out-1.arrow").unlink()
    second = hop.run(InlineEngine(), ["a", "b"], counted_emit, receive)
    assert calls == ["a", "b", "b"]
    assert first == second


def test_an_output_that_is_not_listed_is_an_error(tmp_path: Path) -> None:
    def lost(destination: int, table: pa.Table) -> pa.Table:
        (tmp_path / f"out-{destination - 1}.arrow").unlink(missing_ok=True)
        return table

    hop = Exchange(folder=str(tmp_path), destinations=2, schema=SCHEMA)
    with pytest.raises(LedgerError, match="destination 0"):
        hop.run(InlineEngine(), ["a"], lambda _: emit([(1 << 60, 1), (1 << 63, 2)]), lost)


def test_a_stated_destination_is_where_a_row_goes(tmp_path: Path) -> None:
    schema = pa.schema([("destination", pa.int32()), ("value", pa.int64())])

    def to(pairs: list[tuple[int, int]]) -> list[pa.Table]:
        where, values = zip(*pairs, strict=True)
        return [pa.table([pa.array(where, pa.int32()), pa.array(values, pa.int64())], schema=schema)]

    hop = Exchange(folder=str(tmp_path), destinations=3, schema=schema, route="destination")
    out = hop.run(InlineEngine(), [[(2, 20), (0, 0)], [(2, 21)]], to, receive)
    assert [None if p is None else read_arrow(p)["value"].to_pylist() for p in out] == [[0], None, [20, 21]]


def test_ranges_of_keys_are_ordered_and_cover_all_destinations() -> None:
    keys = np.linspace(0, 2**64 - 2**11, 1000).astype(np.uint64)
    where = destinations(keys, 10, ranged=True)
    assert (np.diff(where.astype(int)) >= 0).all()
    assert set(where.tolist()) == set(range(10))


def test_work_in_memory_storage_is_the_same(tmp_path: Path) -> None:
    chunk = [(5, 1), (2**63, 2)]
    here = Exchange(folder=str(tmp_path), destinations=2, schema=SCHEMA)
    there = Exchange(folder=f"memory://{tmp_path.name}/hop", destinations=2, schema=SCHEMA)
    runs = [collect(hop.run(InlineEngine(), [chunk], partial(emit), receive)) for hop in (here, there)]
    assert runs[0] == runs[1]
