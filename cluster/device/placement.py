"""Which GPU a neural model of this process computes on: each process of a machine takes the next.

Models of torch and ONNX Runtime find a device whatever the backend. Where a process sees several, as all workers of
kind local do, the first would hold every model. Guarantees: the processes of one user on one machine that hold models
have ranks 0, 1, 2 ... (the least that is free), which a process keeps until it ends; nothing has to be told to them.
"""

from __future__ import annotations

import ctypes
import functools
import os
from typing import Any

from cluster.device import backend
from cluster.device.kernel_cache import private_folder

MOST_RANKS = 4_096
_held: list[int] = []  # descriptors of this process's lock files; closed when it ends


@functools.cache
def local_rank() -> int:
    """Return this process's rank among those of this user on this machine that asked for one."""
    import fcntl

    folder = os.path.join(private_folder(), "ranks")
    os.makedirs(folder, mode=0o700, exist_ok=True)
    for rank in range(MOST_RANKS):
        descriptor = os.open(os.path.join(folder, str(rank)), os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(descriptor)
            continue
        _held.append(descriptor)
        return rank
    return 0


def device_number(count: int) -> int:
    """Return the number of the GPU, of `count` that this process sees, on which its models compute.

    A worker of backend gpu computes on the first that it sees: Dask-CUDA puts its own there.
    """
    return 0 if count < 2 or backend.of_process() == "gpu" else local_rank() % count


def torch_device(torch: Any) -> str:
    """Return the device of this process's torch models: cuda:N, or cpu where torch sees none."""
    return f"cuda:{device_number(int(torch.cuda.device_count()))}" if torch.cuda.is_available() else "cpu"


def visible_devices() -> int:
    """Return the number of GPUs that this machine's driver shows this process, without a library or a context."""
    count = ctypes.c_int(0)
    try:
        driver = ctypes.CDLL("libcuda.so.1")
        found = driver.cuInit(0) == 0 and driver.cuDeviceGetCount(ctypes.byref(count)) == 0
    except (OSError, AttributeError):
        return 0
    return count.value if found else 0
