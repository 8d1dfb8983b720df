"""What computes, `cpu` or `gpu`: asked of the workers, on which all must agree, with the reason.

Guarantees: a login node without a GPU decides nothing; `gpu` means that every worker has a device of its own
and the libraries to use it; a process that was told nothing computes on its CPU. Nothing of a GPU is imported
before a worker was asked.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import importlib.util
import logging
import os
import socket
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from importlib import metadata
from typing import Any

from cluster.errors import BackendError

LIBRARIES = ("cudf", "cupy", "cuml", "cugraph", "rmm")  # what kernels import where the backend is gpu
BACKENDS = ("auto", "cpu", "gpu")
STARTING = 300.0  # seconds in which a worker must have loaded its libraries and set up its device
_resolved = "cpu"


@dataclass(frozen=True, kw_only=True)
class Device:
    """A GPU as one process sees it. Memory in bytes; versions as CUDA counts them (13010 is 13.1).

    free : None where it was not asked for, since asking makes a CUDA context.
    """

    uuid: str
    name: str
    memory: int
    driver: int
    runtime: int
    free: int | None = None


@dataclass(frozen=True, kw_only=True)
class Probe:
    """What one process can compute with. problem: why not on a GPU; empty when it can."""

    host: str
    pid: int
    problem: str
    device: Device | None = None


@dataclass(frozen=True, kw_only=True)
class Resolved:
    """The backend of a run and why it is that one."""

    name: str
    reason: str


def current() -> str:
    """Return the resolved backend of this process."""
    return _resolved


def use(name: str) -> None:
    """Set the backend of this process; for gpu, set up the device's memory first. Raises BackendError without one."""
    global _resolved
    if name == "gpu" and _resolved != "gpu":
        problem = obstacle()
        if problem:
            raise BackendError(f"process {os.getpid()} on {socket.gethostname()} cannot compute on a GPU: {problem}.")
        from cluster.device import rapids

        rapids.prepare_memory()
    _resolved = name


def ready_for_torch() -> None:
    """Prepare this process for a model on torch: where the backend is gpu, both take memory from one pool."""
    if _resolved == "gpu":
        from cluster.device import rapids

        rapids.share_with_torch()


def obstacle() -> str:
    """Say why this process cannot compute on a GPU; an empty string when it can. Makes no CUDA context."""
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
        versions = f"driver CUDA {cuda(driver)}, libraries CUDA {cuda(int(runtime.runtimeGetVersion()))}"
        return f"no CUDA device can be used: {error} ({versions})"


def _not_installed(missing: Sequence[str], driver: int) -> str:
    extra = "gpu-cu12" if 0 < driver < 13000 else "gpu-cu13"
    there = f", though there is a driver for CUDA {cuda(driver)}" if driver else ""
    return f"{', '.join(missing)} cannot be imported{there} (pip install 'winnow[{extra}]')"


def installed_driver() -> int:
    """Return the newest CUDA that the NVIDIA driver of this machine knows, as CUDA counts; 0 without a driver."""
    version = ctypes.c_int(0)
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL("libcuda.so.1").cuDriverGetVersion(ctypes.byref(version))
    return version.value


def cuda(version: int) -> str:
    """Return a CUDA version as people write it.

    >>> cuda(13010)
    '13.1'
    """
    return f"{version // 1000}.{version % 1000 // 10}"


def visible_gpus() -> int:
    """Return how many GPUs this process sees; to be called where there is no `obstacle`. Makes no CUDA context."""
    cupy: Any = importlib.import_module("cupy")
    return int(cupy.cuda.runtime.getDeviceCount())


def probe() -> Probe:
    """Look what this process can compute with. Makes no CUDA context: workers that end up on the CPU hold no GPU."""
    problem = obstacle()
    device = None if problem else _device(importlib.import_module("cupy"))
    return Probe(host=socket.gethostname(), pid=os.getpid(), problem=problem, device=device)


def missing_libraries() -> list[str]:
    """Return which of the GPU libraries are not installed or do not load."""
    found = []
    for name in LIBRARIES:
        try:
            if importlib.util.find_spec(name) is None:
                found.append(name)
        except (ImportError, ValueError):
            found.append(name)
    return found


