"""The exchange brings equal keys together, whatever the sources, and does nothing twice."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cluster import counting_store, exchange, outputs
from cluster.counting_store import SCHEME, CountingStore
from cluster.engines import InlineEngine
from cluster.errors import LedgerError
from cluster.exchange import Exchange
from cluster.files import slices
from cluster.files.arrow_files import read_arrow
from cluster.routing import destinations
from tests.support.faults import Killed

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
    (tmp_path / "map-1.slices").unlink()
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


def spread(rows: int, seed: int) -> Iterator[pa.Table]:
    """Yield two tables of rows with random keys: a source that emits more than once."""
    rng = np.random.default_rng(seed)
    for part in range(2):
        keys = rng.integers(0, 2**64 - 1, rows, np.uint64)
        yield pa.table([pa.array(keys), pa.array(rng.integers(0, 99, rows) + part * 100)], schema=SCHEMA)


def raw(_: int, table: pa.Table) -> pa.Table:
    return table.combine_chunks()


def rows_of(hop: Exchange, sources: int, rows: int = 40) -> list[list[dict[str, int]]]:
    paths = hop.run(InlineEngine(), range(sources), partial(spread, rows), raw)
    return [read_arrow(path).to_pylist() for path in paths if path]


@pytest.mark.parametrize("reread", [True, False], ids=["merged", "together"])
@pytest.mark.parametrize(
    ("slice_bytes", "window"), [(0, 1 << 20), (1 << 12, 1 << 20), (1 << 30, 1 << 20), (1 << 30, 700)]
)
def test_merging_and_reading_together_change_no_row_and_no_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, slice_bytes: int, window: int, reread: bool
) -> None:
    plain = rows_of(Exchange(folder=str(tmp_path / "plain"), destinations=5, schema=SCHEMA), 13)
    monkeypatch.setattr(exchange, "MERGED_FROM", 0)
    monkeypatch.setattr(exchange, "SLICE_BYTES", slice_bytes)
    monkeypatch.setattr(outputs, "SPREAD_FROM", 4)
    monkeypatch.setattr(exchange, "TOGETHER_BYTES", 1 << 40)
    monkeypatch.setattr(slices, "READ_WINDOW", window)
    hop = Exchange(folder=str(tmp_path / "merged"), destinations=5, schema=SCHEMA, reread=reread)
    assert rows_of(hop, 13) == plain
    assert [hop.gathered(d).to_pylist() for d in range(5)] == plain
    merged = list((tmp_path / "merged").rglob("merged-*"))
    assert bool(merged) == (slice_bytes > 0 and reread)
    assert not (merged and list((tmp_path / "merged").rglob("map-*")))


def test_slices_beyond_memory_wait_in_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = rows_of(Exchange(folder=str(tmp_path / "plain"), destinations=5, schema=SCHEMA), 3)
    monkeypatch.setattr(slices, "IN_MEMORY", 1000)
    monkeypatch.setattr(slices, "MAPPED", 100)
    assert rows_of(Exchange(folder=str(tmp_path / "spilled"), destinations=5, schema=SCHEMA), 3) == plain


@pytest.mark.parametrize(
    ("at", "reread"), [*((at, True) for at in range(0, 60, 3)), *((at, False) for at in range(7, 13))]
)
def test_a_hop_killed_at_any_commit_or_removal_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: int, reread: bool
) -> None:
    monkeypatch.setattr(exchange, "MERGED_FROM", 0)
    hop = Exchange(folder=str(tmp_path / "hop"), destinations=5, schema=SCHEMA, reread=reread)
    whole = rows_of(Exchange(folder=str(tmp_path / "other"), destinations=5, schema=SCHEMA), 7)
    calls = 0

    def counted(real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            nonlocal calls
            calls += 1
            if calls > at:
                raise Killed
            return real(*arguments)

        return call

    with monkeypatch.context() as patch:
        patch.setattr(exchange, "MOST_MERGED", 3)
        patch.setattr(os, "replace", counted(os.replace))
        patch.setattr(os, "unlink", counted(os.unlink))
        with contextlib.suppress(Killed):
            rows_of(hop, 7)
    assert rows_of(hop, 7) == whole


def test_a_merge_that_another_attempt_finished_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exchange, "MERGED_FROM", 0)
    hop = Exchange(folder=str(tmp_path), destinations=2, schema=SCHEMA)
    written = hop.scatter(InlineEngine(), range(3), partial(spread, 5))
    before = hop.gather(written, 0)
    exchange._merge(hop, written, 0)
    assert hop.gather(written, 0) == before


@pytest.mark.parametrize("reread", [True, False], ids=["merged", "together"])
@pytest.mark.parametrize("many", [64, 256])
def test_requests_grow_with_sources_and_destinations_not_with_their_product(many: int, reread: bool) -> None:
    counting_store.use()
    CountingStore.watch()
    hop = Exchange(folder=f"{SCHEME}://hop-{many}-{reread}", destinations=many, schema=SCHEMA, reread=reread)
    hop.run(InlineEngine(), range(many), partial(spread, 2 * many), raw)
    payload = many * many * 4 * 16
    assert CountingStore.total().total <= 4 * (many + many) + 60
    assert CountingStore.total().head <= 3
    passes = 2 if reread else 1  # a merge reads each row, and so does its destination
    assert CountingStore.bytes_read[None] <= 1.3 * passes * payload
    CountingStore.empty()


@pytest.mark.parametrize(("sources", "group"), [(512, 1), (1024, 1), (1025, 17)])
def test_up_to_a_thousand_sources_are_read_once(sources: int, group: int) -> None:
    hop = Exchange(folder="hop", destinations=1000, schema=SCHEMA)
    written, together = hop.grouping(sources, sources * (1000 * 7500 + slices.ENTRY * 1001), received=True)
    assert (written.group, together) == (group, 17 if group == 1 else 1)
    assert together * 7500 * sources <= slices.READ_WINDOW


def test_a_destination_larger_than_a_window_is_read_by_itself_among_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    schema = pa.schema([("destination", pa.int32()), ("value", pa.int64())])
    many = [1, 60, 2, 0, 3]

    def uneven(source: int) -> list[pa.Table]:
        where = np.repeat(np.arange(5, dtype=np.int32), many)
        return [pa.table([pa.array(where), pa.array(np.arange(len(where)) + 100 * source)], schema=schema)]

    monkeypatch.setattr(exchange, "MERGED_FROM", 0)
    monkeypatch.setattr(slices, "READ_WINDOW", 12 * 3 * 5)
    hop = Exchange(folder=str(tmp_path), destinations=5, schema=schema, route="destination")
    paths = hop.run(InlineEngine(), range(3), uneven, raw)
    found = [read_arrow(path) if path else None for path in paths]
    sent = pa.concat_tables([uneven(source)[0] for source in range(3)])
    for destination, table in enumerate(found):
        wanted = sent.filter(pa.array(np.asarray(sent["destination"]) == destination))
        assert table == wanted


def test_a_task_reads_what_is_missing_of_the_destinations_that_belong_together(tmp_path: Path) -> None:
    assert exchange._runs([0, 1, 2, 3, 4, 6, 7, 9], 3) == [range(3), range(3, 5), range(6, 8), range(9, 10)]
    assert exchange._runs([4, 5], 1) == [range(4, 5), range(5, 6)]
    hop = Exchange(folder=str(tmp_path / "whole"), destinations=40, schema=SCHEMA)
    first = rows_of(hop, 30)
    for destination in (0, 3, 4, 39):
        (tmp_path / "whole" / f"out-{destination}.arrow").unlink()
    assert rows_of(hop, 30) == first


def test_a_flipped_bit_in_a_slice_is_an_error(tmp_path: Path) -> None:
    hop = Exchange(folder=str(tmp_path), destinations=2, schema=SCHEMA)
    written = hop.scatter(InlineEngine(), [0], partial(spread, 50))
    path = tmp_path / "map-0.slices"
    data = path.read_bytes()
    for at in range(0, len(data), 97):
        path.write_bytes(data[:at] + bytes([data[at] ^ 16]) + data[at + 1 :])
        with pytest.raises(LedgerError, match=r"map-0\.slices is damaged"):
            [hop.gather(written, destination) for destination in range(2)]
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(LedgerError, match="damaged"):
        hop.gather(written, 1)


def test_of_very_many_files_no_slice_is_mapped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    maps: list[str] = []
    real = slices._mapped
    monkeypatch.setattr(slices, "MAPPED", 1)
    monkeypatch.setattr(slices, "_mapped", lambda path, *at: maps.append(path) or real(path, *at))
    hop = Exchange(folder=str(tmp_path), destinations=2, schema=SCHEMA)
    written = hop.scatter(InlineEngine(), range(5), partial(spread, 20))
    first = hop.gather(written, 1)
    assert len(maps) == 5
    monkeypatch.setattr(exchange, "MOST_MAPPED", 4)
    assert hop.gather(written, 1) == first
    assert len(maps) == 5
