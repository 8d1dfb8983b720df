"""A large component is cut into windows of the total order: the same verdicts, and no task that holds all of it."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cluster.exchange import Exchange, Streamed
from pipelines.recipe import to_run
from stages.dedup.near import buckets, verify, windows
from stages.dedup.near.judge import Judge
from tests.stages.dedup.test_crowds import STAGES, chained, crowd, templated, unlike
from tests.support import corpora
from tests.support.faults import through_kills
from tests.support.small_runs import run

TEXTS = [templated, unlike, chained]


def cut_by(patch: pytest.MonkeyPatch, size: int, text_bytes: int = 1 << 28) -> None:
    patch.setattr(windows, "CUT_FROM", 0)
    patch.setattr(windows, "WINDOW", size)
    patch.setattr(windows, "WINDOW_BYTES", text_bytes)


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize(("size", "text_bytes"), [(23, 1 << 28), (100, 3000)])
def test_windows_change_no_verdict_of_a_crowd(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: Callable[[int, list[str]], str], size: int, text_bytes: int
) -> None:
    paths = crowd(tmp_path / "in", text, 160)
    before = run(tmp_path / "whole", paths, STAGES)
    cut_by(monkeypatch, size, text_bytes)
    assert run(tmp_path / "cut", paths, STAGES).equals(before)


@settings(max_examples=20 if settings().max_examples <= 100 else 400, deadline=None)
@given(
    seed=st.integers(0, 99),
    size=st.integers(1, 60),
    tries=st.sampled_from([0, 1, 3]),
    within=st.sampled_from(["keep_one", "keep_all"]),
    protect=st.sampled_from([[], ["b"]]),
    orphans=st.sampled_from(["allow", "promote"]),
    verify_=st.sampled_from(["exact", "every", "signature"]),
    members=st.sampled_from([5, 2_000_000]),
    mode=st.sampled_from(["representative", "component"]),
    deferred=st.booleans(),
)
def test_no_cut_into_windows_changes_a_verdict(
    tmp_path_factory: pytest.TempPathFactory,
    seed: int,
    size: int,
    tries: int,
    within: str,
    protect: list[str],
    orphans: str,
    verify_: str,
    members: int,
    mode: str,
    deferred: bool,
) -> None:
    folder = tmp_path_factory.mktemp("cut")
    paths = corpora.write(folder / "in", corpora.corpus(seed, 120, ("a", "b")), 2)
    near = {"use": "near_dedup", "jaccard_threshold": 0.6, "bands": 32, "rows_per_band": 2, "verify": verify_}
    near |= {"further_tries": tries, "within_dataset": within, "protect": protect, "orphans": orphans, "mode": mode}
    model = "python:tests.support.judges:first" if deferred else "column:score"
    filter_ = {"use": "quality", "model": model, "min_score": 0.3}
    stages: list[dict[str, Any]] = [{"use": "minhash", "shingle_width": 6}, near, filter_]
    before = run(folder / "whole", paths, stages)
    with pytest.MonkeyPatch.context() as patch:
        cut_by(patch, size)
        patch.setattr(buckets, "MEMBERS_AT_ONCE", members)
        assert run(folder / "windows", paths, stages).equals(before)


@pytest.mark.parametrize("mode", ["representative", "component"])
def test_no_task_holds_more_than_a_window_and_the_seats_before_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    held: list[int] = []
    pairs: list[int] = []
    plain, answer = Judge.__init__, Judge.__call__

    def counted(self: Judge, near: Any, table: pa.Table, known: Any) -> None:
        held.append(table.num_rows)
        plain(self, near, table, known)

    def asked(self: Judge, left: Any, right: Any) -> Any:
        pairs.append(len(left))
        return answer(self, left, right)

    monkeypatch.setattr(Judge, "__init__", counted)
    monkeypatch.setattr(Judge, "__call__", asked)
    paths = crowd(tmp_path / "in", templated, 600)
    stages = [STAGES[0], {**STAGES[1], "mode": mode}]
    whole = run(tmp_path / "whole", paths, stages)
    assert max(held) == 600
    before = sum(pairs)
    held.clear()
    pairs.clear()
    cut_by(monkeypatch, 50)
    assert run(tmp_path / "cut", paths, stages).equals(whole)
    kept = whole["kept"].to_pylist().count(True)
    assert max(held) <= 50 + kept + (16 * 4 if mode == "component" else 0)  # a leader may lose to a better one
    assert sum(pairs) <= before


@pytest.mark.parametrize("mode", ["representative", "component"])
def test_windows_go_on_after_every_kill(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: str) -> None:
    paths = crowd(tmp_path / "in", templated, 90)
    stages = [STAGES[0], {**STAGES[1], "mode": mode}]
    whole = run(tmp_path / "whole", paths, stages)
    cut_by(monkeypatch, 20)
    found, kills = through_kills(lambda: run(tmp_path / "cut", paths, stages), 11, "/exchange/near_dedup")
    assert kills > 2
    assert found.equals(whole)


@pytest.mark.parametrize("mode", ["representative", "component"])
def test_what_other_code_began_in_one_piece_is_decided_anew_in_windows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    """Verdicts of a round without windows, and those of windows after it, would come twice."""
    paths = crowd(tmp_path / "in", templated, 90)
    stages = [STAGES[0], {**STAGES[1], "mode": mode}]
    whole = run(tmp_path / "whole", paths, stages)
    with monkeypatch.context() as patch:
        patch.setattr(to_run, "exchange_code", lambda: "0123abcd")
        patch.setattr(verify, "_compare", _stops)
        with pytest.raises(Stopped):
            run(tmp_path / "cut", paths, stages)
    [begun] = (tmp_path / "cut" / "exchange").glob("near_dedup-*")
    assert list(begun.glob("open-0/*"))
    cut_by(monkeypatch, 20)
    assert run(tmp_path / "cut", paths, stages).equals(whole)
    assert not begun.exists()


class Stopped(Exception):
    """The end of a run between two rounds."""


def _stops(*_: Any) -> None:
    raise Stopped


def test_texts_of_a_window_are_fetched_once_and_those_of_seats_once_for_each_window(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[int] = []
    emit = verify._emit_texts

    def counted(*args: Any) -> Any:
        for table in emit(*args):
            read.extend(table["doc"].to_pylist())
            yield table

    monkeypatch.setattr(verify, "_emit_texts", counted)
    cut_by(monkeypatch, 50)
    ledger = run(tmp_path / "cut", crowd(tmp_path / "in", templated, 400), STAGES)
    kept = {row["doc_id"] for row in ledger.to_pylist() if row["kept"]}
    assert len([doc for doc in read if doc not in kept]) == len({doc for doc in read if doc not in kept})
    assert max(read.count(doc) for doc in kept) <= 400 // 50 + 1


@given(st.lists(st.integers(0, 2**64 - 1), max_size=60), st.integers(1, 70), st.booleans())
def test_members_sorted_a_range_at_a_time_are_those_sorted_together(
    keys: list[int], at_once: int, shared: bool
) -> None:
    rng = random.Random(len(keys))
    keys = [rng.choice(keys) for _ in keys]
    columns = [np.array(keys, np.uint64), np.array(keys, np.uint64), np.arange(len(keys))]
    batch = pa.record_batch([pa.array(c) for c in columns], schema=buckets.MEMBERS)

    def sorted_by(size: int) -> list[tuple[int, int]]:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(buckets, "MEMBERS_AT_ONCE", size)
            tables = list(buckets._sorted_members(shared, 0, lambda: iter([batch])))
        return [(row["bucket"], row["doc"]) for table in tables for row in table.to_pylist()]

    found = sorted_by(at_once)
    assert [bucket for bucket, _ in found] == sorted(bucket for bucket, _ in found)
    assert sorted(found) == sorted(sorted_by(1000))


def test_a_streamed_destination_yields_its_output_in_tables(tmp_path: Path) -> None:
    from cluster.engines import InlineEngine
    from cluster.files.arrow_files import scan_arrow

    schema = pa.schema([("key", pa.uint64())])
    hop = Exchange(folder=str(tmp_path), destinations=1, schema=schema)

    def double(_: int, batches: Any) -> Any:
        for _turn in range(2):
            yield from (pa.Table.from_batches([batch]) for batch in batches())

    out = hop.run(
        InlineEngine(), [[1, 2], [3]], lambda keys: [pa.table({"key": pa.array(keys, pa.uint64())})], Streamed(double)
    )
    assert [n for batch in scan_arrow(str(out[0])) for n in batch["key"].to_pylist()] == [1, 2, 3, 1, 2, 3]
    nothing = Exchange(folder=str(tmp_path / "none"), destinations=1, schema=schema)
    none = nothing.run(
        InlineEngine(), [[]], lambda keys: [pa.table({"key": pa.array(keys, pa.uint64())})], Streamed(double)
    )
    assert list(none) == [None]
