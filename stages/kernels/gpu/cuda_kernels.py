"""CUDA kernels of winnow's own (the folder cuda/): compiled by NVRTC through CuPy when first called, then cached.

The same sources compile with a host compiler, one block after the other with one thread, which is how tests hold their
bits to the host's kernels without a GPU (tests/support/cuda_on_host.py); NVRTC compiles them for every architecture in
tests, too.
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from stages.kernels.dispatch.space import Space

FOLDER = Path(__file__).parent / "cuda"
OPTIONS = ("-std=c++17", f"-I{FOLDER}")
THREADS = 128  # of a block: seeds side by side
SEGMENT = 16_384  # bytes of a document for one block
MOST_SEGMENTS = 1_024  # blocks for one document
MOST_HASH = np.uint32(0xFFFFFFFF)

U32 = npt.NDArray[np.uint32]


@functools.cache
def function(name: str) -> Callable[..., None]:
    """Return a kernel of this process's device by name: called with (grid, block, arguments)."""
    cupy: Any = importlib.import_module("cupy")
    module: Any = cupy.RawModule(code=(FOLDER / f"{name}.cu").read_text(), options=OPTIONS)
    found: Callable[..., None] = module.get_function(name)
    return found


def minhash_seeds(place: Space, data: Any, offsets: Any, longest: int, seeds: U32, width: int) -> U32:
    """Return the least MurmurHash3_x86_32 of the shingles of each document under each seed, (docs, seeds) uint32.

    Parameters
    ----------
    place : this process's device.
    data, offsets : (bytes,) uint8 and (docs + 1,) int64 on the device; texts are valid UTF-8.
    longest : bytes of the longest document.
    width : code points in a shingle.
    """
    docs, count = offsets.shape[0] - 1, len(seeds)
    out = place.put(np.full((docs, count), MOST_HASH, np.uint32))
    segments = max(1, min(MOST_SEGMENTS, -(-longest // SEGMENT)))
    given = (data, offsets, place.put(seeds), np.int32(count), np.int32(width), np.int64(SEGMENT), out)
    if docs:
        function("minhash_seeds")((docs, segments), (THREADS,), given)
    return place.get(out)
