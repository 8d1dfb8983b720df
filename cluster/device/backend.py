"""The backend of this process, `cpu` or `gpu`, and a probe of what it can compute with.

Guarantees: the backend is cpu until `use` sets another; no GPU library is imported before a probe. How the workers of
a run agree on one backend is in `agree.py`.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import importlib.util
import os
import socket
import threading
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from importlib import metadata
from typing import Any

from cluster.errors import BackendError

LIBRARIES = ("cudf", "cupy", "pylibcugraph", "rmm")  # what kernels import where the backend is gpu
BACKENDS = ("auto", "cpu", "gpu")
_resolved = "cpu"
_alike = True  # all workers of the run have the same backend
_here = threading.local()


@dataclass(frozen=True, kw_only=True)
class Device:
    """A GPU as one process sees it. Memory in bytes; versions as CUDA counts them (13010 is 13.1).

    free : None where it was not measured, since measuring makes a CUDA context.
    """

    uuid: str
    name: str
    memory: int
    driver: int
    runtime: int
    free: int | None = None


@dataclass(frozen=True, kw_only=True)
class Probe:
    """What one process can compute with. problem: why it cannot compute on a GPU; empty when it can."""

    host: str
    pid: int
    problem: str
    device: Device | None = None


def current() -> str:
    """Return the backend by which this thread computes: that of its process, or cpu (`on_host`)."""
    return "cpu" if getattr(_here, "on_host", False) else _resolved


def of_process() -> str:
    """Return the backend of this process, cpu or gpu, for what has other bits on a device."""
    return _resolved


@contextlib.contextmanager
def on_host() -> Iterator[None]:
    """Let this thread compute on the host in this block, whatever the backend of its process."""
    before = getattr(_here, "on_host", False)
    _here.on_host = True
    try:
        yield
    finally:
        _here.on_host = before


def alike() -> bool:
    """Tell whether all workers have this process's backend; if not, what would have other bits stays on the host."""
    return _alike


def use(name: str, *, alike: bool = True) -> None:
    """Set the backend of this process; for gpu, set up the device's memory first. Raises BackendError without one.

    alike : whether all workers of the run have the same.
    """
    global _resolved, _alike
    if name == "gpu" and _resolved != "gpu":
        problem = why_no_gpu()
        if problem:
            raise BackendError(f"process {os.getpid()} on {socket.gethostname()} cannot compute on a GPU: {problem}.")
        from cluster.device import rapids

        try:
            rapids.prepare_memory()
        except (ImportError, OSError) as error:
            raise BackendError(
                f"process {os.getpid()} on {socket.gethostname()} cannot compute on a GPU: a library does not load "
                f"({' '.join(str(error).split())}). See `winnow doctor`."
            ) from error
    _resolved, _alike = name, alike


def ready_for_torch() -> None:
    """Let torch and winnow's kernels take device memory from one pool, where the backend is gpu; else do nothing."""
    if _resolved == "gpu":
        from cluster.device import rapids

        rapids.share_with_torch()


def why_no_gpu() -> str:
    """Return the reason why this process cannot compute on a GPU; an empty string when it can.

    Makes no CUDA context.
    """
    missing = missing_libraries()
    if missing:
        return _not_installed(missing, installed_driver())
    from cluster.device import kernel_cache

    kernel_cache.prepare_cupy()
    try:
        runtime = importlib.import_module("cupy").cuda.runtime
    except (ImportError, OSError) as error:
        return f"cupy does not load: {' '.join(str(error).split())}"
    driver = int(runtime.driverGetVersion())
    if not driver:
        return "no CUDA device can be used: no NVIDIA driver is installed"
    try:
        return "" if runtime.getDeviceCount() else "no CUDA device can be used"
    except RuntimeError as error:  # CuPy's CUDARuntimeError: no device, a driver that is too old
        libraries = int(runtime.runtimeGetVersion())
        versions = f"driver CUDA {format_cuda_version(driver)}, libraries CUDA {format_cuda_version(libraries)}"
        return f"no CUDA device can be used: {error} ({versions})"


