"""exact_dedup and line_dedup send 16 bytes of every document or line, and rows only of what is repeated."""

from __future__ import annotations

import contextlib
import os
import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import stages.exact_dedup as exact
from cluster import exchange
from stages.core import exchange_stage
from tests.support import corpora
from tests.support.faults import Killed
from tests.support.small_runs import run

EXACT: list[dict[str, Any]] = [{"use": "exact_dedup"}]
LINES: list[dict[str, Any]] = [{"use": "line_dedup", "max_documents": 2, "min_words": 1}]


def documents(groups: list[int]) -> list[dict[str, Any]]:
    """Return a document for each number; those of a number above 0 are copies, those of 0 like no other."""
    texts = [f"text of group {group}" if group else f"text {n} like no other" for n, group in enumerate(groups)]
    return [
        {"dataset": "ab"[n % 2], "text": text, "id": str(n), "url": None, "score": 1.0} for n, text in enumerate(texts)
    ]


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Count rows and bytes of values that sources send, by folder of the hop."""
    found: Counter[str] = Counter()
    cut = exchange._cut

    def counted(table: pa.Table, hop: exchange.Exchange, writer: Any) -> None:
        name = hop.folder.rpartition("/")[2]
        if "/exchange/exact_dedup-" in hop.folder or "/exchange/kept-exact_dedup/" in hop.folder:
            found[f"{name} rows"] += table.num_rows
            found[f"{name} bytes"] += table.select(hop.schema.names).nbytes
        cut(table, hop, writer)

    monkeypatch.setattr(exchange, "_cut", counted)
    return found


def test_documents_like_no_other_send_sixteen_bytes_and_nothing_more(tmp_path: Path, sent: Counter[str]) -> None:
    ledger = run(tmp_path / "run", corpora.write(tmp_path / "in", documents([0] * 400), 3), EXACT)
    assert all(ledger["kept"].to_pylist())
    assert {name for name in sent if name.endswith("rows")} == {"keys rows"}
    assert (sent["keys rows"], sent["keys bytes"]) == (400, 16 * 400)


def test_candidates_follow_for_repeated_keys_alone(tmp_path: Path, sent: Counter[str]) -> None:
    groups = [0] * 300 + [1 + n // 2 for n in range(40)]
    ledger = run(tmp_path / "run", corpora.write(tmp_path / "in", documents(groups), 3), EXACT)
    assert ledger["kept"].to_pylist().count(False) == 20
    assert (sent["keys rows"], sent["repeated rows"], sent["verdicts rows"]) == (340, 40, 40)


def test_documents_whose_halves_of_digests_collide_are_candidates_and_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sent: Counter[str]
) -> None:
    plain = exact._digests

    def halved(*args: Any) -> Any:
        key, other = plain(*args)
        return key * 0, other

    monkeypatch.setattr(exact, "_digests", halved)
    ledger = run(tmp_path / "run", corpora.write(tmp_path / "in", documents([0] * 30 + [1, 1]), 2), EXACT)
    assert ledger["kept"].to_pylist().count(False) == 1
    assert sent["verdicts rows"] == 32


@settings(max_examples=12, deadline=None)
@given(
    groups=st.lists(st.integers(0, 6), min_size=1, max_size=40),
    files=st.integers(1, 4),
    small=st.sampled_from([0, 5, 20_000]),
    stages=st.sampled_from([EXACT, LINES]),
)
def test_no_cut_into_files_or_destinations_changes_a_verdict(
    tmp_path_factory: pytest.TempPathFactory, groups: list[int], files: int, small: int, stages: list[dict[str, Any]]
) -> None:
    folder = tmp_path_factory.mktemp("cut")
    before = run(folder / "one", corpora.write(folder / "in", documents(groups), 1), stages)
    with pytest.MonkeyPatch.context() as patch:
        for module in (exact, exchange_stage):
            patch.setattr(module, "SMALL", small)
        patch.setattr(exact, "KEYS_PER_DESTINATION", 3)
        patch.setattr(exchange_stage, "ROWS_PER_DESTINATION", 2)
        patch.setattr(exchange, "MERGED_FROM", 4)
        found = run(folder / "many", corpora.write(folder / "cut", documents(groups), files), stages)

    def verdicts(ledger: pa.Table) -> list[Any]:
        name = {(r["dataset"], r["doc_id"]): r["id"] for r in ledger.to_pylist()}
        by_doc = {doc: id_ for (_, doc), id_ in name.items()}
        return sorted((r["id"], r["kept"], by_doc.get(r["representative"])) for r in ledger.to_pylist())

    assert verdicts(found) == verdicts(before)


@pytest.mark.parametrize("stages", [EXACT, LINES], ids=["exact", "lines"])
def test_a_stage_killed_at_any_file_it_writes_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stages: list[dict[str, Any]]
) -> None:
    rng = random.Random(3)
    paths = corpora.write(tmp_path / "in", documents([rng.randrange(4) for _ in range(60)]), 2)
    whole = run(tmp_path / "whole", paths, stages)
    monkeypatch.setattr(exchange, "MERGED_FROM", 0)
    calls = at = 0

    def counted(real: Callable[..., Any]) -> Callable[..., Any]:
        def call(source: Any, target: Any) -> Any:
            nonlocal calls
            calls += "/exchange/" in str(target)
            if calls > at:
                raise Killed
            return real(source, target)

        return call

    while True:
        with monkeypatch.context() as patch, contextlib.suppress(Killed):
            patch.setattr(os, "replace", counted(os.replace))
            calls = 0
            found = run(tmp_path / "cut", paths, stages)
            break
        at += 1
        assert at < 40
    assert at > 1
    assert found.equals(whole)
