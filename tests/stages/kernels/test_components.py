"""Components are those of a plain search, labelled by their least member, for graphs of any shape."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.kernels.survivors.components import components


def searched(n: int, edges: list[tuple[int, int]]) -> list[int]:
    near: list[set[int]] = [set() for _ in range(n)]
    for u, v in edges:
        near[u].add(v)
        near[v].add(u)
    label = [-1] * n
    for start in range(n):
        pending = [start] if label[start] < 0 else []
        while pending:
            at = pending.pop()
            if label[at] < 0:
                label[at] = start
                pending += near[at]
    return label


@settings(max_examples=200, deadline=None)
@given(st.integers(1, 30), st.data())
def test_components_equal_a_plain_search(n: int, data: st.DataObject) -> None:
    index = st.integers(0, n - 1)
    edges = data.draw(st.lists(st.tuples(index, index), max_size=40))
    left, right = np.array([u for u, _ in edges], np.int64), np.array([v for _, v in edges], np.int64)
    left.flags.writeable = False
    assert components(left, right, n).tolist() == searched(n, edges)


def test_a_chain_of_a_million_is_one_component_in_any_edge_order() -> None:
    n = 1_000_000
    up = np.arange(n - 1)
    for order in (up, up[::-1], np.random.default_rng(0).permutation(n - 1)):
        assert not components(order, order + 1, n).any()
        assert not components(order + 1, order, n).any()


def test_a_star_of_a_million_is_one_component() -> None:
    leaves = np.arange(1, 1_000_000)
    assert not components(np.zeros_like(leaves), leaves, len(leaves) + 1).any()


def test_documents_without_edges_stay_alone() -> None:
    assert components([], [], 3).tolist() == [0, 1, 2]
    assert components([], [], 0).tolist() == []


@pytest.mark.parametrize(("left", "right"), [([0], [3]), ([-1], [0]), ([0], [1, 2])])
def test_edges_out_of_range_are_refused(left: list[int], right: list[int]) -> None:
    with pytest.raises(ValueError, match="must"):
        components(left, right, 3)
