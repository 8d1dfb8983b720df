"""What a CPU can prove of the GPU's code: array code on a strict device, parts that are halved, stand-ins for cuDF.

The stand-ins answer as cuDF's documentation says; whether cuDF does is for tests/test_gpu.py, on a GPU.
"""

from __future__ import annotations

import hashlib
import sys
import types
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cluster.device import backend, cuda_source, halving
from stages.kernels.dispatch import dispatch
from stages.kernels.dispatch.dispatch import HOST_KERNELS
from stages.kernels.dispatch.space import HOST, Space
from stages.kernels.gpu import array_kernels, rapids_kernels
from stages.kernels.hashes import hashing, text_digest
from stages.kernels.hashes.hashing import buffers
from stages.kernels.similarity import bands, kmeans, minhash
from stages.kernels.survivors import components
from tests.stages.kernels.test_cosine import strict
from tests.support import cuda_on_host

TEXTS = st.lists(st.text(max_size=40), max_size=12)


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 5), st.integers(1, 4), st.integers(1, 4), st.sampled_from(["uint32", "uint64"]), st.data())
def test_band_keys_in_array_code_have_the_bits_of_the_kernel(
    docs: int, count: int, rows: int, kind: str, data: st.DataObject
) -> None:
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    signatures = rng.integers(0, np.iinfo(kind).max, (docs, count * rows + 1), np.dtype(kind), endpoint=True)
    first = data.draw(st.integers(0, count - 1))
    expected = HOST_KERNELS["band_keys"](signatures, count, rows, first, count - first)
    for space in (HOST, strict()):
        assert np.array_equal(array_kernels.band_keys(space, signatures, rows, first, count - first), expected)


@settings(deadline=None, max_examples=40)
@given(st.lists(st.integers(0, 6), max_size=12), st.data())
def test_records_of_the_exchange_in_array_code_are_those_of_the_host(few: list[int], data: st.DataObject) -> None:
    keys, doc = np.array(few, np.uint64) * np.uint64(2**61 - 1), np.arange(len(few)) * 3
    sig = np.random.default_rng(len(few)).integers(0, 3, (len(few), 6), np.uint32)
    bands_, rows = data.draw(st.sampled_from([(3, 2), (2, 3), (6, 1)]))
    for space in (HOST, strict()):
        found = array_kernels.shared_records(space, keys, doc)
        assert sorted(zip(*found, strict=True)) == sorted(zip(*HOST_KERNELS["shared_records"](keys, doc), strict=True))
        assert (found[0][1:] >= found[0][:-1]).all()
        every = array_kernels.sorted_records(space, keys, doc), HOST_KERNELS["sorted_records"](keys, doc)
        assert sorted(zip(*every[0], strict=True)) == sorted(zip(*every[1], strict=True))
        assert np.array_equal(every[0][0], every[1][0])
        made = array_kernels.band_records(space, sig, doc, rows, 0, bands_)
        assert sorted(zip(*made, strict=True)) == sorted(
            zip(*HOST_KERNELS["band_records"](sig, doc, bands_, rows, 0, bands_), strict=True)
        )
        assert (made[0][1:] >= made[0][:-1]).all()


@pytest.mark.parametrize("room", [1, 2, 3, 7, 100])
@pytest.mark.parametrize("most", [None, 4])
def test_parts_that_do_not_fit_are_halved_and_keep_their_order(
    room: int, most: int | None, caplog: pytest.LogCaptureFixture
) -> None:
    largest = []

    def work(start: int, stop: int) -> list[Any]:
        if stop - start > room:
            raise MemoryError("std::bad_alloc: out_of_memory")
        largest.append(stop - start)
        return list(range(start, stop))

    assert halving.in_parts(work, 25, most) == list(range(25))
    assert max(largest) <= min(room, most or 25)
    assert bool(caplog.records) == (room < (most or 25))


def test_one_document_that_does_not_fit_is_an_error() -> None:
    def work(start: int, stop: int) -> list[Any]:
        raise MemoryError

    with pytest.raises(MemoryError):
        halving.in_parts(work, 3)
    assert halving.in_parts(work, 0) == []


