"""The hash of every shingle of a text, the marks of its long characters and the bins of hashes are the plain ones."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.kernels.hashes.code_points import BLOCK, SPARSE, long_code_points
from stages.kernels.hashes.hashing import read_only
from stages.kernels.hashes.murmur import ROUND, hash_block32, make_scratch
from stages.kernels.similarity.one_permutation import bin32, bin64
from stages.kernels.text.validity import characters
from tests.stages.kernels.test_minhash_kernels import M32, murmur32, shingles

BEYOND = st.sampled_from("éß\u00a0“日🙂") | st.characters(min_codepoint=0x80, exclude_categories=["Cs"])
BORDERS = [n * BLOCK + k for n in (1, 2) for k in range(-45, 4)]


@st.composite
def long_texts(draw: st.DrawFn) -> str:
    """Draw a text of up to three blocks: ASCII with none, some or many characters beyond, most near a border."""
    size = draw(st.sampled_from(BORDERS) | st.integers(0, 2 * BLOCK + 100))
    step = draw(st.integers(1, 93))
    characters = [chr(33 + (step * i + i * i // 7) % 94) for i in range(size)]
    places = st.sampled_from([*BORDERS, 0]) | st.integers(0, 2 * BLOCK + 100)
    for place, character in draw(st.lists(st.tuples(places, BEYOND), max_size=40)):
        characters[place : place + 1] = [character]
    every = draw(st.sampled_from([0, 0, 3, 7, 14, 18]))
    if every:
        kinds = draw(st.lists(BEYOND, min_size=1, max_size=6))
        characters[::every] = [kinds[i * i // 5 % len(kinds)] for i in range(len(characters[::every]))]
    return "".join(characters)


def hashes_of(data: npt.NDArray[np.uint8], start: int, stop: int, width: int, seed: int) -> list[int]:
    scratch, out, found = make_scratch(width), np.empty(BLOCK + ROUND, np.uint32), list[int]()
    for at in range(start, stop, BLOCK):
        count = hash_block32(data, at, stop, width, np.uint32(seed), scratch, out)
        found += out[:count].tolist()
    return found


@settings(max_examples=40, deadline=None)
@given(
    text=st.text(max_size=60) | long_texts(),
    before=st.binary(max_size=5),
    after=st.binary(max_size=70),
    width=st.integers(1, 40),
    seed=st.integers(0, M32),
)
def test_blocks_give_the_hash_of_every_shingle_in_order(
    text: str, before: bytes, after: bytes, width: int, seed: int
) -> None:
    body = text.encode()
    data = read_only(np.frombuffer(before + body + after, np.uint8), np.uint8)
    expected = [murmur32(s.encode(), seed) for s in shingles(text, width)] if len(text) >= width else []
    assert hashes_of(data, len(before), len(before) + len(body), width, seed) == expected


@settings(max_examples=60, deadline=None)
@given(
    text=st.text(max_size=300) | long_texts(),
    at=st.just(0) | st.integers(0, 200),
    length=st.just(3 * BLOCK) | st.integers(0, 3 * BLOCK),
)
def test_marks_of_long_characters_are_those_of_a_plain_count(text: str, at: int, length: int) -> None:
    body = text.encode()
    at, end = min(at, len(body)), min(at + length, len(body))
    continues = [byte & 0xC0 == 0x80 for byte in body[at:end]]
    owners = [i - sum(continues[: i + 1]) for i, inner in enumerate(continues) if inner]
    places = sorted({owner for owner in owners if owner >= 0})
    marks = np.empty((2, SPARSE + 2), np.int64)
    data = read_only(np.frombuffer(body, np.uint8), np.uint8)
    found, more, inside = long_code_points(data, at, end, marks)
    assert found == min(len(places), SPARSE + 1)
    assert marks[0, :found].tolist() == places[:found]
    if found <= SPARSE:
        assert (more, inside) == (len(owners), sum(continues[:BLOCK]))
        assert marks[1, : found + 1].tolist() == [
            sum(owner < limit for owner in owners) for limit in [0, *(place + 1 for place in places)]
        ]


@pytest.mark.parametrize("bits", [32, 64])
@settings(max_examples=60, deadline=None)
@given(data=st.data(), bins=st.sampled_from([1, 2, 3, 7, 64, 100, 128, 4095, 4096]))
def test_bins_hold_the_least_of_their_hashes_for_any_hashes_in_any_portions(
    bits: int, data: st.DataObject, bins: int
) -> None:
    top = (1 << bits) - 1
    near = st.builds(lambda i, k: (i << bits) // bins + k, st.integers(0, bins), st.integers(-1, 1))
    borders = near.map(lambda h: min(max(h, 0), top))
    numbers = st.integers(0, top) | st.sampled_from([0, 1, top - 1, top]) | borders
    hashes = data.draw(st.lists(numbers, max_size=40))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(hashes)), max_size=2)))
    expected = [top] * bins
    for h in hashes:
        clamped = min(max(h, 1), top - 1)
        place = (clamped >> bits - 32) * bins >> 32
        expected[place] = min(expected[place], clamped)
    dtype, lower = (np.uint32, bin32) if bits == 32 else (np.uint64, bin64)
    row = np.full(bins, top, dtype)
    for start, stop in pairwise([0, *cuts, len(hashes)]):
        lower(np.array(hashes[start:stop], dtype), stop - start, row)
    assert row.tolist() == expected


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.text(max_size=200) | long_texts(), max_size=5),
    st.integers(0, 2),
    st.sampled_from(["utf8", "large_utf8"]),
)
def test_characters_are_counted_as_python_counts_them(texts: list[str], first: int, kind: str) -> None:
    array = pa.array(texts, pa.type_for_alias(kind)).slice(first)
    assert characters(array).tolist() == [len(text) for text in texts[first:]]
