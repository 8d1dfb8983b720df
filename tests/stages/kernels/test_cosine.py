"""Cosine kernels against the oracle, on numpy and on a strict stand-in for a device."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.kernels.dispatch.space import HOST, Space
from stages.kernels.similarity import cosine
from stages.kernels.survivors.bucket_survivors import representative_survivors
from stages.kernels.survivors.candidates import Buckets, Candidates
from tests.support import oracles


def strict() -> Space:
    """A namespace that offers the standard's functions only, on a device other than the host's."""
    xp = pytest.importorskip("array_api_strict")
    device = xp.Device("device1")

    def get(value: Any) -> Any:
        assert value.device == device, "an array left the device on its own"
        return np.asarray(xp.from_dlpack(value, device=xp.Device("CPU_DEVICE"), copy=True))

    return Space(xp, lambda value: xp.asarray(value, device=device), get)


@st.composite
def situations(draw: st.DrawFn) -> dict[str, Any]:
    n = draw(st.integers(1, 14))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    flags = st.lists(st.booleans(), min_size=n, max_size=n)
    return {
        "vectors": cosine.unit(rng.integers(-2, 3, (n, 3)) + np.array([0.5, 0, 0]))[0],
        "rank": rng.permutation(n).astype(np.int64),
        "dataset": np.array(draw(st.lists(st.integers(0, 2), min_size=n, max_size=n)), np.int32),
        "protected": np.array(draw(flags)),
        "eligible": np.array(draw(flags)),
        "keep_all": draw(st.booleans()),
        "threshold": draw(st.sampled_from([-1.0, 0.3, 0.8, 0.95, 1.0])),
    }


WHO = ("rank", "dataset", "protected", "eligible")


def survivors(s: dict[str, Any], space: Space = HOST) -> list[int]:
    """The kernel's answer."""
    who = Candidates(**{name: s[name] for name in WHO})
    found = cosine.survivors(s["vectors"], who, keep_all=s["keep_all"], threshold=s["threshold"], space=space)
    return [int(winner) for winner in found]


def expected(s: dict[str, Any]) -> list[int]:
    """The oracle's answer: one bucket with every document in it, tried against every kept one."""
    order = np.argsort(s["rank"])
    wide = s["vectors"][order].astype(np.float64)
    length = np.sqrt((wide * wide).sum(axis=1))
    rounded = 1e-15 if s["threshold"] == 1.0 else 0.0
    near = wide @ wide.T / (length[:, None] * length[None, :]) >= s["threshold"] - rounded
    n = len(order)
    lost = oracles.representatives(
        [list(range(n))],
        s["dataset"][order].tolist(),
        s["protected"][order].tolist(),
        s["eligible"][order].tolist(),
        s["keep_all"],
        n,
        lambda a, b: bool(near[a, b]),
    )
    found = [-1] * n
    for place, winner in enumerate(lost):
        found[order[place]] = -1 if winner is None else int(order[winner])
    return found


@settings(deadline=None, max_examples=300)
@given(situations(), st.integers(1, 5), st.integers(1, 5))
def test_survivors_are_those_of_the_oracle_for_every_block_size(s: dict[str, Any], block: int, across: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cosine, "BLOCK", block)
        patch.setattr(cosine, "ACROSS", across)
        assert survivors(s) == expected(s)


@settings(deadline=None, max_examples=30)
@given(situations())
def test_survivors_on_a_strict_device_are_those_of_numpy(s: dict[str, Any]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cosine, "BLOCK", 4)
        patch.setattr(cosine, "ACROSS", 3)
        assert survivors(s, strict()) == survivors(s)
        centroids = s["vectors"][:2]
        found = cosine.nearest(s["vectors"], centroids, strict())
        assert found.tolist() == cosine.nearest(s["vectors"], centroids, HOST).tolist()


@settings(deadline=None, max_examples=50)
@given(situations())
def test_survivors_are_those_of_near_dedup_in_one_bucket(s: dict[str, Any]) -> None:
    n = len(s["rank"])
    every = np.arange(n, dtype=np.int64)

    def verdict(left: Any, right: Any) -> Any:
        return (cosine.pair_cosines(s["vectors"], left, right) >= s["threshold"]).astype(np.uint8)

    if s["threshold"] == 1.0:
        return  # pair_cosines is cut at 1, the comparison is not: equal to the last bit, or not
    bucket = Buckets(start=np.array([0, n]), member=every, **{name: s[name] for name in WHO})
    found = representative_survivors(bucket, verdict, keep_all=s["keep_all"], further_tries=n)
    assert found.lost_to.tolist() == survivors(s)


def test_products_are_exact_in_every_order() -> None:
    rng = np.random.default_rng(5)
    vectors, _ = cosine.unit(rng.normal(size=(40, 1024)))
    wide = vectors.astype(np.float64)
    products = wide @ wide.T
    for _ in range(5):
        shuffled = wide[:, rng.permutation(1024)]
        assert np.array_equal(shuffled @ shuffled.T, products)
        assert products[3, 7] == sum((shuffled[3] * shuffled[7]).tolist())


def test_vectors_become_unit_vectors_or_nothing() -> None:
    rows = np.array([[3.0, 4.0], [0.0, 0.0], [np.nan, 1.0], [np.inf, 1.0], [1e300, 1e300], [1e-300, 0.0]])
    vectors, good = cosine.unit(rows)
    assert good.tolist() == [True, False, False, False, True, True]
    assert np.abs(cosine.lengths(vectors)[good] - 1).max() < 1e-3
    assert not vectors[~good].any()


@pytest.mark.parametrize("dimensions", [2, 3, 7, 64, 384])
def test_a_threshold_of_one_drops_equal_directions_and_no_others(dimensions: int) -> None:
    rng = np.random.default_rng(dimensions)
    base, _ = cosine.unit(rng.normal(size=(200, dimensions)))
    other = base.copy()
    at = np.abs(other.astype(np.float64)).argmax(axis=1)
    other[np.arange(200), at] = np.nextafter(other[np.arange(200), at], np.float16(2))  # one step in one component
    every = np.concatenate([base, base, other])
    plain = np.ones(len(every), np.bool_)
    who = Candidates(
        rank=np.arange(len(every)), dataset=np.zeros(len(every), np.int32), protected=~plain, eligible=plain
    )
    found = cosine.survivors(every, who, keep_all=False, threshold=1.0, space=HOST)
    rows = {bytes(row): n for n, row in reversed(list(enumerate(every)))}
    first = np.array([rows[bytes(row)] for row in every])
    assert (found == np.where(first < np.arange(len(every)), first, -1)).all()
