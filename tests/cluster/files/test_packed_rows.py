"""Slices hold rows of fixed width without headers, and one message where a column needs more, however rows came."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cluster import counting_store, exchange, routing
from cluster.counting_store import SCHEME, CountingStore
from cluster.engines import InlineEngine
from cluster.exchange import Exchange
from cluster.files import packed_rows, slices
from cluster.files.arrow_files import read_arrow

FIXED = pa.schema(
    [("key", pa.uint64()), ("doc", pa.int64()), ("held", pa.bool_()), ("part", pa.float64()), ("slots", pa.binary(3))]
)
TEXTS = pa.schema([*FIXED, ("text", pa.large_string())])


def tables(schema: pa.Schema, sizes: tuple[int, ...], nulls: tuple[bool, ...], source: int) -> Iterator[pa.Table]:
    """Yield tables of these sizes with random values; null values in those marked."""
    rng = np.random.default_rng(source)
    for size, some in zip(sizes, nulls, strict=True):
        doc = rng.integers(0, 99, size)
        columns: dict[str, Callable[[], Any]] = {
            "key": lambda n=size: rng.integers(0, 2**64 - 1, n, np.uint64),
            "doc": lambda n=size, doc=doc, some=some: pa.array(doc, mask=np.arange(n) % 2 == 1 if some else None),
            "held": lambda n=size: np.arange(n) % 2 == 1,
            "part": lambda n=size: rng.random(n),
            "slots": lambda n=size: pa.array([bytes([i % 256, 7, source]) for i in range(n)], pa.binary(3)),
            "text": lambda n=size: pa.array([f"text {i}" * (i % 4) for i in range(n)], pa.large_string()),
        }
        yield pa.table({name: columns[name]() for name in schema.names}, schema=schema)


def raw(_: int, table: pa.Table) -> pa.Table:
    return table.combine_chunks()


@settings(max_examples=25, deadline=None)
@given(
    schema=st.sampled_from([FIXED, TEXTS]),
    sizes=st.lists(st.integers(0, 25), min_size=1, max_size=4).map(tuple),
    nulls=st.lists(st.booleans(), min_size=4, max_size=4).map(tuple),
    sources=st.integers(1, 5),
    destinations=st.integers(1, 9),
    limits=st.fixed_dictionaries(
        {
            "CUT_BYTES": st.sampled_from([0, 200, 32 << 20]),
            "MERGED_FROM": st.sampled_from([0, 1 << 20]),
            "SLICE_BYTES": st.sampled_from([0, 100, 1 << 30]),
        }
    ),
    more=st.fixed_dictionaries(
        {
            "IN_MEMORY": st.sampled_from([0, 300, 32 << 20]),
            "MAPPED": st.sampled_from([0, 150, 4 << 20]),
            "WINDOW": st.sampled_from([0, 400, 64 << 20]),
            "READ_WINDOW": st.sampled_from([0, 400, 128 << 20]),
        }
    ),
)
def test_no_cut_changes_a_row_or_the_order(
    tmp_path_factory: pytest.TempPathFactory,
    schema: pa.Schema,
    sizes: tuple[int, ...],
    nulls: tuple[bool, ...],
    sources: int,
    destinations: int,
    limits: dict[str, int],
    more: dict[str, int],
) -> None:
    emit = partial(tables, schema, sizes, nulls[: len(sizes)])
    hop = Exchange(folder=str(tmp_path_factory.mktemp("hop")), destinations=destinations, schema=schema)
    with pytest.MonkeyPatch.context() as patch:
        for module, values in ((exchange, limits), (slices, more)):
            for name, value in values.items():
                patch.setattr(module, name, value)
        found = [read_arrow(str(path)) for path in hop.run(InlineEngine(), range(sources), emit, raw)]
    sent = pa.concat_tables([table for source in range(sources) for table in emit(source)])
    where = routing.destinations(sent["key"].to_numpy(), destinations, ranged=True)
    for destination, table in enumerate(found):
        assert table.equals(sent.filter(pa.array(where == destination)))


@pytest.mark.parametrize(("schema", "most"), [(FIXED, 0), (TEXTS, 1)], ids=["fixed", "texts"])
def test_a_source_is_cut_once_however_many_tables_it_emits(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch, schema: pa.Schema, most: int
) -> None:
    monkeypatch.setattr(exchange, "CUT_BYTES", 1)
    monkeypatch.setattr(slices, "IN_MEMORY", 2000)
    hop = Exchange(folder=str(tmp_path), destinations=3, schema=schema)
    hop.scatter(InlineEngine(), [0], partial(tables, schema, (20,) * 8, (False,) * 8))
    for destination in range(3):
        part = slices.read_part(str(tmp_path / "map-0.slices"), destination)
        messages = 0 if part.packed else len(list(slices._messages(part, schema)))
        assert messages == most
    if not most:
        kind = packed_rows.row_type(schema)
        assert kind is not None
        index = slices.ENTRY * 4
        assert (tmp_path / "map-0.slices").stat().st_size == index + 160 * kind.itemsize


def test_more_destinations_than_sixteen_bits_keep_the_order(tmp_path: Any) -> None:
    count = (1 << 16) + 7
    hop = Exchange(folder=str(tmp_path), destinations=count, schema=FIXED)
    written = hop.scatter(InlineEngine(), range(2), partial(tables, FIXED, (50, 50), (False, False)))
    sent = pa.concat_tables([table for source in range(2) for table in tables(FIXED, (50, 50), (False, False), source)])
    where = routing.destinations(sent["key"].to_numpy(), count, ranged=True)
    for destination in np.unique(where).tolist():
        assert hop.gather(written, destination).equals(sent.filter(pa.array(where == destination)))


@pytest.mark.parametrize(
    ("many", "rows"),
    [(64, 4), (64, 40), *(pytest.param(m, r, marks=pytest.mark.nightly) for m in (256, 512) for r in (4, 40))],
)
def test_tiny_slices_are_read_within_1_3_of_their_values_once_when_merged_and_once_by_their_destination(
    many: int, rows: int
) -> None:
    counting_store.use()
    CountingStore.watch()
    width = 16
    schema = pa.schema([("key", pa.uint64()), ("doc", pa.int64())])
    hop = Exchange(folder=f"{SCHEME}://tiny-{many}-{rows}", destinations=many, schema=schema)
    emit = partial(tables, schema, (many * rows // 2,) * 2, (False, False))
    written = hop.scatter(InlineEngine(), range(many), emit)
    assert written.group > 1
    merged, payload = CountingStore.bytes_read[None], many * many * rows * width
    assert merged <= 1.3 * payload
    for destination in range(many):
        assert hop.gather(written, destination).num_rows > 0
    assert CountingStore.bytes_read[None] - merged <= 1.3 * payload
    CountingStore.empty()


@pytest.mark.nightly
def test_a_hop_of_65_900_sources_and_four_destinations_ends() -> None:
    counting_store.use()
    CountingStore.watch()
    schema = pa.schema([("key", pa.uint64()), ("doc", pa.int64())])
    hop = Exchange(folder=f"{SCHEME}://long", destinations=4, schema=schema)
    out = hop.run(InlineEngine(), range(65_900), partial(tables, schema, (8,), (False,)), raw)
    assert sum(len(pa.ipc.open_file(CountingStore().cat_file(path)).read_all()) for path in out if path) == 527_200
    assert CountingStore.total().total <= 4 * 65_900
    CountingStore.empty()
