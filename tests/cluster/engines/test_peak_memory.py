"""What a worker holds is measured per stage, and measuring changes neither results nor names of tasks."""

from __future__ import annotations

import sys
from functools import partial
from typing import Any

import numpy as np
import pytest

from cluster.engines import count_brought, peak_memory
from cluster.engines.peak_memory import Measured, release_unused
from pipelines.run.progress import Silent
from pipelines.run.watched import Watched


def hold(megabytes: int, task: int) -> int:
    return int(np.ones(megabytes << 20, np.uint8).sum()) + task


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells the largest resident size anew")
def test_memory_is_that_of_the_stage_and_not_of_an_earlier_one() -> None:
    large = Measured(partial(hold, 256), "large")
    result, peak, _ = large(1)
    again, later, _ = Measured(partial(hold, 1), "small")(2)
    assert (result, again) == ((256 << 20) + 1, (1 << 20) + 2)
    assert peak > later + (128 << 20)
    assert large.func is hold


class Backwards:
    """An engine whose tasks end in another order than they were given."""

    workers = 1

    def map(self, function: Any, tasks: Any, *, done: Any = None, **declared: Any) -> list[Any]:
        results = {at: function(tasks[at]) for at in reversed(range(len(tasks)))}
        for at in reversed(range(len(tasks))) if done else ():
            done(results[at])
        return [results[at] for at in range(len(tasks))]

    def close(self) -> None:
        """Nothing to release."""


def counted(task: int) -> dict[str, object]:
    return {"documents": task, "bytes": 10 * task, "parts": {"read": {"documents": task, "seconds": 0.5}}}


def test_a_watched_engine_gives_results_in_order_and_sums_what_tasks_tell() -> None:
    engine, seen = Watched(Backwards(), Silent()), list[int]()
    with engine.step("annotate"):
        found = engine.map(counted, [1, 2, 3], done=lambda r: seen.append(r["documents"]))
    with engine.step("tally"):
        assert engine.map(abs, [-1]) == [1]
    assert [r["documents"] for r in found] == [1, 2, 3]
    assert seen == [3, 2, 1]
    with engine.step("materialize"):
        engine.map(count_brought, [3, 4])
    first, second, third = engine.timings
    assert (third["from_device"], "from_device" in first) == (7, False)
    assert (first["documents"], first["bytes"]) == (6, 60)
    assert first["parts"] == [{"name": "read", "documents": 6, "seconds": 1.5}]
    assert second["parts"] == []
    assert second["documents"] == 0


def test_a_large_process_gives_freed_memory_back_once_a_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[int] = []
    monkeypatch.setattr(peak_memory, "release_unused", lambda: given.append(1))
    monkeypatch.setattr(peak_memory, "LARGE", 0)
    for name, calls in (("first pass", 1), ("first pass", 1), ("second pass", 2), ("", 2)):
        Measured(abs, "step", name)(-1)
        assert len(given) == calls
    monkeypatch.setattr(peak_memory, "LARGE", 1 << 60)
    Measured(abs, "step", "third pass")(-1)
    assert len(given) == 2


def test_memory_that_was_freed_is_given_back() -> None:
    held = [bytes(50_000) for _ in range(4000)]  # below what malloc takes from the system one by one
    large = peak_memory.resident_memory()
    del held[1:]
    release_unused()
    assert large == 0 or peak_memory.resident_memory() < large - (100 << 20)
