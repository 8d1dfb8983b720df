"""The number and memory of a machine's workers, from its cores and bytes."""

from __future__ import annotations

import os

import pytest

from cluster import options
from cluster.errors import BackendError
from cluster.options import ClusterOptions
from cluster.start import start

GB = 10**9


def test_cores_and_memory_of_this_process_are_positive_and_not_above_the_machine() -> None:
    assert 1 <= options.available_cores() <= (os.cpu_count() or 1)
    assert options.available_memory() > 0


def test_threads_are_as_many_as_cores_and_memory_allow() -> None:
    default = ClusterOptions()
    assert options.processes_and_threads(default, 64, 256 * GB) == (8, 8)
    assert options.processes_and_threads(default, 64, 3 * GB) == (1, 5)  # half a gigabyte for each
    assert options.processes_and_threads(default, 2, 100) == (1, 1)
    assert options.processes_and_threads(ClusterOptions(workers=3, threads_per_worker=2), 1, GB) == (3, 2)  # as asked


def test_little_memory_is_told_before_workers_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(options, "available_memory", lambda: 10**8)
    with pytest.raises(BackendError, match=r"90 MB of memory are free for each of 1 workers.*cluster\.memory_limit"):
        start(ClusterOptions())