def _device(cupy: Any) -> Device:
    """Return the first visible device: the one that a worker of one GPU computes on."""
    runtime = cupy.cuda.runtime
    properties = runtime.getDeviceProperties(0)
    return Device(
        uuid=f"{runtime.deviceGetPCIBusId(0)} {bytes(properties.get('uuid', b'')).hex()}",  # the bytes end at a 0
        name=bytes(properties["name"]).decode(errors="replace"),
        memory=int(properties["totalGlobalMem"]),
        driver=int(runtime.driverGetVersion()),
        runtime=int(runtime.runtimeGetVersion()),
    )


def resolve(wanted: str, probes: Sequence[Probe]) -> Resolved:
    """Return the backend for a run from what its workers found.

    Parameters
    ----------
    wanted : auto, cpu or gpu. auto takes gpu where every worker has a device of its own, else cpu.

    Raises
    ------
    BackendError
        gpu is wanted and a worker cannot; or auto is wanted and some can and some cannot.
    """
    if wanted == "cpu":
        return Resolved(name="cpu", reason="asked for")
    unable = [p for p in probes if p.problem]
    shared = _shared([p for p in probes if not p.problem])
    if not unable and not shared:
        names = sorted({p.device.name for p in probes if p.device})
        return Resolved(name="gpu", reason=f"every worker has a GPU of its own ({len(probes)} x {', '.join(names)})")
    reason = shared or f"{unable[0].host}, process {unable[0].pid}: {unable[0].problem}"
    if wanted == "gpu":
        raise BackendError(f"backend gpu: {len(unable)} of {len(probes)} workers cannot. {_sentence(reason)}")
    if unable and len(unable) < len(probes):
        raise BackendError(
            f"backend auto: {len(probes) - len(unable)} of {len(probes)} workers have a GPU and the others do not "
            f"({reason}). Give --backend cpu, or start workers that are alike."
        )
    return Resolved(name="cpu", reason=reason)


def _sentence(reason: str) -> str:
    return f"{reason}. Start one worker for each GPU (cluster.kind local-cuda does), or give --backend cpu."


def _shared(probes: Sequence[Probe]) -> str:
    """Say which workers would share a device; an empty string when none would."""
    seen: dict[tuple[str, str], int] = {}
    for p in probes:
        if p.device:
            key = p.host, p.device.uuid
            seen[key] = seen.get(key, 0) + 1
    most = max(seen.items(), key=lambda item: item[1], default=None)
    if most is None or most[1] == 1:
        return ""
    return f"{most[1]} workers on {most[0][0]} share one GPU"


def settle(client: Any, wanted: str) -> Resolved:
    """Ask the workers of a Dask client, decide, and tell those there are and those to come."""
    probes: list[Probe] = []
    if wanted != "cpu":
        from cluster.kinds.preflight import within

        probes = list(within(STARTING, lambda: client.run(probe), "a worker").values())
    found = _said(resolve(wanted, probes))
    if found.name == "gpu":
        from cluster.kinds.plugins import OnDevice

        within(STARTING, lambda: client.register_plugin(OnDevice()), "a worker")
    return found


def settle_here(wanted: str) -> Resolved:
    """Decide for an engine that computes in this process."""
    found = _said(resolve(wanted, [probe()] if wanted != "cpu" else []))
    use(found.name)
    return found


def _said(found: Resolved) -> Resolved:
    logging.getLogger("winnow.backend").info("backend %s: %s", found.name, found.reason)
    return found


def facts() -> dict[str, Any]:
    """Return what `winnow doctor` shows of one process: probe, free memory, versions, what is missing."""
    found = probe()
    if found.device:
        free, _ = importlib.import_module("cupy").cuda.runtime.memGetInfo()
        found = replace(found, device=replace(found.device, free=int(free)))
    return {**asdict(found), "missing": missing_libraries(), "versions": versions()}


def versions() -> dict[str, str]:
    """Return the installed versions of what computes, by distribution."""
    found = {}
    for name in ("numpy", "numba", "pandas", "pyarrow", "dask", "distributed"):
        found[name] = _version(name)
    for library in ("cudf", "cuml", "cugraph", "rmm"):
        for cuda in ("cu13", "cu12"):
            if version := _version(f"{library}-{cuda}"):
                found[f"{library}-{cuda}"] = version
    for name in ("cupy-cuda13x", "cupy-cuda12x", "dask-cuda", "onnxruntime", "scikit-learn", "torch"):
        if version := _version(name):
            found[name] = version
    return found


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return ""
