"""The lines that only a GPU runs: namesakes of the kernels marked with `by_backend`, on cuDF, pylibcugraph and cuML.

Required of them: the bits of the host's kernels (k-means: not, its centroids are its own). Arrow and
numpy go in, numpy comes out. A part that does not fit the device's memory is halved until it does, and logged.
Not yet run on a GPU; tests/test_gpu.py compares every one of them with the host.
"""

from __future__ import annotations

import functools
import importlib
import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, TypeVar, cast

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from cluster.device.halving import in_parts, ran_out
from cluster.errors import BackendError
from stages.kernels.dispatch.dispatch import HOST_KERNELS
from stages.kernels.dispatch.resident import BoolArray, Judged, Resident, judge_column, raw
from stages.kernels.dispatch.space import Space
from stages.kernels.gpu import array_kernels, cuda_kernels, line_kernels, text_kernels
from stages.kernels.hashes.hashing import I64, U8, U64, buffers
from stages.kernels.hashes.text_digest import DIGEST_BYTES, words
from stages.kernels.similarity.kmeans import F32, ITERATIONS
from stages.kernels.similarity.minhash import Parameters, Signatures
from stages.kernels.text.heuristic_counts import COUNTS
from stages.kernels.text.heuristic_facts import Readings
from stages.kernels.text.known_words import Known, known_part
from stages.kernels.text.line_counts import COLUMNS

T = TypeVar("T")
MAX_SLOTS = (1 << 31) - 2  # of one call of cuDF's minhash: rows x permutations, below the largest int32
NARROW = 2  # cuDF's narrowest shingle
READ_AHEAD = 4  # times a chunk's bytes that libcudf may hold, read and decompressed, for the chunks to come


@functools.cache
def space() -> Space:
    """Return the space of this process's device."""
    cupy: Any = importlib.import_module("cupy")
    return Space(cupy, cupy.asarray, cupy.asnumpy)


# --- texts on the device ---------------------------------------------------------------------------------


class RawTexts(NamedTuple):
    """A string column as cuDF read it: a series, which may hold nulls, and its bytes and offsets as arrays."""

    column: Any
    data: Any  # (bytes,) uint8
    offsets: Any  # (docs + 1,) int32 or int64


def parquet_chunks(path: str, name: str, groups: Sequence[int], limit: int) -> Iterator[RawTexts]:
    """Yield one column of some row groups of a local Parquet file, at most about `limit` bytes at a time.

    One reader for all of them: small row groups would not fill a device. libcudf reads through KvikIO, straight to the
    device where GPUDirect Storage is set up.
    """
    cudf: Any = importlib.import_module("cudf")
    pylibcudf: Any = importlib.import_module("pylibcudf")
    builder = pylibcudf.io.parquet.ParquetReaderOptions.builder(pylibcudf.io.SourceInfo([path]))
    options = builder.use_pandas_metadata(False).build()  # else a stored index comes along
    options.set_row_groups([list(groups)])
    options.set_column_names([name])
    reader = pylibcudf.io.parquet.ChunkedParquetReader(
        options, chunk_read_limit=limit, pass_read_limit=READ_AHEAD * limit
    )
    while reader.has_next():
        [column] = reader.read_chunk().tbl.columns()
        if column.size():
            yield RawTexts(cudf.Series.from_pylibcudf(column), *raw(column))


def judged(given: RawTexts) -> tuple[Resident, Judged] | None:
    """Return the texts of a chunk and what is known of each; None where one is not well-formed UTF-8."""
    place = space()
    starts = given.offsets[:-1]
    if not array_kernels.well_formed(place, given.data, starts[starts < given.data.shape[0]]):
        return None
    found = judge_column(given.column)
    sizes = np.diff(place.get(given.offsets).astype(np.int64))
    sizes[found.blank] = 0
    return Resident(found.column, np.concatenate([np.zeros(1, np.int64), np.cumsum(sizes)]), found.characters), found


def texts_of(data: U8, offsets: I64, start: int, stop: int) -> pa.Array:
    """Return documents [start, stop) as a large_string array whose offsets begin at 0; no text is copied."""
    places = np.ascontiguousarray(offsets[start : stop + 1] - offsets[start])
    text = data[offsets[start] : offsets[stop]]
    return pa.LargeStringArray.from_buffers(stop - start, pa.py_buffer(places), pa.py_buffer(text))


