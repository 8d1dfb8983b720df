"""The backend of a run, `cpu`, `gpu` or `mixed`, with the reason: resolved from what every worker can compute with.

Guarantees: a login node without a GPU decides nothing; `gpu` means that every worker has a device of its own
and the libraries to use it. `mixed`: some workers have one and the others none; since kernels have the same bits on
both, any worker takes any task, but for neural models, whose tasks go to the workers with a device, and for k-means,
which computes on the host.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from cluster.device import backend
from cluster.device.backend import Probe
from cluster.device.placement import visible_devices
from cluster.engines.timeouts import call_with_timeout
from cluster.errors import BackendError

SETUP_SECONDS = 300.0  # in which a worker must have loaded its libraries and set up its device


@dataclass(frozen=True, kw_only=True)
class Resolved:
    """The backend of a run and the reason for it. some_devices: whether some workers see a GPU and others none."""

    name: str
    reason: str
    some_devices: bool = False


def agree_on_backend(client: Any, wanted: str, *, one_machine: bool = False) -> Resolved:
    """Probe the workers of a Dask client, resolve the backend, and set it on them and on workers that join later.

    one_machine : all workers are on one, so they see the same devices.
    """
    probes: list[Probe] = []
    if wanted != "cpu":
        probes = list(call_with_timeout(lambda: client.run(backend.probe), SETUP_SECONDS, "a worker").values())
    found = resolve_backend(wanted, probes)
    if not one_machine:
        seen = call_with_timeout(lambda: client.run(visible_devices), SETUP_SECONDS, "a worker").values()
        found = replace(found, some_devices=any(seen) and not all(seen))
    found = _logged(found)
    if found.name != "cpu" or found.some_devices:
        from cluster.device.on_device import OnDevice

        plugin = OnDevice(kernels=found.name != "cpu", mixed=found.name != "gpu")
        call_with_timeout(lambda: client.register_plugin(plugin), SETUP_SECONDS, "a worker")
    return found


def choose_backend_here(wanted: str) -> Resolved:
    """Resolve and set the backend of this process, for an engine without worker processes."""
    found = _logged(resolve_backend(wanted, [backend.probe()] if wanted != "cpu" else []))
    backend.use(found.name)
    return found


def resolve_backend(wanted: str, probes: Sequence[Probe]) -> Resolved:
    """Return the backend for a run from the probes of its workers.

    Parameters
    ----------
    wanted : auto, cpu or gpu. auto takes gpu where every worker has a device of its own, mixed where some have and
        the others have none, else cpu.

    Raises
    ------
    BackendError
        gpu is wanted and a worker cannot.
    """
    if wanted == "cpu":
        return Resolved(name="cpu", reason="asked for")
    unable = [p for p in probes if p.problem]
    shared = _shared_device([p for p in probes if not p.problem])
    if not unable and not shared:
        names = sorted({p.device.name for p in probes if p.device})
        return Resolved(name="gpu", reason=f"every worker has a GPU of its own ({len(probes)} x {', '.join(names)})")
    reason = shared or f"{unable[0].host}, process {unable[0].pid}: {unable[0].problem}"
    if wanted == "gpu":
        raise BackendError(
            f"backend gpu: {len(unable)} of {len(probes)} workers cannot. {reason}. "
            "Start one worker for each GPU (cluster.kind local-cuda does), or give --backend cpu."
        )
    able = len(probes) - len(unable)
    if able and not shared:
        return Resolved(name="mixed", reason=f"{able} of {len(probes)} workers have a GPU; of the others {reason}")
    return Resolved(name="cpu", reason=reason)


def _shared_device(probes: Sequence[Probe]) -> str:
    """Return a sentence on the device that most workers share; an empty string when each has its own."""
    seen: dict[tuple[str, str], int] = {}
    for p in probes:
        if p.device:
            key = p.host, p.device.uuid
            seen[key] = seen.get(key, 0) + 1
    most = max(seen.items(), key=lambda item: item[1], default=None)
    if most is None or most[1] == 1:
        return ""
    return f"{most[1]} workers on {most[0][0]} share one GPU"


def _logged(found: Resolved) -> Resolved:
    logging.getLogger("winnow.backend").info("backend %s: %s", found.name, found.reason)
    return found