class Column:
    """Stands in for a cuDF series: an Arrow array with the methods that winnow calls."""

    def __init__(self, values: Any) -> None:
        self.values = pa.array(values)
        self.dtype = None if pa.types.is_large_string(self.values.type) else np.asarray(self.values).dtype

    @classmethod
    def from_arrow(cls, array: pa.Array) -> Column:
        assert isinstance(array, pa.LargeStringArray)
        array.validate(full=True)
        assert np.frombuffer(array.buffers()[1], np.int64)[0] == 0
        return cls(array)

    def to_arrow(self) -> pa.Array:
        return self.values

    @property
    def str(self) -> Column:
        return self

    def hash_values(self, method: str, seed: int | None = None) -> Column:
        if method == "sha256":
            assert seed is None
            return Column(pa.array([hashlib.sha256(text.encode()).hexdigest() for text in self.values.to_pylist()]))
        assert method == "xxhash64"
        assert seed is not None
        return Column(hashing.xxh64(*buffers(self.values), seed))

    def minhash(self, seed: int, a: Column, b: Column, width: int) -> Column:
        return self._minhash(seed, a, b, width, 32)

    def minhash64(self, seed: int, a: Column, b: Column, width: int) -> Column:
        return self._minhash(seed, a, b, width, 64)

    def _minhash(self, seed: int, a: Column, b: Column, width: int, bits: int) -> Column:
        assert a.dtype == b.dtype == np.dtype(f"uint{bits}")
        family = minhash.explicit(seed, a.values.to_pylist(), b.values.to_pylist(), bits)
        found = HOST_KERNELS["signatures"](*buffers(self.values), family, width)
        column = Column(pa.array([], pa.list_(pa.uint64())))
        column.values = pa.array(found.tolist(), pa.list_(pa.uint32() if bits == 32 else pa.uint64()))
        return column


class PyLibCuGraph(types.ModuleType):
    """Stands in for pylibcugraph on arrays of `device`; labels are arbitrary, vertices come in any order."""

    def __init__(self, device: Space) -> None:
        super().__init__("pylibcugraph")
        self.device = device
        self.ResourceHandle = object

    @staticmethod
    def GraphProperties(*, is_symmetric: bool, is_multigraph: bool) -> tuple[bool, bool]:
        return is_symmetric, is_multigraph

    def SGGraph(
        self,
        handle: object,
        kind: tuple[bool, bool],
        left: Any,
        right: Any,
        *,
        renumber: bool,
        do_expensive_check: bool,
        drop_multi_edges: bool,
        symmetrize: bool,
    ) -> tuple[Any, Any]:
        assert kind == (True, False)  # then the edges must be made so
        assert renumber
        assert drop_multi_edges
        assert symmetrize
        return self.device.get(left), self.device.get(right)

    def weakly_connected_components(self, handle: object, graph: Any, *others: Any) -> tuple[Any, Any]:
        assert others == (None, None, None, None, False)
        u, v = graph
        vertex = np.unique(np.r_[u, v])[::-1].copy()
        label = components.components(u, v, int(max(u.max(), v.max())) + 1)
        return self.device.put(vertex), self.device.put((label[vertex] * 7919 + 13) % 104729)


class KMeans:
    """Stands in for cuML's: keywords alone, host arrays for output_type numpy alone, no more clusters than samples."""

    def __init__(self, *, n_clusters: int, n_init: int, max_iter: int, random_state: int, output_type: str) -> None:
        assert (n_init, output_type) == (1, "numpy")
        assert 0 <= random_state < 2**32
        self.n_clusters = n_clusters

    def fit(self, sample: Any) -> KMeans:
        assert sample.dtype == np.float32
        assert sample.shape[0] >= self.n_clusters
        self.cluster_centers_ = sample[: self.n_clusters]
        return self


