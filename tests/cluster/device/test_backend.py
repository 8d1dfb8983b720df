"""What a process must have to compute on a GPU, how its memory is set up, and what `winnow doctor` says."""

from __future__ import annotations

import json
import os
import sys
import types
from typing import Any

import pytest

from cluster.device import agree, backend, rapids
from cluster.errors import BackendError
from cluster.options import ClusterOptions
from cluster.start import start
from pipelines.cli.main import main
from pipelines.commands import doctor


def test_a_gpu_without_its_libraries_is_refused_with_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backend, "LIBRARIES", ("a_library_that_is_not_there",))
    for driver, said in (
        (0, " (pip install 'winnow-mix[gpu-cu13]')"),
        (12040, ", though there is a driver for CUDA 12.4 (pip install 'winnow-mix[gpu-cu12]')"),
        (13010, ", though there is a driver for CUDA 13.1 (pip install 'winnow-mix[gpu-cu13]')"),
    ):
        monkeypatch.setattr(backend, "installed_driver", lambda driver=driver: driver)
        assert backend.probe().problem == f"a_library_that_is_not_there cannot be imported{said}"
    for kind in ("inline", "threads", "local", "local-cuda"):
        with pytest.raises(BackendError):
            start(ClusterOptions(kind=kind, backend="gpu", workers=1))
    assert backend.current() == "cpu"


class Runtime:
    """Stands in for cupy.cuda.runtime."""

    @staticmethod
    def getDeviceProperties(_: int) -> dict[str, Any]:
        return {"uuid": b"\x01\x02", "name": b"Stand-in", "totalGlobalMem": 2 << 30}

    @staticmethod
    def memGetInfo() -> tuple[int, int]:
        return 1 << 30, 2 << 30

    getDeviceCount = staticmethod(lambda: 1)
    deviceGetPCIBusId = staticmethod(lambda _: "0000:1B:00.0")
    driverGetVersion = staticmethod(lambda: 13010)
    runtimeGetVersion = staticmethod(lambda: 13000)


