"""One-permutation hashing: the published algorithm in plain Python, an unbiased estimate, few shingles and none."""

from __future__ import annotations

import functools
import itertools
import math

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cluster.errors import RecipeError
from stages.kernels.hashes.hashing import buffers
from stages.kernels.similarity import minhash
from stages.kernels.similarity.one_permutation import ATTEMPTS
from stages.minhash import MinHash
from tests.stages.kernels.test_minhash_kernels import (
    LONG,
    M32,
    M64,
    TEXTS,
    finish32,
    finish64,
    murmur32,
    murmur64,
    shingles,
    word_sketch,
)

BINS = st.sampled_from([1, 2, 3, 7, 16, 100, 128])
NIGHTLY = pytest.mark.nightly
GOLDEN = 0x9E3779B97F4A7C15


@functools.cache
def target(place: int, attempt: int, bins: int) -> int:
    """Return the bin that an empty bin looks at: SplitMix64 of place and attempt, scaled to the bins."""
    z = (place << 32 | attempt) + GOLDEN & M64
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9 & M64
    z = (z ^ z >> 27) * 0x94D049BB133111EB & M64
    return ((z ^ z >> 31) >> 32) * bins >> 32


def densified(hashes: list[int], bins: int, bits: int) -> list[int]:
    """Algorithm 1 of Shrivastava 2017, on the least hashes of the bins."""
    least: dict[int, int] = {}
    for given_hash in hashes:
        h = min(max(given_hash, 1), (1 << bits) - 2)
        place = (h >> bits - 32) * bins >> 32
        least[place] = min(h, least.get(place, h))
    if not least:
        return [0] * bins
    found = []
    for place in range(bins):
        tries = itertools.chain([place], (target(place, attempt, bins) for attempt in itertools.count(1)))
        found.append(next(least[at] for at in tries if at in least))
    return found


def hash_of(data: str, bits: int, seed: int) -> int:
    return (murmur32 if bits == 32 else murmur64)(data.encode(), seed)


def computed(texts: list[str], bins: int, width: int, bits: int = 32, seed: int = 42, **more: bool) -> list[list[int]]:
    array = pa.array(texts, pa.large_string())
    return minhash.one_permutation(*buffers(array), bins, width, bits=bits, seed=seed, **more).tolist()


@pytest.mark.parametrize("bits", [32, 64])
@settings(max_examples=30, deadline=None)
@given(texts=TEXTS, bins=BINS, width=st.integers(1, 40), seed=st.integers(0, M32))
def test_sketches_equal_the_published_algorithm_on_any_text(
    bits: int, texts: list[str], bins: int, width: int, seed: int
) -> None:
    expected = [densified([hash_of(s, bits, seed) for s in shingles(t, width)], bins, bits) for t in texts]
    assert computed(texts, bins, width, bits, seed) == expected


@pytest.mark.parametrize("bits", [32, 64])
@settings(max_examples=25, deadline=None)
@given(texts=TEXTS, bins=BINS, width=st.integers(1, 6))
def test_sketches_of_words_equal_the_published_algorithm(bits: int, texts: list[str], bins: int, width: int) -> None:
    wrap, finish = (1 << bits) - 1, finish32 if bits == 32 else finish64
    for text, row in zip(texts, computed(texts, bins, width, bits, words=True), strict=True):
        parts, hashes = [max(hash_of(w, bits, 42), 1) for w in text.split()], []
        for at in range(max(1, len(parts) - width + 1) if parts else 0):
            h = 0
            for word in parts[at : at + width]:
                h = h * word_sketch.COMBINE + word & wrap
            hashes.append(finish(h))
        assert row == densified(hashes, bins, bits)


@pytest.mark.parametrize("bits", [32, 64])
def test_long_texts_and_far_searches_equal_the_published_algorithm(bits: int) -> None:
    texts = [
        *(t[:2500] for t in LONG[:2]),
        "two shingles.",
        "a few more shingles",
    ]
    assert ATTEMPTS < 1000 / 2
    for text, row in zip(texts, computed(texts, 1000, 12, bits), strict=True):
        assert row == densified([hash_of(s, bits, 42) for s in shingles(text, 12)], 1000, bits)


def pair(shared: int, alone: int, number: int) -> tuple[str, str]:
    """Return two texts of words whose sets of shingles of one word share and do not share so many."""
    both = [f"s{number}x{i}" for i in range(shared)]
    return tuple(" ".join(both + [f"{side}{number}x{i}" for i in range(alone)]) for side in "ab")  # type: ignore[return-value]


