"""The lines that only a GPU runs: namesakes of the kernels marked with `by_backend`, on cuDF, cuGraph and cuML.

Guarantees asked of them: the bits of the host's kernels (k-means: not, its centroids are its own). Arrow and
numpy go in, numpy comes out. A part that does not fit the device's memory is halved until it does, and logged.
Not yet run on a GPU; tests/test_gpu.py compares every one of them with the host.
"""

from __future__ import annotations

import functools
import importlib
import logging
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from stages.kernels import array_code
from stages.kernels.dispatch import TWOFOLD
from stages.kernels.hashing import I64, U8, U64
from stages.kernels.kmeans import F32, ITERATIONS
from stages.kernels.minhash import Parameters, Signatures
from stages.kernels.space import Space

MAX_SLOTS = (1 << 31) - 1  # of one call of cuDF's minhash: rows x permutations
NARROW = 2  # cuDF's narrowest shingle


@functools.cache
def space() -> Space:
    """Return the space of this process's device."""
    cupy: Any = importlib.import_module("cupy")
    return Space(cupy, cupy.asarray, cupy.asnumpy)


def in_parts(work: Callable[[int, int], list[Any]], rows: int, most: int | None = None) -> list[Any]:
    """Return work(start, stop) for parts that cover `rows`; a part too large for the device's memory is halved.

    Parameters
    ----------
    work : returns a list of results for rows [start, stop); it may raise MemoryError, as CuPy, RMM and cuDF do.
    most : rows in a part.
    """
    step = max(1, min(rows, most or rows))
    todo = [(start, min(start + step, rows)) for start in range(0, rows, step)][::-1]
    found: list[Any] = []
    while todo:
        start, stop = todo.pop()
        try:
            found += work(start, stop)
        except MemoryError:
            if stop - start < 2:
                raise
            half = (start + stop) // 2
            todo += [(half, stop), (start, half)]
            logging.getLogger("winnow.gpu").warning("out of device memory: %d rows are halved", stop - start)
    return found


def texts_of(data: U8, offsets: I64, start: int, stop: int) -> pa.Array:
    """Return documents [start, stop) as a large_string array whose offsets begin at 0; no text is copied."""
    places = np.ascontiguousarray(offsets[start : stop + 1] - offsets[start])
    text = data[offsets[start] : offsets[stop]]
    return pa.LargeStringArray.from_buffers(stop - start, pa.py_buffer(places), pa.py_buffer(text))


def content_hash(data: U8, offsets: I64) -> tuple[U64, U64]:
    """Return the two content hashes of each document, as `hashing.content_hash` does."""
    cudf: Any = importlib.import_module("cudf")

    def work(start: int, stop: int) -> list[Any]:
        texts = cudf.Series.from_arrow(texts_of(data, offsets, start, stop))
        hashes = [texts.hash_values(method="xxhash64", seed=seed).to_arrow() for seed in (0, 1)]
        return [tuple(h.to_numpy(zero_copy_only=False).astype(np.uint64, copy=False) for h in hashes)]

    parts = in_parts(work, len(offsets) - 1)
    first, second = zip(*parts, strict=True) if parts else ((), ())
    return np.concatenate([np.empty(0, np.uint64), *first]), np.concatenate([np.empty(0, np.uint64), *second])


def signatures(data: U8, offsets: I64, params: Parameters, width: int = 24, max_shingles: int = 0) -> Signatures:
    """Return signatures of character shingles, as `minhash.signatures` does; texts to be sampled stay on the host."""
    host: Any = TWOFOLD["signatures"]
    if width < NARROW:
        return np.asarray(host(data, offsets, params, width, max_shingles))
    a, b = (np.array(values, params.dtype) for values in (params.a, params.b))
    out = _minhash(data, offsets, params.seed, a, b, width)
    for row in np.flatnonzero(np.diff(offsets) > max_shingles) if max_shingles else ():
        out[row] = host(data, offsets[row : row + 2], params, width, max_shingles)[0]
    return out


