"""Signatures have cuDF's bits for any text, width and parameters; bands, slots and samples keep promises."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cluster.errors import RecipeError
from stages.kernels.hashes import murmur
from stages.kernels.hashes.hashing import buffers
from stages.kernels.similarity import minhash, sketch, word_sketch
from stages.kernels.similarity.bands import band_keys
from stages.kernels.similarity.minhash import Parameters, explicit, nemo_parameters

DATA = Path(__file__).parent / "data"
M32, M64, P61 = (1 << 32) - 1, (1 << 64) - 1, (1 << 61) - 1
ALPHABET = "ab é\u00a0ß日\u3000🙂\n"
TEXTS = st.lists(st.one_of(st.text(max_size=60), st.text(ALPHABET, max_size=60)), max_size=6)


def murmur32(data: bytes, seed: int) -> int:
    def scramble(k: int) -> int:
        k = k * 0xCC9E2D51 & M32
        return ((k << 15 | k >> 17) & M32) * 0x1B873593 & M32

    h, whole = seed, len(data) // 4 * 4
    for i in range(0, whole, 4):
        h ^= scramble(int.from_bytes(data[i : i + 4], "little"))
        h = ((h << 13 | h >> 19) & M32) * 5 + 0xE6546B64 & M32
    h ^= scramble(int.from_bytes(data[whole:], "little")) ^ len(data)
    return finish32(h)


def finish32(h: int) -> int:
    h = (h ^ h >> 16) * 0x85EBCA6B & M32
    h = (h ^ h >> 13) * 0xC2B2AE35 & M32
    return h ^ h >> 16


def finish64(h: int) -> int:
    h = (h ^ h >> 33) * 0xFF51AFD7ED558CCD & M64
    h = (h ^ h >> 33) * 0xC4CEB9FE1A85EC53 & M64
    return h ^ h >> 33


def murmur64(data: bytes, seed: int) -> int:
    c1, c2, h1, h2 = 0x87C37B91114253D5, 0x4CF5AD432745937F, seed, seed

    def turn(x: int, bits: int) -> int:
        return (x << bits | x >> (64 - bits)) & M64

    whole = len(data) // 16 * 16
    for i in range(0, whole, 16):
        k1, k2 = (int.from_bytes(data[j : j + 8], "little") for j in (i, i + 8))
        h1 = (turn(h1 ^ turn(k1 * c1 & M64, 31) * c2 & M64, 27) + h2) * 5 + 0x52DCE729 & M64
        h2 = (turn(h2 ^ turn(k2 * c2 & M64, 33) * c1 & M64, 31) + h1) * 5 + 0x38495AB5 & M64
    k1, k2 = (int.from_bytes(data[j : j + 8], "little") for j in (whole, whole + 8))
    h2 ^= turn(k2 * c2 & M64, 33) * c1 & M64
    h1 ^= turn(k1 * c1 & M64, 31) * c2 & M64
    h1, h2 = h1 ^ len(data), h2 ^ len(data)
    h1 = h1 + h2 & M64
    h2 = h2 + h1 & M64
    return finish64(h1) + finish64(h2) & M64


def shingles(text: str, width: int) -> list[str]:
    if len(text) < width:
        return [text] if text else []
    return [text[i : i + width] for i in range(len(text) - width + 1)]


def permuted(hashes: list[int], family: Parameters) -> list[int]:
    if not hashes:
        return [0] * family.num_permutations
    raised, wrap = [max(h, 1) for h in hashes], (1 << family.bits) - 1
    pairs = zip(family.a, family.b, strict=True)
    if family.bits == 32:
        return [min((h * a + b) & wrap for h in raised) for a, b in pairs]
    return [min(((h * a + b) & wrap) % P61 for h in raised) for a, b in pairs]


def hash_of(text: str, family: Parameters) -> int:
    return (murmur32 if family.bits == 32 else murmur64)(text.encode(), family.seed)


def slow_signature(text: str, family: Parameters, width: int) -> list[int]:
    return permuted([hash_of(s, family) for s in shingles(text, width)], family)


def slow_words(text: str, family: Parameters, width: int) -> list[int]:
    parts = text.split()
    runs = [parts[i : i + width] for i in range(max(1, len(parts) - width + 1))] if parts else []
    hashes, wrap = [], (1 << family.bits) - 1
    for run in runs:
        h = 0
        for word in run:
            h = (h * word_sketch.COMBINE + max(hash_of(word, family), 1)) & wrap
        hashes.append((finish32 if family.bits == 32 else finish64)(h))
    return permuted(hashes, family)


def families(bits: int) -> st.SearchStrategy[Parameters]:
    number = st.integers(0, (1 << bits) - 1)
    lists = st.lists(st.tuples(number, number), min_size=1, max_size=19)
    return st.builds(lambda seed, ab: explicit(seed, [a for a, _ in ab], [b for _, b in ab], bits), number, lists)


def computed(texts: list[str], family: Parameters, width: int, **options: Any) -> list[list[int]]:
    result = minhash.signatures(*buffers(pa.array(texts, pa.large_string())), family, width, **options)
    return [list(map(int, row)) for row in result]


def cases() -> list[Any]:
    files = ["minhash_vectors.json", "minhash_predicted.json"]
    found = [(name, case) for name in files for case in json.loads((DATA / name).read_text("utf-8"))]
    return [pytest.param(c, id=f"{name.split('.')[0]}-{c['bits']}-{c['width']}") for name, c in found]


@pytest.mark.parametrize("case", cases())
def test_signatures_equal_the_published_and_predicted_vectors_of_cudf(case: dict[str, Any]) -> None:
    family = explicit(case["seed"], case["a"], case["b"], case["bits"])
    known = [(s, e) for s, e in zip(case["strings"], case["expected"], strict=True) if s is not None]
    assert computed([s for s, _ in known], family, case["width"]) == [e for _, e in known]


WIDE = {  # MinHashTest.PermutedWide of cuDF: a and b are 20, 21, 22, the seed is 0, the width 4
    32: [[1731998032, 315359380, 3193688024], [1293098788, 2860992281, 133918478]],
    64: [
        [1818322427062143853, 641024893347719371, 1769570368846988848],
        [1389920339306667795, 421787002125838902, 1759496674158703968],
    ],
}


@pytest.mark.parametrize("bits", WIDE)
def test_signatures_of_long_texts_of_one_character_equal_those_of_cudf(bits: int) -> None:
    numbers = [20, 21, 22]
    assert computed(["x" * (2 << 10), "y" * (2 << 19)], explicit(0, numbers, numbers, bits), 4) == WIDE[bits]


@pytest.mark.parametrize("case", json.loads((DATA / "minhash_predicted.json").read_text("utf-8")))
def test_nemo_parameters_are_those_of_nemo_curator(case: dict[str, Any]) -> None:
    family = nemo_parameters(len(case["a"]), 42, case["bits"])
    assert family == explicit(case["seed"], case["a"], case["b"], case["bits"])


@pytest.mark.parametrize("bits", [32, 64])
@settings(max_examples=100, deadline=None)
@given(data=st.data(), texts=TEXTS, width=st.integers(1, 40))
def test_signatures_equal_a_slow_reference_on_any_text(
    bits: int, data: st.DataObject, texts: list[str], width: int
) -> None:
    family = data.draw(families(bits))
    assert computed(texts, family, width) == [slow_signature(t, family, width) for t in texts]


@pytest.mark.parametrize("bits", [32, 64])
@settings(max_examples=100, deadline=None)
@given(data=st.data(), texts=TEXTS, width=st.integers(1, 8))
def test_word_signatures_equal_a_slow_reference_on_any_text(
    bits: int, data: st.DataObject, texts: list[str], width: int
) -> None:
    family = data.draw(families(bits))
    result = minhash.signatures_words(*buffers(pa.array(texts, pa.string())), family, width)
    assert result.tolist() == [slow_words(t, family, width) for t in texts]


def test_words_are_split_where_python_splits_them() -> None:
    spaces = [chr(c) for c in range(0x110000) if chr(c).isspace()]
    others = ["\u200b", "\u180e", "\ufeff", "\u2011", "\u2060", "\u1681", "\u3001", "\x1b", "\x7f", "\x86"]
    texts = [f"{c}aé{c}{c}b日{c}" for c in spaces + others]
    family = nemo_parameters(4)
    result = minhash.signatures_words(*buffers(pa.array(texts)), family, 1)
    assert result.tolist() == [slow_words(t, family, 1) for t in texts]


def scattered(share: float, seed: int) -> str:
    """Return a text of several blocks with so large a share of characters beyond ASCII, here and there."""
    random_ = random.Random(seed)
    return "".join(random_.choice("éß“日🙂" if random_.random() < share else "abcde ") for _ in range(5000))


LONG = [
    "plain ascii text, " * 400,
    "a curly “quote” now and then, " * 300,
    "日本語のテキストも文字単位で処理される。" * 200,
    "Ünïcödé wïth mány áccénts änd sömé mörë " * 150,
    "🙂 emoji and 日本 mixed é " * 200,
    "x" * (murmur.BLOCK + 23),
    "x" * (murmur.BLOCK - 1) + "é" + "y" * 60,
    "x" * (murmur.BLOCK - 2) + "日" + "y" * 60 + "é",
    *(scattered(share, seed) for share in (0.001, 0.01, 0.05, 0.06, 0.07, 0.2) for seed in (1, 2)),
]


@pytest.mark.parametrize("width", [2, 5, 24, 25, 70, 300])
@pytest.mark.parametrize("bits", [32, 64])
def test_texts_of_several_blocks_equal_the_slow_reference(bits: int, width: int) -> None:
    family = nemo_parameters(3, 1, bits)
    assert computed(LONG, family, width) == [slow_signature(t, family, width) for t in LONG]


def test_long_texts_of_words_equal_the_slow_reference() -> None:
    texts = [" ".join(f"w{i % 977}é" for i in range(n)) for n in (2047, 2048, 2049, 2053, 4200)]
    for bits in (32, 64):
        family = nemo_parameters(3, 1, bits)
        result = minhash.signatures_words(*buffers(pa.array(texts)), family, 5)
        assert result.tolist() == [slow_words(t, family, 5) for t in texts]


@settings(max_examples=60, deadline=None)
@given(TEXTS, st.integers(1, 30), st.lists(st.integers(0, M32), min_size=1, max_size=9))
def test_signatures_by_seeds_are_minima_of_murmur_under_each_seed(
    texts: list[str], width: int, seeds: list[int]
) -> None:
    result = minhash.signatures_by_seeds(*buffers(pa.array(texts, pa.string())), seeds, width)
    for text, row in zip(texts, result.tolist(), strict=True):
        mine = shingles(text, width)
        assert row == [min((murmur32(s.encode(), seed) for s in mine), default=0) for seed in seeds]


def test_zyda2_seeds_are_those_of_the_old_generator() -> None:
    expected = np.random.RandomState(10).randint(0, 1_000_000, 128)
    assert minhash.zyda2_seeds(128).tolist() == expected.tolist()


def test_slices_and_read_only_arrays_give_the_same_signatures_from_one_compiled_variant() -> None:
    texts = ["first", "second text é", "third", ""]
    array, family = pa.array(texts, pa.large_string()), nemo_parameters(16)
    data, offsets = buffers(array)
    whole = minhash.signatures(data, offsets, family, 3)
    part = minhash.signatures(*buffers(array.slice(1, 2)), family, 3)
    writable = minhash.signatures(data.copy(), offsets.copy(), family, 3)
    assert part.tolist() == whole[1:3].tolist()
    assert writable.tolist() == whole.tolist()
    assert len(sketch.sketch32.signatures) == 1


def test_no_rows_give_no_signatures_and_empty_texts_give_zeros() -> None:
    family = nemo_parameters(8)
    assert minhash.signatures(*buffers(pa.array([], pa.string())), family).shape == (0, 8)
    assert computed(["", ""], family, 24) == [[0] * 8] * 2
    only_spaces = minhash.signatures_words(*buffers(pa.array([" \n\u3000", ""])), family, 5)
    assert only_spaces.tolist() == [[0] * 8] * 2


@pytest.mark.parametrize("bits", [32, 64])
@pytest.mark.parametrize("cap", [1, 10, 100, 250])
def test_long_texts_are_sampled_by_the_stated_rule(bits: int, cap: int) -> None:
    family = nemo_parameters(5, 3, bits)
    texts = ["".join(chr(97 + (i * i * 7 + i * k) % 23) for i in range(n)) for k, n in enumerate((90, 300, 999))]
    texts.append("é" + texts[2])
    for text, row in zip(texts, computed(texts, family, 5, max_shingles=cap), strict=True):
        windows, m = shingles(text, 5), 1
        while len(windows) > m * cap:
            m *= 2
        judge = explicit(~family.seed & ((1 << bits) - 1), [1], [0], bits)
        kept = [s for s in windows if hash_of(s, judge) % m == 0] or windows
        assert row == permuted([hash_of(s, family) for s in kept], family)


def test_sampling_by_seeds_follows_the_same_rule() -> None:
    text, seeds = "".join(chr(97 + i * i % 23) for i in range(500)), [9, 8]
    kept = [s for s in shingles(text, 5) if murmur32(s.encode(), ~9 & M32) % 8 == 0]
    result = minhash.signatures_by_seeds(*buffers(pa.array([text])), seeds, 5, 100)
    assert result.tolist() == [[min(murmur32(s.encode(), seed) for s in kept) for seed in seeds]]


@pytest.mark.parametrize(
    ("a", "b", "bits"), [([], [], 32), ([1], [], 32), ([1 << 32], [0], 32), ([1], [-1], 64), ([1], [1], 16)]
)
def test_parameters_that_do_not_fit_are_refused(a: list[int], b: list[int], bits: int) -> None:
    with pytest.raises(RecipeError):
        explicit(0, a, b, bits)


def test_slots_and_band_keys_depend_on_their_slots_alone() -> None:
    rng = np.random.default_rng(0)
    sig = rng.integers(0, 1 << 32, (500, 128), dtype=np.uint32)
    sig[1] = sig[0]
    sig[1, 8:16] += 1
    slots, keys = minhash.slots8(sig), band_keys(sig, 16, 8, 0, 16)
    assert slots.shape == sig.shape
    assert (slots[0] == slots[1])[[*range(8), *range(16, 128)]].all()
    assert (keys[0] == keys[1]).tolist() == [True] + [False] + [True] * 14
    assert len(np.unique(keys)) == keys.size - 15
    assert (band_keys(sig, 16, 8, 5, 3) == keys[:, 5:8]).all()
    assert np.abs((slots[2:, None, 0] == slots[None, 2:, 0]).mean() - 1 / 256 - 1 / 498) < 0.002


def test_equal_slots_in_different_bands_give_different_keys_spread_over_the_whole_range() -> None:
    keys = band_keys(np.zeros((1, 4096), np.uint32), 4096, 1)[0]
    assert len(np.unique(keys)) == 4096
    histogram = np.bincount(keys >> np.uint64(60), minlength=16)
    assert histogram.min() > 180
    assert histogram.max() < 340


@pytest.mark.parametrize(("bands", "rows", "first", "count"), [(17, 8, 0, 1), (0, 8, 0, 1), (16, 8, 15, 2)])
def test_bands_beyond_the_signature_are_refused(bands: int, rows: int, first: int, count: int) -> None:
    with pytest.raises(RecipeError):
        band_keys(np.zeros((1, 128), np.uint32), bands, rows, first, count)


@pytest.mark.parametrize("width", [1, 2, 24, 200, 3000])
def test_bytes_that_are_not_utf8_and_wide_shingles_are_survived(width: int) -> None:
    noise = np.random.default_rng(width).integers(0, 256, 9000, dtype=np.uint8)
    noise[:3000] = 0x80
    offsets = np.array([0, 1, 2999, 3000, 3001, 8990, 9000], np.int64)
    for bits in (32, 64):
        family = nemo_parameters(2, 1, bits)
        whole = minhash.signatures(noise, offsets, family, width)
        assert (whole == minhash.signatures(noise.copy(), offsets, family, width)).all()
        minhash.signatures_words(noise, offsets, family, width)
    minhash.signatures_by_seeds(noise, offsets, [1, 2], width)