class _Upload:
    """Cache of the last transfer to the device: consecutive kernels on the same texts share it.

    Arrow's buffers never change, and the one in use is held, so its address names its content.
    """

    held: tuple[U8, I64, Any] | None = None

    def column(self, data: U8 | Resident, offsets: I64, start: int, stop: int) -> Any:
        if isinstance(data, Resident):
            return data.column.iloc[start:stop]
        part = offsets[start : stop + 1]
        if self.held and _same(self.held[0], data) and np.array_equal(self.held[1], part):
            return self.held[2]
        self.held = None  # frees the device's memory before more is asked for
        cudf: Any = importlib.import_module("cudf")
        column = cudf.Series.from_arrow(texts_of(data, offsets, start, stop))
        self.held = data, part.copy(), column
        return column


def _same(one: U8, other: U8) -> bool:
    return one.nbytes == other.nbytes and one.ctypes.data == other.ctypes.data


_uploads = threading.local()


def _column(data: U8 | Resident, offsets: I64, start: int, stop: int) -> Any:
    """Return documents [start, stop) as a column on the device."""
    if not hasattr(_uploads, "last"):
        _uploads.last = _Upload()
    return _uploads.last.column(data, offsets, start, stop)


def _on_host(data: U8 | Resident, offsets: I64, row: int) -> tuple[U8, I64]:
    """Return one document's bytes and offsets on the host."""
    if isinstance(data, Resident):
        return buffers(data.host(row, row + 1))
    return data, offsets[row : row + 2]


# --- namesakes of the host's kernels -----------------------------------------------------------------------


def content_hash(data: U8, offsets: I64) -> tuple[U64, U64]:
    """Return the two content hashes of each document, as `hashing.content_hash` does."""

    def work(start: int, stop: int) -> list[Any]:
        texts = _column(data, offsets, start, stop)
        hashes = [texts.hash_values(method="xxhash64", seed=seed).to_arrow() for seed in (0, 1)]
        return [tuple(h.to_numpy(zero_copy_only=False).astype(np.uint64, copy=False) for h in hashes)]

    parts = in_parts(work, len(offsets) - 1)
    first, second = zip(*parts, strict=True) if parts else ((), ())
    return np.concatenate([np.empty(0, np.uint64), *first]), np.concatenate([np.empty(0, np.uint64), *second])


def text_digest(data: U8, offsets: I64) -> tuple[U64, U64]:
    """Return the two words of each document's digest, as `text_digest.text_digest` does."""

    def work(start: int, stop: int) -> list[Any]:
        return list(_column(data, offsets, start, stop).hash_values(method="sha256").to_arrow().to_pylist())

    return words(b"".join(bytes.fromhex(digest[: 2 * DIGEST_BYTES]) for digest in in_parts(work, len(offsets) - 1)))


def signatures(data: U8, offsets: I64, params: Parameters, width: int = 24, max_shingles: int = 0) -> Signatures:
    """Return signatures of character shingles, as `minhash.signatures` does; texts to be sampled stay on the host."""
    host: Any = HOST_KERNELS["signatures"]
    if width < NARROW:
        return np.asarray(host(data, offsets, params, width, max_shingles))
    a, b = (np.array(values, params.dtype) for values in (params.a, params.b))
    out = _minhash(data, offsets, params.seed, a, b, width)
    for row in np.flatnonzero(np.diff(offsets) > max_shingles).tolist() if max_shingles else ():
        out[row] = host(*_on_host(data, offsets, row), params, width, max_shingles)[0]
    return out


