"""The CUDA kernel of fastText models, compiled for the host, gives the bits of the host's kernels."""

from __future__ import annotations

import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from classifiers import fasttext_model
from classifiers.native_fasttext import on_device
from cluster.device import backend, cuda_source
from tests.support import cuda_on_host, fasttext_variants
from tests.support.fasttext_variants import TEXTS, VARIANTS, array

pytestmark = pytest.mark.skipif(cuda_on_host.compiler() is None, reason="no C++ compiler")


@pytest.fixture(scope="module")
def make(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    return fasttext_variants.builder(tmp_path_factory.mktemp("models"))


@pytest.fixture(autouse=True)
def cupy_on_host(monkeypatch: pytest.MonkeyPatch) -> None:
    cupy = types.ModuleType("cupy")
    for name in ("asarray", "empty"):
        setattr(cupy, name, getattr(np, name))
    cupy.asnumpy = np.asarray  # type: ignore[attr-defined]
    cupy.RawModule = cuda_on_host.HostModule  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "cupy", cupy)
    cuda_source.kernel.cache_clear()


def on_both(path: Path, texts: pa.Array, max_chars: int = fasttext_model.MAX_CHARS) -> tuple[list[Any], list[Any]]:
    """Best labels, their scores, and every score: on the host, and on the device."""
    found = []
    for name in ("cpu", "gpu"):
        backend._resolved = name
        try:
            model = fasttext_model.load(str(path))
            best = model.best(texts, max_chars)
            found.append([*best, model.scores(texts, range(len(model.labels)), max_chars)])
        finally:
            backend._resolved = "cpu"
    return found[0], found[1]


class Lying:
    """Stands in for texts on a device."""

    def __init__(self, texts: list[str]) -> None:
        self.texts, self.fetched = texts, 0
        self.offsets = np.cumsum([0, *(len(text.encode()) for text in texts)], dtype=np.int64)

    def __len__(self) -> int:
        return len(self.texts)

    def bytes(self) -> Any:
        return np.frombuffer("".join(self.texts).encode(), np.uint8)

    def host(self, start: int = 0, stop: int | None = None) -> pa.Array:
        self.fetched += len(self.texts[start:stop])
        return array(self.texts[start:stop])

    def take(self, rows: Any) -> Lying:
        return Lying([self.texts[row] for row in rows.tolist()])


@pytest.mark.parametrize("variant", VARIANTS)
def test_texts_that_lie_on_the_device_are_judged_there(variant: str, make: Callable[[str], Path]) -> None:
    texts = Lying([*TEXTS, " ".join(["abc def klm"] * 2000)])
    host, device = on_both(make(variant), array(texts.texts))
    backend._resolved = "gpu"
    try:
        model = fasttext_model.load(str(make(variant)))
        found = [*model.best(texts), model.scores(texts, range(len(model.labels)))]  # type: ignore[arg-type]
    finally:
        backend._resolved = "cpu"
    assert texts.fetched == 0
    for expected, mine, again in zip(host, found, device, strict=True):
        np.testing.assert_array_equal(mine, expected)
        np.testing.assert_array_equal(again, expected)


@given(texts=st.lists(st.text(max_size=6), max_size=8))
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_letters_of_any_text_are_those_of_arrow(texts: list[str]) -> None:
    expected = pc.match_substring_regex(array(texts), r"\pL").to_pylist()
    assert on_device.has_letters(Lying(texts)).tolist() == expected  # type: ignore[arg-type]


def test_every_letter_is_one_on_the_device() -> None:
    points = [chr(p) for p in range(0x110000) if not 0xD800 <= p < 0xE000]
    expected = pc.match_substring_regex(array(points), r"\pL").to_numpy(False)
    np.testing.assert_array_equal(on_device.has_letters(Lying(points)), expected)  # type: ignore[arg-type]


