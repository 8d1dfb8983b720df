"""Which version of a kernel computes: the one that is called, or its namesake in the GPU's module.

Guarantees: nothing about a GPU is imported where the resolved backend is cpu.
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

from cluster.device import backend

P = ParamSpec("P")
R = TypeVar("R")

HOST_KERNELS: dict[str, Callable[..., Any]] = {}  # host versions of the kernels that the GPU's module has as well
_gpu_module = ""


def find_gpu_kernels_in(module: str) -> None:
    """Name the module that holds the GPU versions; it is imported when the first of them is called."""
    global _gpu_module
    _gpu_module = module


def by_backend(host: Callable[P, R]) -> Callable[P, R]:
    """Mark a kernel that has a namesake with the same parameters in the GPU's module."""
    HOST_KERNELS[host.__name__] = host

    @functools.wraps(host)
    def chosen(*args: P.args, **kwargs: P.kwargs) -> R:
        if backend.current() != "gpu":
            return host(*args, **kwargs)
        device: Callable[P, R] = getattr(importlib.import_module(_gpu_module), host.__name__)
        return device(*args, **kwargs)

    return chosen