@pytest.mark.parametrize("shingle_count", [2, 20, 128, *(pytest.param(n, marks=NIGHTLY) for n in (5, 64, 256, 2000))])
@pytest.mark.parametrize("bins", [pytest.param(64, marks=NIGHTLY), 128])
def test_estimates_are_unbiased_and_deviate_as_the_stage_says(shingle_count: int, bins: int) -> None:
    alone = max(1, shingle_count // 10)
    shared, rounds = max(0, shingle_count - 2 * alone) or 1, 1500 if shingle_count < 1000 else 300
    pairs = [pair(shared, alone, number) for number in range(rounds)]
    stage = MinHash(sketch="oph", num_permutations=bins, shingles="words", shingle_width=1)
    matrix = stage.signatures(pa.array([t for both in pairs for t in both], pa.large_string()))
    share = (matrix[::2] == matrix[1::2]).mean(axis=1)
    j = shared / (shared + 2 * alone)
    spread = math.sqrt(j * (1 - j) / stage.least_slots)
    assert abs(share.mean() - j) < 4.5 * spread / math.sqrt(rounds)
    assert share.std() < 1.1 * spread
    dense = ~(minhash.is_sparse(matrix[::2]) & minhash.is_sparse(matrix[1::2]))
    if shingle_count >= 4 * bins:
        assert dense.mean() > 0.95
    if dense.sum() > 200:  # deviates no more than as many permutations
        assert share[dense].std() < 1.1 * math.sqrt(j * (1 - j) / bins)


@pytest.mark.parametrize("bins", [8, 64, 128, 512])
def test_texts_of_fewer_shingles_than_bins_are_marked(bins: int) -> None:
    texts = [" ".join(f"{number}-{i}" for i in range(bins)) for number in range(400)]
    for bits in (32, 64):
        matrix = minhash.one_permutation(*buffers(pa.array(texts)), bins, 1, bits=bits, words=True)
        assert minhash.is_sparse(matrix).all()


def test_equal_texts_have_equal_sketches_and_empty_ones_zeros() -> None:
    texts = ["", "x", "x", "a text that is longer than one shingle", "a text that is longer than one shingle", ""]
    rows = computed(texts, 128, 24)
    assert rows[0] == rows[5] == [0] * 128
    assert rows[1] == rows[2]
    assert len(set(rows[1])) == 1
    assert rows[3] == rows[4]
    assert computed([], 128, 24) == []
    stage = MinHash(sketch="oph", num_permutations=4, shingles="words", shingle_width=2)
    assert stage.signatures(pa.array([" \n ", ""])).tolist() == [[0] * 4] * 2


def test_sampled_texts_keep_the_sketch_of_their_sample() -> None:
    text = "".join(chr(97 + (i * i * 7 + i) % 23) for i in range(999))
    kept = [s for s in shingles(text, 5) if murmur32(s.encode(), ~42 & M32) % 16 == 0]
    [row] = minhash.one_permutation(*buffers(pa.array([text])), 32, 5, seed=42, max_shingles=100).tolist()
    assert row == densified([murmur32(s.encode(), 42) for s in kept], 32, 32)


@pytest.mark.parametrize("bins", [0, 5000])
def test_bins_out_of_range_are_refused(bins: int) -> None:
    with pytest.raises(RecipeError, match="num_permutations"):
        minhash.one_permutation(*buffers(pa.array(["a"])), bins)


def test_the_sketch_is_part_of_the_facts_address_and_its_default_is_that_of_earlier_versions() -> None:
    # digests of the parameters that there were before the sketch
    assert MinHash().fact_digest() == MinHash(sketch="permutations").fact_digest() == "e57869f8523aa0e9"
    assert MinHash().digest() == "0c1490c73eeffa40"
    assert MinHash(sketch="oph").fact_digest() != MinHash().fact_digest()
    assert MinHash(sketch="oph").digest() != MinHash().digest()


def test_a_sketch_of_one_permutation_takes_no_parameters_of_permutations() -> None:
    for more in ({"parameters": "zyda2_seeds"}, {"parameters": "explicit", "a": (1,) * 128, "b": (1,) * 128}):
        with pytest.raises(RecipeError, match="parameters"):
            MinHash(sketch="oph", **more)  # type: ignore[arg-type]
    with pytest.raises(RecipeError, match="permutations, oph"):
        MinHash(sketch="opa")
    assert MinHash(sketch="oph").host_text
