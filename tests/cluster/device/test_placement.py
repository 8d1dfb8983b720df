"""Processes with models spread over the GPUs of a machine, without being told."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from cluster.device import backend, placement

HOLD = "import sys; from cluster.device.placement import local_rank; print(local_rank(), flush=True); sys.stdin.read()"


def hold(folder: Path) -> subprocess.Popen[str]:
    code = f"import tempfile; tempfile.tempdir = {str(folder)!r}; {HOLD}"
    return subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def rank(process: subprocess.Popen[str]) -> int:
    assert process.stdout is not None
    return int(process.stdout.readline())


def end(process: subprocess.Popen[str]) -> None:
    process.communicate()


def test_processes_have_ranks_of_their_own_and_the_next_takes_the_least_that_is_free(tmp_path: Path) -> None:
    processes = [hold(tmp_path) for _ in range(3)]
    ranks = [rank(process) for process in processes]
    assert sorted(ranks) == [0, 1, 2]
    end(processes[ranks.index(1)])
    later = hold(tmp_path)
    assert rank(later) == 1
    for process in (later, *(p for p, r in zip(processes, ranks, strict=True) if r != 1)):
        end(process)


def test_models_go_to_the_device_of_the_rank(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(placement, "local_rank", lambda: 11)
    assert [placement.device_number(count) for count in (0, 1, 4, 8)] == [0, 0, 3, 3]
    cuda = SimpleNamespace(device_count=lambda: 8, is_available=lambda: True)
    torch: Any = SimpleNamespace(cuda=cuda)
    assert placement.torch_device(torch) == "cuda:3"
    monkeypatch.setattr(backend, "_resolved", "gpu")
    assert placement.torch_device(torch) == "cuda:0"  # the first one that a GPU worker sees is its own
    with backend.on_host():
        assert placement.torch_device(torch) == "cuda:0"  # so it is while a thread computes on the host
    cuda.is_available = lambda: False
    assert placement.torch_device(torch) == "cpu"


def test_devices_are_counted_without_a_driver_as_none() -> None:
    assert placement.visible_devices() >= 0