class CudaMemoryResource:
    """Stands in for RMM's resource where nobody set a pool up."""


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Modules in the place of RAPIDS that note what they are told."""
    told: dict[str, Any] = {}
    made = {
        name: types.ModuleType(name)
        for name in ("cupy", "cudf", "rmm", "rmm.mr", "rmm.allocators.cupy", "pylibcugraph")
    }
    cuda = types.SimpleNamespace(runtime=Runtime, set_allocator=lambda f: told.update(allocator=f))
    made["cupy"].cuda = cuda  # type: ignore[attr-defined]
    made["cudf"].set_option = lambda name, value: told.update({name: value})  # type: ignore[attr-defined]
    made["rmm"].reinitialize = lambda **more: told.update(more)  # type: ignore[attr-defined]
    made["rmm.mr"].get_current_device_resource = CudaMemoryResource  # type: ignore[attr-defined]
    made["rmm.allocators.cupy"].rmm_cupy_allocator = "allocator"  # type: ignore[attr-defined]
    for name, module in made.items():
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.setattr(backend, "missing_libraries", lambda: [])
    monkeypatch.setattr(backend, "_resolved", "cpu")
    monkeypatch.setattr(rapids, "prepare_memory", rapids.prepare_memory.__wrapped__)
    return told


def test_a_worker_on_a_gpu_gets_a_pool_shared_by_cudf_and_cupy_and_spills(stand_in: dict[str, Any]) -> None:
    assert agree.choose_backend_here("auto").name == "gpu"
    assert backend.current() == "gpu"
    assert stand_in == {
        "pool_allocator": True,
        "managed_memory": False,
        "initial_pool_size": 1 << 29,
        "maximum_pool_size": rapids.pool_sizes(1 << 30)[1],
        "allocator": "allocator",
        "spill": True,
    }
    agree.choose_backend_here("cpu")
    assert backend.current() == "cpu"


def test_a_pool_of_the_users_own_stays(stand_in: dict[str, Any]) -> None:
    sys.modules["rmm.mr"].get_current_device_resource = dict  # type: ignore[attr-defined]
    assert agree.choose_backend_here("gpu").name == "gpu"
    assert stand_in == {"allocator": "allocator", "spill": True}
    agree.choose_backend_here("cpu")


@pytest.mark.usefixtures("stand_in")
def test_files_are_read_past_the_hosts_memory_where_that_is_possible(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KVIKIO_COMPAT_MODE", raising=False)
    monkeypatch.setenv("KVIKIO_NTHREADS", "3")
    agree.choose_backend_here("gpu")
    assert (os.environ["KVIKIO_COMPAT_MODE"], os.environ["KVIKIO_NTHREADS"]) == ("AUTO", "3")  # the user's own stays
    agree.choose_backend_here("cpu")
    monkeypatch.setenv("KVIKIO_COMPAT_MODE", "AUTO")  # so that it is undone


@pytest.mark.parametrize(("named", "threads"), [({}, "8"), ({"KVIKIO_NUM_THREADS": "16"}, "16")])
def test_a_setting_under_its_other_name_stays_and_contradicts_none(
    monkeypatch: pytest.MonkeyPatch, named: dict[str, str], threads: str
) -> None:
    """KvikIO raises where KVIKIO_NTHREADS and KVIKIO_NUM_THREADS differ."""
    for name in ("KVIKIO_COMPAT_MODE", "KVIKIO_NTHREADS", "KVIKIO_NUM_THREADS"):
        monkeypatch.setenv(name, "")  # so that it is undone
        monkeypatch.delenv(name)
    for name, value in named.items():
        monkeypatch.setenv(name, value)
    rapids.set_up_kvikio()
    assert os.environ["KVIKIO_NTHREADS"] == threads


@pytest.mark.usefixtures("stand_in")
def test_instances_of_a_divided_gpu_are_gpus_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    probes = []
    for first in ("MIG-a", "MIG-b"):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", f"{first}, MIG-c,MIG-d")
        assert backend.visible_gpus() == 3  # though CUDA shows this process one
        probes.append(backend.probe())
    assert agree.resolve_backend("gpu", probes).name == "gpu"
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    assert backend.visible_gpus() == 1  # as CUDA says
    assert agree.resolve_backend("auto", [backend.probe(), backend.probe()]).name == "cpu"  # two workers on one


def test_a_library_that_does_not_load_is_named_when_the_worker_starts(
    stand_in: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pylibcugraph", None)
    with pytest.raises(BackendError, match=r"a library does not load \(.*pylibcugraph.*winnow doctor"):
        backend.use("gpu")
    assert backend.current() == "cpu"


def no_device() -> int:
    raise RuntimeError("cudaErrorNoDevice: no CUDA-capable device is detected")


@pytest.mark.parametrize(
    ("driver", "count", "said"),
    [
        (0, no_device, "no CUDA device can be used: no NVIDIA driver is installed"),
        (12040, no_device, "CUDA-capable device is detected (driver CUDA 12.4, libraries CUDA 13.0)"),
        (13010, lambda: 0, "no CUDA device can be used"),
    ],
)
@pytest.mark.usefixtures("stand_in")
def test_a_device_that_cannot_be_used_is_explained(
    monkeypatch: pytest.MonkeyPatch, driver: int, count: Any, said: str
) -> None:
    monkeypatch.setattr(Runtime, "driverGetVersion", staticmethod(lambda: driver))
    monkeypatch.setattr(Runtime, "getDeviceCount", staticmethod(count))
    assert backend.probe().problem.endswith(said)
    assert f"backend  cpu: {backend.probe().host}" in doctor.render_diagnosis(doctor.examine())
    with pytest.raises(BackendError, match="no CUDA device can be used"):
        start(ClusterOptions(kind="inline", backend="gpu"))


def test_a_library_that_does_not_load_is_named(stand_in: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cupy", None)
    assert backend.probe().problem.startswith("cupy does not load: ")


@pytest.mark.usefixtures("stand_in")
def test_more_workers_than_gpus_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "dask_cuda", types.ModuleType("dask_cuda"))
    with pytest.raises(BackendError, match="2 workers are asked for, this process sees 1"):
        start(ClusterOptions(kind="local-cuda", workers=2))


@pytest.mark.parametrize("initialised", [False, True])
def test_torch_takes_its_memory_from_the_pool_before_it_holds_any(
    stand_in: dict[str, Any], monkeypatch: pytest.MonkeyPatch, initialised: bool
) -> None:
    torch, allocator = types.ModuleType("torch"), types.ModuleType("rmm.allocators.torch")
    torch.cuda = types.SimpleNamespace(  # type: ignore[attr-defined]
        is_available=lambda: True,
        is_initialized=lambda: initialised,
        memory=types.SimpleNamespace(change_current_allocator=lambda given: stand_in.update(torch=given)),
    )
    allocator.rmm_torch_allocator = "for torch"  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "torch", torch)
    monkeypatch.setitem(sys.modules, "rmm.allocators.torch", allocator)
    monkeypatch.setattr(rapids, "share_with_torch", rapids.share_with_torch.__wrapped__)
    backend.ready_for_torch()
    assert "torch" not in stand_in  # the backend is cpu: a model has the device for itself
    backend.use("gpu")
    backend.ready_for_torch()
    assert stand_in.get("torch") == (None if initialised else "for torch")
    backend.use("cpu")


def test_workers_are_asked_without_a_context_on_their_gpu(
    stand_in: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def context() -> tuple[int, int]:
        raise AssertionError("cudaMemGetInfo makes a context")

    monkeypatch.setattr(Runtime, "memGetInfo", staticmethod(context))
    found = backend.probe().device
    assert found is not None
    assert (found.memory, found.free) == (2 << 30, None)


def test_pools_are_multiples_of_what_rmm_wants() -> None:
    assert [size % 256 for size in rapids.pool_sizes(123_456_789)] == [0, 0]


def test_doctor_names_the_device_driver_and_memory(stand_in: dict[str, Any]) -> None:
    text = doctor.render_diagnosis(doctor.examine())
    assert "backend  gpu: every worker has a GPU of its own (1 x Stand-in)" in text
    assert "device Stand-in, 1.1 of 2.1 GB free, driver CUDA 13.1, runtime CUDA 13.0" in text


def test_doctor_tells_what_is_missing(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(doctor.OPTIONAL, "a_library_that_is_not_there", ("something", "extra-x"))
    assert main(["doctor", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["backend"] in ("cpu", "gpu")
    assert found["reason"]
    assert found["processes"][0]["versions"]["numpy"]
    assert found["missing"]["a_library_that_is_not_there"] == {"for": "something", "extra": "extra-x"}
    assert main(["doctor"]) == 0
    assert "a_library_that_is_not_there: something; extra extra-x" in capsys.readouterr().out


def test_doctor_asks_the_workers_of_a_recipe(capsys: pytest.CaptureFixture[str]) -> None:
    cluster = ["--set", "cluster.kind=local", "--set", "cluster.workers=1"]
    assert main(["doctor", "minimal", "--json", *cluster]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [p["pid"] for p in found["processes"]] != [os.getpid()]
