"""pytest plugin (-p benchmarks.gpu_kit.subset): cuDF without cuGraph, cuML and Dask-CUDA, which the kit leaves out.

Joins and k-means compute on the host, and tests of what is not there are skipped with the reason.
"""

from __future__ import annotations

from typing import Any

import pytest

from stages.kernels.dispatch.dispatch import HOST_KERNELS
from stages.kernels.gpu import rapids_kernels
from stages.kernels.survivors import components

LEFT_OUT = ("components", "kmeans", "semantic", "local-cuda", "the_demo")


def pytest_configure(config: Any) -> None:
    """Let the host join components."""
    assert components.join
    rapids_kernels.join = lambda label, left, right: HOST_KERNELS["join"](label, left, right)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what needs libraries that were not carried."""
    for item in items:
        if any(word in item.nodeid for word in LEFT_OUT):
            item.add_marker(pytest.mark.skip(reason="needs cuGraph, cuML, Dask-CUDA or the demo's data"))
