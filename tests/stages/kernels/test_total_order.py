"""The order words sort documents exactly as the tuple of the design does, and depend on nothing else."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cluster.errors import RecipeError
from stages.kernels.survivors.total_order import MAX_PRIORITY, monotone_word, order_words, sort_order, tie_ranks
from tests.support import oracles

Document = dict[str, Any]
FLOATS = st.floats(allow_nan=True, allow_infinity=True)
HASHES = st.sampled_from([0, 1, 1 << 16, (1 << 16) + 1, 1 << 48, 1 << 63, (1 << 64) - 1])
STRINGS = st.none() | st.sampled_from(["", "a", "b", "ab", "é", "\ue000", "\U0001f600"])


@st.composite
def corpora(draw: st.DrawFn) -> tuple[list[Document], int]:
    """Documents of a few contents, so that every later key gets to decide, and the number of criteria."""
    criteria = draw(st.integers(0, 2))
    pairs = st.tuples(HASHES, HASHES)  # of which 80 bits take part in the order
    contents = draw(st.lists(pairs, min_size=1, max_size=4, unique_by=lambda h: (h[0], h[1] >> 48)))
    document = st.fixed_dictionaries(
        {
            "priority": st.sampled_from([0, 1, 300, MAX_PRIORITY]),
            "criteria": st.tuples(*[st.sampled_from([-1.5, -0.0, 0.0, 2.0, math.inf, math.nan])] * criteria),
            "content": st.sampled_from(contents),
            "id": STRINGS,
            "url": STRINGS,
            "within": st.sampled_from(["p", "q", "é"]),
            "row": st.integers(0, (1 << 32) - 1),
        }
    )
    return draw(st.lists(document, min_size=1, max_size=12)), criteria


def column(documents: list[Document], at: int) -> np.ndarray[Any, np.dtype[np.uint64]]:
    return np.array([d["content"][at] for d in documents], np.uint64)


def ties(documents: list[Document]) -> np.ndarray[Any, np.dtype[np.uint32]]:
    strings = ([d[name] for d in documents] for name in ("id", "url", "within"))
    row = np.array([d["row"] for d in documents], np.int64)
    return tie_ranks(column(documents, 0), column(documents, 1), *strings, row)


def words(documents: list[Document], criteria: int) -> np.ndarray[Any, np.dtype[np.uint64]]:
    """Make the words priority by priority, as the bundles of a run do."""
    tie, parts = ties(documents), {}
    for priority in {d["priority"] for d in documents}:
        at = [i for i, d in enumerate(documents) if d["priority"] == priority]
        mine = [documents[i] for i in at]
        measured = [np.array([d["criteria"][c] for d in mine], np.float64) for c in range(criteria)]
        made = order_words(priority, measured, column(mine, 0), column(mine, 1), tie[at])
        parts.update(zip(at, made, strict=True))
    return np.stack([parts[i] for i in range(len(documents))])


def key(d: Document) -> tuple[object, ...]:
    h1, h2 = d["content"]
    return oracles.order_key(d["priority"], d["criteria"], h1, h2, d["id"], d["url"], d["within"], d["row"])


@settings(deadline=None, max_examples=400)
@given(corpora())
def test_words_sort_as_the_oracle_does(drawn: tuple[list[Document], int]) -> None:
    documents, criteria = drawn
    found = sort_order(words(documents, criteria)).tolist()
    assert [key(documents[i]) for i in found] == sorted(key(d) for d in documents)


@settings(deadline=None, max_examples=200)
@given(corpora(), st.randoms(use_true_random=False))
def test_the_order_does_not_depend_on_arrival(drawn: tuple[list[Document], int], rng: Any) -> None:
    documents, criteria = drawn
    shuffled = rng.sample(range(len(documents)), len(documents))
    here = words(documents, criteria)[shuffled]
    assert np.array_equal(here, words([documents[i] for i in shuffled], criteria))


@settings(deadline=None)
@given(FLOATS, FLOATS)
def test_words_of_floats_compare_as_the_floats(a: float, b: float) -> None:
    x, y = monotone_word(np.array([a, b])).tolist()
    if math.isnan(a) or math.isnan(b):
        assert (x < y) == (math.isnan(b) and not math.isnan(a))
    else:
        assert (x < y, x == y) == (a < b, a == b)


def test_nan_of_either_sign_is_worse_than_infinity() -> None:
    low, high, nan, negative = monotone_word(np.array([-np.inf, np.inf, np.nan, -np.nan])).tolist()
    assert low < high < nan == negative


@settings(deadline=None)
@given(st.lists(st.lists(st.integers(0, 2), min_size=3, max_size=3), max_size=20))
def test_sort_order_is_stable_and_lexicographic(rows: list[list[int]]) -> None:
    table = np.array(rows, np.uint64).reshape(-1, 3)
    assert sort_order(table).tolist() == sorted(range(len(rows)), key=lambda i: rows[i])


def test_ranks_of_ties_are_dense_and_shared_by_equal_keys() -> None:
    h = np.array([7, 7, 7, 7, 9], np.uint64)
    ids = ["b", "a", "a", None, "a"]
    row = np.array([3, 1, 1, 0, 5])
    assert tie_ranks(h, h, ids, [None] * 5, ["x"] * 5, row).tolist() == [1, 0, 0, 2, 0]


def test_strings_may_come_as_arrow_arrays_of_any_chunking() -> None:
    h = np.array([7, 7, 7], np.uint64)
    row = np.arange(3)
    ids = pa.chunked_array([pa.array(["c", None]), pa.array(["a"])])
    nulls = pa.nulls(3, pa.string())
    assert tie_ranks(h, h, ids, nulls, ["x"] * 3, row).tolist() == [1, 2, 0]


def test_no_documents_have_no_order() -> None:
    h = np.empty(0, np.uint64)
    assert sort_order(order_words(0, [], h, h, np.empty(0, np.uint32))).tolist() == []
    assert tie_ranks(h, h, [], [], [], np.empty(0, np.int64)).tolist() == []


@pytest.mark.parametrize("priority", [-1, MAX_PRIORITY + 1])
def test_a_priority_beyond_16_bits_is_refused(priority: int) -> None:
    h = np.zeros(1, np.uint64)
    with pytest.raises(RecipeError, match="priority must be in"):
        order_words(priority, [], h, h, np.zeros(1, np.uint32))
