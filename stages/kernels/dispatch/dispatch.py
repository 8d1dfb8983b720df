"""Dispatch of kernels by backend: the function itself, or its namesake in the module of GPU kernels.

Guarantees: nothing about a GPU is imported where the resolved backend is cpu.
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

from cluster.device import backend, kernel_times, turns

P = ParamSpec("P")
R = TypeVar("R")

HOST_KERNELS: dict[str, Callable[..., Any]] = {}  # host versions of the kernels that the GPU's module has as well
_gpu_module = ""


def find_gpu_kernels_in(module: str) -> None:
    """Set the module of GPU versions, by name; it is imported when the first of them is called."""
    global _gpu_module
    _gpu_module = module


def by_backend(host: Callable[P, R]) -> Callable[P, R]:
    """Decorate a kernel that has a namesake with the same parameters in the module of GPU kernels."""
    return _dispatched(host, lambda: backend.current() == "gpu")


def by_backend_of_all(host: Callable[P, R]) -> Callable[P, R]:
    """Decorate such a kernel whose GPU version has other bits: it computes there where all workers have a GPU.

    So it does in a thread that does all else on the host.
    """
    return _dispatched(host, lambda: backend.of_process() == "gpu" and backend.alike())


def _dispatched(host: Callable[P, R], on_device: Callable[[], bool]) -> Callable[P, R]:
    HOST_KERNELS[host.__name__] = host

    @functools.wraps(host)
    def chosen(*args: P.args, **kwargs: P.kwargs) -> R:
        if not on_device():
            with kernel_times.timed(host.__name__):
                return host(*args, **kwargs)
        device: Callable[P, R] = getattr(importlib.import_module(_gpu_module), host.__name__)
        with turns.taken():
            return device(*args, **kwargs)

    return chosen
