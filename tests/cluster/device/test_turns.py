"""At most two threads of a process are on its device at once; who is there does not wait for himself."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from types import SimpleNamespace

import pytest

from cluster.device import turns
from cluster.device.turns import Turns, taken_on


def test_no_more_threads_than_turns_are_inside_at_once() -> None:
    turns, lock = Turns(2), threading.Lock()
    inside, most = 0, 0
    together = threading.Barrier(2)  # both of a pair are inside before one leaves

    def work(_: int) -> None:
        nonlocal inside, most
        with turns.taken():
            with lock:
                inside += 1
                most = max(most, inside)
            together.wait(60)
            with lock:
                inside -= 1
            together.wait(60)

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(work, range(8)))
    assert (most, inside) == (2, 0)


def test_a_thread_with_a_turn_takes_another_at_once_and_gives_back_one() -> None:
    turns = Turns(1)
    with turns.taken(), turns.taken():
        assert not _free(turns)
    assert _free(turns)


def test_a_turn_may_end_in_another_thread_and_after_an_error() -> None:
    turns = Turns(1)
    outer = turns.taken()
    outer.__enter__()
    with ThreadPoolExecutor(1) as pool:
        pool.submit(outer.__exit__, None, None, None).result()
    try:
        with turns.taken():
            raise KeyError
    except KeyError:
        assert _free(turns)


def test_each_thread_is_told_how_long_it_waited_and_had_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    ours = Turns(1)
    ticks = count()
    monkeypatch.setattr(turns, "time", SimpleNamespace(perf_counter=lambda: float(next(ticks))))

    def work() -> tuple[float, float]:
        waited, held = turns.seconds()
        with ours.taken():  # waits from tick 0 to 1, has a turn from 2 to 6
            with ours.taken(), ours.taken_if_free():  # has it all the same: ticks 3 and 4
                pass
            next(ticks)
        now = turns.seconds()
        return now[0] - waited, now[1] - held

    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(work).result() == pool.submit(work).result() == (1.0, 4.0)
    assert work() == (1.0, 4.0)


def _free(turns: Turns) -> bool:
    """Tell whether another thread gets a turn at once."""
    if not turns._free.acquire(blocking=False):
        return False
    turns._free.release()
    return True


def test_models_on_the_host_wait_for_nobody() -> None:
    with taken_on("cuda:0"), taken_on("cuda:0"), taken_on("cpu"):
        pass