@pytest.fixture
def on_stand_ins(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let kernels take their GPU path, on stand-ins for cuDF, pylibcugraph and cuML, and a strict device for arrays."""
    cudf, cluster = (types.ModuleType(name) for name in ("cudf", "cuml.cluster"))
    device: Space = strict()
    cluster.KMeans = KMeans  # type: ignore[attr-defined]
    cudf.Series = Column  # type: ignore[attr-defined]
    cupy = types.ModuleType("cupy")
    cupy.RawModule = cuda_on_host.HostModule  # type: ignore[attr-defined]
    cuda_source.kernel.cache_clear()
    for module in (cudf, cupy, PyLibCuGraph(device), cluster):
        monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setattr(rapids_kernels, "space", lambda: device)
    monkeypatch.setattr(backend, "_resolved", "gpu")


@pytest.mark.usefixtures("on_stand_ins")
class TestOnStandIns:
    """The host's kernels, called as stages call them, take the GPU's lines and give the same bits."""

    @settings(deadline=None, max_examples=25)
    @given(TEXTS, st.integers(0, 3), st.sampled_from([32, 64]), st.sampled_from([0, 5]))
    def test_signatures(self, texts: list[str], skip: int, bits: int, max_shingles: int) -> None:
        data, offsets = buffers(pa.array(texts, pa.large_string()).slice(skip))
        family = minhash.nemo_parameters(4, 1, bits)
        host: Any = HOST_KERNELS["signatures"]
        found = minhash.signatures(data, offsets, family, 3, max_shingles)
        assert np.array_equal(found, host(data, offsets, family, 3, max_shingles))
        assert found.dtype == family.dtype

    @pytest.mark.skipif(cuda_on_host.compiler() is None, reason="no C++ compiler")
    @settings(deadline=None, max_examples=15)
    @given(TEXTS)
    def test_signatures_by_seeds(self, texts: list[str]) -> None:
        data, offsets = buffers(pa.array(texts, pa.large_string()))
        seeds = minhash.zyda2_seeds(3)
        expected = HOST_KERNELS["signatures_by_seeds"](data, offsets, seeds, 3, 20)
        assert np.array_equal(minhash.signatures_by_seeds(data, offsets, seeds, 3, 20), expected)

    @settings(deadline=None, max_examples=15)
    @given(TEXTS)
    def test_content_hash(self, texts: list[str]) -> None:
        data, offsets = buffers(pa.array(texts, pa.large_string()))
        for found, expected in zip(
            hashing.content_hash(data, offsets), HOST_KERNELS["content_hash"](data, offsets), strict=True
        ):
            assert np.array_equal(found, expected)

    @settings(deadline=None, max_examples=15)
    @given(TEXTS)
    def test_text_digest(self, texts: list[str]) -> None:
        data, offsets = buffers(pa.array(texts, pa.large_string()))
        expected = HOST_KERNELS["text_digest"](data, offsets)
        assert np.array_equal(text_digest.text_digest(data, offsets), expected)

    def test_band_keys(self) -> None:
        signatures = np.random.default_rng(1).integers(0, 2**32, (50, 16), np.uint32)
        assert np.array_equal(bands.band_keys(signatures, 4, 4), HOST_KERNELS["band_keys"](signatures, 4, 4))
        assert bands.band_keys(signatures[:0], 4, 4).shape == (0, 4)

    def test_records_that_do_not_fit_are_sorted_on_the_host(
        self, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        def no_room(*_: Any) -> Any:
            raise MemoryError("std::bad_alloc")

        monkeypatch.setattr(array_kernels, "shared_records", no_room)
        keys, doc = bands.shared_records(np.array([5, 1, 5], np.uint64), np.array([7, 8, 9]))
        assert (keys.tolist(), sorted(doc.tolist())) == ([5, 5], [7, 9])
        assert "shared_records computes on the host" in caplog.text

    def test_kernels_of_one_batch_share_one_transfer(self, monkeypatch: pytest.MonkeyPatch) -> None:
        crossed = []
        made = rapids_kernels.texts_of
        monkeypatch.setattr(rapids_kernels, "texts_of", lambda *given: crossed.append(given) or made(*given))
        given_ = buffers(pa.array(["one text", "another"], pa.large_string()))
        hashing.content_hash(*given_)
        minhash.signatures(*given_, minhash.nemo_parameters(4), 3)
        assert len(crossed) == 1
        hashing.content_hash(*buffers(pa.array(["one text", "Another"], pa.large_string())))
        assert len(crossed) == 2

    def test_kmeans(self) -> None:
        sample = np.random.default_rng(1).normal(size=(20, 3)).astype(np.float32)
        found = kmeans.kmeans(sample, 4, 2**32 - 1)
        assert (found.shape, found.dtype) == ((4, 3), np.float32)

    @settings(deadline=None, max_examples=40)
    @given(st.integers(1, 20), st.data())
    def test_join(self, n: int, data: st.DataObject) -> None:
        label = np.arange(n, dtype=np.int64)
        expected = label.copy()
        for _ in range(3):
            edges = data.draw(st.lists(st.tuples(st.integers(0, n - 1), st.integers(0, n - 1)), max_size=12))
            left, right = np.array(edges, np.int64).reshape(-1, 2).T
            components.join(label, left, right)
            HOST_KERNELS["join"](expected, left, right)
            assert np.array_equal(label, expected)


def test_only_a_kernel_with_the_same_bits_on_both_follows_its_thread_to_the_host(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    device = types.ModuleType("device")
    device.same = device.other = lambda: "device"  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "device", device)
    monkeypatch.setattr(dispatch, "_gpu_module", "device")
    monkeypatch.setattr(dispatch, "HOST_KERNELS", {})

    def same() -> str:
        return "host"

    def other() -> str:
        return "host"

    kernels = dispatch.by_backend(same), dispatch.by_backend_of_all(other)
    assert [kernel() for kernel in kernels] == ["host", "host"]
    monkeypatch.setattr(backend, "_resolved", "gpu")
    assert [kernel() for kernel in kernels] == ["device", "device"]
    with backend.on_host():
        assert [kernel() for kernel in kernels] == ["host", "device"]
    monkeypatch.setattr(backend, "_alike", False)
    assert [kernel() for kernel in kernels] == ["device", "host"]


def test_a_kernel_computes_on_the_host_unless_told_otherwise() -> None:
    assert backend.current() == "cpu"
    assert len(minhash.signatures(*buffers(pa.array(["text"])), minhash.nemo_parameters(2), 3)) == 1
