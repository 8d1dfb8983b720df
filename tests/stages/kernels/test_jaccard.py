"""Exact similarity equals that of Python sets on any text; estimates keep to their standard error."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.kernels.hashes.hashing import buffers, mix64
from stages.kernels.similarity import jaccard, shingle_sets
from stages.kernels.similarity.minhash import nemo_parameters, signatures, slots8

PIECES = st.sampled_from(["a", "b", "é", "日", "🙂", " ", "\n", "\u3000", "word ", "zwei ", "\u00a0"])
TEXTS = st.lists(st.one_of(st.text(max_size=40), st.lists(PIECES, max_size=40).map("".join)), min_size=1, max_size=6)


def shingle_set(text: str, width: int, words: bool) -> set[object]:
    units: list[str] = text.split() if words else list(text)
    if len(units) < width:
        return {tuple(units)} if units else set()
    return {tuple(units[i : i + width]) for i in range(len(units) - width + 1)}


def true_jaccard(a: set[object], b: set[object]) -> float:
    return len(a & b) / len(a | b) if a | b else 1.0


@pytest.mark.parametrize("words", [False, True])
@settings(max_examples=150, deadline=None)
@given(TEXTS, st.integers(1, 9), st.data())
def test_exact_similarity_equals_python_sets(words: bool, texts: list[str], width: int, data: st.DataObject) -> None:
    index = st.integers(0, len(texts) - 1)
    pairs = data.draw(st.lists(st.tuples(index, index), max_size=20))
    left, right = [u for u, _ in pairs], [v for _, v in pairs]
    result = jaccard.exact_pairs(*buffers(pa.array(texts, pa.string())), left, right, width, words=words)
    sets = [shingle_set(text, width, words) for text in texts]
    assert result.tolist() == [true_jaccard(sets[u], sets[v]) for u, v in pairs]


@st.composite
def edited_texts(draw: st.DrawFn) -> list[str]:
    """Return a text and others made of it: parts left out, moved, repeated, and new characters between them."""
    some = draw(st.lists(st.one_of(st.text(max_size=60), PIECES, st.just("ab" * 20)), min_size=1, max_size=12))
    texts = ["".join(some)]
    for _ in range(draw(st.integers(1, 4))):
        text = draw(st.sampled_from(texts))
        a, b = sorted(draw(st.tuples(*[st.integers(0, len(text))] * 2)))
        between = draw(st.one_of(st.just(""), PIECES, st.text(max_size=3), st.just(text[a:b] * 2)))
        texts.append(text[:a] + between + text[draw(st.sampled_from([a, b])) :])
    return texts


@pytest.mark.parametrize("words", [False, True])
@pytest.mark.parametrize("cap", [10, jaccard.MAX_SHINGLES])
@settings(max_examples=200, deadline=None)
@given(edited_texts(), st.integers(1, 30))
def test_texts_that_share_runs_are_as_similar_as_their_sets(
    cap: int, words: bool, texts: list[str], width: int
) -> None:
    left, right = np.triu_indices(len(texts))
    arrays = buffers(pa.array(texts, pa.string()))
    result = jaccard.exact_pairs(*arrays, left, right, width, words=words, max_shingles=cap)
    sets = [shingle_set(text, width, words) for text in texts]
    expected = [true_jaccard(sets[u], sets[v]) for u, v in zip(left, right, strict=True)]
    few = [max(len(sets[u]), len(sets[v])) <= cap for u, v in zip(left, right, strict=True)]
    assert result[few].tolist() == [value for value, exact in zip(expected, few, strict=True) if exact]


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=60), st.lists(st.integers(0, 59), max_size=4))
def test_characters_begin_where_no_byte_continues_another(text: bytes, ascii_at: list[int]) -> None:
    data = np.frombuffer(text, np.uint8).copy()
    for at in ascii_at:
        data[at : at + 9] &= 0x7F
    symbols = np.empty(len(data) + 1, np.uint64)
    begins = [i for i, byte in enumerate(data) if i == 0 or not (byte & 0xC0 == 0x80 and data[i - 1] >= 0x80)]
    count = shingle_sets.characters(data, 0, len(data), symbols)
    parts = [int.from_bytes(part, "big") for part in map(bytes, np.split(data, begins)[1:])]
    codes = np.array([part % 2**64 for part in parts], np.uint64)
    assert symbols[:count].tolist() == mix64(codes).tolist()


def test_periodic_texts_and_long_windows_are_told_apart() -> None:
    thue = [bin(i).count("1") % 2 for i in range(512)]
    texts = ["".join("ab"[bit] for bit in thue), "".join("ba"[bit] for bit in thue), "ab" * 256, "a" * 512]
    left, right = np.triu_indices(4)
    result = jaccard.exact_pairs(*buffers(pa.array(texts)), left, right, 512)
    assert result.tolist() == (left == right).astype(float).tolist()


@pytest.mark.parametrize("cap", [500, 3000, 19_000])
def test_beyond_the_cap_a_sample_gives_the_similarity_within_its_error(cap: int) -> None:
    rng = np.random.default_rng(cap)
    long = rng.integers(97, 123, 20_000).astype(np.uint8).tobytes().decode()
    texts = [long, long[:12_000], long[:15_000] + long[:5_000][::-1], long[:400], long, "z" * 30_000]
    arrays = buffers(pa.array(texts))
    left, right = np.triu_indices(len(texts))
    exact = jaccard.exact_pairs(*arrays, left, right, 8)
    sets = [shingle_set(text, 8, False) for text in texts]
    assert exact.tolist() == [true_jaccard(sets[u], sets[v]) for u, v in zip(left, right, strict=True)]
    sampled = jaccard.exact_pairs(*arrays, left, right, 8, max_shingles=cap)
    assert np.abs(sampled - exact).max() < 5 / np.sqrt(2 * cap)
    same = [texts[u] == texts[v] for u, v in zip(left, right, strict=True)]
    assert (sampled[same] == 1.0).all()
    assert jaccard.exact_pairs(*arrays, left, right, 8, max_shingles=19_993).tolist() == exact.tolist()


def test_slices_and_read_only_arrays_give_the_same_similarities() -> None:
    array = pa.array(["other", "abcd", "abce", "abcd"], pa.large_string())
    data, offsets = buffers(array.slice(1))
    frozen = jaccard.exact_pairs(data, offsets, [0, 0], [1, 2], 2)
    assert frozen.tolist() == [0.5, 1.0]
    writable = jaccard.exact_pairs(data.copy(), offsets.copy(), np.array([0, 0]), np.array([1, 2]), 2)
    assert writable.tolist() == frozen.tolist()


def test_no_pairs_give_no_similarities() -> None:
    assert jaccard.exact_pairs(*buffers(pa.array([], pa.string())), [], [], 5).shape == (0,)
    assert jaccard.estimate_pairs(np.zeros((0, 128), np.uint8), [], []).shape == (0,)


@pytest.mark.parametrize(("left", "right"), [([0], [3]), ([-1], [0]), ([0, 1], [0])])
def test_pairs_of_documents_that_do_not_exist_are_refused(left: list[int], right: list[int]) -> None:
    with pytest.raises(ValueError, match="must"):
        jaccard.exact_pairs(*buffers(pa.array(["a", "b", "c"])), left, right, 5)
    with pytest.raises(ValueError, match="must"):
        jaccard.estimate_pairs(np.zeros((3, 8), np.uint8), left, right)


def test_estimates_of_pairs_equal_the_formula_of_a_single_estimate() -> None:
    slots = np.random.default_rng(1).integers(0, 3, (40, 200), dtype=np.uint8)
    left, right = np.triu_indices(40)
    pairs = jaccard.estimate_pairs(slots, left, right)
    assert np.allclose(pairs, jaccard.estimate(slots[left], slots[right]), atol=1e-6)
    assert (pairs[left == right] == 1.0).all()
    unlike = jaccard.estimate(np.zeros(128, np.uint8), np.ones(128, np.uint8))
    assert unlike == 0.0


@pytest.mark.parametrize("shared", [0.5, 0.8, 0.95])
def test_estimates_from_real_signatures_are_unbiased_within_the_standard_error(shared: float) -> None:
    rng, k, repeats = np.random.default_rng(7), 128, 150
    texts = []
    for _ in range(repeats):
        letters = rng.integers(97, 123, 3000).astype(np.uint8)
        other = letters.copy()
        other[int(3000 * shared) :] = rng.integers(97, 123, 3000 - int(3000 * shared))
        texts += [letters.tobytes().decode(), other.tobytes().decode()]
    data, offsets = buffers(pa.array(texts))
    left, right = np.arange(0, 2 * repeats, 2), np.arange(1, 2 * repeats, 2)
    exact = jaccard.exact_pairs(data, offsets, left, right, 24)
    found = jaccard.estimate_pairs(slots8(signatures(data, offsets, nemo_parameters(k))), left, right)
    error = jaccard.standard_error(exact, k)
    z = (found - exact) / error
    # permutations are shared by all pairs, so z values are not independent: the bound on the mean is loose
    assert abs(z.mean()) < 0.5
    assert 0.7 < z.std() < 1.3