def signatures_by_seeds(
    data: U8, offsets: I64, seeds: npt.ArrayLike, width: int = 25, max_shingles: int = 0
) -> npt.NDArray[np.uint32]:
    """Return one least hash per seed, as `minhash.signatures_by_seeds` does.

    cuDF raises a hash of 0 to 1, so a row with a slot of 1 is ambiguous and is computed again on the host.
    """
    host: Any = TWOFOLD["signatures_by_seeds"]
    family = np.asarray(seeds, np.uint32)
    if width < NARROW:
        return np.asarray(host(data, offsets, family, width, max_shingles))
    one, zero = np.ones(1, np.uint32), np.zeros(1, np.uint32)
    out = np.empty((len(offsets) - 1, len(family)), np.uint32)
    for slot, seed in enumerate(family.tolist()):
        out[:, slot] = _minhash(data, offsets, seed, one, zero, width)[:, 0]
    again = (out == 1).any(axis=1)
    if max_shingles:
        again |= np.diff(offsets) > max_shingles
    for row in np.flatnonzero(again):
        out[row] = host(data, offsets[row : row + 2], family, width, max_shingles)[0]
    return out


def _minhash(data: U8, offsets: I64, seed: int, a: Any, b: Any, width: int) -> npt.NDArray[Any]:
    """Return cuDF's signatures, (docs, len(a)) of the type of `a`."""
    cudf: Any = importlib.import_module("cudf")

    def work(start: int, stop: int) -> list[Any]:
        texts = cudf.Series.from_arrow(texts_of(data, offsets, start, stop))
        family = {"a": cudf.Series(a), "b": cudf.Series(b)}
        if a.dtype == np.uint32:
            lists = texts.str.minhash(seed=seed, a=family["a"], b=family["b"], width=width)
        else:
            lists = texts.str.minhash64(seed=seed, a=family["a"], b=family["b"], width=width)
        values = lists.to_arrow().flatten().to_numpy(zero_copy_only=False)
        return [values.astype(a.dtype, copy=False).reshape(stop - start, len(a))]

    parts = in_parts(work, len(offsets) - 1, MAX_SLOTS // len(a))
    return np.concatenate([np.empty((0, len(a)), a.dtype), *parts])


def band_keys(
    sig: npt.NDArray[np.unsignedinteger[Any]], bands: int, rows: int, first: int = 0, count: int | None = None
) -> U64:
    """Return the keys of bands, as `bands.band_keys` does."""
    many = bands - first if count is None else count
    TWOFOLD["band_keys"](sig[:0], bands, rows, first, many)  # checks the banding
    parts = in_parts(lambda i, j: [array_code.band_keys(space(), sig[i:j], rows, first, many)], len(sig))
    return np.concatenate([np.empty((0, many), np.uint64), *parts])


def join(label: I64, left: I64, right: I64) -> None:
    """Join edges into labels in place, as `components.join` does: the labels count as edges too."""
    if not len(left):
        return
    cudf: Any = importlib.import_module("cudf")
    cugraph: Any = importlib.import_module("cugraph")
    joined = np.flatnonzero(label != np.arange(len(label)))
    edges = cudf.DataFrame({"left": np.r_[joined, left], "right": np.r_[label[joined], right]})
    graph = cugraph.Graph(directed=False)
    graph.from_cudf_edgelist(edges, source="left", destination="right", renumber=True)
    found = cugraph.weakly_connected_components(graph)
    vertex, group = (np.asarray(found[name].to_arrow().to_numpy(zero_copy_only=False)) for name in ("vertex", "labels"))
    order = np.argsort(vertex)
    _, first, inverse = np.unique(group[order], return_index=True, return_inverse=True)
    label[vertex[order]] = vertex[order][first][inverse]


def kmeans(sample: F32, clusters: int, seed: int) -> F32:
    """Return the centroids of a sample, as `kmeans.kmeans` does, but cuML's own."""
    cluster: Any = importlib.import_module("cuml.cluster")
    model = cluster.KMeans(n_clusters=clusters, n_init=1, max_iter=ITERATIONS, random_state=seed, output_type="numpy")
    model.fit(sample)
    return np.asarray(model.cluster_centers_, np.float32)
