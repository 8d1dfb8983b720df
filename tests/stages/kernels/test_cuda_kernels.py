"""CUDA kernels on the host have the bits of the host's kernels."""

from __future__ import annotations

import sys
import types
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cluster.device import cuda_source
from stages.kernels.dispatch.dispatch import HOST_KERNELS
from stages.kernels.dispatch.space import HOST
from stages.kernels.gpu import cuda_kernels
from stages.kernels.hashes.hashing import buffers
from stages.kernels.similarity import minhash
from tests.support import cuda_on_host

on_host = pytest.mark.skipif(cuda_on_host.compiler() is None, reason="no C++ compiler")


@pytest.fixture(autouse=True)
def cupy_on_host(monkeypatch: pytest.MonkeyPatch) -> None:
    cupy = types.ModuleType("cupy")
    cupy.RawModule = cuda_on_host.HostModule  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "cupy", cupy)
    cuda_source.kernel.cache_clear()


def both(texts: list[str], seeds: Any, width: int) -> tuple[Any, Any]:
    data, offsets = buffers(pa.array(texts, pa.large_string()))
    longest = int(np.diff(offsets).max(initial=0))
    host: Any = HOST_KERNELS["signatures_by_seeds"]
    return cuda_kernels.minhash_seeds(HOST, data, offsets, longest, seeds, width), host(data, offsets, seeds, width, 0)


@on_host
@settings(deadline=None, max_examples=150)
@given(
    st.lists(st.text(max_size=60), max_size=8),
    st.lists(st.integers(0, 2**32 - 1), min_size=1, max_size=5),
    st.integers(1, 30),
    st.sampled_from([1, 7, 64, 16_384]),
)
def test_least_hashes_under_many_seeds(texts: list[str], seeds: list[int], width: int, segment: int) -> None:
    before, cuda_kernels.SEGMENT = cuda_kernels.SEGMENT, segment  # type: ignore[misc]
    try:
        found, expected = both(texts, np.array(seeds, np.uint32), width)
    finally:
        cuda_kernels.SEGMENT = before  # type: ignore[misc]
    assert np.array_equal(found, expected)


@on_host
def test_long_documents_are_shared_among_blocks() -> None:
    texts = ["a long and winding text, " * 4_000, "", "日本語と한국어, " * 9_000, "short"]
    assert max(len(text.encode()) for text in texts) > 2 * cuda_kernels.SEGMENT
    found, expected = both(texts, minhash.zyda2_seeds(4), 25)
    assert np.array_equal(found, expected)