@pytest.mark.parametrize("variant", VARIANTS)
def test_labels_and_scores_have_the_bits_of_the_host(
    variant: str, make: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    launched: list[int] = []
    wrapped = on_device.DeviceModel._launched
    monkeypatch.setattr(
        on_device.DeviceModel, "_launched", lambda *given: launched.append(len(given[2])) or wrapped(*given)
    )
    host, device = on_both(make(variant), array([*TEXTS, " ".join(["abc def klm"] * 2000)]))
    assert launched
    for expected, found in zip(host, device, strict=True):
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("variant", ["tree", "pruned", "ova", "softmax-wide", "softmax"])
@given(texts=st.lists(st.text(max_size=50), min_size=1, max_size=4), most=st.sampled_from([1, 7, 1000]))
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_text_is_judged_as_on_the_host(
    variant: str, make: Callable[[str], Path], texts: list[str], most: int
) -> None:
    host, device = on_both(make(variant), array(texts), most)
    for expected, found in zip(host, device, strict=True):
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("variant", ["tree", "softmax-wide"])
@pytest.mark.parametrize("threads", [2, 7])
def test_threads_of_a_block_find_together_where_a_text_is_cut(
    variant: str, threads: int, make: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cuda_on_host.HostModule, "threads", threads)
    texts = ["abc def klm", "é 文字 abc", "🎉🎉 abc 🎉", "\u0301" * 9, "def é" * 5, "", "文" * 20]
    for most in (1, 2, 5, 8, 20):
        host, device = on_both(make(variant), array(texts), most)
        for expected, found in zip(host, device, strict=True):
            np.testing.assert_array_equal(found, expected)


def test_long_texts_take_room_for_what_is_looked_at(make: Callable[[str], Path], monkeypatch: Any) -> None:
    taken: list[int] = []
    wrapped = sys.modules["cupy"].empty

    def empty(shape: Any, kind: Any) -> Any:
        taken.append(int(np.prod(shape)) * np.dtype(kind).itemsize)
        return wrapped(shape, kind)

    monkeypatch.setattr(sys.modules["cupy"], "empty", empty)
    model: Any = fasttext_model.load(str(make("tree")))
    text = np.frombuffer(b"abc " * 100_000, np.uint8)
    on_device.DeviceModel(model._loaded)._means(text, np.array([0, len(text) - 3, len(text)]), 50)
    assert 0 < max(taken) < 100_000


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_end_of_the_line_is_the_word_that_the_dictionary_has(variant: str, make: Callable[[str], Path]) -> None:
    model: Any = fasttext_model.load(str(make(variant)))
    tables = model._loaded.tables
    words = [tables.text[a:b].tobytes() for a, b in zip(tables.start, tables.stop, strict=True)]
    place = words.index(b"</s>") if b"</s>" in words else on_device.UNKNOWN
    assert on_device.end_of_line(tables) == (place if place < tables.sizes.words else on_device.LABEL)


def test_texts_that_do_not_fit_the_device_together_are_halved(
    make: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    wrapped = on_device.DeviceModel._launched

    def small(model: Any, data: Any, offsets: Any, most: int) -> Any:
        if len(offsets) > 5:
            raise MemoryError("std::bad_alloc")
        return wrapped(model, data, offsets, most)

    monkeypatch.setattr(on_device.DeviceModel, "_launched", small)
    host, device = on_both(make("tree"), array(TEXTS).slice(3, 40))
    for expected, found in zip(host, device, strict=True):
        np.testing.assert_array_equal(found, expected)


def test_a_model_of_longer_word_ngrams_than_the_kernel_knows_stays_on_the_host(make: Callable[[str], Path]) -> None:
    model: Any = fasttext_model.load(str(make("tree-words")))
    sizes = model._loaded.tables.sizes
    assert on_device.fits(model._loaded)
    longer = sizes._replace(word_ngrams=on_device.MOST_NGRAMS + 1)
    assert not on_device.fits(types.SimpleNamespace(tables=types.SimpleNamespace(sizes=longer)))  # type: ignore[arg-type]