def _not_installed(missing: Sequence[str], driver: int) -> str:
    extra = "gpu-cu12" if 0 < driver < 13000 else "gpu-cu13"
    there = f", though there is a driver for CUDA {format_cuda_version(driver)}" if driver else ""
    return f"{', '.join(missing)} cannot be imported{there} (pip install 'winnow-mix[{extra}]')"


def installed_driver() -> int:
    """Return the newest CUDA version that this machine's NVIDIA driver supports, such as 13010; 0 without a driver."""
    version = ctypes.c_int(0)
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL("libcuda.so.1").cuDriverGetVersion(ctypes.byref(version))
    return version.value


def format_cuda_version(version: int) -> str:
    """Return a CUDA version number as dotted text.

    >>> format_cuda_version(13010)
    '13.1'
    """
    return f"{version // 1000}.{version % 1000 // 10}"


def mig_instances() -> int:
    """Return how many instances of divided GPUs (MIG) CUDA_VISIBLE_DEVICES names."""
    return sum(name.startswith("MIG-") for name in _named_devices())


def _named_devices() -> list[str]:
    return [name.strip() for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")]


def visible_gpus() -> int:
    """Return the number of GPUs this process sees; call it where `why_no_gpu` is empty. Makes no CUDA context.

    Of several instances of divided GPUs (MIG), named by CUDA_VISIBLE_DEVICES, CUDA shows a process only the first; each
    is a GPU for a worker of its own.
    """
    if instances := mig_instances():
        return instances
    cupy: Any = importlib.import_module("cupy")
    return int(cupy.cuda.runtime.getDeviceCount())


def probe() -> Probe:
    """Return what this process can compute with. Makes no CUDA context: a worker that stays on the CPU holds no GPU."""
    problem = why_no_gpu()
    device = None if problem else _device(importlib.import_module("cupy"))
    return Probe(host=socket.gethostname(), pid=os.getpid(), problem=problem, device=device)


def missing_libraries() -> list[str]:
    """Return the names of GPU libraries that are not installed or do not load."""
    found = []
    for name in LIBRARIES:
        try:
            if importlib.util.find_spec(name) is None:
                found.append(name)
        except (ImportError, ValueError):
            found.append(name)
    return found


def _device(cupy: Any) -> Device:
    """Return the first visible device, on which a worker computes."""
    runtime = cupy.cuda.runtime
    properties = runtime.getDeviceProperties(0)
    uuid = bytes(properties.get("uuid", b"")).hex()  # the bytes end at a 0
    instance = _named_devices()[0] if mig_instances() else ""  # instances of one GPU share its address
    return Device(
        uuid=f"{runtime.deviceGetPCIBusId(0)} {uuid}{instance}",
        name=bytes(properties["name"]).decode(errors="replace"),
        memory=int(properties["totalGlobalMem"]),
        driver=int(runtime.driverGetVersion()),
        runtime=int(runtime.runtimeGetVersion()),
    )


def describe_process() -> dict[str, Any]:
    """Return probe, free device memory, library versions and missing libraries of this process, for `winnow doctor`.

    Makes a CUDA context where there is a GPU.
    """
    found = probe()
    if found.device:
        free, _ = importlib.import_module("cupy").cuda.runtime.memGetInfo()
        found = replace(found, device=replace(found.device, free=int(free)))
    return {**asdict(found), "missing": missing_libraries(), "versions": versions()}


def versions() -> dict[str, str]:
    """Return the installed versions of the numerical libraries, by distribution name."""
    found = {}
    for name in ("numpy", "numba", "pyarrow", "dask", "distributed"):
        found[name] = _version(name)
    for library in ("cudf", "cuml", "pylibcugraph", "rmm"):
        for release in ("cu13", "cu12"):
            if version := _version(f"{library}-{release}"):
                found[f"{library}-{release}"] = version
    for name in ("cupy-cuda13x", "cupy-cuda12x", "dask-cuda", "onnxruntime", "pandas", "scikit-learn", "torch"):
        if version := _version(name):
            found[name] = version
    return found


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return ""
