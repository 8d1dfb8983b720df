"""XXH64 equals the xxhash package for any bytes, seed and kind of array."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
import xxhash
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.kernels.hashes import hashing

KINDS = [pa.string(), pa.large_string(), pa.string_view()]
LENGTHS = [*range(0, 100), 127, 128, 1000, 4096]


def reference(texts: list[str], seed: int) -> list[int]:
    return [xxhash.xxh64_intdigest(text.encode(), seed & hashing.MASK64) for text in texts]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.text()), st.integers(0, (1 << 64) - 1))
def test_xxh64_equals_the_xxhash_package(texts: list[str], seed: int) -> None:
    data, offsets = hashing.buffers(pa.array(texts, pa.large_string()))
    assert hashing.xxh64(data, offsets, seed).tolist() == reference(texts, seed)


@pytest.mark.parametrize("seed", [0, 1, (1 << 64) - 1])
def test_every_length_around_the_stripe_and_tail_boundaries(seed: int) -> None:
    texts = [("abcdéfgh日" * 600)[:n] for n in LENGTHS]
    data, offsets = hashing.buffers(pa.array(texts))
    assert hashing.xxh64(data, offsets, seed).tolist() == reference(texts, seed)


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_slices_chunks_and_string_types_give_the_same_hashes(kind: pa.DataType) -> None:
    texts = ["", "one", "zwei", "trois", "", "日本", "x" * 77]
    array = pa.array(texts, kind)
    chunked = pa.chunked_array([array.slice(0, 2), array.slice(2, 0), array.slice(2)])
    for given_texts, expected in [(array, texts), (array.slice(2, 4), texts[2:6]), (chunked, texts)]:
        data, offsets = hashing.buffers(given_texts)
        assert hashing.xxh64(data, offsets, 5).tolist() == reference(expected, 5)


@pytest.mark.parametrize(
    "texts",
    [
        pa.array([], pa.string()),
        pa.array([], pa.large_string()),
        pa.array(["a"]).slice(1),
        pa.chunked_array([], pa.string()),
        pa.chunked_array([[], []], pa.large_string()),
    ],
)
def test_an_array_without_rows_has_no_hashes(texts: pa.Array) -> None:
    data, offsets = hashing.buffers(texts)
    assert len(offsets) == 1
    assert len(hashing.xxh64(data, offsets, 0)) == 0


def test_an_array_of_only_empty_texts_hashes_to_the_hash_of_nothing() -> None:
    data, offsets = hashing.buffers(pa.array(["", ""], pa.large_string()))
    assert hashing.xxh64(data, offsets, 0).tolist() == reference(["", ""], 0)


def test_text_is_not_copied_and_one_compiled_variant_serves_read_only_and_writable_arrays() -> None:
    texts = pa.array(["read", "only"], pa.large_string())
    data, offsets = hashing.buffers(texts)
    assert data.ctypes.data == texts.buffers()[2].address
    frozen = hashing.xxh64(data, offsets, 0)
    writable = hashing.xxh64(data.copy(), offsets.copy(), 0)
    assert frozen.tolist() == writable.tolist()
    assert len(hashing._xxh64_each.signatures) == 1


@settings(max_examples=60, deadline=None)
@given(st.lists(st.text() | st.sampled_from(LENGTHS).map(lambda n: ("abcdéfgh日" * 600)[:n])), st.integers(0, 2))
def test_content_hash_is_xxh64_with_seeds_0_and_1(texts: list[str], cut: int) -> None:
    data, offsets = hashing.buffers(pa.array(texts, pa.large_string()).slice(cut))
    first, second = hashing.content_hash(data, offsets)
    assert first.tolist() == reference(texts[cut:], 0)
    assert second.tolist() == reference(texts[cut:], 1)


def test_content_hash_of_every_length_is_xxh64() -> None:
    texts = [("abcdéfgh日" * 600)[:n] for n in LENGTHS]
    first, second = hashing.content_hash(*hashing.buffers(pa.array(texts)))
    assert (first.tolist(), second.tolist()) == (reference(texts, 0), reference(texts, 1))


@pytest.mark.parametrize("bad", [[0, 5], [-1, 2], [2, 1], []])
def test_offsets_outside_of_the_data_are_refused(bad: list[int]) -> None:
    with pytest.raises(ValueError, match="offsets must ascend within"):
        hashing.xxh64(np.zeros(3, np.uint8), np.array(bad, np.int64), 0)


def splitmix(state: int, seed: int) -> int:
    z = (state + (seed + 1) * 0x9E3779B97F4A7C15) & hashing.MASK64
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & hashing.MASK64
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & hashing.MASK64
    return z ^ (z >> 31)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, (1 << 64) - 1)), st.integers(0, 1 << 70))
def test_mix64_is_splitmix64(values: list[int], seed: int) -> None:
    mixed = hashing.mix64(np.array(values, np.uint64), seed)
    assert mixed.tolist() == [splitmix(value, seed) for value in values]
