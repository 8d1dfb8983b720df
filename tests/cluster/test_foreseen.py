"""What is foreseen of a hop against the requests that the same hop makes of a store that counts them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial

import numpy as np
import pyarrow as pa
import pytest

from cluster import counting_store, exchange, outputs
from cluster.counting_store import CountingStore
from cluster.engines import InlineEngine
from cluster.exchange import Exchange, hop_of
from cluster.foreseen import ForeseenHop, foresee, message_bytes
from cluster.requests import KINDS, puts_of

SCHEMA = pa.schema([("key", pa.uint64()), ("value", pa.int64())])
TEXTS = pa.schema([("key", pa.uint64()), ("text", pa.large_string())])
ROW_BYTES = 16


@pytest.fixture(autouse=True)
def store() -> Iterator[None]:
    counting_store.use()
    yield
    CountingStore.empty()


def emit(rows: int, schema: pa.Schema, source: int) -> Iterable[pa.Table]:
    keys = np.random.default_rng(source).integers(0, 1 << 64, rows, np.uint64)
    values = pa.array(["8 letters"[:8]] * rows, pa.large_string()) if schema is TEXTS else pa.array(np.arange(rows))
    yield pa.table([pa.array(keys), values], schema=schema)


def receive(_: int, table: pa.Table) -> pa.Table:
    return table.combine_chunks()


def counted(
    sources: int, destinations: int, rows: int, schema: pa.Schema = SCHEMA, *, reread: bool = False
) -> tuple[ForeseenHop, dict[str, float]]:
    """Run a hop on a counting store; return what was foreseen of it and its requests by kind."""
    CountingStore.watch(lambda path: None)
    folder = f"foreseen://hops/{sources}-{destinations}-{rows}-{schema is TEXTS}-{reread}"
    hop = Exchange(folder=folder, destinations=destinations, schema=schema, reread=reread)
    hop.run(InlineEngine(), range(sources), partial(emit, rows, schema), receive)
    row_bytes = ROW_BYTES if schema is SCHEMA else 24  # the offset too
    return foresee(hop, sources, sources * rows, row_bytes), CountingStore.counts[None].by_kind()


@pytest.mark.parametrize("reread", [True, False], ids=["merged", "together"])
@pytest.mark.parametrize("schema", [SCHEMA, TEXTS], ids=["fixed", "texts"])
@pytest.mark.parametrize(
    ("sources", "destinations", "rows"),
    [(3, 5, 40), (30, 30, 200), (40, 64, 300), (150, 60, 100), (64, 200, 6), (300, 4, 50)],
)
def test_requests_of_every_kind_are_those_that_were_foreseen(
    sources: int, destinations: int, rows: int, schema: pa.Schema, reread: bool
) -> None:
    foreseen, requests = counted(sources, destinations, rows, schema, reread=reread)
    for kind, number in foreseen.requests.by_kind().items():
        assert requests[kind] == pytest.approx(number, rel=0.03, abs=2), kind
    # messages of a row or two are padded, which counts more where only they are read
    nearly = 0.1 if reread or schema is SCHEMA else 0.12
    assert CountingStore.bytes_read[None] == pytest.approx(foreseen.bytes_read, rel=nearly)


def test_merging_and_prefixes_are_foreseen_where_the_exchange_does_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outputs, "SPREAD_FROM", 100)
    monkeypatch.setattr(exchange, "SLICE_BYTES", 4096)
    foreseen, requests = counted(120, 110, 120, reread=True)
    assert foreseen.group > 1
    assert foreseen.prefixes > 200
    for kind in ("put", "get", "delete"):
        assert requests[kind] == pytest.approx(foreseen.requests.by_kind()[kind], rel=0.03)
    monkeypatch.setattr(exchange, "TOGETHER_BYTES", 0)
    plain, requests = counted(20, 15, 120)
    assert (plain.group, plain.merge.total, requests["delete"]) == (1, 0, 0)


def test_requests_of_a_great_hop_follow_sources_plus_destinations_while_slices_are_small() -> None:
    def requests(times: int, *, received: bool) -> float:
        hop = Exchange(folder="x", destinations=400 * times, schema=SCHEMA)
        return foresee(hop, 400 * times, 400 * times * 400, ROW_BYTES, received=received).requests.total

    assert requests(4, received=False) < 6 * requests(1, received=False)
    assert requests(1, received=True) < 4 * (400 + 400)
    assert requests(4, received=True) == requests(4, received=False)  # too many sources for one task


def test_large_slices_of_a_file_system_are_foreseen_as_maps() -> None:
    hop = Exchange(folder="x", destinations=4, schema=TEXTS)
    assert foresee(hop, 65_900, 65_900 * 4 * 1e6, ROW_BYTES).maps == 65_900
    assert foresee(hop, 65_900, 65_900 * 4 * 10, ROW_BYTES).maps == 0
    packed = Exchange(folder="x", destinations=4, schema=SCHEMA)  # rows are copied out of their slices
    assert foresee(packed, 65_900, 65_900 * 4 * 1e6, ROW_BYTES).maps == 0


def test_a_task_names_its_hop_and_part() -> None:
    found = []

    class Watching(InlineEngine):
        def map(self, function, tasks, *, done=None, cost=None, on_device=False):  # type: ignore[no-untyped-def]
            found.append(hop_of(function))
            return super().map(function, tasks, done=done, cost=cost)

    for reread, halves in ((True, ["emit", "merge", "receive"]), (False, ["emit", "receive"])):
        hop = Exchange(folder=f"foreseen://hops/watched-{reread}", destinations=40, schema=SCHEMA, reread=reread)
        hop.run(Watching(), range(40), partial(emit, 10, SCHEMA), receive)
        assert found == [(hop, half) for half in halves]
        found.clear()
    assert hop_of(len) is None


def test_kinds_and_sizes() -> None:
    assert KINDS == ("put", "get", "list", "head", "delete")
    assert (puts_of(1), puts_of(200 << 20)) == (1, 6)
    assert 100 < message_bytes(TEXTS) < 400
    assert message_bytes(SCHEMA) == 0  # rows of fixed width
