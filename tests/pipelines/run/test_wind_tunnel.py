"""What a run asks of its store, its workers and its client grows as its documents and its files do, and no faster.

The real code, with sizes divided by 1,000, at three sizes (tests/support/wind_tunnel.py).
"""

from __future__ import annotations

import pytest

from tests.support.wind_tunnel import Figures, exponent, measure

LINEAR = ("requests", "get", "head", "put", "bytes_read", "bytes_written", "tasks", "sent", "held")
RESUMED = ("again_requests", "again_get", "again_head", "again_bytes_read")
CONSTANT = ("list", "again_list", "largest_task")


def check_growth(figures: list[Figures], most: float = 1.1) -> None:
    """Fail where a figure grows faster than the input, or one that shall stay the same grows."""
    found = {name: round(exponent(figures, name), 2) for name in (*LINEAR, *RESUMED)}
    too_fast = {name: [each[name] for each in figures] for name, power in found.items() if power > most}
    grown = {n: [each[n] for each in figures] for n in CONSTANT if figures[2][n] > 1.1 * figures[0][n] + 4}
    assert not too_fast, f"grows with more than n^{most}: {too_fast}"
    assert not grown, f"shall stay the same: {grown}"


@pytest.fixture(scope="module")
def of_documents() -> list[Figures]:
    return measure([10, 20, 40])


def test_a_run_grows_with_its_documents(of_documents: list[Figures]) -> None:
    check_growth(of_documents)


@pytest.mark.parametrize("name", ["requests", "bytes_read", "tasks"])
def test_the_tunnel_measures_something(of_documents: list[Figures], name: str) -> None:
    assert 0.8 <= exponent(of_documents, name) <= 1.1


def test_a_run_grows_with_its_files() -> None:
    check_growth(measure([100, 200, 400], rows=20))  # with fewer, what is the same for any number still counts


@pytest.mark.nightly
def test_a_larger_run_grows_with_its_documents() -> None:
    check_growth(measure([40, 80, 160]))


@pytest.mark.nightly
def test_without_merges_the_exchange_would_be_caught() -> None:
    figures = measure([10, 20, 40], patch={"cluster.exchange": {"MERGED_FROM": 1 << 62}})
    with pytest.raises(AssertionError, match="requests"):
        check_growth(figures)


def test_an_addition_reads_little_of_what_there_is() -> None:
    """The same file is added to a corpus, to one of twice and to one of four times its size."""
    first, _, last = measure([8, 16, 32], copies=0)
    grown = {name: last[name] - first[name] for name in first}
    assert last["added_bytes_read"] < 0.15 * last["bytes_read"]
    assert grown["added_bytes_read"] < 0.1 * grown["bytes_read"]
    assert grown["added_bytes_written"] < 0.05 * grown["bytes_written"]
    assert grown["added_requests"] < 0.6 * grown["requests"]


@pytest.mark.nightly
def test_an_addition_with_copies_reads_files_that_they_touch() -> None:
    first, _, last = measure([10, 20, 40], copies=8)
    grown = {name: last[name] - first[name] for name in first}
    assert grown["added_bytes_read"] < 0.25 * grown["bytes_read"]
    assert grown["added_bytes_written"] < 0.2 * grown["bytes_written"]
