"""Calls of winnow's own CUDA kernels (the folder cuda/) over texts: `cluster.device.cuda_source` compiles them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cluster.device import cuda_source
from stages.kernels.dispatch.space import Space

FOLDER = Path(__file__).parent / "cuda"
THREADS = 128  # of a block: seeds side by side
SEGMENT = 16_384  # bytes of a document for one block
MOST_SEGMENTS = 1_024  # blocks for one document
MOST_HASH = np.uint32(0xFFFFFFFF)

U32 = npt.NDArray[np.uint32]


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
        cuda_source.kernel(FOLDER / "minhash_seeds.cu")((docs, segments), (THREADS,), given)
    return place.get(out)