def signatures_by_seeds(
    data: U8, offsets: I64, seeds: npt.ArrayLike, width: int = 25, max_shingles: int = 0
) -> npt.NDArray[np.uint32]:
    """Return one least hash per seed, as `minhash.signatures_by_seeds` does, all seeds in one kernel of winnow's own.

    Texts to be sampled stay on the host.
    """
    host: Any = HOST_KERNELS["signatures_by_seeds"]
    family = np.asarray(seeds, np.uint32)

    def work(start: int, stop: int) -> list[Any]:
        longest = int(np.diff(offsets[start : stop + 1]).max())
        return [cuda_kernels.minhash_seeds(space(), *_on_device(data, offsets, start, stop), longest, family, width)]

    parts = in_parts(work, len(offsets) - 1, MAX_SLOTS // len(family))
    out = np.concatenate([np.empty((0, len(family)), np.uint32), *parts])
    for row in np.flatnonzero(np.diff(offsets) > max_shingles).tolist() if max_shingles else ():
        out[row] = host(*_on_host(data, offsets, row), family, width, max_shingles)[0]
    return out


def heuristic_counts(data: U8, offsets: I64, readings: Readings, known: Known) -> I64:
    """Return what is counted of each document, as `heuristics.heuristic_counts` does; the longest on the host."""
    sizes = np.diff(offsets)
    found = []
    for first, last in text_kernels.shares(offsets):

        def work(start: int, stop: int, first: int = first) -> list[Any]:
            part = slice(first + start, first + stop)
            texts, places = _on_device(data, offsets, part.start, part.stop)
            mine = known_part(known, part.start, part.stop)
            return [text_kernels.heuristic_counts(space(), texts, sizes[part], places, readings, mine)]

        found += in_parts(work, last - first)
    out = np.concatenate([np.empty((0, len(COUNTS)), np.int64), *found])
    host: Any = HOST_KERNELS["heuristic_counts"]
    for row in np.flatnonzero(sizes > text_kernels.LONGEST).tolist():
        out[row] = host(*_on_host(data, offsets, row), readings, known_part(known, row, row + 1))[0]
    return out


def script_places(data: U8, offsets: I64) -> U8:
    """Return each document's script, as `scripts.script_places` does."""
    found = in_parts(
        lambda start, stop: [text_kernels.script_places(space(), *_on_device(data, offsets, start, stop))],
        len(offsets) - 1,
    )
    return np.concatenate([np.empty(0, np.uint8), *found])


def line_rows(data: U8, offsets: I64) -> I64:
    """Return what is counted in every line, as `line_counts.line_rows` does; of the longest documents by the host."""
    sizes = np.diff(offsets)
    text, begin, behind = (COLUMNS.index(name) for name in ("text", "begin", "words"))

    def work(start: int, stop: int) -> list[Any]:
        texts, places = _on_device(data, offsets, start, stop)
        rows = line_kernels.line_rows(space(), texts, sizes[start:stop], places)
        rows[:, text] += start
        rows[:, begin:behind] += 0 if isinstance(data, Resident) else offsets[start]
        return [rows]

    found = [np.empty((0, len(COLUMNS)), np.int64), *in_parts(work, len(sizes))]
    long = np.flatnonzero(sizes > line_kernels.LONGEST).tolist()
    for row in long:
        rows = HOST_KERNELS["line_rows"](*_on_host(data, offsets, row))
        rows[:, text] = row
        rows[:, begin:behind] += offsets[row] if isinstance(data, Resident) else 0
        found.append(rows)
    out = np.concatenate(found)
    return out[np.argsort(out[:, text], kind="stable")] if long else out


def repair_marks(data: U8, offsets: I64, wanted: int) -> BoolArray:
    """Mark the documents that may hold something to repair, as `repair_signs.repair_marks` does."""
    found = in_parts(
        lambda start, stop: [line_kernels.repair_marks(space(), *_on_device(data, offsets, start, stop), wanted)],
        len(offsets) - 1,
    )
    out = np.concatenate([np.empty(0, np.bool_), *found])
    for row in np.flatnonzero(np.diff(offsets) > line_kernels.LONGEST).tolist():
        out[row] = HOST_KERNELS["repair_marks"](*_on_host(data, offsets, row), wanted)[0]
    return out


def copied(data: U8, starts: I64, places: I64) -> U8:
    """Return pieces of texts one behind the other, as `pieces.copied` does; of texts on the host, by the host."""
    if not isinstance(data, Resident):
        return np.asarray(HOST_KERNELS["copied"](data, starts, places))

    def work(start: int, stop: int) -> list[Any]:
        ends = places[start : stop + 1] - places[start]
        return [line_kernels.copied(space(), data.bytes(), starts[start:stop], ends)]

    return np.concatenate([np.empty(0, np.uint8), *in_parts(work, len(starts))])


def _on_device(data: U8 | Resident, offsets: I64, start: int, stop: int) -> tuple[Any, Any]:
    """Return bytes on the device, and where documents [start, stop) begin and end in them, int64 on the device.

    Called in each part: a transfer that does not fit is halved as well. Of texts that lie there nothing is copied.
    """
    if isinstance(data, Resident):
        texts, places = raw(data.column.to_pylibcudf()[0])
        return texts, places[start : stop + 1].astype(np.int64)
    begin, end = int(offsets[start]), int(offsets[stop])
    return space().put(data[begin:end]), space().put(offsets[start : stop + 1] - begin)


def _minhash(data: U8, offsets: I64, seed: int, a: Any, b: Any, width: int) -> npt.NDArray[Any]:
    """Return cuDF's signatures, (docs, len(a)) of the type of `a`."""
    cudf: Any = importlib.import_module("cudf")

    def work(start: int, stop: int) -> list[Any]:
        texts = _column(data, offsets, start, stop)
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
    HOST_KERNELS["band_keys"](sig[:0], bands, rows, first, many)  # checks the banding
    parts = in_parts(lambda i, j: [array_kernels.band_keys(space(), sig[i:j], rows, first, many)], len(sig))
    return np.concatenate([np.empty((0, many), np.uint64), *parts])


def band_records(
    sig: npt.NDArray[np.unsignedinteger[Any]], doc: I64, bands: int, rows: int, first: int, count: int
) -> tuple[U64, I64]:
    """Return the records of bands, as `bands.band_records` does, but sorted by key, in one part or several."""
    HOST_KERNELS["band_keys"](sig[:0], bands, rows, first, count)  # checks the banding
    parts = in_parts(
        lambda i, j: [array_kernels.band_records(space(), sig[i:j], doc[i:j], rows, first, count)], len(sig)
    )
    keys, docs = zip(*parts, strict=True) if parts else ((), ())
    return np.concatenate([np.empty(0, np.uint64), *keys]), np.concatenate([np.empty(0, np.int64), *docs])


def _or_host(work: Callable[[], T], name: str, *given: Any) -> T:
    """Return work(); if device memory runs out, log it and return the result of the host kernel for `given`."""
    try:
        return work()
    except (MemoryError, RuntimeError) as error:
        if not ran_out(error):
            raise
    logging.getLogger("winnow.gpu").warning("out of device memory: %s computes on the host", name)
    return cast("T", HOST_KERNELS[name](*given))


def shared_records(keys: U64, doc: I64) -> tuple[U64, I64]:
    """Return the records whose key occurs twice or more, as `bands.shared_records` does."""
    return _or_host(lambda: array_kernels.shared_records(space(), keys, doc), "shared_records", keys, doc)


def sorted_records(keys: U64, doc: I64) -> tuple[U64, I64]:
    """Return all records sorted by key, as `bands.sorted_records` does."""
    return _or_host(lambda: array_kernels.sorted_records(space(), keys, doc), "sorted_records", keys, doc)


def join(label: I64, left: I64, right: I64) -> None:
    """Join edges into labels in place, as `components.join` does. What crosses the bus are edges between labels.

    A label is the least member of its component, so edges may join labels in the place of documents.
    """
    _or_host(lambda: _join(label, left, right), "join", label, left, right)


def _join(label: I64, left: I64, right: I64) -> None:
    u, v = label[left], label[right]
    apart = u != v
    if not apart.any():
        return
    vertex, least = _components(u[apart], v[apart])
    at = np.minimum(np.searchsorted(vertex, label), len(vertex) - 1)
    label[:] = np.where(vertex[at] == label, least[at], label)


def _components(left: I64, right: I64) -> tuple[I64, I64]:
    """Return the vertices of a graph, ascending, and the least of the component of each.

    The same calls that `cugraph.weakly_connected_components` makes of an undirected graph.
    """
    plc: Any = importlib.import_module("pylibcugraph")
    place = space()
    handle = plc.ResourceHandle()
    kind = plc.GraphProperties(is_symmetric=True, is_multigraph=False)
    edges = place.put(left), place.put(right)
    graph = plc.SGGraph(
        handle, kind, *edges, renumber=True, do_expensive_check=True, drop_multi_edges=True, symmetrize=True
    )
    found = plc.weakly_connected_components(handle, graph, None, None, None, None, False)
    vertex, group = (np.asarray(place.get(array)) for array in found)
    order = np.argsort(vertex)
    vertex = vertex[order]
    _, first, inverse = np.unique(group[order], return_index=True, return_inverse=True)
    return vertex, vertex[first][inverse]


def kmeans(sample: F32, clusters: int, seed: int) -> F32:
    """Return the centroids of a sample, as `kmeans.kmeans` does, but cuML's own."""
    try:
        cluster: Any = importlib.import_module("cuml.cluster")
    except ImportError as error:
        raise BackendError(
            f"k-means on a GPU needs cuML, which cannot be imported ({error}). Install winnow-mix[gpu-cu13] on every "
            "worker, or give --backend cpu."
        ) from error
    model = cluster.KMeans(n_clusters=clusters, n_init=1, max_iter=ITERATIONS, random_state=seed, output_type="numpy")
    model.fit(sample)
    return np.asarray(model.cluster_centers_, np.float32)
