"""The backend of a run follows from the probes of all its workers."""

from __future__ import annotations

from typing import Any

import pytest

from cluster.device import backend
from cluster.device.agree import agree_on_backend, resolve_backend
from cluster.device.backend import Device, Probe
from cluster.errors import BackendError


def able(pid: int, uuid: str = "", host: str = "n1") -> Probe:
    device = Device(uuid=uuid or f"gpu-{pid}", name="H100", memory=80 << 30, driver=13010, runtime=13000)
    return Probe(host=host, pid=pid, problem="", device=device)


def unable(pid: int) -> Probe:
    return Probe(host="n2", pid=pid, problem="cudf cannot be imported")


def test_auto_takes_the_gpu_where_every_worker_has_its_own() -> None:
    found = resolve_backend("auto", [able(1), able(2), able(3, "gpu-1", "other host")])
    assert (found.name, found.reason) == ("gpu", "every worker has a GPU of its own (3 x H100)")


def test_auto_takes_the_cpu_with_the_reason() -> None:
    assert resolve_backend("auto", [unable(1), unable(2)]).name == "cpu"
    assert "cudf cannot be imported" in resolve_backend("auto", [unable(1)]).reason
    found = resolve_backend("auto", [able(1, "same"), able(2, "same")])
    assert (found.name, found.reason) == ("cpu", "2 workers on n1 share one GPU")


def test_workers_with_a_gpu_and_others_without_compute_beside_each_other() -> None:
    found = resolve_backend("auto", [able(1), unable(2)])
    assert found.name == "mixed"
    assert "1 of 2 workers have a GPU; of the others n2, process 2: cudf cannot be imported" in found.reason
    assert resolve_backend("auto", [able(1, "same"), able(2, "same"), unable(3)]).name == "cpu"


def test_a_gpu_that_is_asked_for_must_be_there_for_every_worker() -> None:
    with pytest.raises(BackendError, match="1 of 2 workers cannot"):
        resolve_backend("gpu", [able(1), unable(2)])
    with pytest.raises(BackendError, match="share one GPU"):
        resolve_backend("gpu", [able(1, "same"), able(2, "same")])


def test_cpu_is_given_without_asking() -> None:
    assert resolve_backend("cpu", []).name == "cpu"


def test_a_worker_whose_memory_cannot_be_set_up_ends_the_start_with_the_reason() -> None:
    class Client:
        run = staticmethod(lambda ask: {"tcp://one": able(1) if ask is backend.probe else 1})

        @staticmethod
        def register_plugin(_: Any) -> None:
            raise MemoryError("std::bad_alloc: out_of_memory: CUDA error")

    with pytest.raises(BackendError, match="MemoryError: std::bad_alloc"):
        agree_on_backend(Client(), "gpu")
