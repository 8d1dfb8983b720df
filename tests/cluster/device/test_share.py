"""Cores of a GPU's worker take bundles by themselves while its device is busy, and nobody waits for them."""

from __future__ import annotations

import contextlib
import math
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.device import backend, share, turns
from cluster.device.share import Round, Share, feeding, pays, side


@given(st.floats(1, 1e6), st.floats(1e-3, 1e3), st.floats(1e-3, 1e3))
def test_what_the_host_takes_is_done_before_the_rest_is_begun(left: float, pace: float, seconds: float) -> None:
    assert not pays(left, pace, seconds) or seconds < left / pace
    assert pays(left, pace, left / pace / (1.01 * share.MARGIN))
    assert not pays(left, pace, math.inf)


@pytest.mark.parametrize("pace", [math.inf, 0.0, -1.0])
def test_nothing_pays_where_the_pace_is_not_known(pace: float) -> None:
    assert not pays(1e9, pace, 0.0)


def test_a_device_is_fed_by_more_threads_the_less_they_need_it() -> None:
    assert feeding(3.0, 3.0) == turns.TURNS
    assert feeding(30.0, 3.0) == 10 * turns.TURNS
    assert feeding(0.0, 0.0) == math.inf  # of which nothing is known


def known(pace: float = 1.0, device: float = 1.0) -> Share:
    """Return a share after ten bundles over the device, with so many begun a second."""
    found = Share()
    for position in range(10):
        assert not found.begin(position, 1e9, 1.0, position / pace)
        found.end(1.0, device, device)
    return found


def fill(found: Share, now: float = 10.0) -> None:
    """Begin bundles over the device until it is busy."""
    for position in range(turns.TURNS):
        assert not found.begin(10 + position, 1e9, 1.0, now)


class TestAWorker:
    def test_gives_the_host_nothing_while_threads_are_needed_at_the_device(self) -> None:
        found = known()
        fill(found)
        assert found.begin(12, 1e9, 1.0, 11.0)
        found.end(1.0, 30.0, None)
        found.end(1.0, 1.0, 1.0)  # one leaves the device
        assert not found.begin(13, 1e9, 1.0, 12.0)

    def test_gives_the_host_nothing_before_the_pace_is_known(self) -> None:
        found = Share()
        assert not any(found.begin(position, 1e9, 1.0, 0.0) for position in range(share.LEAST + 3))
        found.end(1.0, 1.0, 1.0)  # what was begun before may have waited for a compiler
        after = [found.begin(20 + n, 1e9, 1.0, n) for n in range(share.LEAST)]
        assert after == [False] * (share.LEAST - 1) + [True]

    def test_tries_the_host_only_where_much_is_left(self) -> None:
        needed = share.MARGIN * share.TRIAL
        for left, expected in ((needed * 0.99, False), (needed * 1.2, True)):
            found = known()
            fill(found)
            assert found.begin(12, left, 1.0, 12.0) == expected

    def test_then_looks_at_what_the_host_took(self) -> None:
        found = known()
        fill(found)
        assert found.begin(12, 1e9, 1.0, 12.0)
        found.end(1.0, 5.0, None)
        assert found.begin(13, 5.1 * share.MARGIN, 1.0, 13.0)
        assert not found.begin(14, 4.9 * share.MARGIN, 1.0, 14.0)
        assert not found.begin(15, 5.1 * share.MARGIN, 1.1, 15.0)  # a larger bundle

    def test_follows_a_round_that_goes_faster(self) -> None:
        found = known()
        fill(found)
        assert found.begin(12, 1e9, 1.0, 12.0)
        found.end(1.0, 5.0, None)
        left = 20 * share.MARGIN
        assert found.begin(13, left, 1.0, 13.0)
        for n in range(share.MOST):
            found.begin(14 + 8 * n, left, 1.0, 13.0 + n)
        assert not found.begin(14 + 8 * share.MOST, left, 1.0, 13.0 + share.MOST)


def test_gaps_in_a_round_make_less_be_left() -> None:
    assert Round.over([7, 8, 9]).stop == 10
    assert Round.over([7, 8, 300]).stop == 10
    assert Round.over([7]).name != Round.over([7]).name


@pytest.fixture
def to_host(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Give odd bundles to the host, on a process whose backend is gpu."""
    monkeypatch.setattr(backend, "_resolved", "gpu")
    monkeypatch.setattr(Share, "begin", lambda self, position, *_: position % 2 == 1)
    monkeypatch.setattr(Share, "end", lambda *_: None)
    yield
    share._shares.clear()


@pytest.mark.usefixtures("to_host")
def test_only_the_thread_whose_bundle_the_host_does_computes_there() -> None:
    within, together = Round.over(range(40)), threading.Barrier(4)

    def work(position: int) -> list[str]:
        found = []
        for again in range(10):
            with side(within, "web", position + again, 0, 1) as host:
                together.wait(60)  # all four are inside
                assert host == ((position + again) % 2 == 1)
                found.append(backend.current())
                assert backend.of_process() == "gpu"
                together.wait(60)
            assert backend.current() == "gpu"
        return found

    with ThreadPoolExecutor(4) as pool:
        first, second, *_ = pool.map(work, range(4))
    assert first == ["gpu", "cpu"] * 5
    assert second == ["cpu", "gpu"] * 5


@pytest.mark.usefixtures("to_host")
def test_a_thread_computes_on_the_device_again_after_an_error() -> None:
    with contextlib.suppress(KeyError), side(Round.over([1]), "web", 1, 0, 1):
        raise KeyError
    assert backend.current() == "gpu"


def test_a_process_counts_the_threads_at_its_device_exactly() -> None:
    within = Round.over(range(400))

    def work(position: int) -> None:
        with contextlib.suppress(KeyError), side(within, "web", position, 0, 1) as host:
            assert not host
            if position % 7 == 0:
                raise KeyError

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(400)))
    assert share._share(within, "web")._feeding == 0
    other = share._share(within, "code")
    assert other is share._share(within, "code") is not share._share(within, "web")
    share._share(Round.over([0]), "web")
    assert len(share._shares) == 1  # earlier rounds are forgotten


def test_a_bundle_is_noted_without_the_time_it_waited(monkeypatch: pytest.MonkeyPatch) -> None:
    noted: list[tuple[float, float | None]] = []
    monkeypatch.setattr(Share, "end", lambda self, rows, busy, held: noted.append((busy, held)))
    clock = iter([0.0, 10.0])
    spent = iter([(5.0, 50.0), (9.0, 53.0)])
    monkeypatch.setattr(share, "time", SimpleNamespace(perf_counter=lambda: next(clock)))
    monkeypatch.setattr(turns, "seconds", lambda: next(spent))
    with side(Round.over([0]), "web", 0, 0, 1):
        pass
    assert noted == [(6.0, 3.0)]
