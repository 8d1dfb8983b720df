"""All bands of a document go through one hop, so that its signature is read a bounded number of times."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from stages.dedup.near import buckets, components
from stages.dedup.near.job import NearJob
from tests.support import corpora
from tests.support.faults import through_kills
from tests.support.small_runs import STAGES, run


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return corpora.write(tmp_path_factory.mktemp("in"), corpora.corpus(43, 220), 2)


@pytest.mark.parametrize("in_rounds", [False, True])
def test_signatures_are_read_once_for_all_bands_and_at_most_twice_for_candidates(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, paths: dict[str, str], in_rounds: bool
) -> None:
    read: Counter[str] = Counter()
    plain = NearJob.signatures

    def counted(self: NearJob, view: Any, rows: Any) -> Any:
        read[f"{view.bundle.number}"] += 1
        return plain(self, view, rows)

    monkeypatch.setattr(NearJob, "signatures", counted)
    if in_rounds:
        monkeypatch.setattr(components, "AT_ONCE", 0)
    run(tmp_path / "run", paths)
    assert set(read.values()) == {3 if in_rounds else 2}


def test_the_number_of_hops_does_not_follow_the_documents() -> None:
    hops = {bands: -(-bands // buckets.bands_per_hop(bands)) for bands in range(1, 4097)}
    assert max(hops.values()) == buckets.MOST_BAND_HOPS
    assert max(hops[bands] for bands in range(1, 65)) == 1


@pytest.mark.parametrize(("at_once", "records"), [(1, 1 << 20), (5, 50), (64, 1), (64, 700)])
def test_no_cut_of_the_bands_changes_a_verdict(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, paths: dict[str, str], at_once: int, records: int
) -> None:
    before = run(tmp_path / "one", paths)
    assert before["reason"].to_pylist().count("near_duplicate") > 5
    monkeypatch.setattr(buckets, "BANDS_AT_ONCE", at_once)
    monkeypatch.setattr(buckets, "MOST_BAND_HOPS", 100)
    monkeypatch.setattr(buckets, "EMITTED_RECORDS", records)
    assert run(tmp_path / "cut", paths).equals(before)


@pytest.mark.parametrize("every", [5, 13])
def test_near_dedup_in_rounds_goes_on_after_every_kill(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, paths: dict[str, str], every: int
) -> None:
    whole = run(tmp_path / "whole", paths, STAGES)
    monkeypatch.setattr(components, "AT_ONCE", 0)
    monkeypatch.setattr(components, "EDGES_PER_DESTINATION", 40)
    found, kills = through_kills(lambda: run(tmp_path / "cut", paths, STAGES), every, "/exchange/near_dedup")
    assert kills > 0
    assert found.equals(whole)
