"""Which version of a kernel computes: the one that is called, or its namesake in `gpu`.

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

TWOFOLD: dict[str, Callable[..., Any]] = {}  # host versions of the kernels that `gpu` has as well


def by_backend(host: Callable[P, R]) -> Callable[P, R]:
    """Mark a kernel that has a namesake with the same parameters in `stages.kernels.gpu.rapids_kernels`."""
    TWOFOLD[host.__name__] = host

    @functools.wraps(host)
    def chosen(*args: P.args, **kwargs: P.kwargs) -> R:
        if backend.current() != "gpu":
            return host(*args, **kwargs)
        device: Callable[P, R] = getattr(importlib.import_module("stages.kernels.gpu.rapids_kernels"), host.__name__)
        return device(*args, **kwargs)

    return chosen
