"""A cluster on which only one worker has a device: tasks with neural models go there, all others anywhere."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from cluster.device import agree, backend, on_device
from cluster.engines.dask_engine import DaskEngine


@pytest.fixture
def client() -> Iterator[Any]:
    """A client of two workers in this process."""
    distributed = pytest.importorskip("distributed")
    with (
        distributed.LocalCluster(n_workers=2, threads_per_worker=2, processes=False, dashboard_address=None) as cluster,
        distributed.Client(cluster) as found,
    ):
        yield found


def where(_: int) -> str:
    from distributed import get_worker

    return str(get_worker().address)


COUNTS: list[int] = []  # of devices, one for each time that a worker is asked
PROBLEMS: list[str] = []


def counted() -> int:  # by name, since what is sent to a worker by value is a copy
    return COUNTS.pop(0)


def probed() -> backend.Probe:
    problem = PROBLEMS.pop(0)
    device = backend.Device(uuid="g", name="H100", memory=1, driver=13000, runtime=13000)
    return backend.Probe(host="n", pid=1, problem=problem, device=None if problem else device)


@pytest.mark.parametrize("wanted", ["auto", "cpu"])
def test_tasks_of_neural_models_go_to_the_worker_with_a_device(
    client: Any, monkeypatch: pytest.MonkeyPatch, wanted: str
) -> None:
    used: list[tuple[str, bool]] = []
    COUNTS[:] = [0, 1, 0, 1]  # first both are asked, then each sets itself up
    PROBLEMS[:] = ["", "no cudf", "", "no cudf"]
    monkeypatch.setattr(on_device, "visible_devices", counted)
    monkeypatch.setattr(agree, "visible_devices", counted)
    monkeypatch.setattr(backend, "probe", probed)
    monkeypatch.setattr(backend, "why_no_gpu", lambda: PROBLEMS.pop(0))
    monkeypatch.setattr(backend, "use", lambda name, alike=True: used.append((name, alike)))
    found = agree.agree_on_backend(client, wanted)
    assert (found.name, found.some_devices) == ("mixed" if wanted == "auto" else "cpu", True)
    assert used == ([("gpu", False)] if wanted == "auto" else [])
    engine = DaskEngine(client, lambda: None, where="here", some_devices=found.some_devices)
    assert len(set(engine.map(where, range(12), on_device=True))) == 1
    assert len(set(engine.map(where, range(40)))) == 2
